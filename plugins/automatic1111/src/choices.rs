//! What the web UI has: checkpoints, samplers and schedulers. A name that it does not have, it
//! replaces by another without a word; so names are looked up first.

use pinhole_sdk::words::cut;
use pinhole_sdk::{Answer, Error, ErrorKind, Model, Request, log, send_all};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::body::Body;
use crate::{UPSTREAM, refused};

pub(crate) const MODELS: &str = "/sdapi/v1/sd-models";
pub(crate) const SAMPLERS: &str = "/sdapi/v1/samplers";
pub(crate) const SCHEDULERS: &str = "/sdapi/v1/schedulers";

/// Names shown where one is not there.
const MAX_SHOWN: usize = 30;
/// Length of a name in a message, in bytes.
const MAX_NAME: usize = 100;

/// What became of the names that a job gave.
#[derive(Debug, Default)]
pub(crate) struct Chosen {
    /// The job's model.
    pub(crate) checkpoint: Option<Checkpoint>,
    /// What a person should know.
    pub(crate) note: Option<String>,
}

/// Looks up the names that a job gave, side by side, and writes the web UI's own into the body.
pub(crate) fn settle(body: &mut Body, model: Option<&str>) -> Result<Chosen, Error> {
    let text = |key: &str| body.get(key)?.as_str().map(str::to_owned);
    let (sampler, scheduler) = (text("sampler_name"), text("scheduler"));
    let wanted = [
        (model.is_some(), MODELS),
        (sampler.is_some(), SAMPLERS),
        (scheduler.is_some(), SCHEDULERS),
    ];
    let asked = wanted.iter().filter(|(wanted, _)| *wanted);
    let requests = asked.map(|(_, path)| Request::get(UPSTREAM, *path));
    let mut answers = send_all(requests.collect()).into_iter();
    let mut answer = || {
        let missing = || Err(Error::protocol("a list of the web UI is missing"));
        answers.next().unwrap_or_else(missing)
    };
    let mut chosen = Chosen::default();
    if let Some(name) = model {
        let checkpoint = find_checkpoint(listed(answer()?)?, name)?;
        let settings = body.entry("override_settings").or_insert(json!({}));
        if let Value::Object(settings) = settings {
            settings.insert("sd_model_checkpoint".into(), json!(checkpoint.title));
        }
        chosen.checkpoint = Some(checkpoint);
    }
    if let Some(name) = sampler {
        let own = find(&listed(answer()?)?, "sampler", "sampler_name", &name)?;
        body.insert("sampler_name".into(), json!(own));
    }
    if let Some(name) = scheduler {
        let answer = answer()?;
        if answer.0.status() == 404 {
            body.remove("scheduler");
            let note = "a web UI before version 1.9 has no schedulers: the scheduler was left out";
            log::write(log::Level::Info, note);
            chosen.note = Some(note.into());
        } else {
            let own = find(&listed(answer)?, "scheduler", "scheduler", &name)?;
            body.insert("scheduler".into(), json!(own));
        }
    }
    Ok(chosen)
}

/// All checkpoints.
pub(crate) fn checkpoints() -> Result<Vec<Checkpoint>, Error> {
    listed(Request::get(UPSTREAM, MODELS).send()?)
}

fn listed<T: serde::de::DeserializeOwned>(answer: Answer) -> Result<Vec<T>, Error> {
    answer.success().map_err(refused)?.json()
}

/// A sampler or a scheduler.
#[derive(Debug, Deserialize)]
struct Named {
    name: String,
    label: Option<String>,
    aliases: Option<Vec<String>>,
}

impl Named {
    fn is_called(&self, name: &str) -> bool {
        let aliases = self.aliases.iter().flatten();
        let mut names = aliases.chain(&self.label).chain([&self.name]);
        names.any(|own| letters(own) == letters(name))
    }
}

/// What dialects agree on: `Euler a` is `euler_a` elsewhere.
fn letters(name: &str) -> String {
    let kept = name.chars().filter(|c| !" _-".contains(*c));
    kept.flat_map(char::to_lowercase).collect()
}

/// The web UI's own name of the sampler or scheduler that is called so.
fn find(all: &[Named], what: &str, field: &str, name: &str) -> Result<String, Error> {
    let exact = all.iter().find(|named| named.name == name);
    if let Some(found) = exact.or_else(|| all.iter().find(|named| named.is_called(name))) {
        return Ok(found.name.clone());
    }
    let names = all.iter().map(|named| named.name.as_str());
    Err(Error::invalid(field, unknown(what, name, names)))
}

fn unknown<'a>(what: &str, name: &str, names: impl Iterator<Item = &'a str>) -> String {
    let name = cut(name, MAX_NAME);
    let names: Vec<String> = names.map(|name| cut(name, MAX_NAME)).collect();
    match names.get(..MAX_SHOWN) {
        Some(first) => format!(
            "the web UI has no {what} {name:?}: it has {} and {} more",
            first.join(", "),
            names.len() - first.len()
        ),
        None if names.is_empty() => {
            format!("the web UI has no {what} {name:?}: it has none at all")
        }
        None => format!(
            "the web UI has no {what} {name:?}: it has {}",
            names.join(", ")
        ),
    }
}

