//! The word list: phrases that our prose avoids, what to write instead, and exceptions.

use anyhow::{Context, Result, bail};

use super::passages::{Kind, Passage};

#[derive(Debug, Default)]
pub(super) struct WordList {
    rules: Vec<Rule>,
    exceptions: Vec<Exception>,
}

/// `PHRASE => REPLACEMENT`, or `docs: PHRASE => REPLACEMENT` for documents and comments only.
#[derive(Debug)]
struct Rule {
    pattern: Vec<WordPattern>,
    /// Whether messages may have the phrase.
    is_for_docs: bool,
    replacement: String,
}

/// `except FILE: PHRASE => REASON`. A file that ends with `/` is a directory.
#[derive(Debug)]
struct Exception {
    file: String,
    pattern: Vec<WordPattern>,
}

/// The alternatives for one word, such as `is|are`. One that ends with `*` is a prefix of a word
/// without hyphens.
#[derive(Debug)]
struct WordPattern(Vec<String>);

/// A word, and whether the phrase of the word before it can continue with it.
struct Word<'a> {
    text: &'a str,
    lower: String,
    line: usize,
    is_after_break: bool,
}

/// A place where a rule matches.
#[derive(Debug, PartialEq)]
pub(super) struct Hit<'a> {
    pub(super) line: usize,
    pub(super) phrase: String,
    pub(super) replacement: &'a str,
}

impl WordList {
    /// Parses a list with one rule or exception in a line; `#` starts a comment.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut list = Self::default();
        for (index, line) in text.lines().enumerate() {
            if !line.trim().is_empty() && !line.starts_with('#') {
                list.parse_line(line)
                    .with_context(|| format!("line {}", index + 1))?;
            }
        }
        Ok(list)
    }

    fn parse_line(&mut self, line: &str) -> Result<()> {
        let (left, right) = line
            .split_once(" => ")
            .context("expected PHRASE => REPLACEMENT")?;
        if right.trim().is_empty() {
            bail!("expected a replacement or a reason after =>");
        }
        if let Some(exception) = left.strip_prefix("except ") {
            let (file, phrase) = exception
                .split_once(": ")
                .context("expected except FILE: PHRASE => REASON")?;
            self.exceptions.push(Exception {
                file: file.trim().to_owned(),
                pattern: parse_pattern(phrase)?,
            });
            return Ok(());
        }
        let docs_phrase = left.strip_prefix("docs: ");
        self.rules.push(Rule {
            pattern: parse_pattern(docs_phrase.unwrap_or(left))?,
            is_for_docs: docs_phrase.is_some(),
            replacement: right.trim().to_owned(),
        });
        Ok(())
    }

    /// Every place in the passage where a rule matches and no exception does.
    pub(super) fn find(&self, file: &str, passage: &Passage) -> Vec<Hit<'_>> {
        let words = words(passage);
        let mut hits = Vec::new();
        for rule in &self.rules {
            if rule.is_for_docs && passage.kind == Kind::Message {
                continue;
            }
            for (start, first) in words.iter().enumerate() {
                let Some(matched) = match_at(&rule.pattern, &words, start) else {
                    continue;
                };
                if !self.is_exception(file, &words, start) {
                    let phrase: Vec<&str> = matched.iter().map(|word| word.text).collect();
                    hits.push(Hit {
                        line: first.line,
                        phrase: phrase.join(" "),
                        replacement: &rule.replacement,
                    });
                }
            }
        }
        hits.sort_by_key(|hit| hit.line);
        hits
    }

    /// Whether an exception covers the word at `at`: its phrase may start some words earlier.
    fn is_exception(&self, file: &str, words: &[Word<'_>], at: usize) -> bool {
        self.exceptions.iter().any(|exception| {
            let is_file = if exception.file.ends_with('/') {
                file.starts_with(&exception.file)
            } else {
                file == exception.file
            };
            let first = (at + 1).saturating_sub(exception.pattern.len());
            is_file
                && (first..=at).any(|start| match_at(&exception.pattern, words, start).is_some())
        })
    }
}

