//! What the configuration says about new engines and new versions of engines.

/// What happens to an engine whose name has no grant yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FirstUse {
    /// It is granted all that it declares, because an administrator installed its file.
    #[default]
    Declared,
    /// It waits for an administrator's approval.
    Explicit,
}

/// How a new version of an engine replaces another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// All users get it at once. It is rolled back if it fails.
    #[default]
    Watch,
    /// A growing share of users gets it.
    Canary,
}

impl Strategy {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Watch => "watch",
            Self::Canary => "canary",
        }
    }

    /// The error names the strategies.
    pub fn parse(name: &str) -> Result<Self, String> {
        match name {
            "watch" => Ok(Self::Watch),
            "canary" => Ok(Self::Canary),
            other => Err(format!(
                "the strategy {other:?} is unknown: use watch or canary"
            )),
        }
    }
}