/// A checkpoint on the server's disk.
#[derive(Debug, Deserialize)]
pub(crate) struct Checkpoint {
    /// The name that requests choose it by; may end in its hash, as ` [abcdef1234]`.
    title: String,
    model_name: String,
    /// Absent until it was loaded once.
    hash: Option<String>,
    /// Its whole path on the server.
    filename: Option<String>,
}

impl Checkpoint {
    pub(crate) fn is_called(&self, name: &str) -> bool {
        let bare = self.title.split_once(" [").map(|(bare, _)| bare);
        let file = self.filename.as_deref().map(|path| {
            let cut = path.rfind(['/', '\\']).map_or(0, |slash| slash + 1);
            path.get(cut..).unwrap_or(path)
        });
        [
            Some(self.title.as_str()),
            Some(&self.model_name),
            bare,
            file,
            self.hash.as_deref(),
        ]
        .contains(&Some(name))
    }
}

impl From<Checkpoint> for Model {
    fn from(checkpoint: Checkpoint) -> Self {
        Self {
            id: checkpoint.title,
            name: checkpoint.model_name,
        }
    }
}

/// The checkpoint of this name.
fn find_checkpoint(mut checkpoints: Vec<Checkpoint>, name: &str) -> Result<Checkpoint, Error> {
    let found = checkpoints
        .iter()
        .position(|checkpoint| checkpoint.is_called(name));
    if let Some(index) = found {
        return Ok(checkpoints.swap_remove(index));
    }
    let titles = checkpoints
        .iter()
        .map(|checkpoint| checkpoint.title.as_str());
    let message = unknown("checkpoint", name, titles);
    Err(Error::new(ErrorKind::NotFound, message).with_field("model"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn checkpoint(title: &str, model_name: &str) -> Checkpoint {
        serde_json::from_value(json!({
            "title": title, "model_name": model_name, "hash": null,
            "filename": format!("C:\\models\\{model_name}.safetensors"),
        }))
        .unwrap()
    }

    #[test]
    fn a_checkpoint_is_found_by_any_of_its_names() {
        let recorded: Vec<Checkpoint> =
            serde_json::from_str(include_str!("../testdata/sd-models.json")).unwrap();
        let found = find_checkpoint(recorded, "random-sd15-tiny").unwrap();
        assert_eq!(found.title, "random-sd15-tiny.safetensors");
        let model = Model::from(found);
        assert_eq!(
            (model.id.as_str(), model.name.as_str()),
            ("random-sd15-tiny.safetensors", "random-sd15-tiny")
        );

        for name in [
            "sub/fox.ckpt [abc123]",
            "sub/fox.ckpt",
            "fox",
            "fox.safetensors",
        ] {
            let all = vec![
                checkpoint("hen.ckpt", "hen"),
                checkpoint("sub/fox.ckpt [abc123]", "fox"),
            ];
            assert_eq!(
                find_checkpoint(all, name).unwrap().model_name,
                "fox",
                "{name}"
            );
        }
        let error = find_checkpoint(vec![checkpoint("fox.ckpt", "fox")], "hen").unwrap_err();
        assert_eq!(
            (error.kind, error.field.as_deref(), error.message.as_str()),
            (
                ErrorKind::NotFound,
                Some("model"),
                "the web UI has no checkpoint \"hen\": it has fox.ckpt"
            )
        );
    }

    #[test]
    fn a_sampler_is_found_by_its_names_in_any_dialect() {
        let samplers: Vec<Named> = serde_json::from_value(json!([
            {"name": "Euler", "aliases": ["k_euler"], "options": {}},
            {"name": "Euler a", "aliases": ["k_euler_a", "k_euler_ancestral"], "options": {}},
            {"name": "dpm++2m"},
            {"name": "karras", "label": "Karras", "aliases": null},
        ]))
        .unwrap();
        for (name, expected) in [
            ("Euler a", "Euler a"),
            ("euler_a", "Euler a"),
            ("k_euler_ancestral", "Euler a"),
            ("DPM++ 2M", "dpm++2m"),
            ("Karras", "karras"),
        ] {
            assert_eq!(
                find(&samplers, "sampler", "sampler_name", name).unwrap(),
                expected
            );
        }
        let error = find(&samplers, "sampler", "sampler_name", "Eule").unwrap_err();
        assert_eq!(
            (error.field.as_deref(), error.message.as_str()),
            (
                Some("sampler_name"),
                "the web UI has no sampler \"Eule\": it has Euler, Euler a, dpm++2m, karras"
            )
        );
    }

    #[test]
    fn a_long_list_is_cut() {
        let message = unknown("sampler", &"x".repeat(500), std::iter::repeat_n("fox", 40));
        assert!(message.ends_with("fox and 10 more"), "{message}");
        assert!(message.len() < 400, "{message}");
        assert!(unknown("sampler", "x", std::iter::empty()).ends_with("none at all"));
    }
}
