//! Parameters: those of a job, whose caller may be hostile, and those of the operator.

use pinhole_sdk::{Error, Job, Settings};
use serde_json::{Map, Value};

use super::MAX_COUNT;
use crate::settings::{EXTRA_PARAMETERS, Options};

/// What a job says itself: its host has checked it, so its parameters may not say it again.
const RESERVED: [&str; 8] = [
    "image", "images", "mask", "markup", "model", "n", "prompt", "size",
];
/// OpenAI's parameters that a job may bring.
const KNOWN: [(&str, Kind); 15] = [
    ("background", Kind::Text),
    ("complexity", Kind::Text),
    ("frame_count", Kind::Whole(2, 16)),
    ("frame_duration_ms", Kind::Whole(1, 60_000)),
    ("input_fidelity", Kind::Text),
    ("moderation", Kind::Text),
    ("output_compression", Kind::Whole(0, 100)),
    // svg, which the upstream also has, is nothing that the host could keep.
    (
        "output_format",
        Kind::OneOf(&["png", "jpeg", "webp", "gif"]),
    ),
    ("partial_images", Kind::Whole(0, 3)),
    ("quality", Kind::Text),
    ("safety_identifier", Kind::Text),
    ("stream", Kind::Flag),
    ("style", Kind::Text),
    ("user", Kind::Text),
    ("n", Kind::Whole(1, MAX_COUNT as u64)),
];

/// What a parameter holds.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    OneOf(&'static [&'static str]),
    Flag,
    /// From and to.
    Whole(u64, u64),
}

/// The parameters of a job: an object of what a job may bring, and of the right kind.
pub(super) fn given(job: &Job, options: &Options) -> Result<Map<String, Value>, Error> {
    let parameters = job.checked_parameters(&RESERVED)?;
    for (name, value) in &parameters {
        match kind(name) {
            Some(kind) => kind.check(name, value)?,
            None if options.takes_extra(name) => {}
            None => {
                let message = format!(
                    "parameter {name:?} is not one that a job may bring: leave it out, or name it \
                     in the setting {EXTRA_PARAMETERS} where the upstream knows it"
                );
                return Err(Error::invalid(name.as_str(), message));
            }
        }
    }
    Ok(parameters)
}

/// The operator's parameters: an object with anything in it, as long as the engine can read what
/// it has to.
pub(crate) fn fixed(settings: &Settings, key: &str) -> Result<Map<String, Value>, Error> {
    let parameters = settings.object(key)?;
    for name in ["n", "partial_images", "stream"] {
        let (Some(kind), Some(value)) = (kind(name), parameters.get(name)) else {
            continue;
        };
        kind.check(name, value).map_err(|error| {
            Error::invalid(
                key,
                format!("setting {key} cannot be used: {}", error.message),
            )
        })?;
    }
    match parameters.get("model") {
        Some(model) if !model.is_string() && !model.is_null() => {
            let message = format!("setting {key} cannot be used: model must be a text");
            Err(Error::invalid(key, message))
        }
        _ => Ok(parameters),
    }
}

fn kind(name: &str) -> Option<Kind> {
    let mut known = KNOWN.iter().filter(|(known, _)| *known == name);
    known.next().map(|(_, kind)| *kind)
}

impl Kind {
    /// Null is of every kind: it leaves the choice to the upstream.
    fn check(self, name: &str, value: &Value) -> Result<(), Error> {
        let fits = match self {
            _ if value.is_null() => true,
            Self::Text => value.is_string(),
            Self::OneOf(words) => value.as_str().is_some_and(|word| words.contains(&word)),
            Self::Flag => value.is_boolean(),
            Self::Whole(from, to) => value.as_u64().is_some_and(|n| (from..=to).contains(&n)),
        };
        if fits {
            return Ok(());
        }
        let expected = match self {
            Self::Text => "a text".to_owned(),
            Self::OneOf(words) => format!("one of {}", words.join(", ")),
            Self::Flag => "true or false".to_owned(),
            Self::Whole(from, to) => format!("a whole number from {from} to {to}"),
        };
        Err(Error::invalid(name, format!("{name} must be {expected}")))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::settings::{self, Operation};
    use crate::wire::tests::job;

    fn field(parameters: Value) -> Option<String> {
        let settings = settings::with(&[("extra-parameters", "cfg_scale, seed")]);
        let options = Options::read(&settings, Operation::Generate).unwrap();
        let asked = Job {
            parameters: parameters.to_string(),
            ..job("x")
        };
        given(&asked, &options).err().and_then(|error| error.field)
    }

    #[test]
    fn a_job_brings_only_what_it_may() {
        assert_eq!(field(json!({})), None);
        let all = json!({
            "background": "opaque", "output_compression": 80, "output_format": "webp",
            "stream": true, "partial_images": 3, "quality": "high", "user": "u", "style": null,
            "cfg_scale": [1], "seed": 5, "input_fidelity": "high",
        });
        assert_eq!(field(all), None);
        assert_eq!(field(json!([])).as_deref(), Some("parameters"));
        for (name, value) in [
            ("n", json!(10)),
            ("n", json!(null)),
            ("model", json!("x")),
            ("prompt", json!("x")),
            ("size", json!("1x1")),
            ("image", json!("http://127.0.0.1/")),
            ("image[]", json!("x")),
            ("images", json!([{"file_id": "file-1"}])),
            ("mask", json!("x")),
            ("steps", json!(1000)),
            ("response_format", json!("url")),
            ("stream", json!("true")),
            ("partial_images", json!(4)),
            ("output_compression", json!("80")),
            ("output_compression", json!(101)),
            ("output_format", json!("svg")),
            ("quality", json!({})),
        ] {
            let parameters = json!({name: value});
            assert_eq!(
                field(parameters.clone()).as_deref(),
                Some(name),
                "{parameters}"
            );
        }
    }

    #[test]
    fn the_operator_may_do_anything_that_can_be_read() {
        let read = |text: &str| fixed(&settings::with(&[("params", text)]), "params");
        assert!(read(r#"{"prompt": 1, "image": [], "size": {}, "steps": 9, "n": 10}"#).is_ok());
        assert!(read(r#"{"n": null, "stream": null, "model": null}"#).is_ok());
        for text in [
            "[1]",
            "{",
            r#"{"n": 11}"#,
            r#"{"n": "2"}"#,
            r#"{"stream": 1}"#,
            r#"{"partial_images": 9}"#,
            r#"{"model": 5}"#,
        ] {
            let error = read(text).unwrap_err();
            assert_eq!(error.field.as_deref(), Some("params"), "{}", error.message);
        }
    }
}
