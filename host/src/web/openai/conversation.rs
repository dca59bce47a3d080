//! `Conversation`: what an image needs of the messages of a chat.

use pinhole_images::Image;

use crate::app::App;
use crate::files::lookup::ImageReference;
use crate::store::User;
use crate::web::error::ApiError;
use crate::web::source_images::{check_source_limits, load_image};

/// Who wrote a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Author {
    /// A system or developer message, which precedes the prompt.
    Instructions,
    User,
    Assistant,
}

/// A message, as far as an image needs it.
#[derive(Debug)]
pub(super) struct Message<'a> {
    pub(super) author: Author,
    pub(super) texts: Vec<&'a str>,
    pub(super) images: Vec<ImageReference<'a>>,
}

/// The newest texts and images of a conversation.
#[derive(Debug, Default)]
pub(super) struct Conversation<'a> {
    instructions: Vec<&'a str>,
    /// The texts of the newest user messages, after the last message of another author.
    texts: Vec<&'a str>,
    /// The images of these messages.
    images: Vec<ImageReference<'a>>,
    /// The images of the newest message before them that has any.
    earlier_images: Vec<ImageReference<'a>>,
    is_answered: bool,
}

impl<'a> Conversation<'a> {
    /// Adds the next message.
    pub(super) fn push(&mut self, message: Message<'a>) {
        match message.author {
            Author::Instructions => self.instructions.extend(message.texts),
            Author::User => {
                if self.is_answered {
                    self.texts.clear();
                    let images = std::mem::take(&mut self.images);
                    if !images.is_empty() {
                        self.earlier_images = images;
                    }
                    self.is_answered = false;
                }
                self.texts.extend(message.texts);
                self.images.extend(message.images);
            }
            Author::Assistant => {
                self.is_answered = true;
                if !message.images.is_empty() {
                    self.images.clear();
                    self.earlier_images = message.images;
                }
            }
        }
    }

    /// The instructions, then the newest texts of the user. Fails if there is no such text.
    pub(super) fn prompt(&self, field: &str) -> Result<String, ApiError> {
        let user_text = self.texts.join("\n");
        if user_text.trim().is_empty() {
            let message = format!("{field} has no text of a user: describe the image");
            return Err(ApiError::invalid(field, message));
        }
        let instructions = self.instructions.iter().copied();
        let texts: Vec<&str> = instructions.chain([user_text.as_str()]).collect();
        Ok(texts.join("\n\n"))
    }

    /// Does the newest turn have images?
    pub(super) fn has_images(&self) -> bool {
        !self.images.is_empty()
    }

    /// Loads the images of the newest turn.
    pub(super) async fn load_images(
        &self,
        app: &App,
        user: &User,
        field: &str,
    ) -> Result<Vec<Image>, ApiError> {
        let mut images = Vec::new();
        for reference in &self.images {
            check_source_limits(&images)?;
            images.push(load_image(app, user, field, reference).await?);
        }
        Ok(images)
    }

    /// Loads the images before the newest turn, except those that do not exist any more.
    pub(super) async fn load_earlier_images(
        &self,
        app: &App,
        user: &User,
        max_count: usize,
    ) -> Vec<Image> {
        let mut images = Vec::new();
        for reference in self.earlier_images.iter().take(max_count) {
            if check_source_limits(&images).is_err() {
                break;
            }
            if let Ok(image) = reference.load(&app.files, user).await {
                images.push(image);
            }
        }
        images
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(id: &str) -> ImageReference<'static> {
        ImageReference::StoredFile(id.to_owned())
    }

    fn conversation(
        messages: &[(Author, &'static str, &[&str])],
    ) -> (
        Option<String>,
        Vec<ImageReference<'static>>,
        Vec<ImageReference<'static>>,
    ) {
        let mut conversation = Conversation::default();
        for (author, text, images) in messages {
            conversation.push(Message {
                author: *author,
                texts: vec![*text],
                images: images.iter().copied().map(file).collect(),
            });
        }
        let prompt = conversation.prompt("messages").ok();
        (prompt, conversation.images, conversation.earlier_images)
    }

    #[test]
    fn newest_turn_is_the_prompt_after_instructions() {
        use Author::{Assistant, Instructions, User};
        let check = |messages: &[(Author, &'static str, &[&str])],
                     prompt: Option<&str>,
                     images: &[&str],
                     earlier: &[&str]| {
            let (actual, current, before) = conversation(messages);
            assert_eq!(actual.as_deref(), prompt, "{messages:?}");
            let files = |ids: &[&str]| ids.iter().copied().map(file).collect::<Vec<_>>();
            assert_eq!(current, files(images), "{messages:?}");
            assert_eq!(before, files(earlier), "{messages:?}");
        };
        check(&[], None, &[], &[]);
        check(&[(Instructions, "Ink.", &[])], None, &[], &[]);
        check(&[(User, " ", &["1"])], None, &["1"], &[]);
        let one = [(Instructions, "Ink.", &[][..]), (User, "a fox", &["1"])];
        check(&one, Some("Ink.\n\na fox"), &["1"], &[]);
        let split = [(User, "this", &["1"][..]), (User, "in blue", &["2"])];
        check(&split, Some("this\nin blue"), &["1", "2"], &[]);
        let answered = [
            (User, "a fox", &["1"][..]),
            (Assistant, "", &["2", "3"]),
            (User, "in blue", &[]),
        ];
        check(&answered, Some("in blue"), &[], &["2", "3"]);
        let without_image = [
            (User, "a fox", &["1"][..]),
            (Assistant, "What color?", &[]),
            (User, "blue", &[]),
        ];
        check(&without_image, Some("blue"), &[], &["1"]);
    }
}
