//! The values of a job that a workflow can take.

use std::collections::{BTreeMap, BTreeSet};

use pinhole_sdk::{Error, Job, Size};
use serde_json::{Value, json};

use super::node_input::{DENOISE, STRENGTH};

/// Sides are rounded down to a multiple of this many pixels: a latent image has an eighth of an image's
/// sides.
pub(super) const BLOCK: u32 = 8;
/// Maximum number of bits of a random seed. Many programs lose digits of larger JSON numbers.
const SEED_BITS: u32 = 53;
/// Length of a value in a table, in bytes.
pub(super) const MAX_SHOWN_BYTES: usize = 200;
/// Names that no parameter may have: the host has validated the fields of the job, and a job must not
/// select files of the server.
const RESERVED: [&str; 14] = [
    "prompt",
    "negative_prompt",
    "model",
    "width",
    "height",
    "size",
    "n",
    "count",
    "batch_size",
    "steps",
    "seed",
    "strength",
    "image",
    "mask",
];

/// The values of a job, by the names that a mapping uses. Values that the job leaves open are absent;
/// the workflow then has its own.
#[derive(Clone, Debug)]
pub struct JobValues {
    values: BTreeMap<String, Value>,
    /// The names of the job's own parameters. An input must take each of them.
    parameters: BTreeSet<String>,
    /// The server's names of the uploaded source images.
    pub sources: Vec<String>,
    /// The server's name of the uploaded mask.
    pub mask: Option<String>,
    /// The names of the values that the job sets explicitly.
    explicit: Vec<&'static str>,
    /// The requested size and the rounded one, if they differ.
    pub(crate) rounded_size: Option<(Size, Size)>,
}

impl JobValues {
    /// Reads the values of a job. `random` becomes the seed of a job without one.
    ///
    /// Fails if a parameter has a reserved name, or is neither a text, a number nor a boolean.
    pub fn from_job(job: &Job, random: u64) -> Result<Self, Error> {
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
        let mut rounded_size = None;
        if let Some(requested) = job.size {
            let size = requested.round_down(BLOCK);
            rounded_size = (size != requested).then_some((requested, size));
            set("width", json!(size.width));
            set("height", json!(size.height));
        }
        if let Some(steps) = job.steps {
            set("steps", json!(steps));
        }
        if let Some(strength) = job.decimal_strength() {
            set(STRENGTH, json!(strength));
        }
        // A list would be a link and an object a node, but the graph belongs to the operator.
        let parameters = job.parse_parameters(&RESERVED)?;
        if let Some((name, _)) = parameters.iter().find(|(_, value)| !is_scalar(value)) {
            let message = format!("parameter {name} is neither a text, a number nor a boolean");
            return Err(Error::invalid(name, message));
        }
        if job.strength.is_some() && parameters.contains_key(DENOISE) {
            let message = "denoise is the strength of the job: leave out one of both";
            return Err(Error::invalid(DENOISE, message));
        }
        let parameter_names = parameters.keys().cloned().collect();
        values.extend(parameters);
        Ok(Self {
            values,
            parameters: parameter_names,
            sources: Vec::new(),
            mask: None,
            explicit: explicit_names(job),
            rounded_size,
        })
    }

    /// The seed that is written into the workflow.
    pub(crate) fn seed(&self) -> Option<u64> {
        self.values.get("seed")?.as_u64()
    }

    /// The same values with the next seed.
    #[must_use]
    pub(crate) fn with_next_seed(&self) -> Self {
        let mut next = self.clone();
        if let Some(seed) = next.seed() {
            let seed = seed.wrapping_add(1);
            next.values.insert("seed".to_owned(), json!(seed));
        }
        next
    }

    pub(super) fn explicit(&self) -> &[&'static str] {
        &self.explicit
    }

    /// The value of this name. A job can also set its strength as the parameter `denoise`.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        let denoise = || self.values.get(DENOISE).filter(|_| name == STRENGTH);
        self.values.get(name).or_else(denoise)
    }

    pub(super) fn parameter_names(&self) -> impl Iterator<Item = &String> {
        self.parameters.iter()
    }
}

fn explicit_names(job: &Job) -> Vec<&'static str> {
    let has_size = job.size.is_some();
    [
        ("prompt", true),
        ("negative_prompt", job.negative_prompt.is_some()),
        ("model", job.model.is_some()),
        ("width", has_size),
        ("height", has_size),
        ("n", job.count > 1),
        ("steps", job.steps.is_some()),
        ("seed", job.seed.is_some()),
        (STRENGTH, job.strength.is_some()),
    ]
    .into_iter()
    .filter_map(|(name, is_explicit)| is_explicit.then_some(name))
    .collect()
}

fn is_scalar(value: &Value) -> bool {
    value.is_string() || value.is_number() || value.is_boolean()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflow::fixture::minimal_job;

    #[test]
    fn random_seed_keeps_its_digits_in_json() {
        let seed = |seed| {
            let job = Job {
                seed,
                ..minimal_job()
            };
            let values = JobValues::from_job(&job, u64::MAX).unwrap();
            values.get("seed").cloned()
        };
        assert_eq!(seed(None), Some(json!((1_u64 << 53) - 1)));
        assert_eq!(seed(Some(u64::MAX)), Some(json!(u64::MAX)));
    }
}
