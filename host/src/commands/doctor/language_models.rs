//! The check of the servers with language models.

use http::StatusCode;
use pinhole::chat::model::{ListError, ListedModel, Models};
use pinhole::config::Config;
use pinhole::jobs::Jobs;
use pinhole_ground::audit::AuditLog;

use super::{Checks, Status};

/// The names of settings in messages.
struct SettingNames {
    url: &'static str,
    key: &'static str,
}

impl SettingNames {
    /// The lists are used if they are set.
    fn new(config: &Config) -> Self {
        let is_set = |name| config.environment.get(name).is_some();
        Self {
            url: if is_set("OPENAI_API_BASE_URLS") {
                "its entry in OPENAI_API_BASE_URLS"
            } else {
                "OPENAI_API_BASE_URL"
            },
            key: if is_set("OPENAI_API_KEYS") {
                "its entry in OPENAI_API_KEYS"
            } else {
                "OPENAI_API_KEY"
            },
        }
    }
}

impl Checks {
    /// Requests the list of models of each server, with its key.
    pub(super) async fn check_language_models(&mut self, jobs: &Jobs, config: &Config) {
        let snapshot = jobs.snapshot();
        let settings = &snapshot.settings;
        let models = match Models::open(&settings.model_servers, &jobs.egress, &AuditLog::default())
        {
            Ok(models) => models,
            Err(why) => return self.add("language models", Status::Failed, why),
        };
        let names = SettingNames::new(config);
        let mut listed: Vec<ListedModel> = Vec::new();
        let mut has_all_lists = true;
        for server in models.request_lists().await {
            let check = format!("language models of {}", server.base_url);
            match server.models {
                Ok(list) if list.is_empty() => {
                    let message = "it responds, but lists no model: add one there";
                    self.add(check, Status::Warning, message);
                }
                Ok(list) => {
                    let message = format!("it responds and lists {} model(s)", list.len());
                    self.add(check, Status::Ok, message);
                    listed.extend(list);
                }
                Err(error) => {
                    has_all_lists = false;
                    let (status, message) = explain(&error, &names, server.has_key);
                    self.add(check, status, message);
                }
            }
        }
        let prompt = &settings.prompt;
        for (name, model) in [
            ("TASK_MODEL", &prompt.task_model),
            ("TASK_MODEL_EXTERNAL", &prompt.task_model_external),
        ] {
            let Some(model) = model else { continue };
            if has_all_lists && !models.is_empty() && !listed.iter().any(|it| it.id == *model) {
                let message = format!(
                    "{name} is {model:?}, which no server lists: tasks use the model of the chat; set it to a listed model"
                );
                self.add("language models", Status::Warning, message);
            }
        }
    }
}

/// The failure, and the remedy.
fn explain(error: &ListError, names: &SettingNames, has_key: bool) -> (Status, String) {
    let SettingNames { url, key } = names;
    match error {
        ListError::Status(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) if has_key => (
            Status::Failed,
            format!("{error}: set {key} to a key that the server accepts"),
        ),
        ListError::Status(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => (
            Status::Failed,
            format!("{error}: the server requires a key; set {key}"),
        ),
        // Some servers have no list, and chats work.
        ListError::Status(StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED)
        | ListError::Unusable(_) => (
            Status::Warning,
            format!(
                "{error}, so it lists no models: check that {url} ends with the version of the API, such as /v1"
            ),
        ),
        ListError::Status(_) => (
            Status::Failed,
            format!("{error}: check the log of the server, and that {url} is its URL"),
        ),
        ListError::Request(_) => (
            Status::Failed,
            format!("{error}: check that the server is running and that {url} is its URL"),
        ),
    }
}
