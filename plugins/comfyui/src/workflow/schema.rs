//! What the server says about its classes of nodes: the types of their inputs.

use std::collections::BTreeMap;

use pinhole_sdk::{Error, ErrorKind};
use serde_json::Value;

use crate::wire::{object_info_path, request_json};

/// ComfyUI's own nodes that take an image, a mask or a latent image, each with the inputs that it works
/// without. For other classes the server is asked.
const OPTIONAL_INPUTS: &[(&str, &[&str])] = &[
    ("TextEncodeQwenImageEdit", &["vae", "image"]),
    (
        "TextEncodeQwenImageEditPlus",
        &["vae", "image1", "image2", "image3"],
    ),
    ("ImageStitch", &["image2"]),
    ("ReferenceLatent", &["latent"]),
    ("CLIPVisionEncode", &[]),
    ("ControlNetApply", &[]),
    ("ControlNetApplyAdvanced", &["vae"]),
    ("CropMask", &[]),
    ("FluxKontextImageScale", &[]),
    ("GrowMask", &[]),
    ("ImageBatch", &[]),
    ("ImageCrop", &[]),
    ("ImageInvert", &[]),
    ("ImagePadForOutpaint", &[]),
    ("ImageScale", &[]),
    ("ImageScaleBy", &[]),
    ("ImageScaleToTotalPixels", &[]),
    ("ImageToMask", &[]),
    ("ImageUpscaleWithModel", &[]),
    ("InpaintModelConditioning", &[]),
    ("InvertMask", &[]),
    ("KSampler", &[]),
    ("KSamplerAdvanced", &[]),
    ("MaskToImage", &[]),
    ("RepeatLatentBatch", &[]),
    ("SetLatentNoiseMask", &[]),
    ("VAEDecode", &[]),
    ("VAEEncode", &[]),
    ("VAEEncodeForInpaint", &[]),
    ("ImageCompositeMasked", &["mask"]),
    ("LatentCompositeMasked", &["mask"]),
    ("GeminiImageNode", &["images", "files"]),
    ("OpenAIGPTImage1", &["image", "mask"]),
    ("FluxKontextProImageNode", &["input_image"]),
    ("FluxKontextMaxImageNode", &["input_image"]),
];

/// The type of an input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum InputType {
    /// A text of several lines.
    Text,
    /// A text of one line.
    Line,
    Other,
}

/// The schemas of some classes, as the server describes them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Schemas(BTreeMap<String, Value>);

impl Schemas {
    /// Adds the schema of a class from the server's response for it.
    pub(crate) fn add(&mut self, class: &str, mut response: Value) {
        if let Some(schema) = response.get_mut(class) {
            self.0.insert(class.to_owned(), schema.take());
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The type of an input; `None` if the schema is not known.
    pub(super) fn input_type(&self, class: &str, input: &str) -> Option<InputType> {
        let schema = self.input(class, input)?;
        if schema.get(0).and_then(Value::as_str) != Some("STRING") {
            return Some(InputType::Other);
        }
        let options = schema.get(1);
        let is_multiline = options.and_then(|it| it.get("multiline")?.as_bool());
        Some(if is_multiline == Some(true) {
            InputType::Text
        } else {
            InputType::Line
        })
    }

    /// Whether a node works without this input. Asks the server if that is not known; false if it does not
    /// know the class either.
    pub(crate) fn is_optional_on_server(
        &mut self,
        class: &str,
        input: &str,
    ) -> Result<bool, Error> {
        if self.is_optional(class, input).is_none() {
            self.request(class)?;
        }
        Ok(self.is_optional(class, input).unwrap_or(false))
    }

    /// Requests the schema of a class. Servers that hide their schemas leave it unknown.
    pub(crate) fn request(&mut self, class: &str) -> Result<(), Error> {
        match request_json(&object_info_path(class)) {
            Ok(response) => {
                self.add(class, response);
                Ok(())
            }
            Err(error) if matches!(error.kind, ErrorKind::Cancelled | ErrorKind::Timeout) => {
                Err(error)
            }
            Err(_) => Ok(()),
        }
    }

    /// Whether a node works without this input; `None` if that is not known.
    pub(super) fn is_optional(&self, class: &str, input: &str) -> Option<bool> {
        if let Some(schema) = self.0.get(class) {
            let is_in = |group: &str| schema.get("input")?.get(group)?.get(input);
            return Some(is_in("required").is_none() && is_in("optional").is_some());
        }
        let (_, optional) = OPTIONAL_INPUTS.iter().find(|(known, _)| *known == class)?;
        Some(optional.contains(&input))
    }

    /// Whether the class calls a remote API.
    pub(super) fn calls_api(&self, class: &str) -> bool {
        let schema = self.0.get(class);
        schema.and_then(|it| it.get("api_node")?.as_bool()) == Some(true)
    }

    fn input(&self, class: &str, input: &str) -> Option<&Value> {
        let inputs = self.0.get(class)?.get("input")?;
        let mut groups = ["required", "optional"].into_iter();
        groups.find_map(|group| inputs.get(group)?.get(input))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn schema_tells_types_and_optional_inputs() {
        let mut schemas = Schemas::default();
        schemas.add(
            "Draw",
            json!({"Draw": {"api_node": true, "input": {
                "required": {"idea": ["STRING", {"multiline": true}], "note": ["STRING"], "kind": [["a", "b"]]},
                "optional": {"image": ["IMAGE"]},
            }}}),
        );
        let input_type = |input| schemas.input_type("Draw", input);
        assert_eq!(input_type("idea"), Some(InputType::Text));
        assert_eq!(input_type("note"), Some(InputType::Line));
        assert_eq!(input_type("kind"), Some(InputType::Other));
        assert_eq!(input_type("absent"), None);
        assert_eq!(schemas.is_optional("Draw", "image"), Some(true));
        assert_eq!(schemas.is_optional("Draw", "idea"), Some(false));
        assert_eq!(schemas.is_optional("Unheard", "image"), None);
        assert_eq!(schemas.is_optional("ImageStitch", "image1"), Some(false));
        assert!(schemas.calls_api("Draw"));
    }
}
