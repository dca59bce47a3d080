//! Which of the server's own pages are served.

use anyhow::{Result, bail};
use pinhole_ground::environment::Environment;

/// Which of the server's own pages are served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PageChoice {
    #[default]
    On,
    /// All but those of administrators, who use another server or commands.
    Chat,
    /// None: the server has its API only.
    Off,
}

impl PageChoice {
    /// Reads `PINHOLE_UI`.
    pub(super) fn from_environment(environment: &Environment) -> Result<Self> {
        match environment.get("PINHOLE_UI") {
            None | Some("on") => Ok(Self::On),
            Some("chat") => Ok(Self::Chat),
            Some("off") => Ok(Self::Off),
            Some(other) => bail!("PINHOLE_UI is {other:?}: it must be on, chat or off"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_choice_is_one_of_three_words() {
        let parse = |value: &str| {
            let pair = ("PINHOLE_UI".to_owned(), value.to_owned());
            PageChoice::from_environment(&Environment::new([pair]))
        };
        for (value, expected) in [
            ("", PageChoice::On),
            ("on", PageChoice::On),
            ("chat", PageChoice::Chat),
            ("off", PageChoice::Off),
        ] {
            assert_eq!(parse(value).unwrap(), expected, "{value}");
        }
        for value in ["On", "false", "none"] {
            let error = parse(value).unwrap_err().to_string();
            assert!(error.contains("it must be on, chat or off"), "{error}");
        }
    }
}
