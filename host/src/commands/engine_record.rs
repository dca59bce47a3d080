//! `pinhole engine record`: runs one real job, and writes its traffic as a conformance case.
//!
//! The job runs with the grants, the settings and the credentials of the data directory. The sandbox redacts the secrets
//! of the settings before this command sees the traffic. No file is written that still contains one.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use cap_std::fs::Dir;
use clap::Args;
use pinhole::config::Config;
use pinhole::conformance_host::{failure, job_images};
use pinhole::jobs::{Binding, CompletedJob, Error, JobRequest};
use pinhole_conformance::{CASE_FILE, RecordedJob, RecordedOutcome, WrittenCase, write_case};
use pinhole_egress::Redactor;
use pinhole_ground::data_dir;
use pinhole_ground::environment::Environment;
use pinhole_sandbox::contract::{Description, Setting, SettingKind};
use pinhole_sandbox::engine_settings::{
    CREDENTIAL_KEY, EngineSettings, HEADERS_KEY, IMAGE_HOSTS_KEY, own_variable,
};
use pinhole_sandbox::{JobContext, ResolvedSettings, TrafficRecorder};
use serde_json::{Map, Value, json};

use super::generate::{JobOptions, file_stem, read_job, run_job};
use super::{CommandJobs, FAILED, MissingData, WRONG_USE, print_error};

/// Secrets of a case. The first is used that is not the secret itself.
const PLACEHOLDER_SECRETS: [&str; 3] = ["sk-test-4711", "open-sesame-8188", "no-such-key-2024"];
/// Variables of the host that change what an engine is asked for.
const HOST_VARIABLES: [&str; 6] = [
    "IMAGE_EDIT_MODEL",
    "IMAGE_EDIT_SIZE",
    "IMAGE_GENERATION_MODEL",
    "IMAGE_SIZE",
    "IMAGE_STEPS",
    "PINHOLE_IMAGE_METADATA",
];
/// Cases of a directory.
const MAX_CASES: u32 = 10_000;

#[derive(Args)]
pub(crate) struct EngineRecord {
    /// Name of the engine
    #[arg(value_name = "NAME")]
    engine: String,
    /// Directory of the engine's cases; the case becomes a directory in it
    #[arg(long, value_name = "DIR")]
    into: PathBuf,
    /// Name of the case [default: R, a number, and words of the prompt]
    #[arg(long, value_name = "CASE")]
    name: Option<String>,
    /// Prompt of the image
    #[arg(long, default_value = "a red fox")]
    prompt: String,
    #[command(flatten)]
    options: JobOptions,
}

/// Runs the job and writes the case, also if the job fails. Returns the exit code.
pub(crate) async fn record(config: &Config, arguments: EngineRecord) -> Result<u8> {
    let EngineRecord {
        engine,
        into,
        name,
        prompt,
        options,
    } = arguments;
    if name.as_deref().is_some_and(|name| !is_case_name(name)) {
        eprintln!("pinhole: --name must be letters, digits, dots, dashes and underscores");
        return Ok(WRONG_USE);
    }
    let job = match read_job(prompt.clone(), Some(engine.clone()), options) {
        Ok(job) => job,
        Err(why) => {
            eprintln!("pinhole: {why}");
            return Ok(WRONG_USE);
        }
    };
    let cases = data_dir::create(&into)?;
    let name = match name {
        Some(name) if cases.exists(&name) => {
            let shown = into.join(name);
            eprintln!("pinhole: {} exists: choose another --name", shown.display());
            return Ok(WRONG_USE);
        }
        Some(name) => name,
        None => next_name(&cases, &prompt)?,
    };
    let CommandJobs { jobs, config, .. } = &CommandJobs::open(config, MissingData::Create).await?;
    let snapshot = jobs.snapshot();
    let binding = match snapshot.operator_binding(Some(&engine)) {
        Ok(binding) => binding.clone(),
        Err(error) => return Ok(print_error(&error)),
    };
    let is_edit = job.edit.is_some();
    let settings = if is_edit {
        binding.edit_settings()
    } else {
        binding.generate_settings()
    };
    let settings = match settings {
        Ok(settings) => settings,
        Err(error) => return Ok(print_error(&error)),
    };
    let parameters = call_parameters(&job.request);
    let (sources, mask) = match &job.edit {
        Some(edit) => (
            edit.sources.iter().map(|it| it.bytes().clone()).collect(),
            edit.mask.as_ref().map(|it| it.bytes().clone()),
        ),
        None => (Vec::new(), None),
    };
    let (recorder, mut received) = TrafficRecorder::new();
    let context = JobContext {
        recorder: Some(recorder),
        ..JobContext::new(uuid::Uuid::new_v4().to_string())
    };
    let result = run_job(jobs, job, &context).await;
    let mut steps = Vec::new();
    while let Ok(step) = received.try_recv() {
        steps.push(step);
    }
    if let Err(error) = &result {
        eprintln!("pinhole: note: the job failed: {}", error.for_operator());
        if steps.is_empty() {
            eprintln!("pinhole: the job sent no request: no case is written");
            return Ok(FAILED);
        }
    }
    let variables = CaseVariables {
        binding: &binding,
        settings,
        environment: &config.environment,
        is_edit,
    };
    let (variables, base_urls) = variables.read();
    let case = write_case(RecordedJob {
        about: about(&prompt, &result),
        parameters,
        sources,
        mask,
        variables,
        base_urls,
        image_hosts_variable: own_variable(binding.engine(), IMAGE_HOSTS_KEY),
        steps,
        outcome: outcome(result),
    });
    write(&cases, &name, &case, &settings.redactor)?;
    for note in &case.notes {
        eprintln!("pinhole: note: {note}");
    }
    println!("{}", into.join(&name).join(CASE_FILE).display());
    Ok(0)
}

