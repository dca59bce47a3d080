//! The names of keys and channels.

/// The names of keys and channels. All begin with the operator's prefix.
#[derive(Debug)]
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
        }
    }

    /// The channel of hints.
    pub(super) fn changed(&self) -> String {
        format!("{}:pinhole:changed", self.prefix)
    }

    /// The channel of commands to stop tasks, of Open WebUI's name.
    pub(super) fn commands(&self) -> String {
        format!("{}:tasks:commands", self.prefix)
    }

    /// The stream of a user's events. In a cluster, the braces put it into one slot with [`Self::newest`].
    pub(super) fn events(&self, user_id: &str) -> String {
        format!("{}:pinhole:events:{{{user_id}}}", self.prefix)
    }

    /// The newest states of a user's messages.
    pub(super) fn newest(&self, user_id: &str) -> String {
        format!("{}:pinhole:newest:{{{user_id}}}", self.prefix)
    }

    /// The beginning of [`Self::channel`].
    pub(super) fn channels(&self) -> String {
        format!("{}:pinhole:e:", self.prefix)
    }

    /// The channel of a user's events.
    pub(super) fn channel(&self, user_id: &str) -> String {
        format!("{}{user_id}", self.channels())
    }

    /// The ids of the tasks of a chat, of Open WebUI's name.
    pub(super) fn tasks_of_chat(&self, chat_id: &str) -> String {
        format!("{}:tasks:item:{chat_id}", self.prefix)
    }

    /// The user of a task.
    pub(super) fn task_owner(&self, task_id: &str) -> String {
        format!("{}:pinhole:task:{task_id}", self.prefix)
    }

    /// A setting, of Open WebUI's name.
    pub(super) fn setting(&self, name: &str) -> String {
        format!("{}:config:{name}", self.prefix)
    }

    /// What was agreed on about [`Self::setting`]. The braces put both into one slot of a cluster.
    pub(super) fn agreed_setting(&self, name: &str) -> String {
        format!("{}:pinhole:config:{{{}}}", self.prefix, self.setting(name))
    }

    /// The requests of a key within a scope.
    pub(super) fn rate(&self, scope: &str, key: &str) -> String {
        format!("{}:pinhole:rate:{scope}:{key}", self.prefix)
    }
}
