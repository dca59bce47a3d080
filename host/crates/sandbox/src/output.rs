//! The results of an engine: within their limits, and with text that is safe to show.

use wasmtime::component::ResourceTableError;

use crate::contract::{EngineError, Model, Output, Placement, Verification};
use crate::error::Error;
use crate::redaction::CallRedactor;
use crate::state::State;
use pinhole_ground::guard::{Guard, Refusal};
use pinhole_ground::text::{is_plain, plain};
use pinhole_images::Image;

/// Models that an engine can list.
const MAX_MODELS: usize = 10_000;
/// Length of a model's name in bytes.
pub const MAX_MODEL_BYTES: usize = 512;
/// Length of the details of a job's images, as JSON, in bytes.
const MAX_DETAILS_BYTES: usize = 64 << 10;
/// Length of a revised prompt in bytes; a longer one is cut.
const MAX_REVISED_BYTES: usize = 8 << 10;
/// Warnings of one job.
const MAX_WARNINGS: usize = 10;
/// Length of a warning in bytes; a longer one is cut.
const MAX_WARNING_BYTES: usize = 300;
/// Length of an engine's error in bytes; a longer one is cut.
const MAX_ERROR_BYTES: usize = 2 << 10;
/// The longest retry delay in milliseconds. A daily quota is available again within one day.
const MAX_RETRY_AFTER_MS: u64 = 24 * 3600 * 1000;
/// Length of an error's code, and of its field name, in bytes; a longer one is cut.
const MAX_CODE_BYTES: usize = 100;

/// Rows of a verification; further ones are cut.
const MAX_VERIFICATION_ROWS: usize = 500;
/// Problems of a verification; further ones are cut.
const MAX_VERIFICATION_PROBLEMS: usize = 50;
/// Length of a text of a verification in bytes; a longer one is cut.
const MAX_VERIFICATION_TEXT_BYTES: usize = 500;

/// The result of a job.
#[derive(Clone, Debug)]
pub struct JobOutput {
    /// In the engine's order; at least one.
    pub images: Vec<Image>,
    /// The prompt as the upstream rewrote it.
    pub revised_prompt: Option<String>,
    /// A JSON object: model, seeds, upstream ids.
    pub details: String,
    /// What the caller should know about the images. At most 10 lines of 300 bytes.
    pub warnings: Vec<String>,
}

impl JobOutput {
    /// Takes a guest's output out of its store.
    pub(crate) fn from_guest(
        state: &mut State,
        output: Output,
        max_images: usize,
    ) -> Result<Self, Error> {
        check_output(&output, max_images)?;
        let images = output
            .images
            .into_iter()
            .map(|handle| {
                let resource = state.table.delete(handle)?;
                // The image is counted until its last copy is dropped.
                let lease = resource.reservation.into_lease();
                Ok(resource.image.with_lease(lease))
            })
            .collect::<Result<_, ResourceTableError>>()
            .map_err(|error| Error::protocol(error.to_string()))?;
        let redactor = &state.redactor;
        Ok(Self {
            warnings: sanitize_warnings(&output.warnings, redactor),
            images,
            revised_prompt: output.revised_prompt.map(|prompt| {
                let prompt = plain(&prompt, MAX_REVISED_BYTES);
                redactor
                    .redact_text(&prompt, Guard::SecretDetails)
                    .into_owned()
            }),
            details: redactor.redact_json(output.details, Guard::SecretDetails),
        })
    }
}

/// Redacts and cuts warnings. Instead of those beyond the limit, the last one counts them.
fn sanitize_warnings(warnings: &[String], redactor: &CallRedactor) -> Vec<String> {
    let limit = Guard::Answer.limit(MAX_WARNINGS);
    let kept = if warnings.len() > limit {
        limit.saturating_sub(1)
    } else {
        warnings.len()
    };
    let mut lines: Vec<String> = warnings
        .iter()
        .take(kept)
        .map(|warning| plain(warning, MAX_WARNING_BYTES))
        .map(|warning| {
            redactor
                .redact_text(&warning, Guard::SecretDetails)
                .into_owned()
        })
        .collect();
    if kept < warnings.len() {
        lines.push(format!("{} more warnings", warnings.len() - kept));
    }
    lines
}

