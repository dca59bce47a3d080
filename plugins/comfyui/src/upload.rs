//! Pictures brought to the server, for its loading nodes.

use pinhole_sdk::request::Form;
use pinhole_sdk::{Error, Image, Refusal, Request, job};
use serde::Deserialize;

use crate::{UPSTREAM, refusal, wire};

pub(crate) const PATH: &str = "/upload/image";
/// The folder under the server's inputs: uploads cannot be deleted by a request, so at least they
/// lie together, and outside the list of files that the editor offers.
const SUBFOLDER: &str = "pinhole";
/// A file's name longer than this, in bytes, is none.
const MAX_NAME_BYTES: usize = 512;

/// Uploads pictures, one after another, and gives the names by which nodes load them.
pub(crate) fn send<'a>(images: impl Iterator<Item = &'a Image>) -> Result<Vec<String>, Error> {
    images
        .map(|image| {
            let stem = wire::uuid([job::random(), job::random()]);
            let form = Form::new()
                .image("image", &stem, image)
                .text("type", "input")
                .text("subfolder", SUBFOLDER)
                .text("overwrite", "true");
            let answer = Request::post(UPSTREAM, PATH).form(form).send()?;
            let uploaded: Uploaded = answer.success().map_err(refused)?.json()?;
            uploaded.name()
        })
        .collect()
}

fn refused(said: Refusal) -> Error {
    match said.status {
        413 => Error::invalid(
            "image",
            "the picture is larger than ComfyUI or a proxy in front of it takes: send a smaller one, \
             or start ComfyUI with a higher --max-upload-size",
        ),
        status @ (404 | 405 | 501) => refusal::not_comfyui(status, "/upload/image"),
        _ => refusal::refused(said),
    }
}

/// What the server made of an upload; the name may be another than we gave.
#[derive(Debug, Deserialize)]
struct Uploaded {
    #[serde(default)]
    name: String,
    #[serde(default)]
    subfolder: String,
    #[serde(default, rename = "type")]
    folder: String,
}

impl Uploaded {
    /// What a node's input has to say.
    fn name(self) -> Result<String, Error> {
        let Self {
            name,
            subfolder,
            folder,
        } = self;
        if name.is_empty() || name.len() + subfolder.len() > MAX_NAME_BYTES {
            let message = "ComfyUI took the picture but did not say under which name";
            return Err(Error::protocol(message));
        }
        let path = match subfolder.as_str() {
            "" => name,
            subfolder => format!("{subfolder}/{name}"),
        };
        Ok(match folder.as_str() {
            "output" | "temp" => format!("{path} [{folder}]"),
            _ => path,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(answer: Value, expected: Option<&str>) {
        let uploaded: Uploaded = serde_json::from_value(answer).unwrap();
        assert_eq!(uploaded.name().ok().as_deref(), expected);
    }

    #[test]
    fn a_node_loads_what_the_server_named() {
        check(
            json!({"name": "a (1).png", "subfolder": "", "type": "input"}),
            Some("a (1).png"),
        );
        check(
            json!({"name": "a.png", "subfolder": "plug", "type": "input"}),
            Some("plug/a.png"),
        );
        check(json!({"name": "a.png"}), Some("a.png"));
        check(
            json!({"name": "a.png", "subfolder": "b", "type": "temp"}),
            Some("b/a.png [temp]"),
        );
        check(json!({}), None);
        check(json!({"name": "x".repeat(MAX_NAME_BYTES + 1)}), None);
    }
}
