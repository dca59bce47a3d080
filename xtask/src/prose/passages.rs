//! Extracts the prose of a file.

/// Where a passage stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// A document, a comment or a description.
    Docs,
    /// A string literal.
    Message,
}

/// Consecutive lines of prose. Code is replaced by a character that breaks a phrase.
#[derive(Debug, PartialEq)]
pub(super) struct Passage {
    pub(super) kind: Kind,
    /// Each with its number.
    pub(super) lines: Vec<(usize, String)>,
}

/// Stands for code in a line of prose.
const CODE: char = '`';
/// The folders whose string literals a user or operator reads.
const PRODUCT: [&str; 5] = ["host/", "plugins/", "sdk/", "tests/adversary/", "xtask/"];

/// The texts of the web pages.
const PAGE_TEXTS: &str = "host/ui/src/text/en/";

/// The prose of a file, whose kind its name tells.
pub(super) fn passages(file: &str, text: &str) -> Vec<Passage> {
    if file.ends_with(".md") {
        vec![markdown(Kind::Docs, numbered(text))]
    } else if file.ends_with("case.json") {
        descriptions(text)
    } else {
        let is_product = PRODUCT.iter().any(|part| file.starts_with(part));
        let has_messages = file.starts_with(PAGE_TEXTS) || (file.ends_with(".rs") && is_product);
        source_code(text, has_messages)
    }
}

fn numbered(text: &str) -> Vec<(usize, String)> {
    let lines = text.lines().enumerate();
    lines
        .map(|(index, line)| (index + 1, line.to_owned()))
        .collect()
}

/// The lines without fenced code, inline code and URLs.
fn markdown(kind: Kind, lines: Vec<(usize, String)>) -> Passage {
    let mut in_fence = false;
    let mut prose = Vec::new();
    for (number, line) in lines {
        if line.trim_start().starts_with("```") {
            in_fence = !in_fence;
        } else if !in_fence {
            prose.push((number, without_code(&line)));
        }
    }
    Passage { kind, lines: prose }
}

/// Replaces inline code, link targets and URLs.
fn without_code(line: &str) -> String {
    let mut prose = String::new();
    for (index, part) in line.split('`').enumerate() {
        if index % 2 == 0 {
            prose.push_str(part);
        } else {
            prose.push(CODE);
        }
    }
    let mut rest = prose.as_str();
    let mut result = String::new();
    while let Some(start) = rest.find("](") {
        let (before, target) = rest.split_at(start);
        result.push_str(before);
        result.push(CODE);
        rest = target.find(')').map_or("", |end| &target[end + 1..]);
    }
    result.push_str(rest);
    let is_url = |word: &&str| word.contains("://");
    let words: Vec<&str> = result
        .split(' ')
        .map(|word| if is_url(&word) { "`" } else { word })
        .collect();
    words.join(" ")
}

/// The values of `"about"`.
fn descriptions(text: &str) -> Vec<Passage> {
    let about = |(number, line): (usize, String)| {
        let value = line.trim_start().strip_prefix("\"about\":")?.to_owned();
        Some(Passage {
            kind: Kind::Docs,
            lines: vec![(number, value)],
        })
    };
    numbered(text).into_iter().filter_map(about).collect()
}

/// The comments of Rust or WIT, and its string literals if they are messages.
fn source_code(text: &str, has_messages: bool) -> Vec<Passage> {
    let mut scanner = Scanner {
        rest: text,
        line: 1,
        comment: Vec::new(),
        passages: Vec::new(),
        has_messages,
    };
    scanner.scan();
    scanner.passages
}

struct Scanner<'a> {
    rest: &'a str,
    line: usize,
    /// Consecutive lines of a comment.
    comment: Vec<(usize, String)>,
    passages: Vec<Passage>,
    has_messages: bool,
}

impl<'a> Scanner<'a> {
    fn scan(&mut self) {
        while let Some(char) = self.rest.chars().next() {
            if self.rest.starts_with("//") {
                self.scan_line_comment();
            } else if self.rest.starts_with("/**") {
                self.scan_block_comment();
            } else if self.rest.starts_with("/*") {
                let end = self.rest.find("*/").map_or(self.rest.len(), |end| end + 2);
                self.advance(end);
            } else if self.rest.starts_with("#[cfg(test)]\nmod tests {") {
                // What the tests contain is read by developers, in comments only.
                self.has_messages = false;
                self.advance(1);
            } else if let Some(hashes) = raw_string_hashes(self.rest) {
                self.end_comment();
                self.scan_raw_string(hashes);
            } else if char == '"' {
                self.end_comment();
                self.scan_string();
            } else if char == '\'' {
                self.advance(char_literal_length(self.rest));
            } else if char.is_alphanumeric() || char == '_' {
                // A whole identifier, so that its last letter does not start a raw string.
                let end = |next: char| !next.is_alphanumeric() && next != '_';
                self.end_comment();
                self.advance(self.rest.find(end).unwrap_or(self.rest.len()));
            } else {
                if !char.is_whitespace() {
                    self.end_comment();
                }
                self.advance(char.len_utf8());
            }
        }
        self.end_comment();
    }

