//! Variants of the engine's description. A mark in the component's code selects one: a test
//! overwrites the mark, which gives another component with another digest.

use std::hint::black_box;

use pinhole_sdk::{Credential, Description, SecretHeader, Setting, SettingKind, Upstream, job};

/// The variant follows `describe as: `, padded with spaces.
static MARK: [u8; 24] = *b"describe as: plain      ";

pub(crate) fn marked_variant() -> String {
    // Without `black_box` the compiler would evaluate the mark at build time.
    let mark = black_box(&MARK);
    let variant = mark.get(13..).unwrap_or_default();
    String::from_utf8_lossy(variant).trim().to_owned()
}

/// Changes the description as the mark selects:
///
/// | variant | difference |
/// |---|---|
/// | `plain`, `again` | none |
/// | `faulty` | none, but the prompt `picture trap` panics instead of drawing |
/// | `less` | without the setting `note` |
/// | `narrow` | a longer path prefix |
/// | `request`, `prefix` | an additional POST; a shorter path prefix |
/// | `upstream` | an additional upstream |
/// | `host`, `any-host` | images from `cdn.example.com`; from any public host |
/// | `credential` | the key is sent in another header |
/// | `default` | the base URL has a default |
/// | `variable` | `note` has an additional variable |
/// | `open-key` | the key is a text setting instead of a secret |
/// | `foreign` | `note` is read from `PATH` |
/// | `unhidden` | `note` is read from a variable that holds a token |
/// | `renamed` | the engine's name is `other` |
/// | `upper` | the engine's name is `HOSTILE` |
/// | `trap`, `spin` | `describe` panics; `describe` does not return |
/// | `long` | a title of 10 MB |
/// | `many` | a million requests |
/// | `titled` | a title of two lines, one of them in color |
/// | `changing` | at random, an additional upstream and an additional variable |
pub(crate) fn apply_mark(mut description: Description) -> Description {
    match marked_variant().as_str() {
        "less" => description.settings.retain(|setting| setting.key != "note"),
        "narrow" => set_requests(&mut description, &["GET /allowed/x"]),
        "request" => set_requests(
            &mut description,
            &["GET /allowed/", "POST /more/", "POST /orders"],
        ),
        "prefix" => set_requests(&mut description, &["GET /"]),
        "upstream" => description.upstreams.push(second_upstream()),
        "host" => set_image_hosts(&mut description, "cdn.example.com"),
        "any-host" => set_image_hosts(&mut description, "*"),
        "credential" => set_credentials(
            &mut description,
            &[Credential::Header(SecretHeader::new("x-other", "api-key"))],
        ),
        "default" => set_default_url(&mut description),
        "variable" => add_note_variable(&mut description, "HOSTILE_MORE"),
        "open-key" => open_key(&mut description),
        "foreign" => add_note_variable(&mut description, "PATH"),
        "unhidden" => add_note_variable(&mut description, "HOSTILE_OTHER_TOKEN"),
        "renamed" => rename(&mut description, "other"),
        "upper" => rename(&mut description, "HOSTILE"),
        "trap" => panic!("the hostile engine panics in describe"),
        "spin" => loop {
            black_box(&description);
        },
        "long" => description.title = "x".repeat(10_000_000),
        "many" => {
            for upstream in &mut description.upstreams {
                upstream.requests = vec!["GET /x".to_owned(); 1_000_000];
            }
        }
        "titled" => description.title = "one\n\u{1b}[31mtwo".into(),
        "changing" if job::random().is_multiple_of(2) => {
            description.upstreams.push(second_upstream());
            add_note_variable(&mut description, "HOSTILE_MORE");
        }
        _ => {}
    }
    description
}

fn set_requests(description: &mut Description, requests: &[&str]) {
    for upstream in &mut description.upstreams {
        upstream.requests = requests.iter().map(|text| (*text).to_owned()).collect();
    }
}

fn set_image_hosts(description: &mut Description, host: &str) {
    for upstream in &mut description.upstreams {
        upstream.image_hosts = vec![host.to_owned()];
    }
}

fn set_credentials(description: &mut Description, credentials: &[Credential]) {
    for upstream in &mut description.upstreams {
        upstream.credentials = credentials.to_vec();
    }
}

fn set_default_url(description: &mut Description) {
    for setting in &mut description.settings {
        if setting.key == "base-url" {
            setting.default = Some("\"https://192.0.2.1\"".into());
        }
    }
}

fn add_note_variable(description: &mut Description, variable: &str) {
    for setting in &mut description.settings {
        if setting.key == "note" {
            setting.generate_variables.push(variable.to_owned());
        }
    }
}

fn open_key(description: &mut Description) {
    description
        .settings
        .retain(|setting| setting.key != "api-key");
    let text = Setting::new("api-key", SettingKind::Text, "Key", "");
    description.settings.push(text);
    set_credentials(description, &[]);
}

fn second_upstream() -> Upstream {
    Upstream {
        name: "more".into(),
        base_url: "base-url".into(),
        requests: vec!["GET /allowed/".into()],
        ..Upstream::default()
    }
}

/// Also removes the variables, because they must contain the engine's name.
fn rename(description: &mut Description, name: &str) {
    description.name = name.to_owned();
    for setting in &mut description.settings {
        setting.generate_variables.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mark_selects_plain_by_default() {
        assert_eq!(marked_variant(), "plain");
    }
}
