//! Names of checkpoints, samplers and schedulers.
//!
//! The web UI silently replaces a name that it does not have by another one. The engine therefore
//! looks up every name before it sends a job.

use pinhole_sdk::{Error, Request, Response, log, send_all};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::UPSTREAM;
use crate::body::Body;
use crate::checkpoint::{CHECKPOINTS, Checkpoint, find_checkpoint};
use crate::lookup::{not_found_message, parse_list};

pub(crate) const SAMPLERS: &str = "/sdapi/v1/samplers";
pub(crate) const SCHEDULERS: &str = "/sdapi/v1/schedulers";

/// Schedules at the end of samplers' names before version 1.9, normalized.
const OLD_SCHEDULES: [&str; 7] = [
    "karras",
    "exponential",
    "sgmuniform",
    "uniform",
    "simple",
    "normal",
    "beta",
];

/// The result of looking up the names in a job.
#[derive(Debug, Default)]
pub(crate) struct ResolvedNames {
    /// The job's model.
    pub(crate) checkpoint: Option<Checkpoint>,
    /// A note for the user.
    pub(crate) note: Option<String>,
}

/// Looks up the names in a job in parallel, and writes the web UI's own names into the body.
pub(crate) fn resolve(body: &mut Body, model: Option<&str>) -> Result<ResolvedNames, Error> {
    let text_field = |key: &str| body.get(key)?.as_str().map(str::to_owned);
    let (sampler, scheduler) = (text_field("sampler_name"), text_field("scheduler"));
    let mut paths = Vec::new();
    if model.is_some() {
        paths.push(CHECKPOINTS);
    }
    if sampler.is_some() {
        paths.push(SAMPLERS);
    }
    if scheduler.is_some() {
        paths.push(SCHEDULERS);
    }
    let requests = paths.into_iter().map(|path| Request::get(UPSTREAM, path));
    let mut responses = send_all(requests.collect()).into_iter();
    let mut next_response = || {
        let missing = || Err(Error::protocol("a list of the web UI has no response"));
        responses.next().unwrap_or_else(missing)
    };
    let mut names = ResolvedNames::default();
    if let Some(name) = model {
        let checkpoint = find_checkpoint(parse_list(next_response()?)?, name)?;
        let settings = body.entry("override_settings").or_insert(json!({}));
        if let Value::Object(settings) = settings {
            settings.insert("sd_model_checkpoint".into(), json!(checkpoint.title));
        }
        names.checkpoint = Some(checkpoint);
    }
    if let Some(name) = sampler {
        let samplers: Vec<NamedItem> = parse_list(next_response()?)?;
        match find_item(&samplers, "sampler", "sampler_name", &name) {
            Ok(own_name) => drop(body.insert("sampler_name".into(), json!(own_name))),
            Err(unknown) => {
                let split = match scheduler {
                    Some(_) => None,
                    None => split_name(&samplers, &name),
                };
                let (own_name, schedule) = split.ok_or(unknown)?;
                body.insert("sampler_name".into(), json!(own_name));
                body.insert("scheduler".into(), json!(schedule));
            }
        }
    }
    if let Some(name) = scheduler {
        names.note = resolve_scheduler(body, next_response()?, &name)?;
    }
    Ok(names)
}

/// The operator's sampler, if its name ends with a schedule as before version 1.9 of the web UI, and no scheduler
/// is set.
pub(crate) fn old_schedule(operator_parameters: &Body) -> Option<String> {
    let name = operator_parameters.get("sampler_name")?.as_str()?;
    let has_schedule = OLD_SCHEDULES
        .iter()
        .any(|end| normalize(name).ends_with(end));
    let is_alone = !operator_parameters.contains_key("scheduler");
    (has_schedule && is_alone).then(|| name.to_owned())
}

/// Replaces such a sampler by the sampler and the scheduler that the web UI has now. An operator's name is not
/// checked otherwise, so it remains if the lists are missing or do not have them.
pub(crate) fn split_sampler(body: &mut Body, name: &str) {
    let response = Request::get(UPSTREAM, SAMPLERS).send();
    let Ok(samplers) = response.and_then(parse_list::<NamedItem>) else {
        return;
    };
    let is_known = find_item(&samplers, "sampler", "sampler_name", name).is_ok();
    let split = (!is_known).then(|| split_name(&samplers, name)).flatten();
    if let Some((sampler, schedule)) = split {
        body.insert("sampler_name".into(), json!(sampler));
        body.insert("scheduler".into(), json!(schedule));
    }
}

