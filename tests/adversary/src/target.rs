//! The server under attack, and the fixtures around it.

mod audit;
mod client;
mod components;
mod own_server;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use http::StatusCode;
use pinhole::config::Config;
use pinhole_egress::Destination;
use pinhole_ground::data_dir;
use pinhole_tests::{FakeUpstream, RawStep, ServerProcess};
use serde_json::{Map, Value, json};

use crate::case::{AttackCase, Requirement};
use crate::{InstalledServer, Options};

pub(crate) use audit::{AuditSummary, is_expected_guard};
pub(crate) use client::{Client, ClientRequest, RequestStart, Response};
pub(crate) use components::EngineSetup;
pub(crate) use own_server::FORWARDED;
use own_server::{OwnServer, ServerCommand};

/// The secret setting of the engine `hostile`. No engine, client or log may ever contain it.
pub(crate) const SECRET: &str = "sK-Zx81-quiet/heron+4711-wren.63-vault==";
/// The operator's list of hosts from which the engine `hostile` gets images by URL.
pub(crate) const IMAGE_HOSTS: &str = "PINHOLE_HOSTILE_IMAGE_HOSTS";
/// That list between cases, so that other guards than the list refuse.
const ANY_PUBLIC_HOST: &str = "*";
/// Path of requests for images.
pub(crate) const IMAGES_PATH: &str = "/v1/images/generations";
const SETTINGS_PATH: &str = "/api/v1/settings";
const HOSTILE: &str = "hostile";

/// The server under attack, and the fixtures around it.
pub(crate) struct AttackTarget {
    /// The upstream `api` of the engine `hostile`. A case scripts its responses.
    pub(crate) upstream: FakeUpstream,
    /// No connection may reach it.
    pub(crate) trap: FakeUpstream,
    pub(crate) client: Client,
    /// `None` if an installed server is attacked.
    own_server: Option<Mutex<OwnServer>>,
    has_hostile_engine: bool,
    has_sketch_engine: bool,
    pub(crate) config: Config,
    /// The program `pinhole`.
    pub(crate) program: PathBuf,
    components: PathBuf,
    /// The settings that the current case has changed.
    changed_settings: Mutex<BTreeSet<String>>,
}

/// A server with other limits, for one case.
pub(crate) struct OtherServer {
    pub(crate) client: Client,
    /// Stops when dropped.
    _server: OwnServer,
}

impl AttackTarget {
    /// Starts a server with the engines `hostile` and `sketch`.
    pub(crate) async fn start_server(config: &Config, options: &Options) -> Result<Self> {
        let (upstream, trap) = start_upstreams().await;
        let engines = [
            options.components.join(HOSTILE).with_extension("wasm"),
            config.engines.join("sketch.wasm"),
        ];
        let (base_url, proxy_url) = (upstream.url(), trap.url());
        let chat_url = format!("{base_url}/chat");
        let variables = [
            // The server must ignore these.
            ("HTTP_PROXY", proxy_url.as_str()),
            ("http_proxy", proxy_url.as_str()),
            ("ALL_PROXY", proxy_url.as_str()),
            ("all_proxy", proxy_url.as_str()),
            ("HOSTILE_BASE_URL", base_url.as_str()),
            ("HOSTILE_API_KEY", SECRET),
            ("HOSTILE_NOTE", "a note"),
            (IMAGE_HOSTS, ANY_PUBLIC_HOST),
            ("OPENAI_API_BASE_URL", chat_url.as_str()),
            ("OPENAI_API_KEY", SECRET),
        ];
        let command = ServerCommand {
            program: &options.program,
            environment: &config.environment,
            engines: &engines,
            variables: &variables,
        };
        let server = OwnServer::start(&command).await?;
        Ok(Self {
            client: Client::new(server.url(), server.key())?,
            upstream,
            trap,
            own_server: Some(Mutex::new(server)),
            has_hostile_engine: true,
            has_sketch_engine: true,
            config: config.clone(),
            program: options.program.clone(),
            components: options.components.clone(),
            changed_settings: Mutex::default(),
        })
    }

