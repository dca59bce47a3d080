//! The response to a job: where its images are, and the web UI's info about them.

use pinhole_sdk::Error;
use pinhole_sdk::json_text::parse_json;
use pinhole_sdk::outline::describe_json;
use pinhole_sdk::upstream_text::truncate;
use serde_json::{Value, json};

use crate::body::Body;
use crate::checkpoint::Checkpoint;

/// Maximum number of images in a response, with grids and the images of extensions. A web UI does not
/// send more.
const MAX_IMAGES: usize = 100;
/// Maximum length of a model's name in details, in bytes.
const MAX_NAME_BYTES: usize = 200;

/// The response of txt2img and img2img. Its `images` are base64, truncated when parsed; null from some servers if
/// they send no image.
#[derive(Debug)]
pub(crate) struct ImagesResponse(pub(crate) Value);

impl ImagesResponse {
    /// The JSON pointers of `requested` images from index `first` on, which skips the grids. Images
    /// after those come from extensions, such as control maps.
    pub(crate) fn pointers(&self, first: usize, requested: u32) -> Result<Vec<String>, Error> {
        let images = self.0.get("images").and_then(Value::as_array);
        let images = images.map_or(0, Vec::len);
        if images == 0 {
            return Err(Error::protocol(format!(
                "the web UI returned no image: it sent {}",
                describe_json(&self.0)
            )));
        }
        if images > MAX_IMAGES {
            let message =
                format!("the web UI returned {images} images, but {requested} were requested");
            return Err(Error::protocol(message));
        }
        let start = if first < images { first } else { 0 };
        let indexes = (start..images).take(usize::try_from(requested).unwrap_or(usize::MAX));
        Ok(indexes.map(|index| format!("/images/{index}")).collect())
    }
}

/// The web UI's info about the images; null if it sends none.
#[derive(Debug)]
pub(crate) struct GenerationInfo(Value);

impl GenerationInfo {
    /// Parses `info`: JSON as a string, empty from some servers.
    pub(crate) fn parse(info: &str) -> Self {
        Self(parse_json(info).unwrap_or_default())
    }

    /// The index of the first image after the grids.
    pub(crate) fn first_image(&self) -> usize {
        self.0
            .get("index_of_first_image")
            .and_then(Value::as_u64)
            .and_then(|index| usize::try_from(index).ok())
            .unwrap_or(0)
    }

    /// A note if the web UI used another model than the requested one.
    pub(crate) fn model_note(&self, requested: &Checkpoint) -> Option<String> {
        let used = self.model().filter(|name| !requested.has_name(name))?;
        Some(format!(
            "the web UI used model {used:?} instead of the requested model"
        ))
    }

    fn model(&self) -> Option<String> {
        let name = self.0.get("sd_model_name").and_then(Value::as_str)?;
        (!name.is_empty()).then(|| truncate(name, MAX_NAME_BYTES))
    }

    /// The seed of the image with this index.
    pub(crate) fn seed(&self, index: usize) -> Option<u64> {
        let seeds = self.0.get("all_seeds").and_then(Value::as_array)?;
        seeds.get(index)?.as_u64()
    }

    /// A JSON object with `model`, which is absent without a value.
    pub(crate) fn details(&self) -> String {
        let mut details = Body::new();
        if let Some(model) = self.model() {
            details.insert("model".into(), json!(model));
        }
        Value::Object(details).to_string()
    }
}

#[cfg(test)]
mod tests {
    use pinhole_sdk::ErrorKind;

    use super::*;
    use crate::checkpoint::tests::checkpoint;

    fn parse(body: &str) -> (ImagesResponse, GenerationInfo) {
        let value: Value = serde_json::from_str(body).unwrap();
        let info = GenerationInfo::parse(value["info"].as_str().unwrap_or_default());
        (ImagesResponse(value), info)
    }

    #[track_caller]
    fn check_response(body: &str, requested: u32, pointers: &[&str], details: Value) {
        let (response, info) = parse(body);
        let found_pointers = response.pointers(info.first_image(), requested).unwrap();
        assert_eq!(found_pointers, pointers);
        let mut found: Value = serde_json::from_str(&info.details()).unwrap();
        let seeds: Vec<u64> = (0..found_pointers.len())
            .filter_map(|index| info.seed(index))
            .collect();
        if !seeds.is_empty() {
            found["seeds"] = json!(seeds);
        }
        assert_eq!(found, details);
    }

    #[test]
    fn pointers_skip_grids() {
        let model = "random-sd15-tiny";
        check_response(
            include_str!("../testdata/txt2img.json"),
            1,
            &["/images/0"],
            json!({"model": model, "seeds": [42]}),
        );
        check_response(
            include_str!("../testdata/txt2img-batch.json"),
            4,
            &["/images/0", "/images/1", "/images/2", "/images/3"],
            json!({"model": model, "seeds": [42, 43, 44, 45]}),
        );
        check_response(
            include_str!("../testdata/txt2img-grid.json"),
            2,
            &["/images/1", "/images/2"],
            json!({"model": model, "seeds": [42, 43]}),
        );
        check_response(
            include_str!("../testdata/txt2img-unseeded.json"),
            1,
            &["/images/0"],
            json!({"model": model, "seeds": [3_658_553_496_u32]}),
        );
    }

    #[test]
    fn pointers_stop_at_requested_count() {
        check_response(
            r#"{"images": ["a", "b", "c"]}"#,
            2,
            &["/images/0", "/images/1"],
            json!({}),
        );
    }

    #[test]
    fn info_may_be_missing_or_invalid() {
        for info_json in [
            r#""""#,
            "null",
            r#""no JSON""#,
            r#""[]""#,
            r#""{\"all_seeds\": 3}""#,
            "7",
        ] {
            check_response(
                &format!(r#"{{"images": ["a"], "info": {info_json}}}"#),
                1,
                &["/images/0"],
                json!({}),
            );
        }
        let beyond = r#"{"images": ["a"], "info": "{\"index_of_first_image\": 9}"}"#;
        check_response(beyond, 1, &["/images/0"], json!({}));
    }

    #[test]
    fn pointers_refuse_no_images_and_too_many() {
        let many = json!({"images": vec!["a"; 101]}).to_string();
        for body in [
            include_str!("../testdata/txt2img-without-images.json"),
            r#"{"images": null}"#,
            "{}",
            &many,
        ] {
            let error = parse(body).0.pointers(0, 1).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Protocol);
        }
    }

    #[test]
    fn seeds_belong_to_images() {
        let info = GenerationInfo::parse(r#"{"all_seeds": [4, 5, "x"]}"#);
        let seeds = [1, 2, 9].map(|index| info.seed(index));
        assert_eq!(seeds, [Some(5), None, None]);
    }

    #[test]
    fn model_note_names_other_model() {
        let info = parse(include_str!("../testdata/txt2img.json")).1;
        let note = |requested| info.model_note(&requested);
        assert_eq!(
            note(checkpoint(
                "random-sd15-tiny.safetensors",
                "random-sd15-tiny"
            )),
            None
        );
        assert_eq!(
            note(checkpoint("fox", "fox")).as_deref(),
            Some("the web UI used model \"random-sd15-tiny\" instead of the requested model")
        );
    }
}