fn parse_pattern(phrase: &str) -> Result<Vec<WordPattern>> {
    let pattern: Vec<_> = phrase
        .split_whitespace()
        .map(|word| WordPattern(word.split('|').map(str::to_lowercase).collect()))
        .collect();
    if pattern.is_empty() {
        bail!("expected a phrase");
    }
    Ok(pattern)
}

/// The words from `start` that match the pattern.
fn match_at<'w, 'a>(
    pattern: &[WordPattern],
    words: &'w [Word<'a>],
    start: usize,
) -> Option<&'w [Word<'a>]> {
    let words = words.get(start..start + pattern.len())?;
    let is_match = pattern
        .iter()
        .zip(words)
        .enumerate()
        .all(|(index, (pattern, word))| {
            pattern.matches(&word.lower) && (index == 0 || !word.is_after_break)
        });
    is_match.then_some(words)
}

impl WordPattern {
    fn matches(&self, word: &str) -> bool {
        self.0.iter().any(|alternative| {
            alternative
                .strip_suffix('*')
                .map_or(word == alternative, |prefix| {
                    let rest = word.strip_prefix(prefix);
                    rest.is_some_and(|rest| !rest.contains('-'))
                })
        })
    }
}

/// The words of a passage. White space and emphasis join words to a phrase; anything else breaks it.
fn words(passage: &Passage) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut is_after_break = true;
    for (line, prose) in &passage.lines {
        let mut rest = prose.as_str();
        while let Some(first) = rest.chars().next() {
            let end = rest
                .find(|char: char| !is_word_char(char))
                .unwrap_or(rest.len());
            if end == 0 {
                is_after_break |= !first.is_whitespace() && !matches!(first, '*' | '_');
                rest = &rest[first.len_utf8()..];
                continue;
            }
            let (text, after) = rest.split_at(end);
            words.push(Word {
                text,
                lower: text.to_lowercase().replace('’', "'"),
                line: *line,
                is_after_break,
            });
            is_after_break = false;
            rest = after;
        }
    }
    words
}

fn is_word_char(char: char) -> bool {
    char.is_alphanumeric() || matches!(char, '\'' | '’' | '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phrases(list: &str, file: &str, kind: Kind, text: &str) -> Vec<String> {
        let list = WordList::parse(list).unwrap();
        let passage = Passage {
            kind,
            lines: text
                .lines()
                .enumerate()
                .map(|(index, line)| (index + 1, line.to_owned()))
                .collect(),
        };
        let hits = list.find(file, &passage);
        hits.into_iter().map(|hit| hit.phrase).collect()
    }

    fn check(list: &str, text: &str, expected: &[&str]) {
        assert_eq!(phrases(list, "a.md", Kind::Docs, text), expected, "{text}");
    }

    #[test]
    fn phrase_matches_whole_words_in_any_case() {
        check(
            "nobody => no user",
            "Nobody knows. nobody-else",
            &["Nobody"],
        );
        check(
            "is|are none => no",
            "There\nis none. They are none.",
            &["is none", "are none"],
        );
        check(
            "blot* out => redact",
            "a key is blotted out",
            &["blotted out"],
        );
    }

    #[test]
    fn punctuation_breaks_a_phrase_and_emphasis_does_not() {
        check("is none => no", "it is. None of them", &[]);
        check("is none => no", "it is *none*", &["is none"]);
    }

    #[test]
    fn docs_rule_does_not_apply_to_messages() {
        let list = "docs: picture* => image";
        assert_eq!(phrases(list, "a.rs", Kind::Docs, "a picture"), ["picture"]);
        assert!(phrases(list, "a.rs", Kind::Message, "a picture").is_empty());
    }

    #[test]
    fn exception_covers_its_file_and_phrase() {
        let list = "picture => image\nexcept docs/: profile picture => name in another API";
        let text = "profile picture, picture";
        assert_eq!(phrases(list, "docs/a.md", Kind::Docs, text), ["picture"]);
        assert_eq!(phrases(list, "a.md", Kind::Docs, text).len(), 2);
    }

    #[test]
    fn malformed_line_is_an_error() {
        assert!(WordList::parse("nobody").is_err());
        assert!(WordList::parse("nobody => ").is_err());
        assert!(WordList::parse("except a.md => reason").is_err());
        assert!(WordList::parse("# comment\n\n").is_ok());
    }
}
