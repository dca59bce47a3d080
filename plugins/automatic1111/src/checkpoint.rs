//! Checkpoints: the models on the web UI's disk.

use pinhole_sdk::{Error, ErrorKind, Model, Request};
use serde::Deserialize;

use crate::UPSTREAM;
use crate::lookup::{not_found_message, parse_list};

pub(crate) const CHECKPOINTS: &str = "/sdapi/v1/sd-models";

/// A checkpoint on the server's disk.
#[derive(Debug, Deserialize)]
pub(crate) struct Checkpoint {
    /// Selects the checkpoint in requests; may end in its hash, as ` [abcdef1234]`.
    pub(crate) title: String,
    model_name: String,
    /// Absent until the checkpoint was loaded once.
    hash: Option<String>,
    /// Absolute path on the server.
    filename: Option<String>,
}

impl Checkpoint {
    /// Whether `name` is its title, with or without hash, its model name, its file name or its hash.
    pub(crate) fn has_name(&self, name: &str) -> bool {
        let title_without_hash = self.title.split_once(" [").map(|(title, _)| title);
        let file_name = self.filename.as_deref().map(|path| {
            let start = path.rfind(['/', '\\']).map_or(0, |slash| slash + 1);
            path.get(start..).unwrap_or(path)
        });
        [
            Some(self.title.as_str()),
            Some(&self.model_name),
            title_without_hash,
            file_name,
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
            abilities: None,
        }
    }
}

/// Requests all checkpoints of the web UI.
pub(crate) fn request_all() -> Result<Vec<Checkpoint>, Error> {
    parse_list(Request::get(UPSTREAM, CHECKPOINTS).send()?)
}

pub(crate) fn find_checkpoint(
    mut checkpoints: Vec<Checkpoint>,
    name: &str,
) -> Result<Checkpoint, Error> {
    let position = checkpoints
        .iter()
        .position(|checkpoint| checkpoint.has_name(name));
    if let Some(index) = position {
        return Ok(checkpoints.swap_remove(index));
    }
    let titles = checkpoints
        .iter()
        .map(|checkpoint| checkpoint.title.as_str());
    let message = not_found_message("checkpoint", name, titles);
    Err(Error::new(ErrorKind::NotFound, message).with_field("model"))
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    pub(crate) fn checkpoint(title: &str, model_name: &str) -> Checkpoint {
        serde_json::from_value(json!({
            "title": title, "model_name": model_name, "hash": null,
            "filename": format!("C:\\models\\{model_name}.safetensors"),
        }))
        .unwrap()
    }

    #[test]
    fn find_checkpoint_matches_every_name() {
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
                "the web UI has no checkpoint \"hen\"; available: fox.ckpt"
            )
        );
    }
}
