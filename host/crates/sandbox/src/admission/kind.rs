//! The kind of a file, from its first bytes.

use pinhole_ground::guard::{Guard, Refusal};

/// Refuses a file that is not a component, with what it is instead.
pub fn check_kind(bytes: &[u8]) -> Result<(), Refusal> {
    let problem = match bytes {
        [0, b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => return Ok(()),
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => {
            "is a core module, not a component: make a component of it with `pinhole engine encode`"
        }
        [0, b'a', b's', b'm', ..] => "is WebAssembly of an unsupported version",
        [] => "is empty",
        _ => "is not WebAssembly",
    };
    Guard::ComponentKind.refuse_if(true, || problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_kind_names_what_a_file_is() {
        let check = |bytes: &[u8]| check_kind(bytes).map_err(|refusal| refusal.reason);
        assert_eq!(check(b"\0asm\x0d\0\x01\0"), Ok(()));
        assert!(
            check(b"\0asm\x01\0\0\0")
                .unwrap_err()
                .contains("core module")
        );
        assert!(
            check(b"(component)")
                .unwrap_err()
                .contains("not WebAssembly")
        );
        assert!(check(b"").unwrap_err().contains("empty"));
    }
}
