//! A server of this process for one engine, which is removed at the end.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use pinhole::app::{self, App};
use pinhole::config::Config;
use pinhole::control::CommandLine;
use pinhole::jobs::{Error, JobPlan, JobRequest};
use pinhole::releases::{Install, ReleaseError};
use pinhole::web;
use pinhole_ground::data_dir::{self, DataLock};
use pinhole_ground::environment::Environment;
use pinhole_sandbox::{JobContext, TrafficRecorder};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::commands::engine_test::code_cache;
use crate::commands::generate::file_stem;
use crate::commands::write_file;

/// Where it listens: on a free port of this machine.
const ADDRESS: &str = "127.0.0.1:0";
/// How long turns and responses may take after the signal to stop.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(3);
/// Variables of a server that have no meaning here, or another value.
const OWN_VARIABLES: [&str; 14] = [
    "ENABLE_IMAGE_EDIT",
    "ENABLE_IMAGE_GENERATION",
    "IMAGE_EDIT_ENGINE",
    "IMAGE_GENERATION_ENGINE",
    "PINHOLE_CACHE",
    "PINHOLE_DATA",
    "PINHOLE_ENGINES",
    "PINHOLE_ENGINE_CASES",
    "PINHOLE_ENGINE_GRANTS",
    "PINHOLE_METRICS_LISTEN",
    "PINHOLE_ROLLOUT",
    "PINHOLE_UI",
    "PINHOLE_UI_DIR",
    "PINHOLE_WEB_CLIENT",
];

/// A running server.
pub(super) struct PrivateServer {
    app: Arc<App>,
    url: String,
    key: String,
    shutdown: CancellationToken,
    /// Accepts connections.
    listening: Mutex<Option<JoinHandle<()>>>,
    code_cache: PathBuf,
    serving: Mutex<Serving>,
    _lock: DataLock,
    /// Removed when the server is dropped.
    _directory: TempDir,
}

/// The engine that serves.
#[derive(Default)]
struct Serving {
    engine: String,
    /// Empty until a component was loaded.
    version: String,
}

/// A component that serves now.
pub(super) struct Loaded {
    pub(super) engine: String,
    pub(super) version: String,
    /// The permissions that were granted in addition to those before.
    pub(super) granted: Vec<String>,
}