fn about(prompt: &str, result: &Result<CompletedJob, Error>) -> String {
    match result {
        Ok(_) => format!("recorded: the job {prompt:?} of a real upstream"),
        Err(_) => format!("recorded: the job {prompt:?}, which failed"),
    }
}

fn outcome(result: Result<CompletedJob, Error>) -> RecordedOutcome {
    match result {
        Ok(completed) => RecordedOutcome::Images(job_images(completed)),
        Err(error) => RecordedOutcome::Failed(failure(&error)),
    }
}

/// The parameters of a job, by the names of a case.
fn call_parameters(request: &JobRequest) -> Map<String, Value> {
    let all = json!({
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt,
        "model": request.model,
        "size": request.size,
        "count": request.count,
        "steps": request.steps,
        "seed": request.seed,
        "strength": request.strength,
        "parameters": request.parameters,
    });
    let fields = match all {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    let is_set = |value: &Value| !value.is_null() && *value != json!({});
    fields
        .into_iter()
        .filter(|(_, value)| is_set(value))
        .collect()
}

/// The variables with which a case has the settings of a job.
struct CaseVariables<'a> {
    binding: &'a Binding,
    settings: &'a ResolvedSettings,
    environment: &'a Environment,
    is_edit: bool,
}

impl CaseVariables<'_> {
    /// The variables, and those of URLs with their values.
    fn read(&self) -> (BTreeMap<String, String>, Vec<(String, String)>) {
        let description = &self.binding.component.description;
        let settings = &self.settings.settings;
        let placeholder = placeholder_secret(&self.settings.redactor);
        let mut variables = BTreeMap::new();
        for setting in &description.settings {
            let (key, name) = (&setting.key, variable(description, setting));
            if let Some(secret) = settings.secret(key) {
                let value = if secret.contains(':') {
                    pair(placeholder)
                } else {
                    placeholder.to_owned()
                };
                variables.insert(name, value);
            } else if settings.variable(key).is_some() && !is_url(setting) {
                variables.extend(value_of(settings, key).map(|value| (name, value)));
            }
        }
        let base_urls = description.upstreams.iter().filter_map(|upstream| {
            let mut settings_of_url = description.settings.iter();
            let setting = settings_of_url.find(|it| it.key == upstream.base_url)?;
            let url = self.settings.upstreams.get(&upstream.name)?;
            let url = url.destination.base_url().to_owned();
            Some((variable(description, setting), url))
        });
        self.add_host_variables(&mut variables);
        self.add_credential(&mut variables, placeholder);
        (variables, base_urls.collect())
    }

    fn add_host_variables(&self, variables: &mut BTreeMap<String, String>) {
        for name in HOST_VARIABLES {
            if let Some(value) = self.environment.get(name) {
                variables.insert(name.to_owned(), value.to_owned());
            }
        }
        // A binding can have defaults of its own.
        let own = [
            ("IMAGE_GENERATION_MODEL", self.binding.default_model()),
            ("IMAGE_SIZE", self.binding.default_size()),
        ];
        for (name, value) in own.into_iter().filter(|_| !self.is_edit) {
            match value {
                Some(value) => variables.insert(name.to_owned(), value.to_owned()),
                None => variables.remove(name),
            };
        }
    }

    /// The operator's choice of the credential, with a placeholder for each secret.
    fn add_credential(&self, variables: &mut BTreeMap<String, String>, placeholder: &str) {
        let engine = self.binding.engine();
        let form = own_variable(engine, CREDENTIAL_KEY);
        if let Some(value) = self.environment.get(&form) {
            variables.insert(form, value.to_owned());
        }
        let headers = own_variable(engine, HEADERS_KEY);
        let Some(text) = self.environment.get(&headers) else {
            return;
        };
        let set: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
        let replaced = set.into_iter().map(|(name, value)| {
            let scheme = value.as_str().and_then(|it| it.split_once(' '));
            let replacement = match scheme {
                Some((scheme, _)) => format!("{scheme} {placeholder}"),
                None => placeholder.to_owned(),
            };
            (name, Value::from(replacement))
        });
        let replaced = Value::from(replaced.collect::<Map<_, _>>());
        variables.insert(headers, replaced.to_string());
    }
}