fn check_output(output: &Output, max_images: usize) -> Result<(), Error> {
    let protocol = |refusal: Refusal| Error::protocol(refusal.reason);
    let count = output.images.len();
    if count == 0 {
        let message = "the engine returned no image and no error";
        return Err(Error::protocol(message.to_owned()));
    }
    Guard::Answer
        .refuse_if(count > max_images, || {
            format!("the engine returned {count} images, but at most {max_images} were requested")
        })
        .map_err(protocol)?;
    Guard::Answer
        .refuse_if(output.details.len() > MAX_DETAILS_BYTES, || {
            format!("the engine's details are longer than {MAX_DETAILS_BYTES} bytes")
        })
        .map_err(protocol)
}

/// Redacts a list of models. Fails if it is too long, or if a job could not name one of the models.
pub(crate) fn sanitize_models(
    mut models: Vec<Model>,
    redactor: &CallRedactor,
) -> Result<Vec<Model>, Error> {
    if models.len() > MAX_MODELS {
        let message = format!("the engine lists more than {MAX_MODELS} models");
        return Err(Error::protocol(message));
    }
    let redact = |text: &str| redactor.redact_text(text, Guard::SecretModels).into_owned();
    for model in &mut models {
        if !is_plain(&model.id, MAX_MODEL_BYTES) {
            return Err(Error::protocol(format!(
                "the engine lists a model whose id has more than {MAX_MODEL_BYTES} bytes or invisible characters"
            )));
        }
        model.name = redact(&plain(&model.name, MAX_MODEL_BYTES));
        model.id = redact(&model.id);
    }
    Ok(models)
}

/// Redacts and cuts what an engine's verification found.
pub(crate) fn sanitize_verification(
    verification: Verification,
    redactor: &CallRedactor,
) -> Verification {
    let sanitize = |text: &str| {
        let text = plain(text, MAX_VERIFICATION_TEXT_BYTES);
        redactor.redact_text(&text, Guard::SecretError).into_owned()
    };
    let rows = verification.rows.iter().take(MAX_VERIFICATION_ROWS);
    let problems = verification.problems.iter().take(MAX_VERIFICATION_PROBLEMS);
    Verification {
        server: verification.server.as_deref().map(sanitize),
        rows: rows
            .map(|row| Placement {
                setting: sanitize(&row.setting),
                role: sanitize(&row.role),
                node: sanitize(&row.node),
                title: sanitize(&row.title),
                input: sanitize(&row.input),
                value: sanitize(&row.value),
            })
            .collect(),
        problems: problems.map(|problem| sanitize(problem)).collect(),
    }
}

/// Redacts and cuts an engine's error, because upstreams may reflect a secret in one.
pub(crate) fn sanitize_error(error: EngineError, redactor: &CallRedactor) -> EngineError {
    let sanitize = |text: &str, max_bytes| {
        let text = plain(text, max_bytes);
        redactor.redact_text(&text, Guard::SecretError).into_owned()
    };
    EngineError {
        kind: error.kind,
        message: sanitize(&error.message, MAX_ERROR_BYTES),
        code: error.code.map(|code| sanitize(&code, MAX_CODE_BYTES)),
        field: error.field.map(|field| sanitize(&field, MAX_CODE_BYTES)),
        retry_after_ms: error.retry_after_ms.map(|delay| {
            if Guard::RetryAfter.applies(delay > MAX_RETRY_AFTER_MS) {
                MAX_RETRY_AFTER_MS
            } else {
                delay
            }
        }),
    }
}
