//! What the engine says of itself, as a mark in its code tells it. A test writes another word over
//! the mark and has another component, with another digest.

use std::hint::black_box;

use pinhole_sdk::{Credential, Description, Setting, SettingKind, Upstream, job};

/// After `describe as: ` comes a word, filled up with spaces.
static MARK: [u8; 24] = *b"describe as: plain      ";

/// What a test has written there.
fn word() -> String {
    // Without it the compiler would read the word once, when it builds.
    let mark = black_box(&MARK);
    let word = mark.get(13..).unwrap_or_default();
    String::from_utf8_lossy(word).trim().to_owned()
}

/// The description, changed as the mark says:
///
/// | word | what differs |
/// |---|---|
/// | `plain`, `again` | nothing |
/// | `less` | no setting `note` |
/// | `narrow` | a longer prefix |
/// | `request`, `prefix` | a POST too; a shorter prefix |
/// | `upstream` | another upstream too |
/// | `credential` | the key goes into another header |
/// | `default` | an address of its own |
/// | `variable` | `note` has one more variable |
/// | `open-key` | the key is no secret any more |
/// | `foreign` | `note` is read from `PATH` |
/// | `unhidden` | `note` is read from a variable that holds a token |
/// | `renamed` | the engine is called `other` |
/// | `upper` | the engine is called `HOSTILE` |
/// | `trap`, `spin` | there is none |
/// | `long` | a title of 10 MB |
/// | `many` | a million requests |
/// | `titled` | a title of two lines, one of them in colour |
/// | `changing` | half of the times, another upstream and one more variable too |
pub(crate) fn as_marked(mut it: Description) -> Description {
    let requests = |it: &mut Description, texts: &[&str]| {
        for upstream in &mut it.upstreams {
            upstream.requests = texts.iter().map(|text| (*text).to_owned()).collect();
        }
    };
    let variable = |it: &mut Description, name: &str| {
        for setting in &mut it.settings {
            if setting.key == "note" {
                setting.generate_variables.push(name.to_owned());
            }
        }
    };
    match word().as_str() {
        "less" => it.settings.retain(|setting| setting.key != "note"),
        "narrow" => requests(&mut it, &["GET /allowed/x"]),
        "request" => requests(&mut it, &["GET /allowed/", "POST /more/"]),
        "prefix" => requests(&mut it, &["GET /"]),
        "upstream" => it.upstreams.push(another()),
        "credential" => {
            for upstream in &mut it.upstreams {
                upstream.credential = Credential::Header(("x-other".into(), "api-key".into()));
            }
        }
        "default" => {
            for setting in &mut it.settings {
                if setting.key == "base-url" {
                    setting.default = Some("\"https://192.0.2.1\"".into());
                }
            }
        }
        "variable" => variable(&mut it, "HOSTILE_MORE"),
        "open-key" => {
            it.settings.retain(|setting| setting.key != "api-key");
            it.settings
                .push(Setting::new("api-key", SettingKind::Text, "Key", ""));
            for upstream in &mut it.upstreams {
                upstream.credential = Credential::None;
            }
        }
        "foreign" => variable(&mut it, "PATH"),
        "unhidden" => variable(&mut it, "HOSTILE_OTHER_TOKEN"),
        "renamed" => rename(&mut it, "other"),
        "upper" => rename(&mut it, "HOSTILE"),
        "trap" => panic!("the hostile engine does not describe itself"),
        "spin" => loop {
            black_box(&it);
        },
        "long" => it.title = "x".repeat(10_000_000),
        "many" => {
            for upstream in &mut it.upstreams {
                upstream.requests = vec!["GET /x".to_owned(); 1_000_000];
            }
        }
        "titled" => it.title = "one\n\u{1b}[31mtwo".into(),
        "changing" if job::random().is_multiple_of(2) => {
            it.upstreams.push(another());
            variable(&mut it, "HOSTILE_MORE");
        }
        _ => {}
    }
    it
}

fn another() -> Upstream {
    Upstream {
        name: "more".into(),
        base_url: "base-url".into(),
        credential: Credential::None,
        requests: vec!["GET /allowed/".into()],
    }
}

/// Without variables: a rule wants them to carry the engine's name.
fn rename(it: &mut Description, name: &str) {
    it.name = name.to_owned();
    for setting in &mut it.settings {
        setting.generate_variables.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_is_plain() {
        assert_eq!(word(), "plain");
    }
}
