//! The server's history: finished jobs and their files.

use pinhole_sdk::Error;
use pinhole_sdk::request::percent_encode;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error;
use crate::workflow::sort_ids;

/// Maximum number of files of one job. A workflow does not create more.
const MAX_FILES: usize = 1000;

/// A finished job.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct HistoryEntry {
    /// By node id: the outputs of the node, such as `images`.
    outputs: Map<String, Value>,
    /// Null from very old servers.
    status: Value,
}

/// A file on the server.
#[derive(Debug, Deserialize, PartialEq)]
pub(crate) struct OutputFile {
    /// The id of its node.
    #[serde(skip)]
    pub(crate) node: String,
    filename: String,
    #[serde(default)]
    subfolder: String,
    #[serde(default = "default_folder", rename = "type")]
    folder: String,
}

/// The folder of saved files, which some custom nodes do not name.
fn default_folder() -> String {
    "output".to_owned()
}

/// The files of a finished job.
#[derive(Debug)]
pub(crate) struct OutputFiles {
    pub(crate) saved: Vec<OutputFile>,
    pub(crate) previews: Vec<OutputFile>,
    /// The ids of the nodes that did not run, because the server had their outputs of an earlier job.
    pub(crate) cached_nodes: Vec<String>,
}

impl HistoryEntry {
    /// Takes the entry of a job from a history; `None` if the history does not have it.
    pub(crate) fn take(
        mut history: Map<String, Value>,
        prompt_id: &str,
    ) -> Result<Option<Self>, Error> {
        let Some(entry) = history.remove(prompt_id) else {
            return Ok(None);
        };
        serde_json::from_value(entry).map(Some).map_err(|why| {
            Error::protocol(format!("ComfyUI returned an unexpected history: {why}"))
        })
    }

    /// The saved files and the previews, in the order of the nodes. Fails if the job failed, even if it
    /// saved images before.
    pub(crate) fn into_files(self) -> Result<OutputFiles, Error> {
        if let Some(error) = self.error() {
            return Err(error);
        }
        let images_of = |id| self.outputs.get(id)?.get("images")?.as_array();
        let files: Vec<OutputFile> = sort_ids(self.outputs.keys())
            .into_iter()
            .filter_map(|id| Some((id, images_of(id)?)))
            .flat_map(|(id, images)| images.iter().map(move |image| (id, image)))
            .filter_map(|(id, image)| {
                let file = OutputFile::deserialize(image).ok()?;
                let node = id.to_owned();
                Some(OutputFile { node, ..file })
            })
            .take(MAX_FILES + 1)
            .collect();
        if files.len() > MAX_FILES {
            let message = format!("ComfyUI lists more than {MAX_FILES} images for one job");
            return Err(Error::protocol(message));
        }
        let (saved, previews) = files.into_iter().partition(|file| file.folder == "output");
        Ok(OutputFiles {
            saved,
            previews,
            cached_nodes: self.cached_nodes(),
        })
    }

    fn cached_nodes(&self) -> Vec<String> {
        let messages = self.status.get("messages").and_then(Value::as_array);
        let cached = messages.into_iter().flatten().filter_map(|message| {
            let is_cached = message.get(0)? == "execution_cached";
            message
                .get(1)
                .filter(|_| is_cached)?
                .get("nodes")?
                .as_array()
        });
        let ids = cached.flatten().filter_map(Value::as_str);
        ids.map(str::to_owned).collect()
    }

    /// The error of a failed job, from the last message that has one.
    fn error(&self) -> Option<Error> {
        if self.status.get("status_str")? != "error" {
            return None;
        }
        let messages = self.status.get("messages").and_then(Value::as_array);
        let error = messages.into_iter().flatten().rev().find_map(|message| {
            match message.get(0)?.as_str()? {
                "execution_error" => Some(error::execution_failed(message.get(1)?)),
                "execution_interrupted" => Some(error::interrupted()),
                _ => None,
            }
        });
        Some(error.unwrap_or_else(|| error::execution_failed(&Value::Null)))
    }
}

impl OutputFile {
    pub(crate) fn path(&self) -> String {
        format!(
            "/view?filename={}&subfolder={}&type={}",
            percent_encode(&self.filename),
            percent_encode(&self.subfolder),
            percent_encode(&self.folder)
        )
    }
}

#[cfg(test)]
mod tests {
    use pinhole_sdk::ErrorKind;
    use serde_json::json;

    use super::*;

    /// The files in the recorded history of this label, saved and previews, or the kind of its error.
    fn recorded(label: &str) -> Result<(Vec<String>, Vec<String>), ErrorKind> {
        let recorded: Vec<Value> =
            serde_json::from_str(include_str!("../../testdata/histories.json")).unwrap();
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
        let entry = HistoryEntry::take(history, id).unwrap().unwrap();
        let files = entry.into_files().map_err(|error| error.kind)?;
        let paths = |list: Vec<OutputFile>| list.iter().map(OutputFile::path).collect();
        Ok((paths(files.saved), paths(files.previews)))
    }

    #[test]
    fn files_of_recorded_histories() {
        let saved = vec![
            "/view?filename=core_t2i_00001_.png&subfolder=&type=output".to_owned(),
            "/view?filename=core_t2i_00002_.png&subfolder=&type=output".to_owned(),
        ];
        for (label, expected) in [
            ("core nodes", Ok((saved.clone(), vec![]))),
            ("cached", Ok((saved, vec![]))),
            ("websocket", Ok((vec![], vec![]))),
            ("no image", Ok((vec![], vec![]))),
            ("broken image", Err(ErrorKind::Invalid)),
            ("out of memory", Err(ErrorKind::OutOfMemory)),
            ("broken checkpoint", Err(ErrorKind::Upstream)),
            ("interrupted", Err(ErrorKind::Cancelled)),
        ] {
            assert_eq!(recorded(label), expected, "{label}");
        }
    }

    #[track_caller]
    fn check_files(entry: Value, saved: &[&str], previews: &[&str]) {
        let history = Map::from_iter([("id".to_owned(), entry)]);
        let (found_saved, found_previews) = read_files(history, "id").unwrap();
        assert_eq!(
            (found_saved, found_previews),
            (
                saved.iter().map(ToString::to_string).collect(),
                previews.iter().map(ToString::to_string).collect()
            )
        );
    }

    #[test]
    fn files_follow_node_order_with_encoded_paths() {
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
    fn files_tolerate_invalid_history() {
        check_files(
            json!({"outputs": {"1": null, "2": {"images": 3}, "3": {"images": [4, {}]}}, "status": null}),
            &[],
            &[],
        );
        check_files(json!({"status": {"status_str": 7}}), &[], &[]);
        let absent = HistoryEntry::take(Map::new(), "id").unwrap();
        assert!(absent.is_none());
        let history = Map::from_iter([("id".to_owned(), json!(3))]);
        assert_eq!(
            HistoryEntry::take(history, "id").unwrap_err().kind,
            ErrorKind::Protocol
        );
    }

    #[test]
    fn files_of_failed_job_are_refused() {
        let entry = json!({
            "outputs": {"9": {"images": [{"filename": "a.png", "subfolder": "", "type": "output"}]}},
            "status": {"status_str": "error", "messages": ["odd", ["execution_error", {}]]},
        });
        let history = Map::from_iter([("id".to_owned(), entry)]);
        assert_eq!(read_files(history, "id"), Err(ErrorKind::Upstream));
    }
}
