//! The answer to a job: where its images stand, and what the web UI tells about them.

use pinhole_sdk::Error;
use pinhole_sdk::words::cut;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::body::Body;
use crate::choices::Checkpoint;

/// Images of one answer, grids and the pictures of extensions included. More are not the work of a
/// web UI.
const MAX_IMAGES: usize = 100;
/// Length of a model's name in details, in bytes.
const MAX_NAME: usize = 200;

/// The answer of txt2img and img2img.
#[derive(Debug, Deserialize)]
pub(crate) struct Made {
    /// Base64, cut short here; null from some servers when they send none.
    images: Option<Vec<Value>>,
}

impl Made {
    /// The JSON pointers of `asked` images: those after the grids that come `first`. What comes
    /// beyond them was made by extensions: maps that were drawn from, say.
    pub(crate) fn pointers(&self, first: usize, asked: u32) -> Result<Vec<String>, Error> {
        let images = self.images.as_ref().map_or(0, Vec::len);
        if images == 0 {
            return Err(Error::protocol("the web UI answered without an image"));
        }
        if images > MAX_IMAGES {
            let message =
                format!("the web UI answered with {images} images where {asked} were asked for");
            return Err(Error::protocol(message));
        }
        let first = if first < images { first } else { 0 };
        let places = (first..images).take(usize::try_from(asked).unwrap_or(usize::MAX));
        Ok(places.map(|index| format!("/images/{index}")).collect())
    }
}

/// What the server tells about the images; null when it tells nothing.
#[derive(Debug)]
pub(crate) struct Account(Value);

impl Account {
    /// From `info`: JSON as a string, which some dialects leave empty.
    pub(crate) fn read(info: &str) -> Self {
        Self(serde_json::from_str(info).unwrap_or_default())
    }

    /// Before it come grids of all the images.
    pub(crate) fn first_image(&self) -> usize {
        let index = self.0.get("index_of_first_image").and_then(Value::as_u64);
        index
            .and_then(|index| usize::try_from(index).ok())
            .unwrap_or(0)
    }

    /// Says so when another model drew than the one asked for.
    pub(crate) fn model_note(&self, asked: &Checkpoint) -> Option<String> {
        let drew = self.model().filter(|name| !asked.is_called(name))?;
        Some(format!(
            "the web UI drew with {drew:?} instead of the model it was told"
        ))
    }

    fn model(&self) -> Option<String> {
        let name = self.0.get("sd_model_name").and_then(Value::as_str);
        name.filter(|name| !name.is_empty())
            .map(|name| cut(name, MAX_NAME))
    }

    /// A JSON object: `seeds` of the images at these places, `model` and `notes`; each only where
    /// there is something to tell.
    pub(crate) fn details(&self, places: &[usize], notes: &[String]) -> String {
        let mut details = Body::new();
        if let Some(seeds) = self.0.get("all_seeds").and_then(Value::as_array) {
            let seeds = places.iter().filter_map(|place| seeds.get(*place));
            let seeds: Vec<&Value> = seeds.filter(|seed| seed.is_number()).collect();
            details.insert("seeds".into(), json!(seeds));
        }
        if let Some(model) = self.model() {
            details.insert("model".into(), json!(model));
        }
        if !notes.is_empty() {
            details.insert("notes".into(), json!(notes));
        }
        Value::Object(details).to_string()
    }
}

#[cfg(test)]
mod tests {
    use pinhole_sdk::ErrorKind;

    use super::*;
    use crate::choices::tests::checkpoint;

    fn parse(body: &str) -> (Made, Account) {
        let value: Value = serde_json::from_str(body).unwrap();
        let account = Account::read(value["info"].as_str().unwrap_or_default());
        (serde_json::from_value(value).unwrap(), account)
    }

    #[track_caller]
    fn check_made(body: &str, asked: u32, pointers: &[&str], details: Value) {
        let (made, account) = parse(body);
        let found = made.pointers(account.first_image(), asked).unwrap();
        assert_eq!(found, pointers);
        let places: Vec<usize> = (0..found.len()).collect();
        let found: Value = serde_json::from_str(&account.details(&places, &[])).unwrap();
        assert_eq!(found, details);
    }

    #[test]
    fn images_come_without_the_grid() {
        let model = "random-sd15-tiny";
        check_made(
            include_str!("../testdata/txt2img.json"),
            1,
            &["/images/0"],
            json!({"model": model, "seeds": [42]}),
        );
        check_made(
            include_str!("../testdata/txt2img-batch.json"),
            4,
            &["/images/0", "/images/1", "/images/2", "/images/3"],
            json!({"model": model, "seeds": [42, 43, 44, 45]}),
        );
        check_made(
            include_str!("../testdata/txt2img-grid.json"),
            2,
            &["/images/1", "/images/2"],
            json!({"model": model, "seeds": [42, 43]}),
        );
        check_made(
            include_str!("../testdata/txt2img-unseeded.json"),
            1,
            &["/images/0"],
            json!({"model": model, "seeds": [3_658_553_496_u32]}),
        );
    }

    #[test]
    fn never_more_images_than_were_asked_for() {
        check_made(
            r#"{"images": ["a", "b", "c"]}"#,
            2,
            &["/images/0", "/images/1"],
            json!({}),
        );
    }

    #[test]
    fn info_may_be_missing_or_odd() {
        for info in [
            r#""""#,
            "null",
            r#""no JSON""#,
            r#""[]""#,
            r#""{\"all_seeds\": 3}""#,
            "7",
        ] {
            check_made(
                &format!(r#"{{"images": ["a"], "info": {info}}}"#),
                1,
                &["/images/0"],
                json!({}),
            );
        }
        let beyond = r#"{"images": ["a"], "info": "{\"index_of_first_image\": 9}"}"#;
        check_made(beyond, 1, &["/images/0"], json!({}));
    }

    #[test]
    fn no_images_and_far_too_many_are_errors() {
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
    fn a_seed_belongs_to_its_image() {
        let account = Account::read(r#"{"all_seeds": [4, 5, "x"]}"#);
        let details = account.details(&[1, 2, 9], &["one is missing".into()]);
        let details: Value = serde_json::from_str(&details).unwrap();
        assert_eq!(details, json!({"seeds": [5], "notes": ["one is missing"]}));
    }

    #[test]
    fn another_model_is_noticed() {
        let account = parse(include_str!("../testdata/txt2img.json")).1;
        let note = |asked| account.model_note(&asked);
        assert_eq!(
            note(checkpoint(
                "random-sd15-tiny.safetensors",
                "random-sd15-tiny"
            )),
            None
        );
        assert_eq!(
            note(checkpoint("fox", "fox")).as_deref(),
            Some("the web UI drew with \"random-sd15-tiny\" instead of the model it was told")
        );
    }
}
