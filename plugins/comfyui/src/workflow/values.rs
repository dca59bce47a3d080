//! What a job brings to a workflow.

use std::collections::{BTreeMap, BTreeSet};

use pinhole_sdk::{Error, Job};
use serde_json::{Map, Value, json};

/// Sides are rounded down to a multiple of so many pixels: latent images have an eighth of a picture's.
const BLOCK: u32 = 8;
/// Seeds we draw have no more bits: beyond, JSON numbers lose digits in many programs.
const SEED_BITS: u32 = 53;

/// What a job brings, by the names that a mapping uses. What it leaves open is not there, and the
/// workflow keeps its own.
#[derive(Debug)]
pub(crate) struct Values {
    values: BTreeMap<String, Value>,
    /// Each of these must have a place.
    parameters: BTreeSet<String>,
}

impl Values {
    /// `random` makes the seed of a job that has none.
    pub(crate) fn of(job: &Job, random: u64) -> Result<Self, Error> {
        let mut values = BTreeMap::new();
        let mut set = |name: &str, value: Value| values.insert(name.to_owned(), value);
        set("prompt", json!(job.prompt));
        set("n", json!(job.count));
        set("seed", json!(job.seed.unwrap_or(random % (1 << SEED_BITS))));
        if let Some(text) = &job.negative_prompt {
            set("negative_prompt", json!(text));
        }
        if let Some(model) = &job.model {
            set("model", json!(model));
        }
        if let Some(size) = job.size {
            set("width", json!(whole_blocks(size.width)));
            set("height", json!(whole_blocks(size.height)));
        }
        if let Some(steps) = job.steps {
            set("steps", json!(steps));
        }
        let own = own_parameters(&job.parameters)?;
        let parameters = own.keys().cloned().collect();
        values.extend(own);
        Ok(Self { values, parameters })
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.values.keys()
    }

    /// The names of those that came as parameters.
    pub(super) fn parameters(&self) -> impl Iterator<Item = &String> {
        self.parameters.iter()
    }
}

fn whole_blocks(pixels: u32) -> u32 {
    (pixels - pixels % BLOCK).max(BLOCK)
}

/// The job's parameters: names that a mapping may use as types, with plain values. Lists would be
/// links, and objects nodes: the graph is the operator's.
fn own_parameters(text: &str) -> Result<Map<String, Value>, Error> {
    let parameters: Map<String, Value> = serde_json::from_str(text).map_err(|error| {
        Error::invalid("parameters", format!("they are not a JSON object: {error}"))
    })?;
    if parameters.contains_key("image") {
        let message = "the files of the server are not for a job to choose: leave image out";
        return Err(Error::invalid("image", message));
    }
    match parameters.iter().find(|(_, value)| !is_plain(value)) {
        Some((name, _)) => {
            let message = format!("parameter {name} is neither a text, a number nor a boolean");
            Err(Error::invalid(name, message))
        }
        None => Ok(parameters),
    }
}

fn is_plain(value: &Value) -> bool {
    value.is_string() || value.is_number() || value.is_boolean()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_of_ours_keeps_its_digits_in_json() {
        let job = |seed| Job {
            prompt: "a red fox".into(),
            negative_prompt: None,
            model: None,
            size: None,
            count: 1,
            steps: None,
            seed,
            parameters: "{}".into(),
        };
        let seed = |job: &Job| Values::of(job, u64::MAX).unwrap().get("seed").cloned();
        assert_eq!(seed(&job(None)), Some(json!((1_u64 << 53) - 1)));
        assert_eq!(seed(&job(Some(u64::MAX))), Some(json!(u64::MAX)));
    }

    #[test]
    fn sides_are_whole_blocks() {
        for (pixels, expected) in [(70, 64), (512, 512), (1, 8), (u32::MAX, u32::MAX - 7)] {
            assert_eq!(whole_blocks(pixels), expected);
        }
    }
}