    /// Attacks a server that runs already. [`Self::close`] restores the settings of its engine `hostile`.
    pub(crate) async fn for_installed(
        config: &Config,
        options: &Options,
        server: &InstalledServer,
    ) -> Result<Self> {
        let (upstream, trap) = start_upstreams().await;
        let client = Client::new(&server.url, &server.key)?;
        let settings = client.get(SETTINGS_PATH).await?;
        ensure!(
            settings.status == StatusCode::OK,
            "{} rejects the key with status {}: use an administrator's key",
            server.url,
            settings.status
        );
        let mut target = Self {
            upstream,
            trap,
            client,
            own_server: None,
            has_hostile_engine: settings.text().contains("HOSTILE_BASE_URL"),
            has_sketch_engine: true,
            config: config.clone(),
            program: options.program.clone(),
            components: options.components.clone(),
            changed_settings: Mutex::default(),
        };
        target.has_sketch_engine = target.check_other_engine().await.is_ok();
        if target.has_hostile_engine {
            target.post_settings(target.base_settings()).await?;
        }
        Ok(target)
    }

    /// Starts another server, for a case that needs other limits.
    pub(crate) async fn start_other(
        &self,
        engines: &[&str],
        variables: &[(&str, &str)],
    ) -> Result<OtherServer> {
        let engines: Vec<_> = engines
            .iter()
            .map(|name| self.components.join(name).with_extension("wasm"))
            .collect();
        let command = ServerCommand {
            program: &self.program,
            environment: &self.config.environment,
            engines: &engines,
            variables,
        };
        let server = OwnServer::start(&command).await?;
        Ok(OtherServer {
            client: Client::new(server.url(), server.key())?,
            _server: server,
        })
    }

    /// Why this case cannot be run, if it cannot.
    pub(crate) fn skip_reason(&self, case: &AttackCase) -> Option<String> {
        match case.requirement {
            _ if self.own_server.is_some() => None,
            Requirement::OwnServer => {
                Some("needs a server that the suite starts: run without --against".to_owned())
            }
            Requirement::HostileEngine if !self.has_hostile_engine => {
                let file = self.components.join(HOSTILE).with_extension("wasm");
                Some(format!(
                    "needs the engine {HOSTILE}: copy {} to the server's engine directory and restart the server",
                    file.display()
                ))
            }
            Requirement::HostileEngine | Requirement::AnyServer => None,
        }
    }

    /// Forgets the requests and the responses of earlier cases.
    pub(crate) fn reset_upstreams(&self) {
        self.upstream.reset();
        self.trap.reset();
    }

    /// Removes the settings that the case has changed.
    pub(crate) async fn restore_settings(&self) -> Result<()> {
        let changed = std::mem::take(&mut *locked(&self.changed_settings));
        if changed.is_empty() {
            return Ok(());
        }
        let mut settings: Map<String, Value> = changed
            .into_iter()
            .map(|name| (name, Value::Null))
            .collect();
        if self.own_server.is_none() {
            settings.extend(self.base_settings());
        }
        self.post_settings(settings).await
    }

    /// Restores the settings of an installed server.
    pub(crate) async fn close(self) -> Result<()> {
        if self.own_server.is_some() || !self.has_hostile_engine {
            return Ok(());
        }
        let names = self.base_settings().into_iter().map(|(name, _)| name);
        self.post_settings(names.map(|name| (name, Value::Null)).collect())
            .await
    }

    /// The settings of the engine `hostile` between cases.
    fn base_settings(&self) -> Map<String, Value> {
        let settings = [
            ("HOSTILE_BASE_URL", self.upstream.url()),
            ("HOSTILE_API_KEY", SECRET.to_owned()),
            ("HOSTILE_NOTE", "a note".to_owned()),
            (IMAGE_HOSTS, ANY_PUBLIC_HOST.to_owned()),
        ];
        settings
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect()
    }

