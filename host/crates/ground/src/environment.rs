//! Environment variables, as the process started with them and as an administrator changed them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// OpenAI's own API: the default of every setting that names an OpenAI-compatible server.
pub const OPENAI_URL: &str = "https://api.openai.com/v1";

/// Environment variables. An empty variable counts as unset, unless [`Self::is_empty_for_engine`] matters.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    /// Variables that no engine receives, not even a value derived from other variables.
    hidden: BTreeSet<String>,
    /// The variables that the process started with.
    started: Arc<BTreeMap<String, String>>,
}

impl Environment {
    /// Creates it from the name and value pairs that the process started with.
    pub fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let variables: BTreeMap<_, _> = pairs.into_iter().collect();
        Self {
            started: Arc::new(variables.clone()),
            variables,
            hidden: BTreeSet::new(),
        }
    }

    /// A copy of which the process started with these variables too.
    #[must_use]
    pub fn started_with(&self, pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut started = (*self.started).clone();
        started.extend(pairs);
        Self::new(started)
    }

    /// The names of the variables that the process started with.
    pub fn started_names(&self) -> impl Iterator<Item = &str> {
        self.started.keys().map(String::as_str)
    }

    /// The value of a variable that the process started with, unless it is empty.
    #[must_use]
    pub fn started_value(&self, name: &str) -> Option<&str> {
        let value = self.started.get(name)?;
        (!value.is_empty()).then_some(value)
    }

    /// A copy in which these variables have these values.
    #[must_use]
    pub fn overlaid(&self, pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut overlaid = self.clone();
        for (name, value) in pairs {
            overlaid.hidden.remove(&name);
            overlaid.variables.insert(name, value);
        }
        overlaid
    }

    /// A copy without these variables.
    #[must_use]
    pub fn without<'a>(&self, names: impl IntoIterator<Item = &'a String>) -> Self {
        let mut left = self.clone();
        for name in names {
            left.variables.remove(name);
            left.hidden.insert(name.clone());
        }
        left
    }

    /// True if the process started with another value of this variable, or without it.
    #[must_use]
    pub fn is_changed(&self, name: &str) -> bool {
        self.started.get(name) != self.variables.get(name)
    }

    /// A variable's value unless it is empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.raw(name).filter(|value| !value.is_empty())
    }

    /// A variable's value, which may be empty.
    #[must_use]
    pub fn raw(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// True only for `true` in any case.
    ///
    /// Source: Open WebUI `config.py`.
    #[must_use]
    pub fn is_true(&self, name: &str) -> Option<bool> {
        self.raw(name)
            .map(|value| value.eq_ignore_ascii_case("true"))
    }

    /// The value of a variable that an engine declares.
    ///
    /// `OPENAI_API_KEY` means the key that belongs to OpenAI's own URL.
    ///
    /// Source: Open WebUI `config.py`: image engines default to the key listed next to that URL.
    #[must_use]
    pub fn for_engine(&self, name: &str) -> Option<&str> {
        if self.hidden.contains(name) {
            return None;
        }
        match name {
            "OPENAI_API_KEY" => self.openai_key(),
            other => self.get(other),
        }
    }

    /// True if a variable that an engine declares is set to an empty text.
    #[must_use]
    pub fn is_empty_for_engine(&self, name: &str) -> bool {
        !self.hidden.contains(name) && self.raw(name) == Some("")
    }

    /// The parts of a list variable, separated by semicolons; one empty part if neither is set.
    #[must_use]
    pub fn list(&self, plural: &str, single: &str) -> Vec<&str> {
        let joined = self.get(plural).or_else(|| self.get(single));
        joined
            .unwrap_or_default()
            .split(';')
            .map(str::trim)
            .collect()
    }

    fn openai_key(&self) -> Option<&str> {
        let urls = self.list("OPENAI_API_BASE_URLS", "OPENAI_API_BASE_URL");
        let keys = self.list("OPENAI_API_KEYS", "OPENAI_API_KEY");
        let is_openai = |url: &&str| url.is_empty() || url.trim_end_matches('/') == OPENAI_URL;
        let index = urls.iter().position(is_openai)?;
        keys.get(index).copied().filter(|key| !key.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_key(pairs: &[(&str, &str)], expected: Option<&str>) {
        let pairs = pairs
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()));
        assert_eq!(Environment::new(pairs).openai_key(), expected);
    }

    #[test]
    fn openai_key_is_the_one_next_to_openai_url() {
        check_key(&[("OPENAI_API_KEY", "k")], Some("k"));
        check_key(
            &[
                ("OPENAI_API_KEY", "k"),
                ("OPENAI_API_BASE_URL", "http://ollama/v1"),
            ],
            None,
        );
        check_key(
            &[
                (
                    "OPENAI_API_BASE_URLS",
                    "http://a/v1;https://api.openai.com/v1",
                ),
                ("OPENAI_API_KEYS", "a;b"),
            ],
            Some("b"),
        );
        check_key(&[], None);
    }
}
