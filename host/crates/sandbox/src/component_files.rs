//! Component files: their names in the directory, and their bytes.

use std::ffi::OsStr;
use std::io::Read;

use cap_std::fs::Dir;
use pinhole_ground::guard::{Guard, Refusal};
use pinhole_ground::text::plain;

/// Component files that are read; later ones in alphabetical order are rejected.
pub const MAX_FILES: usize = 256;
/// Length of a component file in bytes. Nothing of a longer file is read.
pub const MAX_COMPONENT_BYTES: u64 = 64 << 20;
/// Length in bytes of the name by which a rejected file is known.
const MAX_FILE_NAME_BYTES: usize = 100;

/// The files of an engine directory.
#[derive(Debug, Default)]
pub struct ListedFiles {
    /// The component files, in alphabetical order.
    pub files: Vec<String>,
    /// Files with unusable names, with the reasons.
    pub refused: Vec<(String, Refusal)>,
}

/// The name of a component file as text, or `None` if the file is not for engines: a file of another kind,
/// a hidden one, or one that a program is still writing.
///
/// File names appear in logs, so only letters, digits and some punctuation are accepted.
fn check_file_name(name: &OsStr) -> Option<Result<&str, Refusal>> {
    const REASON: &str =
        "has unsupported characters in its name: use letters, digits, spaces and .-_+()@";
    let stem = name.as_encoded_bytes().strip_suffix(b".wasm")?;
    if Guard::HiddenFiles.applies(is_hidden(stem)) {
        tracing::debug!("ignored a hidden or temporary file in the engine directory");
        return None;
    }
    let Some(text) = name.to_str() else {
        return Some(Err(Guard::FileNames.refuse(REASON)));
    };
    let is_supported = |byte: u8| byte.is_ascii_alphanumeric() || b".-_+ ()@".contains(&byte);
    let checked = Guard::FileNames.refuse_if(!text.bytes().all(is_supported), || REASON);
    Some(checked.map(|()| text))
}

/// True for names that file managers hide, and that editors and downloads use until a file is complete.
fn is_hidden(stem: &[u8]) -> bool {
    stem.is_empty()
        || matches!(stem, [b'.' | b'~' | b'#', ..] | [.., b'~'])
        || stem.ends_with(b".tmp")
        || stem.ends_with(b".part")
}

/// The component files of a directory in alphabetical order, and the files with unusable names, with the reasons.
pub fn list_components(directory: &Dir) -> std::io::Result<ListedFiles> {
    let (mut files, mut refused) = (Vec::new(), Vec::new());
    for entry in directory.entries()? {
        let name = entry?.file_name();
        match check_file_name(&name) {
            Some(Ok(name)) => files.push(name.to_owned()),
            Some(Err(refusal)) => {
                let printable = plain(&name.to_string_lossy(), MAX_FILE_NAME_BYTES);
                refused.push((printable, refusal));
            }
            None => {}
        }
    }
    files.sort();
    let max_files = Guard::FileCount.limit(MAX_FILES).min(files.len());
    for file in files.split_off(max_files) {
        let reason = format!("exceeds the limit of {MAX_FILES} component files");
        refused.push((file, Guard::FileCount.refuse(reason)));
    }
    Ok(ListedFiles { files, refused })
}

/// Reads a component file.
pub fn read_component(directory: &Dir, file: &str) -> Result<Vec<u8>, Refusal> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    let check_length = |length: u64| {
        Guard::ComponentBytes.refuse_if(length > MAX_COMPONENT_BYTES, || {
            format!("has {length} bytes; a component may have {MAX_COMPONENT_BYTES} at most")
        })
    };
    // Checked before the file is opened, because opening a pipe blocks until another process writes to it.
    let metadata = directory.metadata(file).map_err(unreadable)?;
    Guard::RegularFile.refuse_if(!metadata.is_file(), || "is not a file")?;
    let length = metadata.len();
    check_length(length)?;
    // One more byte than allowed reveals a file that has grown since.
    let max_bytes = length.max(MAX_COMPONENT_BYTES).saturating_add(1);
    let mut bytes = Vec::new();
    directory
        .open(file)
        .map_err(unreadable)?
        .take(max_bytes)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    check_length(bytes.len() as u64)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_name_is_accepted_if_a_log_can_show_it() {
        let check = |name: &str| check_file_name(name.as_ref()).map(|checked| checked.is_ok());
        assert_eq!(check("draw-2 (copy).wasm"), Some(true));
        assert_eq!(check("notes.txt"), None);
        for name in [
            ".wasm",
            ".draw.wasm",
            "~draw.wasm",
            "#draw.wasm",
            "draw~.wasm",
            "draw.tmp.wasm",
            "draw.part.wasm",
            "draw.wasm~",
            "draw.wasm.part",
        ] {
            assert_eq!(check(name), None, "{name:?}");
        }
        for name in ["a\nb.wasm", "\u{202e}.wasm", "\u{fb01}le.wasm"] {
            assert_eq!(check(name), Some(false), "{name:?}");
        }
    }
}
