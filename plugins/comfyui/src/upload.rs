//! Uploads images to the server, for the nodes that load them.

use pinhole_sdk::request::Form;
use pinhole_sdk::{Error, Image, Refusal, Request};
use serde::Deserialize;

use crate::wire::random_id;
use crate::{UPSTREAM, error, memory};

pub(crate) const PATH: &str = "/upload/image";
/// The folder in the server's inputs. No request deletes an upload, so all uploads share a folder, which
/// the editor's list of files does not include.
const SUBFOLDER: &str = "pinhole";
/// Maximum length of a file's name, in bytes.
const MAX_NAME_BYTES: usize = 512;

/// Uploads images one after another, and returns the names by which nodes load them.
pub(crate) fn upload_images<'a>(
    images: impl Iterator<Item = &'a Image>,
) -> Result<Vec<String>, Error> {
    images
        .map(|image| {
            let form = Form::new()
                .image("image", &random_id(), image)
                .text("type", "input")
                .text("subfolder", SUBFOLDER)
                .text("overwrite", "true");
            memory::store_before_upload();
            let response = Request::post(UPSTREAM, PATH).form(form).send()?;
            let upload: UploadResponse = response.success().map_err(from_upload_refusal)?.json()?;
            upload.into_file_name()
        })
        .collect()
}

fn from_upload_refusal(refusal: Refusal) -> Error {
    match refusal.status {
        413 => Error::invalid(
            "image",
            "the image is larger than ComfyUI or a proxy in front of it accepts: send a smaller one, \
             or start ComfyUI with a higher --max-upload-size",
        ),
        status @ (404 | 405 | 501) => error::not_comfyui(status, PATH),
        _ => error::from_refusal(refusal),
    }
}

/// The server's name of an upload, which may differ from the requested name.
#[derive(Debug, Deserialize)]
struct UploadResponse {
    #[serde(default)]
    name: String,
    #[serde(default)]
    subfolder: String,
    #[serde(default, rename = "type")]
    folder: String,
}

impl UploadResponse {
    /// The value for a node's input.
    fn into_file_name(self) -> Result<String, Error> {
        let Self {
            name,
            subfolder,
            folder,
        } = self;
        if name.is_empty() || name.len() + subfolder.len() > MAX_NAME_BYTES {
            let message = "ComfyUI accepted the image without returning its name";
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

    fn check(response: Value, expected: Option<&str>) {
        let upload: UploadResponse = serde_json::from_value(response).unwrap();
        assert_eq!(upload.into_file_name().ok().as_deref(), expected);
    }

    #[test]
    fn file_name_is_the_servers() {
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
