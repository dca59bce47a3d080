//! What a chat request says about the images to edit.

/// What a chat request says about the images to edit. By default the turn decides.
#[derive(Clone, Debug, Default)]
pub struct EditChoice {
    /// `false`: a new image, whatever images there are.
    pub is_edit: Option<bool>,
    /// The images to edit: data URLs, ids or URLs of stored files. Empty: those of the conversation.
    pub sources: Vec<String>,
    /// Named like a source.
    pub mask: Option<String>,
}

impl EditChoice {
    /// True if the turn must edit.
    pub(super) fn requires_edit(&self) -> bool {
        self.is_edit == Some(true) || !self.sources.is_empty() || self.mask.is_some()
    }

    /// True if the turn must make a new image.
    pub(super) fn forbids_edit(&self) -> bool {
        self.is_edit == Some(false)
    }

    /// Length of the texts, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let names = self.sources.iter().chain(&self.mask);
        names.map(String::len).sum()
    }
}