/// The web UI's own names of the sampler and the scheduler in a name such as `DPM++ 2M Karras`.
fn split_name(samplers: &[NamedItem], name: &str) -> Option<(String, String)> {
    let name = normalize(name);
    // The longest sampler: `DPM++ 2M SDE Karras` is not `DPM++ 2M`.
    let mut longest: Option<(&NamedItem, &str)> = None;
    for sampler in samplers {
        for own_name in sampler.names() {
            if let Some(rest) = name.strip_prefix(&normalize(own_name))
                && !rest.is_empty()
                && longest.is_none_or(|(_, shortest)| rest.len() < shortest.len())
            {
                longest = Some((sampler, rest));
            }
        }
    }
    let (sampler, schedule) = longest?;
    let schedule = match schedule {
        "ka" => "karras",
        "exp" => "exponential",
        schedule => schedule,
    };
    if !OLD_SCHEDULES.contains(&schedule) {
        return None;
    }
    let response = Request::get(UPSTREAM, SCHEDULERS).send().ok()?;
    let schedulers: Vec<NamedItem> = parse_list(response).ok()?;
    let found = schedulers.iter().find(|item| item.has_name(schedule))?;
    Some((sampler.name.clone(), found.name.clone()))
}

/// Writes the web UI's own name of a scheduler into the body, or removes the field and returns a note
/// if the web UI has no schedulers.
fn resolve_scheduler(
    body: &mut Body,
    response: Response,
    name: &str,
) -> Result<Option<String>, Error> {
    if response.0.status() == 404 {
        body.remove("scheduler");
        let note = "ignored the scheduler: the web UI has none before version 1.9";
        log::write(log::Level::Info, note);
        return Ok(Some(note.into()));
    }
    let schedulers: Vec<NamedItem> = parse_list(response)?;
    let own_name = find_item(&schedulers, "scheduler", "scheduler", name)?;
    body.insert("scheduler".into(), json!(own_name));
    Ok(None)
}

/// A sampler or a scheduler.
#[derive(Debug, Deserialize)]
struct NamedItem {
    name: String,
    label: Option<String>,
    aliases: Option<Vec<String>>,
}

impl NamedItem {
    fn has_name(&self, name: &str) -> bool {
        self.names().any(|own| normalize(own) == normalize(name))
    }

    fn names(&self) -> impl Iterator<Item = &String> {
        let aliases = self.aliases.iter().flatten();
        aliases.chain(&self.label).chain([&self.name])
    }
}

/// The spelling that all servers with this API have in common: `Euler a` is `euler_a` elsewhere.
fn normalize(name: &str) -> String {
    name.chars()
        .filter(|c| !" _-".contains(*c))
        .flat_map(char::to_lowercase)
        .collect()
}

/// The web UI's own name of a sampler or scheduler.
fn find_item(
    items: &[NamedItem],
    item_type: &str,
    field: &str,
    name: &str,
) -> Result<String, Error> {
    let exact = items.iter().find(|item| item.name == name);
    if let Some(found) = exact.or_else(|| items.iter().find(|item| item.has_name(name))) {
        return Ok(found.name.clone());
    }
    let names = items.iter().map(|item| item.name.as_str());
    Err(Error::invalid(
        field,
        not_found_message(item_type, name, names),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn find_item_matches_names_of_other_servers() {
        let samplers: Vec<NamedItem> = serde_json::from_value(json!([
            {"name": "Euler", "aliases": ["k_euler"], "options": {}},
            {"name": "Euler a", "aliases": ["k_euler_a", "k_euler_ancestral"], "options": {}},
            {"name": "dpm++2m"},
            {"name": "karras", "label": "Karras", "aliases": null},
        ]))
        .unwrap();
        for (name, expected) in [
            ("Euler a", "Euler a"),
            ("euler_a", "Euler a"),
            ("k_euler_ancestral", "Euler a"),
            ("DPM++ 2M", "dpm++2m"),
            ("Karras", "karras"),
        ] {
            assert_eq!(
                find_item(&samplers, "sampler", "sampler_name", name).unwrap(),
                expected
            );
        }
        let error = find_item(&samplers, "sampler", "sampler_name", "Eule").unwrap_err();
        assert_eq!(
            (error.field.as_deref(), error.message.as_str()),
            (
                Some("sampler_name"),
                "the web UI has no sampler \"Eule\"; available: Euler, Euler a, dpm++2m, karras"
            )
        );
    }
}
