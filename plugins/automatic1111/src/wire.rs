//! What goes over the wire: a job as a body, answers as values.

use pinhole_sdk::{Error, ErrorKind, Job, Model};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// A JSON object.
pub(crate) type Body = Map<String, Value>;

/// The web UI draws in blocks of so many pixels.
const BLOCK: u32 = 8;
/// What a job may not set: it would stay set for everyone who uses the server.
const KEPT_BY_SERVER: [&str; 2] = [
    "/override_settings_restore_afterwards",
    "/override_settings/samples_format",
];

/// The body of a txt2img request: what the job sets, then its parameters, then the operator's.
///
/// Both sides are rounded down to a multiple of 8, as the web UI would do with the picture.
pub(crate) fn txt2img(
    job: &Job,
    checkpoint: Option<&Checkpoint>,
    params: Body,
) -> Result<Body, Error> {
    let mut body = Body::new();
    let mut set = |key: &str, value: Value| body.insert(key.to_owned(), value);
    set("prompt", json!(job.prompt));
    set("batch_size", json!(job.count));
    // Saved batches come with a grid of all their images.
    set("save_images", json!(false));
    if let Some(text) = &job.negative_prompt {
        set("negative_prompt", json!(text));
    }
    if let Some(size) = job.size {
        set("width", json!(whole_blocks(size.width)));
        set("height", json!(whole_blocks(size.height)));
    }
    if let Some(steps) = job.steps {
        set("steps", json!(steps));
    }
    if let Some(seed) = job.seed {
        set("seed", json!(seed));
    }
    if let Some(checkpoint) = checkpoint {
        let override_settings = json!({ "sd_model_checkpoint": checkpoint.title });
        set("override_settings", override_settings);
    }
    merge(&mut body, own_parameters(&job.parameters)?);
    merge(&mut body, params);
    Ok(body)
}

fn whole_blocks(pixels: u32) -> u32 {
    (pixels - pixels % BLOCK).max(BLOCK)
}

fn own_parameters(text: &str) -> Result<Body, Error> {
    let parameters: Value = serde_json::from_str(text)
        .map_err(|error| Error::invalid("parameters", format!("they are not JSON: {error}")))?;
    for pointer in KEPT_BY_SERVER {
        if parameters.pointer(pointer).is_some() {
            let name = pointer.rsplit('/').next().unwrap_or(pointer);
            let message = format!("{name} would change the server for everyone: leave it out");
            return Err(Error::invalid(name, message));
        }
    }
    match parameters {
        Value::Object(parameters) => Ok(parameters),
        _ => Err(Error::invalid("parameters", "they are not a JSON object")),
    }
}

