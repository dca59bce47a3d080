//! Chats with their messages.

use anyhow::{Context, Result};
use pinhole_ground::text::plain;

use super::row_pages::RowPages;
use super::{INVALID_ID, Kind, Run, UNREADABLE, is_id, plausible_time, stop};
use crate::chat_copy::{CHAT_BOUNDS, ChatCopy, MAX_CHAT_BYTES, MAX_TITLE_BYTES};
use crate::store::{ImportedChat, SourceChat};

/// The owner of a copy that Open WebUI makes of a shared chat starts with this.
const SHARED_OWNER: &str = "shared-";

/// A chat that can be stored.
struct ParsedChat {
    copy: crate::store::ChatCopy,
    removed_messages: usize,
}

impl Run<'_> {
    pub(super) async fn import_chats(&mut self) -> Result<()> {
        let mut pages = RowPages::default();
        loop {
            let page = self.source.chats(pages.after()).await;
            let page = page.context("cannot read the chats of the Open WebUI database")?;
            let continues = pages.advance(&page, |chat| &chat.id);
            for row in page {
                self.report.found(Kind::Chats);
                match row {
                    Ok(chat) => self.import_chat(&chat).await?,
                    Err(row) => self.report.skipped(Kind::Chats, &row.id, UNREADABLE),
                }
                self.progress(Kind::Chats);
            }
            if !continues {
                return Ok(());
            }
        }
    }

    async fn import_chat(&mut self, source: &SourceChat) -> Result<()> {
        let id = source.id.as_str();
        if source.user_id.starts_with(SHARED_OWNER) {
            let reason = "it is the copy of a shared chat: this server shares none";
            self.report.skipped(Kind::Chats, id, reason);
            return Ok(());
        }
        if !is_id(id) {
            self.report.skipped(Kind::Chats, id, INVALID_ID);
            return Ok(());
        }
        if self.app.store.chat_owner(id).await?.is_some() {
            self.report.exists(Kind::Chats);
            return Ok(());
        }
        if source.bytes > MAX_CHAT_BYTES as u64 {
            let reason = format!(
                "it has {} bytes, more than the {MAX_CHAT_BYTES} allowed",
                source.bytes
            );
            self.report.skipped(Kind::Chats, id, reason);
            return Ok(());
        }
        let json = self.source.chat_json(id).await;
        let json = json.context("cannot read a chat of the Open WebUI database")?;
        let parsed = match parse_chat(&json.unwrap_or_default(), &source.title) {
            Ok(parsed) => parsed,
            Err(reason) => {
                self.report.skipped(Kind::Chats, id, reason);
                return Ok(());
            }
        };
        let created_at = plausible_time(source.created_at);
        let chat = ImportedChat {
            id,
            user_id: &source.user_id,
            copy: parsed.copy,
            is_archived: source.is_archived,
            is_pinned: source.is_pinned,
            created_at,
            updated_at: plausible_time(source.updated_at).max(created_at),
        };
        match self.app.store.import_chat(&chat).await {
            Ok(outcome) => self.record(Kind::Chats, id, outcome),
            Err(error) => return stop(Kind::Chats, id, error.into()),
        }
        if parsed.removed_messages > 0 {
            let note = format!(
                "{} message(s) without a role are left out",
                parsed.removed_messages
            );
            self.report.note(Kind::Chats, id, note);
        }
        Ok(())
    }
}

/// The content of a chat with the title of its row, or the reason why it cannot be stored.
fn parse_chat(json: &str, title: &str) -> std::result::Result<ParsedChat, String> {
    let bounded = CHAT_BOUNDS.check(json.as_bytes());
    bounded.map_err(|refusal| format!("its JSON is refused: {refusal}"))?;
    let parsed = serde_json::from_str::<ChatCopy>(json);
    // The parser's message may repeat what a user wrote.
    let mut copy = parsed.map_err(|_| "its JSON is not that of a chat".to_owned())?;
    let removed_messages = copy.remove_messages_without_role();
    copy.set_title(plain(title, MAX_TITLE_BYTES));
    Ok(ParsedChat {
        copy: copy.into_store().map_err(|error| error.to_string())?,
        removed_messages,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chat_has_title_of_its_row_and_messages_with_roles() {
        let json = r#"{"id": "", "title": 5, "models": ["m"], "tags": [], "history": {"currentId": "b", "messages": {
            "a": {"id": "a", "parentId": null, "childrenIds": ["b"], "role": "user", "content": "draw"},
            "x": {"statusHistory": [{"done": true}]},
            "b": {"parentId": "a", "role": "assistant", "content": "here"}}}}"#;
        assert!(
            parse_chat(json, "Foxes").is_err(),
            "a title that is no text"
        );
        let json = json.replace("\"title\": 5", "\"title\": \"old\"");
        let parsed = parse_chat(&json, "Foxes\nand hens").unwrap();
        assert_eq!(parsed.copy.title.as_deref(), Some("Foxes and hens"));
        let history = parsed.copy.history.unwrap();
        let ids = history
            .messages
            .iter()
            .map(|message| message.stored.id.as_str());
        assert_eq!(ids.collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(parsed.removed_messages, 1);
    }

    #[test]
    fn hostile_chat_is_refused_without_its_text() {
        let deep = format!("{{\"x\": {}", "[".repeat(1_000));
        let many = format!("{{\"x\": [{}]}}", "0,".repeat(300_000));
        let role =
            r#"{"history": {"currentId": null, "messages": {"a": {"role": "secret-4711\n"}}}}"#;
        for json in [
            "",
            "null",
            "[]",
            "\"secret-4711\"",
            r#"{"history": "secret-4711"}"#,
            r#"{"history": {"messages": "secret-4711"}}"#,
            role,
            &deep,
            &many,
        ] {
            let reason = parse_chat(json, "").err().unwrap();
            assert!(!reason.contains("4711"), "{reason}");
        }
    }
}
