//! What an operator says of families of models: by the beginnings of their names.

use crate::Error;

/// Does one of these beginnings, with commas between them, fit the model? `*` fits always, even
/// where there is no model.
#[must_use]
pub fn begins(beginnings: &str, model: Option<&str>) -> bool {
    let fit = |beginning: &str| match beginning {
        "" => false,
        "*" => true,
        _ => model.is_some_and(|model| model.starts_with(beginning)),
    };
    beginnings.split(',').map(str::trim).any(fit)
}

/// A setting with one line for each family: the beginning of its models' names, `=`, and its words.
///
/// The longest beginning that fits wins, the later of two alike; `*` is every model, even none.
#[derive(Clone, Debug, PartialEq)]
pub struct Families {
    setting: String,
    lines: Vec<(String, Vec<String>)>,
}

impl Families {
    /// Reads the text of a setting. Fails with the setting as its field on a line without `=`.
    pub fn parse(setting: &str, text: &str) -> Result<Self, Error> {
        let mut families = Self {
            setting: setting.into(),
            lines: Vec::new(),
        };
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let Some((beginning, words)) = line.split_once('=') else {
                return Err(families.unreadable(line, "it has no ="));
            };
            let words = words.split_whitespace().map(str::to_owned).collect();
            families.lines.push((beginning.trim().to_owned(), words));
        }
        Ok(families)
    }

    /// The words of the family that fits the model; `None` where none does.
    #[must_use]
    pub fn words(&self, model: Option<&str>) -> Option<&[String]> {
        let length = |beginning: &str| match beginning {
            "*" => Some(0),
            _ => model?.starts_with(beginning).then_some(beginning.len()),
        };
        let fitting = self
            .lines
            .iter()
            .filter_map(|(beginning, words)| Some((length(beginning)?, words)));
        let longest = fitting.max_by_key(|(length, _)| *length);
        longest.map(|(_, words)| words.as_slice())
    }

    /// The words of all families, for checking them.
    pub fn all(&self) -> impl Iterator<Item = &[String]> {
        self.lines.iter().map(|(_, words)| words.as_slice())
    }

    /// An error about a word of this setting, with the setting as its field.
    #[must_use]
    pub fn unreadable(&self, word: &str, why: &str) -> Error {
        let setting = &self.setting;
        Error::invalid(
            setting.as_str(),
            format!("setting {setting} cannot be read at {word:?}: {why}"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_fits() {
        assert!(begins("dall-e-, gpt-", Some("gpt-image-2")));
        assert!(begins("*", None));
        assert!(!begins("", Some("x")));
        assert!(!begins("gpt-", None));
        assert!(!begins("gpt-", Some("my-gpt-")));
    }

    #[test]
    fn the_longest_beginning_wins() {
        let families = Families::parse("sizes", "a = 1\n\n ab = 2 3\n* = 4\nab = 5").unwrap();
        let words = |model| families.words(model).map(|words| words.join(" "));
        assert_eq!(words(Some("abc")).as_deref(), Some("5"));
        assert_eq!(words(Some("ac")).as_deref(), Some("1"));
        assert_eq!(words(Some("x")).as_deref(), Some("4"));
        assert_eq!(words(None).as_deref(), Some("4"));
        assert_eq!(Families::parse("sizes", "").unwrap().words(None), None);
        let error = Families::parse("sizes", "a 1").unwrap_err();
        assert_eq!(error.field.as_deref(), Some("sizes"));
    }
}