/// Writes `from` over `into`; objects are merged key by key, so that an `override_settings` of
/// one side does not drop that of the other.
fn merge(into: &mut Body, from: Body) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Object(into)), Value::Object(from)) => merge(into, from),
            (_, value) => {
                into.insert(key, value);
            }
        }
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
    fn is_called(&self, name: &str) -> bool {
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

/// The checkpoint of this name. The server itself would silently use another for an unknown name.
pub(crate) fn find(checkpoints: Vec<Checkpoint>, name: &str) -> Result<Checkpoint, Error> {
    let found = checkpoints
        .into_iter()
        .find(|checkpoint| checkpoint.is_called(name));
    found.ok_or_else(|| {
        let message = format!("the web UI has no checkpoint {name:?}: choose one of its models");
        Error::new(ErrorKind::NotFound, message).with_field("model")
    })
}

/// The answer of txt2img.
#[derive(Debug, Deserialize)]
pub(crate) struct Made {
    /// Base64, cut short here; null from some servers when they send none.
    images: Option<Vec<Value>>,
    /// JSON as a string, which some dialects leave empty.
    #[serde(default)]
    info: Value,
}

impl Made {
    /// How many images there are, a grid included.
    pub(crate) fn images(&self) -> usize {
        self.images.as_ref().map_or(0, Vec::len)
    }

    /// Is `info` too long to have come whole? The answer has to be read again then, with longer strings.
    pub(crate) fn info_is_cut(&self) -> bool {
        let text = self.info.as_str().unwrap_or_default();
        text.starts_with('{') && serde_json::from_str::<Value>(text).is_err()
    }

    pub(crate) fn info(&self) -> Info {
        Info(match &self.info {
            Value::String(text) => serde_json::from_str(text).unwrap_or_default(),
            other => other.clone(),
        })
    }
}

/// What the server tells about the images; null when it tells nothing.
#[derive(Debug)]
pub(crate) struct Info(Value);

impl Info {
    /// Before it come grids of all the images.
    pub(crate) fn first_image(&self) -> usize {
        let index = self.0.get("index_of_first_image").and_then(Value::as_u64);
        index
            .and_then(|index| usize::try_from(index).ok())
            .unwrap_or(0)
    }

    /// The model that drew, when it is another than the one asked for.
    pub(crate) fn other_model(&self, asked: &Checkpoint) -> Option<&str> {
        self.model().filter(|name| !asked.is_called(name))
    }

    fn model(&self) -> Option<&str> {
        let name = self.0.get("sd_model_name").and_then(Value::as_str);
        name.filter(|name| !name.is_empty())
    }

    /// A JSON object: `seeds` in the order of the images, and `model`; each only where it is known.
    pub(crate) fn details(&self, count: usize) -> String {
        let mut details = Body::new();
        if let Some(seeds) = self.0.get("all_seeds").and_then(Value::as_array) {
            let seeds: Vec<&Value> = seeds.iter().filter(|seed| seed.is_number()).collect();
            details.insert("seeds".into(), json!(seeds.get(..count).unwrap_or(&seeds)));
        }
        if let Some(model) = self.model() {
            details.insert("model".into(), json!(model));
        }
        Value::Object(details).to_string()
    }
}

/// Where the images stand in the answer: without grids, and not more than the job may have.
pub(crate) fn pointers(images: usize, first: usize, count: u32) -> Result<Vec<String>, Error> {
    if images == 0 {
        return Err(Error::protocol("the web UI answered without an image"));
    }
    let first = if first < images { first } else { 0 };
    let places = (first..images).take(usize::try_from(count).unwrap_or(usize::MAX));
    Ok(places.map(|index| format!("/images/{index}")).collect())
}

#[cfg(test)]
mod tests {
    use pinhole_sdk::Size;

    use super::*;

    fn job() -> Job {
        Job {
            prompt: "a red fox".into(),
            negative_prompt: None,
            model: None,
            size: None,
            count: 1,
            steps: None,
            seed: None,
            parameters: "{}".into(),
        }
    }

    fn checkpoint(title: &str, model_name: &str) -> Checkpoint {
        serde_json::from_value(json!({
            "title": title, "model_name": model_name, "hash": null,
            "filename": format!("C:\\models\\{model_name}.safetensors"),
        }))
        .unwrap()
    }

    #[track_caller]
    fn check_body(job: &Job, params: Value, expected: Value) {
        let Value::Object(params) = params else {
            panic!("params are an object");
        };
        let checkpoint = job.model.as_deref().map(|name| checkpoint(name, name));
        let body = txt2img(job, checkpoint.as_ref(), params).unwrap();
        assert_eq!(Value::Object(body), expected);
    }

    #[test]
    fn only_what_is_set_is_sent() {
        check_body(
            &job(),
            json!({}),
            json!({"prompt": "a red fox", "batch_size": 1, "save_images": false}),
        );
        check_body(
            &Job {
                negative_prompt: Some("blurry".into()),
                model: Some("fox".into()),
                size: Some(Size {
                    width: 512,
                    height: 768,
                }),
                count: 2,
                steps: Some(20),
                seed: Some(5),
                ..job()
            },
            json!({}),
            json!({
                "prompt": "a red fox", "negative_prompt": "blurry", "batch_size": 2, "save_images": false,
                "width": 512, "height": 768, "steps": 20, "seed": 5,
                "override_settings": {"sd_model_checkpoint": "fox"},
            }),
        );
    }

    #[test]
    fn sides_are_whole_blocks() {
        for (pixels, expected) in [
            (70, 64),
            (50, 48),
            (512, 512),
            (1, 8),
            (u32::MAX, u32::MAX - 7),
        ] {
            assert_eq!(whole_blocks(pixels), expected);
        }
    }

    #[test]
    fn parameters_are_merged_and_those_of_the_operator_win() {
        check_body(
            &Job {
                model: Some("fox".into()),
                size: Some(Size {
                    width: 512,
                    height: 512,
                }),
                parameters: r#"{"cfg_scale": 3, "tiling": true}"#.into(),
                ..job()
            },
            json!({"cfg_scale": 7, "width": 640, "override_settings": {"CLIP_stop_at_last_layers": 2}}),
            json!({
                "prompt": "a red fox", "batch_size": 1, "save_images": false,
                "width": 640, "height": 512, "cfg_scale": 7, "tiling": true,
                "override_settings": {"sd_model_checkpoint": "fox", "CLIP_stop_at_last_layers": 2},
            }),
        );
    }

    #[test]
    fn a_job_cannot_change_the_server() {
        for (parameters, field) in [
            ("[]", "parameters"),
            ("{", "parameters"),
            (
                r#"{"override_settings_restore_afterwards": false}"#,
                "override_settings_restore_afterwards",
            ),
            (
                r#"{"override_settings": {"samples_format": "jpg"}}"#,
                "samples_format",
            ),
        ] {
            let job = Job {
                parameters: parameters.into(),
                ..job()
            };
            let error = txt2img(&job, None, Body::new()).unwrap_err();
            assert_eq!(
                (error.kind, error.field.as_deref()),
                (ErrorKind::Invalid, Some(field))
            );
        }
    }

    #[test]
    fn a_checkpoint_is_found_by_any_of_its_names() {
        let recorded: Vec<Checkpoint> =
            serde_json::from_str(include_str!("../testdata/sd-models.json")).unwrap();
        let found = find(recorded, "random-sd15-tiny").unwrap();
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
            assert!(
                find(vec![checkpoint("sub/fox.ckpt [abc123]", "fox")], name).is_ok(),
                "{name}"
            );
        }
        let error = find(vec![checkpoint("fox.ckpt", "fox")], "hen").unwrap_err();
        assert_eq!(
            (error.kind, error.field.as_deref()),
            (ErrorKind::NotFound, Some("model"))
        );
    }

    #[track_caller]
    fn check_made(body: &str, count: u32, pointers: &[&str], details: Value) {
        let made: Made = serde_json::from_str(body).unwrap();
        let info = made.info();
        let found = super::pointers(made.images(), info.first_image(), count).unwrap();
        assert_eq!(found, pointers);
        let found: Value = serde_json::from_str(&info.details(found.len())).unwrap();
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
    fn never_more_images_than_the_job_allows() {
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
    fn no_image_is_an_error() {
        for body in [
            include_str!("../testdata/txt2img-without-images.json"),
            r#"{"images": null}"#,
            "{}",
        ] {
            let made: Made = serde_json::from_str(body).unwrap();
            let error = pointers(made.images(), 0, 1).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Protocol);
        }
    }

    #[test]
    fn a_cut_info_is_noticed() {
        let info = |text: &str| Made {
            images: None,
            info: json!(text),
        };
        assert!(info(r#"{"prompt": "a red fox", "all_pr"#).info_is_cut());
        assert!(!info(r#"{"prompt": "a red fox"}"#).info_is_cut());
        assert!(!info("").info_is_cut());
    }

    #[test]
    fn another_model_is_noticed() {
        let made: Made = serde_json::from_str(include_str!("../testdata/txt2img.json")).unwrap();
        let other = |asked| made.info().other_model(&asked).map(str::to_owned);
        assert_eq!(
            other(checkpoint(
                "random-sd15-tiny.safetensors",
                "random-sd15-tiny"
            )),
            None
        );
        assert_eq!(
            other(checkpoint("fox", "fox")).as_deref(),
            Some("random-sd15-tiny")
        );
    }
}
