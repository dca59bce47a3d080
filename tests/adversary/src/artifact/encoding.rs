//! The binary format of WebAssembly, as far as the cases write it.

/// The first bytes of a core module.
pub(super) const MODULE: &[u8] = b"\0asm\x01\0\0\0";
/// The first bytes of a component.
pub(super) const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

/// A section with its id and length.
pub(super) fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id], with_length(content).as_slice()].concat()
}

/// Bytes after their length.
pub(super) fn with_length(content: &[u8]) -> Vec<u8> {
    [number(content.len()), content.to_vec()].concat()
}

/// A number in LEB128: seven bits in each byte, the lowest first.
pub(super) fn number(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low_bits = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            bytes.push(low_bits);
            return bytes;
        }
        bytes.push(low_bits | 0x80);
    }
}