    /// Moves on by this many bytes. Returns them.
    fn advance(&mut self, bytes: usize) -> &'a str {
        let (passed, rest) = self.rest.split_at(bytes.min(self.rest.len()));
        self.line += passed.matches('\n').count();
        self.rest = rest;
        passed
    }

    /// A documentation comment of TypeScript.
    fn scan_block_comment(&mut self) {
        self.end_comment();
        let end = self.rest.find("*/").unwrap_or(self.rest.len());
        let block = &self.rest[..end];
        for (index, line) in block.lines().enumerate() {
            let text = line.trim_start().trim_start_matches(['/', '*']);
            self.comment.push((self.line + index, text.to_owned()));
        }
        self.end_comment();
        self.advance((end + 2).min(self.rest.len()));
    }

    fn scan_line_comment(&mut self) {
        let line = self.line;
        let end = self.rest.find('\n').unwrap_or(self.rest.len());
        let text = self.advance(end);
        let text = text.trim_start_matches('/').trim_start_matches('!');
        self.comment.push((line, text.to_owned()));
    }

    fn end_comment(&mut self) {
        if !self.comment.is_empty() {
            let lines = std::mem::take(&mut self.comment);
            self.passages.push(markdown(Kind::Docs, lines));
        }
    }

    fn scan_string(&mut self) {
        let line = self.line;
        let mut is_escaped = false;
        let end = self.rest.char_indices().skip(1).find(|(_, char)| {
            let is_end = *char == '"' && !is_escaped;
            is_escaped = *char == '\\' && !is_escaped;
            is_end
        });
        let length = end.map_or(self.rest.len(), |(at, _)| at + 1);
        let literal = self.advance(length).trim_matches('"');
        let text = literal.replace("\\n", " ").replace('\\', "");
        self.push_message(line, &text);
    }

    fn scan_raw_string(&mut self, hashes: usize) {
        let line = self.line;
        let start = self.rest.find('"').map_or(0, |quote| quote + 1);
        self.advance(start);
        let close = format!("\"{}", "#".repeat(hashes));
        let end = self.rest.find(&close).unwrap_or(self.rest.len());
        let text = self.advance(end);
        self.advance(close.len());
        self.push_message(line, text);
    }

    fn push_message(&mut self, line: usize, text: &str) {
        if self.has_messages && text.trim().contains(' ') {
            let lines = text.lines().enumerate();
            let lines = lines.map(|(index, prose)| (line + index, without_placeholders(prose)));
            self.passages.push(markdown(Kind::Message, lines.collect()));
        }
    }
}

/// The number of hashes of a raw string that starts here.
fn raw_string_hashes(text: &str) -> Option<usize> {
    let text = text.strip_prefix('b').unwrap_or(text);
    let text = text.strip_prefix('r')?;
    let rest = text.trim_start_matches('#');
    rest.starts_with('"').then(|| text.len() - rest.len())
}

/// The length of a character literal, or of the quote of a lifetime.
fn char_literal_length(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => text
            .get(3..)
            .and_then(|rest| rest.find('\''))
            .map_or(1, |end| end + 4),
        Some(_) => match chars.next() {
            Some((at, '\'')) => at + 1,
            _ => 1,
        },
        None => 1,
    }
}

/// Replaces `{name}` of a format string.
fn without_placeholders(text: &str) -> String {
    let mut prose = String::new();
    let mut depth = 0_u32;
    for char in text.chars() {
        match char {
            '{' => {
                depth += 1;
                prose.push('{');
            }
            '}' => depth = depth.saturating_sub(1),
            _ if depth == 0 => prose.push(char),
            _ => {}
        }
    }
    prose
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each passage as its kind, the number of its first line, and its lines joined.
    fn extract(file: &str, text: &str) -> Vec<(Kind, usize, String)> {
        let passages = passages(file, text).into_iter();
        passages
            .map(|passage| {
                let lines: Vec<&str> = passage.lines.iter().map(|(_, line)| line.trim()).collect();
                (passage.kind, passage.lines[0].0, lines.join("/"))
            })
            .collect()
    }

    #[test]
    fn markdown_has_no_code_and_no_urls() {
        let text = "One `two`\n```console\n$ three\n```\n[four](docs/five.md) http://six seven";
        let expected = "One `/[four` ` seven".to_owned();
        assert_eq!(extract("a.md", text), [(Kind::Docs, 1, expected)]);
    }

    #[test]
    fn rust_has_comments_and_messages() {
        let text = "\n/// A key,\n/// redacted.\nfn a<'a>(b: &'a str) -> char {\n    \
                    log(\"no key for {name} \\\n         here\", \"key\", '\"', '\\'');\n    \
                    // Then\n    br#\"raw \"text\"\"#\n}\n";
        let expected = [
            (Kind::Docs, 2, "A key,/redacted.".to_owned()),
            (Kind::Message, 5, "no key for {/here".to_owned()),
            (Kind::Docs, 7, "Then".to_owned()),
            (Kind::Message, 8, "raw \"text\"".to_owned()),
        ];
        assert_eq!(extract("host/src/a.rs", text), expected);
        let comments = extract("tests/it/a.rs", text);
        assert_eq!(comments, [expected[0].clone(), expected[2].clone()]);
    }

    #[test]
    fn unit_tests_have_comments_only() {
        let text = "#[cfg(test)]\nmod tests {\n    // A case\n    const A: &str = \"a b\";\n}\n";
        let expected = [(Kind::Docs, 3, "A case".to_owned())];
        assert_eq!(extract("sdk/src/a.rs", text), expected);
    }

    #[test]
    fn case_has_its_description() {
        let text = "{\n  \"about\": \"a b\",\n  \"prompt\": \"c d\"\n}\n";
        let expected = [(Kind::Docs, 2, "\"a b\",".to_owned())];
        assert_eq!(extract("tests/cases/x/C1/case.json", text), expected);
    }
}
