//! The results of an engine: within their limits, and with text that is safe to show.

use wasmtime::component::ResourceTableError;

use crate::contract::{
    Cost, EngineError, Explanation, Model, ModelAbilities, Output, Placement, Verification,
};
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
/// Length of the details of a job, and of all its images together, as JSON, in bytes.
const MAX_DETAILS_BYTES: usize = 64 << 10;
/// Length of the usage of a job, as JSON, in bytes.
const MAX_USAGE_BYTES: usize = 4 << 10;
/// Length of the unit of a cost in bytes; a longer one is cut.
const MAX_UNIT_BYTES: usize = 20;
/// Sizes, and aspect ratios, that a model can list; further ones are cut.
const MAX_MODEL_SIZES: usize = 64;
/// Length of an aspect ratio in bytes; a longer one is left out.
const MAX_RATIO_BYTES: usize = 20;
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

/// Rows of an explanation; further ones are cut.
const MAX_EXPLANATION_ROWS: usize = 500;
/// Problems of an explanation or a verification; further ones are cut.
const MAX_PROBLEMS: usize = 50;
/// Length of a text of an explanation or a verification in bytes; a longer one is cut.
const MAX_REPORT_TEXT_BYTES: usize = 500;

/// What an engine found out about its settings and its upstream.
#[derive(Clone, Debug, Default)]
pub struct EngineReport {
    /// The upstream's software, its version and its devices.
    pub server: Option<String>,
    /// Where the values of a job go.
    pub rows: Vec<Placement>,
    /// What the settings do not do, although jobs are possible.
    pub problems: Vec<String>,
}

impl EngineReport {
    /// A verification and an explanation together.
    #[must_use]
    pub fn new(verification: Verification, explanation: Explanation) -> Self {
        let mut problems = explanation.problems;
        problems.extend(verification.problems);
        Self {
            server: verification.server,
            rows: explanation.rows,
            problems,
        }
    }
}

/// The result of a job.
#[derive(Clone, Debug)]
pub struct JobOutput {
    /// In the engine's order; at least one.
    pub images: Vec<OutputImage>,
    /// The prompt as the upstream rewrote it.
    pub revised_prompt: Option<String>,
    /// A JSON object: model, upstream ids.
    pub details: String,
    /// What the upstream counted, such as tokens: a JSON object.
    pub usage: Option<String>,
    /// What the upstream charges.
    pub cost: Option<Cost>,
    /// What the caller should know about the images. At most 10 lines of 300 bytes.
    pub warnings: Vec<String>,
}

/// One image of a job.
#[derive(Clone, Debug)]
pub struct OutputImage {
    pub image: Image,
    pub seed: Option<u64>,
    /// The upstream's safety system marked it.
    pub flagged: bool,
    /// A JSON object.
    pub details: String,
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
            .map(|made| {
                let resource = state.table.delete(made.image)?;
                // The image is counted until its last copy is dropped.
                let lease = resource.reservation.into_lease();
                Ok(OutputImage {
                    image: resource.image.with_lease(lease),
                    seed: made.seed,
                    flagged: made.flagged,
                    details: state
                        .redactor
                        .redact_json(made.details, Guard::SecretDetails),
                })
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
            usage: output
                .usage
                .map(|usage| redactor.redact_json(usage, Guard::SecretDetails)),
            cost: output.cost.map(|cost| Cost {
                amount: cost.amount,
                unit: redactor
                    .redact_text(&plain(&cost.unit, MAX_UNIT_BYTES), Guard::SecretDetails)
                    .into_owned(),
            }),
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
    let image_details = output.images.iter().map(|made| made.details.len());
    let details = output.details.len() + image_details.sum::<usize>();
    Guard::Answer
        .refuse_if(details > MAX_DETAILS_BYTES, || {
            format!("the engine's details are longer than {MAX_DETAILS_BYTES} bytes")
        })
        .map_err(protocol)?;
    let usage = output.usage.as_ref().map_or(0, String::len);
    Guard::Answer
        .refuse_if(usage > MAX_USAGE_BYTES, || {
            format!("the engine's usage is longer than {MAX_USAGE_BYTES} bytes")
        })
        .map_err(protocol)?;
    let cost = output.cost.as_ref().map_or(0.0, |cost| cost.amount);
    // Also for a value that is no number.
    if !(cost.is_finite() && cost >= 0.0) {
        let message = "the engine returned a cost that is no amount: it must be at least 0";
        return Err(Error::protocol(message.to_owned()));
    }
    Ok(())
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
        if let Some(abilities) = &mut model.abilities {
            check_model(&model.id, abilities)?;
        }
    }
    Ok(models)
}

/// Cuts the lists of a model's abilities. Fails if a number in them does not count.
fn check_model(id: &str, abilities: &mut ModelAbilities) -> Result<(), Error> {
    if abilities.max_count == 0 {
        let message = format!("the engine lists model {id} with a max-count of 0");
        return Err(Error::protocol(message));
    }
    abilities
        .sizes
        .retain(|size| size.width > 0 && size.height > 0);
    abilities.sizes.truncate(MAX_MODEL_SIZES);
    abilities
        .aspect_ratios
        .retain(|ratio| is_plain(ratio, MAX_RATIO_BYTES));
    abilities.aspect_ratios.truncate(MAX_MODEL_SIZES);
    Ok(())
}

/// Redacts and cuts what an engine's verification found.
pub(crate) fn sanitize_verification(
    verification: Verification,
    redactor: &CallRedactor,
) -> Verification {
    let problems = verification.problems.iter().take(MAX_PROBLEMS);
    Verification {
        server: verification.server.map(|it| short_text(&it, redactor)),
        problems: problems.map(|it| short_text(it, redactor)).collect(),
    }
}

/// Redacts and cuts an engine's explanation of its settings.
pub(crate) fn sanitize_explanation(
    explanation: &Explanation,
    redactor: &CallRedactor,
) -> Explanation {
    let sanitize = |text: &str| short_text(text, redactor);
    let rows = explanation.rows.iter().take(MAX_EXPLANATION_ROWS);
    let problems = explanation.problems.iter().take(MAX_PROBLEMS);
    Explanation {
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

fn short_text(text: &str, redactor: &CallRedactor) -> String {
    let text = plain(text, MAX_REPORT_TEXT_BYTES);
    redactor.redact_text(&text, Guard::SecretError).into_owned()
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