impl PrivateServer {
    /// Starts a server with the variables of this process, whose jobs have this engine by default.
    pub(super) async fn start(
        config: &Config,
        engine: &str,
        recorder: TrafficRecorder,
    ) -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("pinhole-dev-")
            .tempdir()
            .context("cannot create a temporary directory")?;
        let config = private_config(config, directory.path(), engine)?;
        let code_cache = config.cache.clone().unwrap_or_else(|| config.data.clone());
        let lock = app::lock_data_dir(&config)?;
        let app = Arc::new(App::open(&config).await?);
        app.jobs.record_traffic(recorder);
        let key = app.store.create_first_administrator().await?;
        let key = key.context("the new database has users already")?;
        let listener = TcpListener::bind(ADDRESS).await;
        let listener = listener.with_context(|| format!("cannot listen on {ADDRESS}"))?;
        let url = format!("http://{}", listener.local_addr()?);
        let shutdown = CancellationToken::new();
        let listening = tokio::spawn(web::serve(listener, app.clone(), shutdown.clone()));
        Ok(Self {
            app,
            url,
            key,
            shutdown,
            listening: Mutex::new(Some(listening)),
            code_cache,
            serving: Mutex::new(Serving {
                engine: engine.to_owned(),
                version: String::new(),
            }),
            _lock: lock,
            _directory: directory,
        })
    }

    /// How a person uses it.
    pub(super) fn introduction(&self) -> String {
        let Self { url, key, .. } = self;
        format!(
            "server: {url}\n\
             key: {key}\n\
             type a prompt here to make an image, or send a request:\n\
             curl {url}/v1/images/generations -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' \
             -d '{{\"prompt\": \"a red fox\"}}'"
        )
    }

    /// The directory of compiled code.
    pub(super) fn code_cache(&self) -> &Path {
        &self.code_cache
    }

    /// The name of the engine.
    pub(super) fn engine(&self) -> String {
        self.lock().engine.clone()
    }

    /// Name and version of the component that serves.
    pub(super) fn serving(&self) -> Option<String> {
        let Serving { engine, version } = &*self.lock();
        (!version.is_empty()).then(|| format!("{engine} {version}"))
    }

    /// Lets a component serve with all that it declares, at once and for all jobs. The error is one line.
    pub(super) async fn load(&self, bytes: Vec<u8>) -> Result<Loaded, String> {
        self.install(bytes).await.map_err(|error| match error {
            ReleaseError::Internal(ours) => format!("{ours:#}"),
            other => other.to_string(),
        })
    }

    async fn install(&self, bytes: Vec<u8>) -> Result<Loaded, ReleaseError> {
        let (releases, by) = (&self.app.releases, CommandLine::of_this_process().name());
        let install = Install {
            bytes,
            by: by.clone(),
            is_forced: true,
            ..Install::default()
        };
        let mut report = releases.install(install).await?;
        let (engine, granted) = (report.engine.clone(), report.new_rights.clone());
        if report.state == "parked" {
            report = releases.approve(&engine, Some(&report.digest), &by).await?;
        }
        if report.state == "candidate" {
            // It is not watched: the author sees what fails.
            releases.promote(&engine, &by).await?;
        }
        let mut serving = self.lock();
        serving.engine.clone_from(&engine);
        serving.version.clone_from(&report.version);
        Ok(Loaded {
            engine,
            version: report.version,
            granted,
        })
    }

    /// Makes an image with the engine that serves, and writes it to a directory. Returns the paths of all images.
    pub(super) async fn generate(
        &self,
        prompt: &str,
        directory: &Path,
    ) -> Result<Vec<PathBuf>, Error> {
        let snapshot = self.app.jobs.snapshot();
        let binding = snapshot.operator_binding(Some(&self.engine()))?.clone();
        let plan = JobPlan::of_operator(snapshot, binding);
        let request = JobRequest {
            prompt: prompt.to_owned(),
            ..JobRequest::default()
        };
        let context = JobContext::new(uuid::Uuid::new_v4().to_string());
        let completed = self.app.jobs.generate(&plan, request, &context).await?;
        for note in completed.notes() {
            println!("note: {note}");
        }
        let images = completed.images.iter().zip(1..);
        let paths = images.filter_map(|(image, number)| {
            let (stem, extension) = (file_stem(prompt), image.extension());
            let path = directory.join(match completed.images.len() {
                1 => format!("{stem}.{extension}"),
                _ => format!("{stem}-{number}.{extension}"),
            });
            match write_file(&path, image.bytes()) {
                Ok(()) => Some(path),
                Err(error) => {
                    println!("{error:#}");
                    None
                }
            }
        });
        Ok(paths.collect())
    }

    /// Stops jobs, requests and turns.
    pub(super) async fn shut_down(&self) {
        self.shutdown.cancel();
        let listening = self
            .listening
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let stopped = async {
            tokio::join!(self.app.tasks.shut_down(), self.app.jobs.shut_down());
            if let Some(listening) = listening {
                listening.await.ok();
            }
        };
        tokio::time::timeout(SHUTDOWN_TIMEOUT, stopped).await.ok();
    }

    fn lock(&self) -> MutexGuard<'_, Serving> {
        self.serving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The configuration of a server in a directory of its own, with the other variables of this process.
fn private_config(config: &Config, directory: &Path, engine: &str) -> Result<Config> {
    let text = |name: &str| {
        let path = directory.join(name);
        data_dir::create(&path)?;
        let path = path.into_os_string().into_string();
        path.ok()
            .context("the path of the temporary directory is not UTF-8")
    };
    let own = [
        ("PINHOLE_DATA", text("data")?),
        ("PINHOLE_ENGINES", text("engines")?),
        ("IMAGE_GENERATION_ENGINE", engine.to_owned()),
        ("IMAGE_EDIT_ENGINE", engine.to_owned()),
    ];
    let environment = &config.environment;
    let of_process = environment
        .started_names()
        .filter(|name| !OWN_VARIABLES.contains(name))
        .filter_map(|name| Some((name, environment.started_value(name)?.to_owned())));
    let pairs = of_process.chain(own);
    let pairs = pairs.map(|(name, value)| (name.to_owned(), value));
    let private = Config::new(Environment::new(pairs))?;
    Ok(Config {
        cache: code_cache(config),
        compiler: private.compiler.for_person(),
        may_name_files: true,
        ..private
    })
}
