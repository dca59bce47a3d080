//! A language model's answer, read as it comes: a stream of chunks, or one completion.

use serde_json::Value;

use crate::chat::model::Completion;

/// Length of an answer's words, in bytes.
pub(super) const MAX_CONTENT_BYTES: usize = 512 << 10;
/// Length of what has come and cannot be read yet, in bytes: a line of a stream, or a completion.
const MAX_UNREAD_BYTES: usize = 4 << 20;
/// Length of what an answer says that it used, in bytes of JSON.
const MAX_USAGE_BYTES: usize = 4 << 10;

/// What has come so far.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) content: String,
    /// As the model counts it.
    pub(super) usage: Option<Value>,
    unread: Vec<u8>,
    streams: bool,
}

impl Answer {
    /// Begins to read this response.
    pub(super) fn begin(&mut self, response: &Completion) {
        self.streams = response.streams();
    }

    /// Takes what comes next. The error is a reason for a person.
    pub(super) fn push(&mut self, chunk: &[u8]) -> Result<(), String> {
        self.unread.extend_from_slice(chunk);
        if self.streams {
            // An event of a chat completion is one line.
            let lines = self.unread.iter().rposition(|byte| *byte == b'\n');
            let rest = self.unread.split_off(lines.map_or(0, |end| end + 1));
            let lines = std::mem::replace(&mut self.unread, rest);
            for line in lines.split(|byte| *byte == b'\n') {
                self.read_line(line)?;
            }
        }
        match self.unread.len() > MAX_UNREAD_BYTES {
            true => Err("the language model's answer is too long".to_owned()),
            false => Ok(()),
        }
    }

    /// Takes what is left when nothing more comes.
    pub(super) fn finish(&mut self) -> Result<(), String> {
        let unread = std::mem::take(&mut self.unread);
        match self.streams {
            true => self.read_line(&unread),
            false => self.read(&unread, "/choices/0/message/content"),
        }
    }

    fn read_line(&mut self, line: &[u8]) -> Result<(), String> {
        match line.strip_prefix(b"data:").map(<[u8]>::trim_ascii) {
            None | Some(b"" | b"[DONE]") => Ok(()),
            Some(chunk) => self.read(chunk, "/choices/0/delta/content"),
        }
    }

    fn read(&mut self, json: &[u8], words: &str) -> Result<(), String> {
        let json: Value = serde_json::from_slice(json)
            .map_err(|_| "the language model's answer cannot be read".to_owned())?;
        if let Some(error) = json.get("error").filter(|error| !error.is_null()) {
            return Err(format!("the language model failed: {}", message(error)));
        }
        let words = json.pointer(words).and_then(Value::as_str);
        self.add(words.unwrap_or_default())?;
        let usage = json.get("usage").filter(|usage| usage.is_object());
        if let Some(usage) = usage.filter(|it| it.to_string().len() <= MAX_USAGE_BYTES) {
            self.usage = Some(usage.clone());
        }
        Ok(())
    }

    /// Adds words, of which those that fit are kept.
    pub(super) fn add(&mut self, words: &str) -> Result<(), String> {
        let room = MAX_CONTENT_BYTES - self.content.len();
        let fits = words.floor_char_boundary(room);
        self.content.extend(words.get(..fits));
        match fits < words.len() {
            true => Err(format!(
                "the answer is longer than {MAX_CONTENT_BYTES} bytes: ask for a shorter one"
            )),
            false => Ok(()),
        }
    }
}

/// Why there is no answer, of a response with another status than success.
pub(super) fn refusal(response: &Completion, body: &[u8]) -> String {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let why = message(json.get("error").unwrap_or(&json));
    format!("the language model answered {}: {why}", response.status())
}

/// As OpenAI's API has it, and others with less.
fn message(error: &Value) -> &str {
    let text = error.get("message").or_else(|| error.get("detail"));
    let text = text.unwrap_or(error).as_str();
    text.unwrap_or("it does not say why")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read of a stream, however it is cut.
    #[track_caller]
    fn check(body: &str, streams: bool, expected: Result<&str, &str>) {
        for size in [1, 2, 7, body.len().max(1)] {
            let mut answer = Answer {
                streams,
                ..Answer::default()
            };
            let mut chunks = body.as_bytes().chunks(size);
            let read = chunks.try_for_each(|chunk| answer.push(chunk));
            let read = read.and_then(|()| answer.finish());
            let read = read.as_ref().map(|()| answer.content.as_str());
            assert_eq!(read.map_err(String::as_str), expected, "{body:?} by {size}");
        }
    }

    #[test]
    fn words_are_put_together() {
        let word = |word: &str| {
            let chunk = serde_json::json!({"choices": [{"delta": {"content": word}}]});
            format!("data: {chunk}\n\n")
        };
        let (a, b) = (word("ä\n"), word("b"));
        check(&format!("{a}{b}data: [DONE]\n\n"), true, Ok("ä\nb"));
        check(&a.replace('\n', "\r\n"), true, Ok("ä\n"));
        check(
            &format!(": still there\n\n{a}{}", b.trim_end()),
            true,
            Ok("ä\nb"),
        );
        for silent in [
            "data: {\"choices\": []}",
            "data: {\"choices\": [{\"delta\": {\"content\": null}}]}",
            "data: {\"choices\": [{\"delta\": {\"content\": [7]}}], \"usage\": 7}",
            "data: 7",
            "event: ping",
            "",
        ] {
            check(&format!("{a}{silent}\n\n"), true, Ok("ä\n"));
        }
        let whole = r#"{"choices": [{"message": {"content": "a\nb"}}], "error": null}"#;
        check(whole, false, Ok("a\nb"));
        check("{}", false, Ok(""));
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        let unread = Err("the language model's answer cannot be read");
        check("", false, unread);
        check("<html>", false, unread);
        check("data: {\n\n", true, unread);
        let failed = Err("the language model failed: no room");
        for error in [r#""no room""#, r#"{"message": "no room", "code": 7}"#] {
            check(&format!("data: {{\"error\": {error}}}\n"), true, failed);
            check(&format!("{{\"error\": {error}}}"), false, failed);
        }
    }

    #[test]
    fn what_is_too_long_is_cut_or_refused() {
        let mut answer = Answer::default();
        answer.add(&"x".repeat(MAX_CONTENT_BYTES - 1)).unwrap();
        assert!(answer.add("ä").is_err());
        assert_eq!(answer.content.len(), MAX_CONTENT_BYTES - 1);
        answer.add("y").unwrap();
        for streams in [false, true] {
            let mut answer = Answer {
                streams,
                ..Answer::default()
            };
            answer.push(&vec![b'x'; MAX_UNREAD_BYTES]).unwrap();
            assert!(answer.push(b"x").is_err());
        }
        let usage = |bytes| format!(r#"{{"usage": {{"x": "{}"}}}}"#, "x".repeat(bytes));
        for (bytes, expected) in [(10, true), (MAX_USAGE_BYTES, false)] {
            let mut answer = Answer::default();
            answer.push(usage(bytes).as_bytes()).unwrap();
            answer.finish().unwrap();
            assert_eq!(answer.usage.is_some(), expected);
        }
    }
}
