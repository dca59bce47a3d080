//! For whom a job runs.

use std::hash::{DefaultHasher, Hash, Hasher};

/// For whom a job runs, which decides what bindings it may use.
#[derive(Clone, Debug, Default)]
pub struct Requester {
    /// The user's id. `None` is the server itself.
    pub user: Option<String>,
    /// May use every binding.
    pub is_unrestricted: bool,
    /// The names of the user's groups.
    pub groups: Vec<String>,
    /// The model of the chat that the job belongs to.
    pub chat_model: Option<String>,
}

impl Requester {
    /// A number below 100 that depends on the user alone: which users get a new version of an engine first. The server
    /// itself gets it last.
    pub(super) fn place_in_hundred(&self) -> u8 {
        let Some(user) = &self.user else {
            return 100;
        };
        let mut hasher = DefaultHasher::new();
        user.hash(&mut hasher);
        u8::try_from(hasher.finish() % 100).unwrap_or(100)
    }

    /// An operator, who may use every binding.
    #[must_use]
    pub fn operator() -> Self {
        Self {
            is_unrestricted: true,
            ..Self::default()
        }
    }
}
