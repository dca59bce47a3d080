//! What goes over the wire, but for frames and refusals: paths, bodies, and answers as values.

use pinhole_sdk::{Error, Model, request::percent_encode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::refusal;
use crate::workflow::{Graph, in_order};

pub(crate) const PROMPT: &str = "/prompt";
pub(crate) const QUEUE: &str = "/queue";
pub(crate) const INTERRUPT: &str = "/interrupt";
/// A job that leaves more files than this is no honest one.
const MAX_FILES: usize = 1000;
/// A job's id longer than this, in bytes, is none: servers give UUIDs.
const MAX_ID_BYTES: usize = 128;

/// An id in the form of a random UUID, as servers want it: lower case, with hyphens.
pub(crate) fn uuid(random: [u64; 2]) -> String {
    let [high, low] = random;
    let high = high & !0xf000 | 0x4000;
    let low = low & !(0xc << 60) | 0x8 << 60;
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}

pub(crate) fn socket(client_id: &str) -> String {
    format!("/ws?clientId={}", percent_encode(client_id))
}

/// The first message on the socket: previews shall say whose they are.
pub(crate) fn greeting() -> String {
    json!({"type": "feature_flags", "data": {"supports_preview_metadata": true}}).to_string()
}

/// The id is of our own making, so that a job can be taken back whose answer never came. Servers
/// that know of no such wish give one of theirs.
pub(crate) fn job(
    graph: &Graph,
    client_id: &str,
    prompt_id: &str,
    preview_method: Option<&str>,
) -> Value {
    let mut job = json!({"prompt": graph, "client_id": client_id, "prompt_id": prompt_id});
    if let (Some(method), Some(job)) = (preview_method, job.as_object_mut()) {
        job.insert("extra_data".into(), json!({ "preview_method": method }));
    }
    job
}

pub(crate) fn history(prompt_id: &str) -> String {
    format!("/history/{}", percent_encode(prompt_id))
}

pub(crate) fn cancel(prompt_id: &str) -> String {
    format!("/api/jobs/{}/cancel", percent_encode(prompt_id))
}

pub(crate) fn object_info(class: &str) -> String {
    format!("/object_info/{}", percent_encode(class))
}

/// The answer to a job. It may list errors of nodes and still run what does not need those.
#[derive(Debug, Deserialize)]
pub(crate) struct Queued {
    pub(crate) prompt_id: String,
    #[serde(default)]
    pub(crate) node_errors: Value,
}

impl Queued {
    pub(crate) fn read(answer: Value) -> Result<Self, Error> {
        let queued: Option<Self> = serde_json::from_value(answer).ok();
        let known = queued.filter(|queued| (1..=MAX_ID_BYTES).contains(&queued.prompt_id.len()));
        known.ok_or_else(|| Error::protocol("ComfyUI took the job but gave it no id"))
    }
}

/// A finished job: of its entry in the history, what we read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Finished {
    /// By node id: what the node leaves, such as `images`.
    outputs: Map<String, Value>,
    /// Null from very old servers.
    status: Value,
}

/// A file on the server.
#[derive(Debug, Deserialize, PartialEq)]
pub(crate) struct File {
    filename: String,
    #[serde(default)]
    subfolder: String,
    #[serde(default = "output", rename = "type")]
    folder: String,
}

/// The folder of what is kept, which some custom nodes do not name.
fn output() -> String {
    "output".to_owned()
}

impl Finished {
    /// From a history; `None` while the job is not in it.
    pub(crate) fn read(
        mut history: Map<String, Value>,
        prompt_id: &str,
    ) -> Result<Option<Self>, Error> {
        let Some(entry) = history.remove(prompt_id) else {
            return Ok(None);
        };
        serde_json::from_value(entry)
            .map(Some)
            .map_err(|error| Error::protocol(format!("ComfyUI's history is unexpected: {error}")))
    }

