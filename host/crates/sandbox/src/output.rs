//! What an engine gives back: within its limits, and with texts that a person can be shown.

use wasmtime::Store;

use super::Error;
use super::contract::{EngineError, Model, Output, Picture};
use super::call::State;
use super::redaction::Echo;
use pinhole_ground::guard::Guard;
use pinhole_images::Image;
use pinhole_ground::text::{is_plain, plain};

/// Models that an engine may list.
const MAX_MODELS: usize = 10_000;
/// Length of a model's name, in bytes.
pub const MAX_MODEL_BYTES: usize = 512;
/// Length of what an engine tells of its pictures, as JSON, in bytes.
const MAX_DETAILS_BYTES: usize = 64 << 10;
/// Length of the address of a picture, in bytes.
const MAX_ADDRESS_BYTES: usize = 16 << 10;
/// Length of a prompt as an upstream rewrote it, in bytes; the rest is cut off.
const MAX_REVISED_BYTES: usize = 8 << 10;
/// Length of an engine's error, in bytes; the rest is cut off.
const MAX_ERROR_BYTES: usize = 2 << 10;
/// How long an engine may ask clients to wait before they ask again, in milliseconds: a quota of a
/// day comes back within one.
const MAX_RETRY_AFTER_MS: u64 = 24 * 3600 * 1000;
/// Length of an error's code, and of the field that it names, in bytes; the rest is cut off.
const MAX_CODE_BYTES: usize = 100;
/// What an engine made.
#[derive(Clone, Debug)]
pub struct Made {
    /// In the engine's order; at least one.
    pub pictures: Vec<Produced>,
    /// The prompt as the upstream rewrote it.
    pub revised_prompt: Option<String>,
    /// A JSON object: model, seeds, upstream ids.
    pub details: String,
}

/// One picture that an engine made.
#[derive(Clone, Debug)]
pub enum Produced {
    /// Checked and in memory.
    Held(Image),
    /// Still at an address that the host has to fetch.
    Address(String),
}
/// A job's pictures, the host's own now, with texts that a person can be shown.
pub(super) fn made(
    store: &mut Store<State>,
    output: Output,
    max_count: usize,
) -> Result<Made, Error> {
    let protocol = |message: String| Err(Error::protocol(message));
    match output.pictures.len() {
        0 => return protocol("the engine gave no picture and no reason".to_owned()),
        given if given > Guard::Answer.limit(max_count) => {
            return protocol(format!(
                "the engine gave {given} pictures, {max_count} at most were asked for"
            ));
        }
        _ => {}
    }
    if output.details.len() > Guard::Answer.limit(MAX_DETAILS_BYTES) {
        return protocol(format!(
            "the engine's details are longer than {MAX_DETAILS_BYTES} bytes"
        ));
    }
    let echo = &store.data().echo;
    let revised_prompt = output.revised_prompt.map(|text| {
        let text = plain(&text, MAX_REVISED_BYTES);
        echo.text(&text, Guard::SecretDetails).into_owned()
    });
    let details = echo.json(output.details, Guard::SecretDetails);
    let mut pictures = Vec::new();
    for picture in output.pictures {
        pictures.push(match picture {
            Picture::Address(address) if address.len() > Guard::Answer.limit(MAX_ADDRESS_BYTES) => {
                return protocol(format!(
                    "the address of a picture is longer than {MAX_ADDRESS_BYTES} bytes"
                ));
            }
            Picture::Address(address) => Produced::Address(address),
            Picture::Held(handle) => {
                let held = store.data_mut().table.delete(handle);
                Produced::Held(
                    held.map_err(|error| Error::protocol(error.to_string()))?
                        .image,
                )
            }
        });
    }
    Ok(Made {
        pictures,
        revised_prompt,
        details,
    })
}

/// A list of models that a person can be shown.
pub(super) fn shown(mut models: Vec<Model>, echo: &Echo) -> Result<Vec<Model>, Error> {
    if models.len() > MAX_MODELS {
        let message = format!("the engine lists more than {MAX_MODELS} models");
        return Err(Error::protocol(message));
    }
    for model in &mut models {
        if !is_plain(&model.id, MAX_MODEL_BYTES) {
            return Err(Error::protocol(
                "the engine lists a model whose name no job could carry".to_owned(),
            ));
        }
        let shown = |text: &str| echo.text(text, Guard::SecretModels).into_owned();
        model.name = shown(&plain(&model.name, MAX_MODEL_BYTES));
        model.id = shown(&model.id);
    }
    Ok(models)
}

/// An engine's error with texts that a person can be shown: upstreams may repeat a secret in them.
pub(super) fn clean(mut error: EngineError, echo: &Echo) -> EngineError {
    let shown = |text: &str, max| {
        let text = plain(text, max);
        echo.text(&text, Guard::SecretError).into_owned()
    };
    error.message = shown(&error.message, MAX_ERROR_BYTES);
    error.code = error.code.map(|code| shown(&code, MAX_CODE_BYTES));
    error.field = error.field.map(|field| shown(&field, MAX_CODE_BYTES));
    if Guard::RetryAfter.holds() {
        let told = error.retry_after_ms;
        error.retry_after_ms = told.map(|ms| ms.min(MAX_RETRY_AFTER_MS));
    }
    error
}
