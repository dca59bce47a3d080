//! For whom a job runs.

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
    /// An operator, who may use every binding.
    #[must_use]
    pub fn operator() -> Self {
        Self {
            is_unrestricted: true,
            ..Self::default()
        }
    }
}
