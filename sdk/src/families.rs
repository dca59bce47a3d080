//! Settings that depend on a model's family. A family is a prefix of the model's name.
//!
//! ```
//! use pinhole_sdk::Families;
//!
//! let sizes = Families::parse("sizes", "gpt- = 1024x1024\n* = 512x512")?;
//! assert_eq!(sizes.values(Some("flux")).unwrap(), ["512x512"]);
//! # Ok::<(), pinhole_sdk::Error>(())
//! ```

use crate::Error;

/// Whether the model's name starts with one of the comma-separated prefixes. `*` always matches,
/// even without a model.
///
/// ```
/// use pinhole_sdk::families::matches_prefix;
///
/// assert!(matches_prefix("dall-e-, gpt-", Some("gpt-image-2")));
/// assert!(!matches_prefix("gpt-", None));
/// assert!(matches_prefix("*", None));
/// ```
#[must_use]
pub fn matches_prefix(prefixes: &str, model: Option<&str>) -> bool {
    let matches = |prefix: &str| match prefix {
        "" => false,
        "*" => true,
        _ => model.is_some_and(|model| model.starts_with(prefix)),
    };
    prefixes.split(',').map(str::trim).any(matches)
}

/// A setting with one line for each model family: `PREFIX = VALUE VALUE …`.
///
/// The longest matching prefix wins; of two equal prefixes, the later line. `*` matches every
/// model, and also a job without a model.
///
/// ```
/// use pinhole_sdk::Families;
///
/// let sizes = Families::parse("sizes", "* = 512x512\ngpt- = 1024x1024 auto")?;
/// assert_eq!(sizes.values(Some("gpt-image-2")).unwrap(), ["1024x1024", "auto"]);
/// assert_eq!(sizes.values(None).unwrap(), ["512x512"]);
/// # Ok::<(), pinhole_sdk::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Families {
    setting: String,
    lines: Vec<Family>,
}

#[derive(Clone, Debug, PartialEq)]
struct Family {
    prefix: String,
    values: Vec<String>,
}

impl Family {
    /// Length of the prefix if it matches the model.
    fn matched_length(&self, model: Option<&str>) -> Option<usize> {
        match self.prefix.as_str() {
            "*" => Some(0),
            prefix => model?.starts_with(prefix).then_some(prefix.len()),
        }
    }
}

impl Families {
    /// Parses the text of a setting. Fails on a line without `=`, with the setting as the field.
    ///
    /// ```
    /// use pinhole_sdk::Families;
    ///
    /// let error = Families::parse("sizes", "1024x1024").unwrap_err();
    /// assert_eq!(error.field.as_deref(), Some("sizes"));
    /// ```
    pub fn parse(setting: &str, text: &str) -> Result<Self, Error> {
        let mut families = Self {
            setting: setting.into(),
            lines: Vec::new(),
        };
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let Some((prefix, values)) = line.split_once('=') else {
                return Err(families.invalid_value(line, "it has no ="));
            };
            families.lines.push(Family {
                prefix: prefix.trim().to_owned(),
                values: values.split_whitespace().map(str::to_owned).collect(),
            });
        }
        Ok(families)
    }

    /// The values of the family that matches the model; `None` if no family matches.
    ///
    /// ```
    /// use pinhole_sdk::Families;
    ///
    /// let sizes = Families::parse("sizes", "gpt- = 1024x1024 auto")?;
    /// assert!(sizes.values(Some("gpt-image-2")).is_some());
    /// assert!(sizes.values(Some("dall-e-3")).is_none());
    /// # Ok::<(), pinhole_sdk::Error>(())
    /// ```
    #[must_use]
    pub fn values(&self, model: Option<&str>) -> Option<&[String]> {
        let matching = self
            .lines
            .iter()
            .filter_map(|family| Some((family.matched_length(model)?, family)));
        let (_, longest) = matching.max_by_key(|(length, _)| *length)?;
        Some(&longest.values)
    }

    /// The values of each family, to validate them.
    ///
    /// ```
    /// use pinhole_sdk::Families;
    ///
    /// let sizes = Families::parse("sizes", "gpt- = 1024x1024 auto")?;
    /// assert_eq!(sizes.all_values().flatten().count(), 2);
    /// # Ok::<(), pinhole_sdk::Error>(())
    /// ```
    pub fn all_values(&self) -> impl Iterator<Item = &[String]> {
        self.lines.iter().map(|family| family.values.as_slice())
    }

    /// An error about one value of this setting, with the setting as the field.
    ///
    /// ```
    /// use pinhole_sdk::Families;
    ///
    /// let sizes = Families::parse("sizes", "gpt- = 1024x1024 auto")?;
    /// let error = sizes.invalid_value("10x", "write 1024x1024");
    /// assert_eq!(error.message, "setting sizes is invalid at \"10x\": write 1024x1024");
    /// # Ok::<(), pinhole_sdk::Error>(())
    /// ```
    #[must_use]
    pub fn invalid_value(&self, value: &str, reason: &str) -> Error {
        let setting = &self.setting;
        Error::invalid(
            setting.as_str(),
            format!("setting {setting} is invalid at {value:?}: {reason}"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_prefix_compares_start_of_model_name() {
        assert!(matches_prefix("dall-e-, gpt-", Some("gpt-image-2")));
        assert!(matches_prefix("*", None));
        assert!(!matches_prefix("", Some("x")));
        assert!(!matches_prefix("gpt-", None));
        assert!(!matches_prefix("gpt-", Some("my-gpt-")));
    }

    #[test]
    fn families_prefer_longest_prefix() {
        let families = Families::parse("sizes", "a = 1\n\n ab = 2 3\n* = 4\nab = 5").unwrap();
        let values = |model| families.values(model).map(|values| values.join(" "));
        assert_eq!(values(Some("abc")).as_deref(), Some("5"));
        assert_eq!(values(Some("ac")).as_deref(), Some("1"));
        assert_eq!(values(Some("x")).as_deref(), Some("4"));
        assert_eq!(values(None).as_deref(), Some("4"));
        assert_eq!(Families::parse("sizes", "").unwrap().values(None), None);
        let error = Families::parse("sizes", "a 1").unwrap_err();
        assert_eq!(error.field.as_deref(), Some("sizes"));
    }
}
