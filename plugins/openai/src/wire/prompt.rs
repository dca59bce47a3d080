//! The prompt without options for the server.

use pinhole_sdk::Error;

/// stable-diffusion.cpp reads options between these tags. A caller could set any option there.
const OPEN_TAG: &str = "<sd_cpp_extra_args>";
const CLOSE_TAG: &str = "</sd_cpp_extra_args>";

/// Removes options for the server. Fails if the prompt holds nothing else.
pub(super) fn remove_server_options(prompt: &str) -> Result<String, Error> {
    let mut remaining = prompt.to_owned();
    // Removing one tag may join the text around it to another tag.
    while let Some(start) = find_tag(&remaining, OPEN_TAG) {
        let inside = start + OPEN_TAG.len();
        let close = remaining
            .get(inside..)
            .and_then(|rest| find_tag(rest, CLOSE_TAG));
        let end = close.map_or(inside, |close| inside + close + CLOSE_TAG.len());
        remaining.replace_range(start..end, "");
    }
    if remaining.len() < prompt.len() && remaining.trim().is_empty() {
        let message = "the prompt contains only server options: describe the image";
        return Err(Error::invalid("prompt", message));
    }
    Ok(remaining)
}

/// Ignores case. ASCII lower case does not change the positions.
fn find_tag(text: &str, tag: &str) -> Option<usize> {
    text.to_ascii_lowercase().find(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(prompt: &str, expected: &str) {
        assert_eq!(remove_server_options(prompt).unwrap(), expected);
    }

    #[test]
    fn remove_server_options_leaves_only_prompt() {
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
        let only_options = "<sd_cpp_extra_args>{}</sd_cpp_extra_args> ";
        let error = remove_server_options(only_options).unwrap_err();
        assert_eq!(error.field.as_deref(), Some("prompt"));
    }
}
