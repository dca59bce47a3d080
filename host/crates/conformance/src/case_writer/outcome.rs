//! The outcome of a case: the images, and what the engine said about them.

use serde_json::{Map, Value, json};

use super::RecordedOutcome;
use super::bodies::{BodyWriter, Side};
use crate::host::JobImages;

/// The fields of the details with the seeds of the images, as a case names them.
const SEEDS: &str = "seeds";

/// The outcome. Details, seeds, usage and cost are compared, because they come from the replies.
pub(super) fn to_json(
    outcome: RecordedOutcome,
    parameters: &Map<String, Value>,
    bodies: &mut BodyWriter,
) -> Value {
    match outcome {
        RecordedOutcome::Images(job) => images_json(&job, parameters, bodies),
        RecordedOutcome::Failed(failure) => json!({"error": {"kind": failure.kind}}),
    }
}

fn images_json(job: &JobImages, parameters: &Map<String, Value>, bodies: &mut BodyWriter) -> Value {
    let mut expected = Map::new();
    let pictures = job.images.iter().map(|image| {
        let (width, height) = image.size();
        let mut picture = Map::from_iter([
            ("media_type".to_owned(), image.media_type().into()),
            ("size".to_owned(), format!("{width}x{height}").into()),
        ]);
        if let Some(spec) = bodies.images.known(image.bytes()) {
            picture.insert("picture".to_owned(), spec.into());
        }
        Value::from(picture)
    });
    expected.insert("pictures".to_owned(), pictures.collect());
    if let Some(text) = &job.revised_prompt {
        let prompt = bodies.texts.reply_text(text);
        expected.insert("revised_prompt".to_owned(), prompt.into());
    }
    if let Value::Object(mut details) = job.report() {
        details.remove(SEEDS);
        let details = match bodies.json("details", details.into(), Side::Reply) {
            Value::Object(mut details) if !details.contains_key("$file") => {
                let seeds = job.seeds.iter().copied().flatten();
                let seeds: Vec<Value> = seeds
                    .map(|seed| seed_pattern(seed, parameters, bodies))
                    .collect();
                if !seeds.is_empty() {
                    details.insert(SEEDS.to_owned(), seeds.into());
                }
                Value::from(details)
            }
            file => file,
        };
        if details != json!({}) {
            expected.insert("details".to_owned(), details);
        }
    }
    if !job.warnings.is_empty() {
        let warnings = job.warnings.iter();
        let warnings = warnings.map(|it| Value::from(bodies.texts.reply_text(it)));
        expected.insert("warnings".to_owned(), warnings.collect());
    }
    expected.into()
}

/// The seed of an image. One that the engine chose, and no request or reply has, differs in each run.
fn seed_pattern(seed: u64, parameters: &Map<String, Value>, bodies: &BodyWriter) -> Value {
    if let Some(placeholder) = bodies.texts.number(seed, true) {
        return placeholder.into();
    }
    if parameters.contains_key("seed") || bodies.texts.is_in_reply(seed) {
        return seed.into();
    }
    "{any}".into()
}
