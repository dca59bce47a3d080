//! The prompt, without what is no words for a model.

use pinhole_sdk::Error;

/// stable-diffusion.cpp reads its own options between these: a caller could set anything there.
const OPEN: &str = "<sd_cpp_extra_args>";
const CLOSE: &str = "</sd_cpp_extra_args>";

/// The prompt without options for the server. Fails where nothing else was in it.
pub(super) fn words(prompt: &str) -> Result<String, Error> {
    let mut words = prompt.to_owned();
    // Taking one out may join what stood around it to another.
    while let Some(start) = find(&words, OPEN) {
        let inside = start + OPEN.len();
        let end = words.get(inside..).and_then(|rest| find(rest, CLOSE));
        let end = end.map_or(inside, |end| inside + end + CLOSE.len());
        words.replace_range(start..end, "");
    }
    if words.len() < prompt.len() && words.trim().is_empty() {
        let message = "the prompt holds only options for the server: say what to draw";
        return Err(Error::invalid("prompt", message));
    }
    Ok(words)
}

/// In any case. Lower case keeps the places of ASCII.
fn find(text: &str, tag: &str) -> Option<usize> {
    text.to_ascii_lowercase().find(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(prompt: &str, expected: &str) {
        assert_eq!(words(prompt).unwrap(), expected);
    }

    #[test]
    fn options_for_the_server_are_taken_out() {
        check("a fox", "a fox");
        check(
            r#"a <sd_cpp_extra_args>{"steps":9}</sd_cpp_extra_args>fox"#,
            "a fox",
        );
        check("ä <SD_cpp_extra_args>x</sd_cpp_EXTRA_args> fox", "ä  fox");
        check("a fox <sd_cpp_extra_args>{", "a fox {");
        check(
            "<sd_cpp<sd_cpp_extra_args>1</sd_cpp_extra_args>_extra_args>2</sd_cpp_extra_args>fox",
            "fox",
        );
        check("a </sd_cpp_extra_args> fox", "a </sd_cpp_extra_args> fox");
        let error = words("<sd_cpp_extra_args>{}</sd_cpp_extra_args> ").unwrap_err();
        assert_eq!(error.field.as_deref(), Some("prompt"));
    }
}