/// The secret with a user.
fn pair(secret: &str) -> String {
    format!("user:{secret}")
}

/// A secret for a case that has no part of a secret of these settings.
fn placeholder_secret(redactor: &Redactor) -> &'static str {
    let is_other = |secret: &&str| !redactor.finds_secret(pair(secret).as_bytes());
    let [first, ..] = PLACEHOLDER_SECRETS;
    PLACEHOLDER_SECRETS
        .into_iter()
        .find(is_other)
        .unwrap_or(first)
}

/// The variable that sets a setting.
fn variable(description: &Description, setting: &Setting) -> String {
    let mut declared = setting
        .generate_variables
        .iter()
        .chain(&setting.edit_variables);
    let own = || own_variable(&description.name, &setting.key);
    declared.next().cloned().unwrap_or_else(own)
}

const fn is_url(setting: &Setting) -> bool {
    matches!(setting.kind, SettingKind::Url)
}

/// The value as the text of a variable.
fn value_of(settings: &EngineSettings, key: &str) -> Option<String> {
    let value = settings
        .values()
        .into_iter()
        .find(|it| it.key == key)?
        .value;
    Some(match serde_json::from_str(&value) {
        Ok(Value::String(text)) => text,
        _ => value,
    })
}

fn is_case_name(name: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    !name.is_empty() && !name.starts_with('.') && name.chars().all(is_allowed)
}

/// The name of the next case, such as `R2-a-red-fox`.
fn next_name(cases: &Dir, prompt: &str) -> Result<String> {
    let words: String = file_stem(prompt)
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .collect();
    let mut used = Vec::new();
    for entry in cases.entries()? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let number = name.strip_prefix('R').and_then(|rest| rest.split_once('-'));
        used.extend(number.and_then(|(number, _)| number.parse::<u32>().ok()));
    }
    let number = (1..=MAX_CASES).find(|number| !used.contains(number));
    let number = number.context("the directory has too many cases: choose another with --into")?;
    Ok(format!("R{number}-{words}"))
}

/// Writes the files of a case. Nothing is written if one of them contains a secret.
fn write(cases: &Dir, name: &str, case: &WrittenCase, redactor: &Redactor) -> Result<()> {
    for (file, bytes) in &case.files {
        ensure!(
            !redactor.finds_secret(bytes) && !redactor.finds_secret(file.as_bytes()),
            "a secret of the settings would be in {file}: no case is written; use another prompt and other parameters"
        );
    }
    let context = || format!("cannot write the case {name}");
    let directory = data_dir::create_in(cases, name).with_context(context)?;
    for (file, bytes) in &case.files {
        directory.write(file, bytes).with_context(context)?;
    }
    Ok(())
}
