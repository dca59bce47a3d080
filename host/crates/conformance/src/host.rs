//! The server, as the case runner uses it.
//!
//! This crate sits below the server, so the binary implements [`Host`] for it.

use anyhow::Result;
use pinhole_ground::environment::Environment;
use pinhole_images::Image;
use pinhole_sandbox::contract::Model;
use pinhole_sandbox::{EngineReport, JobContext};
use serde_json::{Map, Value, json};

/// A server without its web layer: opens engines with settings and runs jobs.
pub trait Host: Sized {
    /// Opens a server with exactly these variables.
    fn open(environment: Environment) -> impl Future<Output = Result<Self>>;

    /// Runs one task and returns its result.
    fn run(&self, task: Task, context: &JobContext) -> impl Future<Output = TaskResult>;
}

/// What a case asks of the engine.
pub enum Task {
    Generate(JobParameters),
    Edit {
        job: JobParameters,
        sources: Vec<Image>,
        /// Transparent pixels mark the part of the first source that may change.
        mask: Option<Image>,
    },
    /// List the engine's models.
    Models {
        engine: String,
    },
    /// Verify the engine's settings.
    Verify {
        engine: String,
    },
}

/// The parameters of a job, as a client sends them.
#[derive(Clone, Debug, Default)]
pub struct JobParameters {
    pub prompt: String,
    pub negative_prompt: Option<String>,
    pub model: Option<String>,
    pub size: Option<String>,
    pub count: Option<u32>,
    pub steps: Option<u32>,
    pub seed: Option<u64>,
    pub strength: Option<f32>,
    pub parameters: Map<String, Value>,
}

/// The result of a [`Task`].
pub enum TaskResult {
    Images(JobImages),
    Models(Vec<Model>),
    /// The settings work.
    Verified(EngineReport),
    Failed(Failure),
}

/// The images of a job.
#[derive(Clone, Debug)]
pub struct JobImages {
    /// In the engine's order.
    pub images: Vec<Image>,
    /// The prompt as the upstream rewrote it.
    pub revised_prompt: Option<String>,
    /// Model, upstream ids. Null if the engine's details are invalid JSON.
    pub details: Value,
    /// Of each image, or none.
    pub seeds: Vec<Option<u64>>,
    pub usage: Option<Value>,
    /// An amount and its unit.
    pub cost: Option<(f64, String)>,
    /// What the user should know about the images.
    pub warnings: Vec<String>,
    /// How many of the warnings are the engine's own, which come first.
    pub engine_warnings: usize,
}

impl JobImages {
    /// The details, with the engine's own warnings as `notes`, and with seeds, usage and cost: a case can name all
    /// in one pattern.
    pub(crate) fn report(&self) -> Value {
        let mut details = self.details.clone();
        let notes: Vec<&str> = self
            .warnings
            .iter()
            .take(self.engine_warnings)
            .map(String::as_str)
            .collect();
        let seeds: Vec<u64> = self.seeds.iter().copied().flatten().collect();
        let cost = self.cost.as_ref();
        let cost = cost.map(|(amount, unit)| json!({"amount": amount, "unit": unit}));
        let additions = [
            ("notes", (!notes.is_empty()).then(|| notes.into())),
            ("seeds", (!seeds.is_empty()).then(|| seeds.into())),
            ("usage", self.usage.clone()),
            ("cost", cost),
        ];
        if let Some(fields) = details.as_object_mut() {
            for (name, value) in additions {
                fields.extend(value.map(|value| (name.to_owned(), value)));
            }
        }
        details
    }
}

/// Why a task failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The name of a contract error kind.
    pub kind: &'static str,
    /// The message for the client.
    pub message: String,
    /// The upstream's error code.
    pub code: Option<String>,
    /// The invalid field.
    pub field: Option<String>,
    pub retry_after_ms: Option<u64>,
    /// The log line for the operator.
    pub operator_message: String,
}