    async fn post_settings(&self, settings: Map<String, Value>) -> Result<()> {
        let response = self
            .client
            .post(SETTINGS_PATH, &Value::Object(settings))
            .await?;
        ensure!(
            response.status == StatusCode::OK,
            "cannot restore the settings: {response:?}"
        );
        Ok(())
    }

    /// Changes a setting of an engine or of the server for the rest of the case.
    pub(crate) async fn set(&self, name: &str, value: impl Into<Value>) -> Result<Response> {
        locked(&self.changed_settings).insert(name.to_owned());
        let mut settings = Map::new();
        settings.insert(name.to_owned(), value.into());
        self.client
            .post(SETTINGS_PATH, &Value::Object(settings))
            .await
    }

    /// Generates an image with the engine `hostile`. The prompt selects how it misbehaves.
    pub(crate) async fn generate(&self, prompt: &str) -> Result<Response> {
        self.generate_with(json!({"prompt": prompt})).await
    }

    /// The same with more fields of OpenAI's request.
    pub(crate) async fn generate_with(&self, mut body: Value) -> Result<Response> {
        if let Some(fields) = body.as_object_mut() {
            fields.insert("engine".to_owned(), HOSTILE.into());
        }
        self.client.post(IMAGES_PATH, &body).await
    }

    /// Adds a user who is not an administrator, and signs them in.
    pub(crate) async fn add_user(&self, name: &str) -> Result<Destination> {
        let user = json!({
            "name": name, "email": format!("{name}@example.org"), "password": "a long password", "role": "user",
        });
        self.client.post("/api/v1/auths/add", &user).await?;
        let session = self.client.post("/api/v1/auths/signin", &user).await?;
        let session = session.json()?;
        let key = session.get("token").and_then(Value::as_str);
        self.client
            .with_key(key.context("the user cannot sign in")?)
    }

    /// Lets the upstream hold the requests of jobs `wait`, and respond to all others.
    pub(crate) fn hold_waiting_jobs(&self) {
        self.upstream.set_raw_handler(|request| {
            if request.target.ends_with("/slow") {
                return vec![RawStep::Hold];
            }
            vec![RawStep::json(&json!({}))]
        });
    }

    /// Fails unless another engine still generates images.
    pub(crate) async fn check_other_engine(&self) -> Result<()> {
        if !self.has_sketch_engine && self.has_hostile_engine {
            // An installed server may lack the example engine.
            return self.client.get("/health").await.map(drop);
        }
        let body = json!({"prompt": "a quiet hill", "engine": "sketch", "size": "32x32"});
        let response = self.client.post(IMAGES_PATH, &body).await?;
        if response.status != StatusCode::OK {
            bail!("{}: {}", response.status, response.text());
        }
        Ok(())
    }

    /// Resident memory of the server's process, in bytes. Fails for an installed server.
    pub(crate) fn memory_bytes(&self) -> Result<u64> {
        let server = self.own_server.as_ref();
        locked(server.context("the suite has not started this server")?).memory_bytes()
    }

    /// Starts a further server without engines, with this data directory and these variables. Dropping
    /// it kills the process.
    pub(crate) async fn start_further(
        &self,
        data: &Path,
        variables: &[(&str, &str)],
    ) -> Result<ServerProcess> {
        let command = ServerCommand {
            program: &self.program,
            environment: &self.config.environment,
            engines: &[],
            variables,
        };
        let engines = "no-engines";
        data_dir::create_in(&data_dir::open(data)?, engines)?;
        own_server::start_process(&command, data, &data.join(engines)).await
    }

    /// What the server has logged. Fails for an installed server.
    pub(crate) fn log(&self) -> Result<String> {
        let server = self.own_server.as_ref();
        Ok(locked(server.context("the suite has not started this server")?).log())
    }
}

async fn start_upstreams() -> (FakeUpstream, FakeUpstream) {
    let empty = || FakeUpstream::json(200, json!({}));
    (empty().await, empty().await)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
