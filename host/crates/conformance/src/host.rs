//! The server as the case runner sees it.
//!
//! This crate sits below the server, so the binary implements [`Host`] for it.

use anyhow::Result;
use pinhole_ground::environment::Environment;
use pinhole_images::Image;
use pinhole_sandbox::JobContext;
use pinhole_sandbox::contract::Model;
use serde_json::{Map, Value};

/// A server without its web layer: opens engines from settings and runs jobs.
pub trait Host: Sized {
    /// Opens it with these variables and no others.
    fn open(environment: Environment) -> impl Future<Output = Result<Self>>;

    /// Runs one job or query of the engine and returns its result.
    fn run(&self, task: Task, context: &JobContext) -> impl Future<Output = TaskResult>;
}

/// What a case asks the engine to do.
pub enum Task {
    /// Generate images.
    Generate(JobParameters),
    /// Edit images.
    Edit {
        /// The job.
        job: JobParameters,
        /// The images to edit.
        sources: Vec<Image>,
        /// Transparent where the first source may change.
        mask: Option<Image>,
    },
    /// List the models of this engine.
    Models {
        /// The engine's name.
        engine: String,
    },
    /// Verify the settings of this engine.
    Verify {
        /// The engine's name.
        engine: String,
    },
}

/// The parameters of a job, as a client sends them.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs, reason = "the names say it")]
pub struct JobParameters {
    pub prompt: String,
    pub negative_prompt: Option<String>,
    pub model: Option<String>,
    pub size: Option<String>,
    pub count: Option<u32>,
    pub steps: Option<u32>,
    pub seed: Option<u64>,
    pub parameters: Map<String, Value>,
}

/// The result of a [`Task`].
pub enum TaskResult {
    /// A job's images.
    Images(JobImages),
    /// The engine's models.
    Models(Vec<Model>),
    /// The settings work.
    Verified,
    /// The task failed.
    Failed(Failure),
}

/// The images of a job.
#[derive(Clone, Debug)]
pub struct JobImages {
    /// In the engine's order.
    pub images: Vec<Image>,
    /// The prompt as the upstream rewrote it.
    pub revised_prompt: Option<String>,
    /// A JSON object: model, seeds, upstream ids.
    pub details: String,
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
    /// When to retry.
    pub retry_after_ms: Option<u64>,
    /// The log line for the operator.
    pub operator_message: String,
}
