//! What a job brings to a workflow.

use std::collections::{BTreeMap, BTreeSet};

use pinhole_sdk::{Error, Job, Size};
use serde_json::{Value, json};

/// Sides are rounded down to a multiple of so many pixels: latent images have an eighth of a picture's.
pub(super) const BLOCK: u32 = 8;
/// Seeds we draw have no more bits: beyond, JSON numbers lose digits in many programs.
const SEED_BITS: u32 = 53;
/// What no parameter may be called: what a job says itself was checked by the host, and the files of
/// the server are not for a job to choose.
const RESERVED: [&str; 13] = [
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
    "image",
    "mask",
];

/// What a job brings, by the names that a mapping uses. What it leaves open is not there, and the
/// workflow keeps its own.
#[derive(Debug)]
pub(crate) struct Values {
    values: BTreeMap<String, Value>,
    /// Each of these must have a place.
    parameters: BTreeSet<String>,
    /// What the server calls the uploaded source pictures.
    pub(crate) sources: Vec<String>,
    /// What it calls the mask.
    pub(crate) mask: Option<String>,
    /// The names of those that the job itself named, and so means.
    named: Vec<&'static str>,
    /// The size asked for, where it is another than the one that is written.
    pub(crate) rounded: Option<(Size, Size)>,
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
        let mut rounded = None;
        if let Some(asked) = job.size {
            let size = asked.rounded_down(BLOCK);
            rounded = (size != asked).then_some((asked, size));
            set("width", json!(size.width));
            set("height", json!(size.height));
        }
        if let Some(steps) = job.steps {
            set("steps", json!(steps));
        }
        // Lists would be links, and objects nodes: the graph is the operator's.
        let own = job.checked_parameters(&RESERVED)?;
        if let Some((name, _)) = own.iter().find(|(_, value)| !is_plain(value)) {
            let message = format!("parameter {name} is neither a text, a number nor a boolean");
            return Err(Error::invalid(name, message));
        }
        let parameters = own.keys().cloned().collect();
        values.extend(own);
        Ok(Self {
            values,
            parameters,
            sources: Vec::new(),
            mask: None,
            named: named(job),
            rounded,
        })
    }

    /// The names of what the job itself named.
    pub(super) fn named(&self) -> &[&'static str] {
        &self.named
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// The names of those that came as parameters.
    pub(super) fn parameters(&self) -> impl Iterator<Item = &String> {
        self.parameters.iter()
    }
}

fn named(job: &Job) -> Vec<&'static str> {
    let size = job.size.is_some();
    [
        ("prompt", true),
        ("negative_prompt", job.negative_prompt.is_some()),
        ("model", job.model.is_some()),
        ("width", size),
        ("height", size),
        ("n", job.count > 1),
        ("steps", job.steps.is_some()),
        ("seed", job.seed.is_some()),
    ]
    .into_iter()
    .filter_map(|(name, named)| named.then_some(name))
    .collect()
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
}