    /// The files to show: those that the workflow keeps, else those that it only previews; by the
    /// order of the nodes. Fails when the job failed, even if it left images before that.
    pub(crate) fn files(self) -> Result<Files, Error> {
        if let Some(error) = self.error() {
            return Err(error);
        }
        let images = in_order(self.outputs.keys())
            .into_iter()
            .filter_map(|id| self.outputs.get(id)?.get("images")?.as_array());
        let files: Vec<File> = images
            .flatten()
            .filter_map(|image| File::deserialize(image).ok())
            .take(MAX_FILES + 1)
            .collect();
        if files.len() > MAX_FILES {
            let message = format!("ComfyUI lists more than {MAX_FILES} images for one job");
            return Err(Error::protocol(message));
        }
        let (kept, previewed) = files.into_iter().partition(|file| file.folder == "output");
        Ok(Files { kept, previewed })
    }

    /// Why it failed, if it did; the last message says so.
    fn error(&self) -> Option<Error> {
        if self.status.get("status_str")? != "error" {
            return None;
        }
        let messages = self.status.get("messages").and_then(Value::as_array);
        let error = messages.into_iter().flatten().rev().find_map(|message| {
            match message.get(0)?.as_str()? {
                "execution_error" => Some(refusal::failed(message.get(1)?)),
                "execution_interrupted" => Some(refusal::interrupted()),
                _ => None,
            }
        });
        Some(error.unwrap_or_else(|| refusal::failed(&Value::Null)))
    }
}

/// What a job left on the server.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) kept: Vec<File>,
    pub(crate) previewed: Vec<File>,
}

impl File {
    pub(crate) fn path(&self) -> String {
        format!(
            "/view?filename={}&subfolder={}&type={}",
            percent_encode(&self.filename),
            percent_encode(&self.subfolder),
            percent_encode(&self.folder)
        )
    }
}

/// How many jobs are in front of this one, 0 when it runs; `None` when the queue does not have it.
pub(crate) fn position(queue: &Value, prompt_id: &str) -> Option<u32> {
    let jobs = |list: &str| {
        let jobs = queue
            .get(list)
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        jobs.filter_map(|job| Some((job.get(0)?.as_f64()?, job.get(1)?.as_str()?)))
            .collect::<Vec<_>>()
    };
    let (running, pending) = (jobs("queue_running"), jobs("queue_pending"));
    if running.iter().any(|(_, id)| *id == prompt_id) {
        return Some(0);
    }
    let (ours, _) = pending.iter().find(|(_, id)| *id == prompt_id)?;
    let before = pending.iter().filter(|(number, _)| number < ours).count();
    Some(u32::try_from(before + running.len()).unwrap_or(u32::MAX))
}

/// Does the server work on this job?
pub(crate) fn runs(queue: &Value, prompt_id: &str) -> bool {
    position(queue, prompt_id) == Some(0)
}

/// The ids of this client's jobs in the queue.
pub(crate) fn jobs_of<'q>(queue: &'q Value, client_id: &str) -> Vec<&'q str> {
    let lists = ["queue_running", "queue_pending"];
    let jobs = lists.iter().filter_map(|list| queue.get(list)?.as_array());
    let own = |job: &&Value| job.pointer("/3/client_id").and_then(Value::as_str) == Some(client_id);
    jobs.flatten()
        .filter(own)
        .filter_map(|job| job.get(1)?.as_str())
        .collect()
}

/// The choices of an input, in the schema of its node's class: a plain list, or a `COMBO`.
pub(crate) fn models(schemas: &Value, class: &str, input: &str) -> Vec<Model> {
    let inputs = schemas.get(class).and_then(|schema| schema.get("input"));
    let schema = ["required", "optional"]
        .iter()
        .find_map(|need| inputs?.get(need)?.get(input));
    let choices = schema.and_then(|schema| match schema.get(0)? {
        Value::Array(choices) => Some(choices),
        _ => schema.get(1)?.get("options")?.as_array(),
    });
    let names = choices.into_iter().flatten().filter_map(Value::as_str);
    names.map(|name| model(name.to_owned())).collect()
}

pub(crate) fn model(name: String) -> Model {
    Model {
        id: name.clone(),
        name,
    }
}

