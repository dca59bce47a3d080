//! Writes the traffic of a real job as a case.
//!
//! The case contains no URL and no secret of the settings: the recorder of the sandbox redacted the secrets, and origins
//! become `{upstream}` and `{elsewhere}`. Images become specifications of the same format and size. Values that the engine
//! chose at random become placeholders: ids, and numbers that are named a seed. What the format cannot express is left out,
//! with a note for the author.

mod bodies;
mod exchanges;
mod files;
mod image_specs;
mod outcome;
mod reports;
mod sockets;
mod texts;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use bytes::Bytes;
use pinhole_sandbox::TrafficStep;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::host::{Failure, JobImages};

use bodies::BodyWriter;
use exchanges::{Script, ScriptedExchange};
use files::CaseFilesWriter;
use image_specs::ImageSpecs;
use texts::Texts;

/// The name of the file.
pub const CASE_FILE: &str = "case.json";

/// A job, and everything that happened.
pub struct RecordedJob {
    /// The case in one sentence.
    pub about: String,
    /// The parameters of the job, by the names of `generate` in a case.
    pub parameters: Map<String, Value>,
    /// The images that it edits; without any it generates.
    pub sources: Vec<Bytes>,
    pub mask: Option<Bytes>,
    /// The variables of the case, without those of URLs and with placeholders for secrets.
    pub variables: BTreeMap<String, String>,
    /// The variable and the URL of each upstream, in the order of the engine's description.
    pub base_urls: Vec<(String, String)>,
    /// The variable of the hosts from which images may be fetched.
    pub image_hosts_variable: String,
    /// The traffic, in order.
    pub steps: Vec<TrafficStep>,
    pub outcome: RecordedOutcome,
}

/// How the job ended.
pub enum RecordedOutcome {
    Images(JobImages),
    Failed(Failure),
}

/// The files of a case.
pub struct WrittenCase {
    /// By name; [`CASE_FILE`] is one of them.
    pub files: BTreeMap<String, Vec<u8>>,
    /// What may need a hand, a sentence each.
    pub notes: Vec<String>,
}

/// The content of the file, in the order in which a person reads it.
#[derive(Serialize)]
struct CaseJson {
    about: String,
    variables: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generate: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    edit: Option<Value>,
    upstream: Vec<ExchangeJson>,
    outcome: Value,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reports: Vec<Value>,
}

#[derive(Serialize)]
struct ExchangeJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<&'static str>,
    request: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    times: Option<TimesJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    any_order: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    socket: Option<Vec<Value>>,
}

#[derive(Serialize)]
struct TimesJson {
    at_least: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_most: Option<usize>,
}

/// Writes a job as a case.
#[must_use]
pub fn write_case(job: RecordedJob) -> WrittenCase {
    let RecordedJob {
        about,
        mut parameters,
        sources,
        mask,
        variables,
        base_urls,
        image_hosts_variable,
        steps,
        outcome,
    } = job;
    let (exchanges, reports) = exchanges::group(steps);
    let urls = base_urls.iter().map(|(_, url)| url.as_str());
    let mut texts = Texts::new(urls);
    let known = format!("{parameters:?} {variables:?}");
    texts.find_random_values(&exchanges, &parameters, &known);
    let mut files = CaseFilesWriter::default();
    let mut images = ImageSpecs::default();
    let mut notes = Vec::new();

    let is_edit = !sources.is_empty();
    let mut add_image = |bytes: &Bytes| match images.add(bytes) {
        Some(spec) => Value::from(spec),
        None => files.image(bytes),
    };
    let sources: Vec<Value> = sources.iter().map(&mut add_image).collect();
    if is_edit {
        parameters.insert("sources".to_owned(), sources.into());
    }
    if let Some(mask) = &mask {
        let mask = add_image(mask);
        parameters.insert("mask".to_owned(), mask);
        notes.push("the mask is an image without a mask's content: make it a \"mask\"".to_owned());
    }

    let mut variables: Map<String, Value> = variables
        .into_iter()
        .map(|(name, value)| {
            let value = files.text(&name, texts.text(&value));
            (name, value)
        })
        .collect();
    for (name, url) in base_urls {
        variables.insert(name, texts.base_url(&url).into());
    }
    let fetches_elsewhere = exchanges
        .iter()
        .any(|it| it.request.upstream.is_none() && texts.is_elsewhere(&it.request.base_url));
    if fetches_elsewhere {
        variables.insert(image_hosts_variable, "{elsewhere}".into());
    }

    let script = Script::new(&exchanges);
    let mut bodies = BodyWriter {
        texts: &texts,
        images: &mut images,
        files: &mut files,
        notes: &mut notes,
    };
    let upstream = script
        .exchanges
        .iter()
        .enumerate()
        .map(|(index, scripted)| exchange_json(index, scripted, &script, &mut bodies))
        .collect();
    let outcome = outcome::to_json(outcome, &parameters, &mut bodies);
    let reports = reports::certain_ones(&reports, &exchanges, &script);
    let reports = reports.map(|report| reports::to_json(report, &texts));
    let reports = reports.collect();
    let (generate, edit) = if is_edit {
        (None, Some(parameters.into()))
    } else {
        (Some(parameters.into()), None)
    };
    let case = CaseJson {
        about,
        variables,
        generate,
        edit,
        upstream,
        outcome,
        reports,
    };
    let mut text = serde_json::to_vec_pretty(&case).unwrap_or_default();
    text.push(b'\n');
    let mut files = files.into_files();
    files.insert(CASE_FILE.to_owned(), text);
    notes.extend(texts.notes());
    WrittenCase { files, notes }
}

fn exchange_json(
    index: usize,
    scripted: &ScriptedExchange,
    script: &Script,
    bodies: &mut BodyWriter,
) -> ExchangeJson {
    let exchange = scripted.exchange;
    let number = index + 1;
    let is_elsewhere = bodies.texts.is_elsewhere(&exchange.request.base_url);
    let request = bodies.request(number, exchange);
    let (reply, socket) = if exchange.is_open_web_socket() {
        (None, Some(sockets::steps(exchange, script, bodies)))
    } else {
        (Some(bodies.reply(number, exchange)), None)
    };
    ExchangeJson {
        name: script.is_awaited(scripted).then(|| scripted.name(index)),
        at: is_elsewhere.then_some("elsewhere"),
        request,
        times: scripted
            .times
            .map(|(at_least, at_most)| TimesJson { at_least, at_most }),
        any_order: scripted.any_order.then_some(true),
        reply,
        socket,
    }
}