/// The server's folder of the files that an input names.
pub(crate) fn model_folder(input: &str) -> Option<&'static str> {
    match input {
        "ckpt_name" => Some("checkpoints"),
        "unet_name" => Some("diffusion_models"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use pinhole_sdk::ErrorKind;

    use super::*;

    #[test]
    fn an_id_is_shaped_like_a_random_uuid() {
        assert_eq!(uuid([0, 0]), "00000000-0000-4000-8000-000000000000");
        assert_eq!(
            uuid([u64::MAX, u64::MAX]),
            "ffffffff-ffff-4fff-bfff-ffffffffffff"
        );
        assert_eq!(
            uuid([0x0123_4567_89ab_cdef, 0x0123_4567_89ab_cdef]),
            "01234567-89ab-4def-8123-456789abcdef"
        );
    }

    #[test]
    fn an_answer_without_an_id_is_no_answer() {
        let answer = json!({"prompt_id": "ab-1", "number": 3, "node_errors": {}});
        assert_eq!(Queued::read(answer).unwrap().prompt_id, "ab-1");
        for answer in [
            json!(null),
            json!({}),
            json!({"prompt_id": ""}),
            json!({"prompt_id": 7}),
            json!({"prompt_id": "x".repeat(MAX_ID_BYTES + 1)}),
        ] {
            assert_eq!(Queued::read(answer).unwrap_err().kind, ErrorKind::Protocol);
        }
    }

    /// What the recorded history of this label gives: kept and previewed files, or an error's kind.
    fn recorded(label: &str) -> Result<(Vec<String>, Vec<String>), ErrorKind> {
        let recorded: Vec<Value> =
            serde_json::from_str(include_str!("../testdata/histories.json")).unwrap();
        let found = recorded
            .into_iter()
            .find(|history| history["label"] == label);
        let Some(Value::Object(history)) = found.map(|mut found| found["history"].take()) else {
            panic!("no history {label}");
        };
        let id = history.keys().next().unwrap().clone();
        read_files(history, &id)
    }

    fn read_files(
        history: Map<String, Value>,
        id: &str,
    ) -> Result<(Vec<String>, Vec<String>), ErrorKind> {
        let finished = Finished::read(history, id).unwrap().unwrap();
        let files = finished.files().map_err(|error| error.kind)?;
        let paths = |files: Vec<File>| files.iter().map(File::path).collect();
        Ok((paths(files.kept), paths(files.previewed)))
    }

    #[test]
    fn recorded_histories() {
        let saved = vec![
            "/view?filename=core_t2i_00001_.png&subfolder=&type=output".to_owned(),
            "/view?filename=core_t2i_00002_.png&subfolder=&type=output".to_owned(),
        ];
        for (label, expected) in [
            ("core nodes", Ok((saved.clone(), vec![]))),
            ("cached", Ok((saved, vec![]))),
            ("websocket", Ok((vec![], vec![]))),
            ("no image", Ok((vec![], vec![]))),
            ("broken picture", Err(ErrorKind::Invalid)),
            ("out of memory", Err(ErrorKind::OutOfMemory)),
            ("broken checkpoint", Err(ErrorKind::Upstream)),
            ("interrupted", Err(ErrorKind::Cancelled)),
        ] {
            assert_eq!(recorded(label), expected, "{label}");
        }
    }

    #[track_caller]
    fn check_files(entry: Value, kept: &[&str], previewed: &[&str]) {
        let history = Map::from_iter([("id".to_owned(), entry)]);
        let (found_kept, found_previewed) = read_files(history, "id").unwrap();
        assert_eq!(
            (found_kept, found_previewed),
            (
                kept.iter().map(ToString::to_string).collect(),
                previewed.iter().map(ToString::to_string).collect()
            )
        );
    }

    #[test]
    fn files_come_in_the_order_of_nodes_and_are_percent_encoded() {
        let file = |name: &str, folder: &str| json!({"images": [{"filename": name, "subfolder": "a b", "type": folder}]});
        check_files(
            json!({"outputs": {"10": file("ü & 1.png", "output"), "9": file("2.png", "output"), "3": file("p.png", "temp")}}),
            &[
                "/view?filename=2.png&subfolder=a%20b&type=output",
                "/view?filename=%C3%BC%20%26%201.png&subfolder=a%20b&type=output",
            ],
            &["/view?filename=p.png&subfolder=a%20b&type=temp"],
        );
    }

    #[test]
    fn odd_histories_do_no_harm() {
        check_files(
            json!({"outputs": {"1": null, "2": {"images": 3}, "3": {"images": [4, {}]}}, "status": null}),
            &[],
            &[],
        );
        check_files(json!({"status": {"status_str": 7}}), &[], &[]);
        let absent = Finished::read(Map::new(), "id").unwrap();
        assert!(absent.is_none());
        let history = Map::from_iter([("id".to_owned(), json!(3))]);
        assert_eq!(
            Finished::read(history, "id").unwrap_err().kind,
            ErrorKind::Protocol
        );
    }

    #[test]
    fn images_left_before_a_failure_are_not_shown() {
        let entry = json!({
            "outputs": {"9": {"images": [{"filename": "a.png", "subfolder": "", "type": "output"}]}},
            "status": {"status_str": "error", "messages": ["odd", ["execution_error", {}]]},
        });
        let history = Map::from_iter([("id".to_owned(), entry)]);
        assert_eq!(read_files(history, "id"), Err(ErrorKind::Upstream));
    }

    #[test]
    fn a_place_in_the_queue_counts_what_is_in_front() {
        let queue: Value = serde_json::from_str(include_str!("../testdata/queue.json")).unwrap();
        for (id, expected) in [
            ("d09102e8-1a86-4c5f-8dbc-179ce3e4a8d2", Some(0)),
            ("3331f24e-a8b2-4917-8d79-b4347af4f271", Some(1)),
            ("1e6ac6a8-2c9e-4bf1-b9d3-afeb088bf85f", Some(2)),
            ("another", None),
        ] {
            assert_eq!(position(&queue, id), expected);
        }
        assert_eq!(position(&json!({"queue_pending": [3, ["x"]]}), "x"), None);
    }

    #[test]
    fn what_runs_is_told_from_our_job() {
        let queue: Value = serde_json::from_str(include_str!("../testdata/queue.json")).unwrap();
        assert!(runs(&queue, "d09102e8-1a86-4c5f-8dbc-179ce3e4a8d2"));
        for id in ["3331f24e-a8b2-4917-8d79-b4347af4f271", "gone"] {
            assert!(!runs(&queue, id));
        }
        for idle in [
            json!({"queue_running": []}),
            json!({"queue_running": 3}),
            json!(null),
        ] {
            assert!(!runs(&idle, "any"));
        }
    }

    #[test]
    fn jobs_are_known_by_their_client_too() {
        let queue: Value = serde_json::from_str(include_str!("../testdata/queue.json")).unwrap();
        let jobs = jobs_of(&queue, "a89522251d3f4e10bfd4af81a39f0bcc");
        let running = "d09102e8-1a86-4c5f-8dbc-179ce3e4a8d2";
        assert_eq!((jobs.len(), jobs[0]), (3, running));
        assert!(jobs_of(&queue, "another").is_empty());
        let odd = json!({"queue_running": [3, ["x"]], "queue_pending": 3});
        assert!(jobs_of(&odd, "").is_empty());
    }

    #[test]
    fn choices_are_read_in_both_spellings() {
        let schemas: Value =
            serde_json::from_str(include_str!("../testdata/object-info.json")).unwrap();
        let names = |class: &str, input: &str| {
            let models = models(&schemas, class, input);
            models.into_iter().map(|model| model.id).collect::<Vec<_>>()
        };
        assert_eq!(
            names("CheckpointLoaderSimple", "ckpt_name"),
            ["random-sd15-tiny.safetensors", "random-sd15.safetensors"]
        );
        assert_eq!(names("KSamplerSelect", "sampler_name")[0], "euler");
        assert!(names("KSamplerSelect", "other").is_empty());
        assert!(names("NotInstalledNode", "ckpt_name").is_empty());
    }
}
