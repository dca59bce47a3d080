//! A server in this process, on a free port and with a data directory of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use pinhole::app::App;
use pinhole::clients::ConnectionLimits;
use pinhole::config::Config;
use pinhole_ground::environment::Environment;
use pinhole_sandbox::Compiler;
use serde_json::Value;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::TestDatabase;

/// The second user's key, and its SHA-256 in hexadecimal, as the store holds it.
const SECOND_KEY: &str = "sk-second";
const SECOND_KEY_HASH: &str = "b464ce30b204dc60e335136ee46a01efe74914f4e4a6264f48448448642c9a0c";

/// The directory of the included engines, as built by `cargo xtask`.
pub fn engines() -> PathBuf {
    path_from_xtask("PINHOLE_TEST_ENGINES")
}

/// The directory of the test engines.
pub fn guests() -> PathBuf {
    path_from_xtask("PINHOLE_TEST_GUESTS")
}

/// The program `pinhole`.
pub fn program() -> PathBuf {
    path_from_xtask("PINHOLE_TEST_PROGRAM")
}

/// The directory of the packages with which an author builds an engine.
pub fn authors() -> PathBuf {
    path_from_xtask("PINHOLE_TEST_AUTHORS")
}

/// Only xtask sets these variables, so a test never uses an outdated component.
fn path_from_xtask(variable: &str) -> PathBuf {
    std::env::var_os(variable)
        .unwrap_or_else(|| panic!("{variable} is not set: run the tests with `cargo xtask test`"))
        .into()
}

/// An environment of these variables. By default it has the included engines and this data directory.
pub fn environment(data_dir: &TempDir, variables: &[(&str, &str)]) -> Environment {
    let text = |path: PathBuf| path.into_os_string().into_string().unwrap();
    let defaults = [
        ("PINHOLE_DATA", text(data_dir.path().to_owned())),
        ("PINHOLE_ENGINES", text(engines())),
        ("PINHOLE_SLOTS", "16".to_owned()),
        ("PINHOLE_COMPILER", text(program())),
    ];
    let own = variables
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()));
    let pairs = defaults.into_iter().chain(own);
    Environment::new(pairs.map(|(name, value)| (name.to_owned(), value)))
}

/// Compiles components with the program `pinhole`.
pub fn compiler() -> Compiler {
    let data_dir = tempfile::tempdir().unwrap();
    Config::new(environment(&data_dir, &[])).unwrap().compiler
}

/// A running server. Dropping it stops the server.
pub struct TestServer {
    pub app: Arc<App>,
    /// The administrator's key.
    pub key: String,
    pub address: SocketAddr,
    pub client: reqwest::Client,
    pub data_dir: TempDir,
    pub database: TestDatabase,
    task: tokio::task::JoinHandle<()>,
    _leases: AbortOnDropHandle<()>,
}

impl TestServer {
    /// Starts a server with exactly these variables.
    pub async fn start(variables: &[(&str, &str)]) -> Self {
        let data_dir = tempfile::tempdir().unwrap();
        copy_compiled_engines(&data_dir);
        let database = TestDatabase::create(&data_dir).await;
        Self::open(data_dir, database, None, variables).await
    }

    /// Starts a server with this database and exactly these variables.
    pub async fn with_database(database: TestDatabase, variables: &[(&str, &str)]) -> Self {
        let data_dir = tempfile::tempdir().unwrap();
        copy_compiled_engines(&data_dir);
        Self::open(data_dir, database, None, variables).await
    }

    /// Starts a server with the database, and with the administrator's key, of another one, and these variables.
    pub async fn with_database_of(other: &Self, variables: &[(&str, &str)]) -> Self {
        let data_dir = tempfile::tempdir().unwrap();
        copy_compiled_engines(&data_dir);
        let key = Some(other.key.clone());
        Self::open(data_dir, other.database.shared(), key, variables).await
    }

    /// Starts a server with only this engine, which is the default.
    pub async fn with_engine(engine: &str, variables: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = format!("{engine}.wasm");
        std::fs::copy(engines().join(&file), directory.path().join(&file)).unwrap();
        let mut all = vec![
            ("IMAGE_GENERATION_ENGINE", engine),
            ("PINHOLE_ENGINES", directory.path().to_str().unwrap()),
        ];
        all.extend(variables);
        Self::start(&all).await
    }

    /// Stops the server and starts another with its data directory and exactly these variables.
    pub async fn restart(mut self, variables: &[(&str, &str)]) -> Self {
        let unused = tempfile::tempdir().unwrap();
        let no_database = TestDatabase::sqlite(&unused);
        let data_dir = std::mem::replace(&mut self.data_dir, unused);
        let database = std::mem::replace(&mut self.database, no_database);
        let key = self.key.clone();
        // As a server that shuts down does.
        if let Some(host) = self.app.active_jobs.durable_host() {
            self.app.store.remove_host(host).await.unwrap();
        }
        drop(self);
        Self::open(data_dir, database, Some(key), variables).await
    }

    /// Starts a server with exactly these variables and with these limits of connections.
    pub async fn with_limits(limits: ConnectionLimits, variables: &[(&str, &str)]) -> Self {
        let data_dir = tempfile::tempdir().unwrap();
        copy_compiled_engines(&data_dir);
        let mut config = Config::new(environment(&data_dir, variables)).unwrap();
        config.clients.limits = limits;
        let database = TestDatabase::sqlite(&data_dir);
        Self::run(data_dir, database, None, config).await
    }

    async fn open(
        data_dir: TempDir,
        database: TestDatabase,
        key: Option<String>,
        variables: &[(&str, &str)],
    ) -> Self {
        let of_database = database.variables();
        let of_database = of_database
            .iter()
            .map(|(name, value)| (*name, value.as_str()));
        let all: Vec<_> = of_database.chain(variables.iter().copied()).collect();
        let config = Config::new(environment(&data_dir, &all)).unwrap();
        Self::run(data_dir, database, key, config).await
    }

    async fn run(
        data_dir: TempDir,
        database: TestDatabase,
        key: Option<String>,
        config: Config,
    ) -> Self {
        let app = App::open(&config).await.unwrap();
        Self::serve_database(data_dir, database, key, app).await
    }

    /// Serves an app with the database of its data directory, whose engines may follow. The key is that of an earlier
    /// server with the data directory.
    pub async fn serve(data_dir: TempDir, key: Option<String>, app: App) -> Self {
        let database = TestDatabase::sqlite(&data_dir);
        Self::serve_database(data_dir, database, key, app).await
    }

    async fn serve_database(
        data_dir: TempDir,
        database: TestDatabase,
        key: Option<String>,
        app: App,
    ) -> Self {
        let app = Arc::new(app);
        let first_key = app.store.create_first_administrator().await.unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(pinhole::web::serve(listener, app.clone(), shutdown));
        let leases = tokio::spawn(app.active_jobs.clone().extend_leases());
        Self {
            app,
            key: first_key.or(key).unwrap(),
            address,
            client: http_client(),
            data_dir,
            database,
            task,
            _leases: AbortOnDropHandle::new(leases),
        }
    }

    /// Starts another server with the data directory of this one, and exactly these variables: another host with the
    /// same database. Both follow each other's changes.
    pub async fn another_host(&self, variables: &[(&str, &str)]) -> Self {
        let config = Config::new(environment(&self.data_dir, variables)).unwrap();
        let app = App::open(&config).await.unwrap();
        let unused = tempfile::tempdir().unwrap();
        let other = Self::serve(unused, Some(self.key.clone()), app).await;
        for host in [self, &other] {
            tokio::spawn(host.app.clone().follow_hosts());
            tokio::spawn(host.app.clone().share_settings());
        }
        other
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A `GET` with the administrator's key.
    pub fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.client.get(self.url(path)).bearer_auth(&self.key)
    }

    /// A `POST` of JSON with the administrator's key.
    pub fn post(&self, path: &str, body: &Value) -> reqwest::RequestBuilder {
        self.client
            .post(self.url(path))
            .bearer_auth(&self.key)
            .header("content-type", "application/json")
            .body(body.to_string())
    }

    /// Status and JSON of the response to a `POST`. A body that is not JSON becomes a string.
    pub async fn post_json(&self, path: &str, body: &Value) -> (u16, Value) {
        let response = self.post(path, body).send().await.unwrap();
        let status = response.status().as_u16();
        let bytes = response.bytes().await.unwrap();
        let json = serde_json::from_slice(&bytes);
        (
            status,
            json.unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&bytes))),
        )
    }

    /// The number of files in the data directory.
    pub fn stored_files(&self) -> usize {
        std::fs::read_dir(self.data_dir.path().join("files"))
            .unwrap()
            .count()
    }

    /// Adds a user who is not an administrator to the database, and returns the user's key.
    pub async fn add_second_user(&self) -> &'static str {
        let user =
            "INSERT INTO users (id, name, role, created_at) VALUES ('second', 'Second', 'user', 0)";
        self.database.execute(user, &[]).await;
        let key = "INSERT INTO api_keys (hash, user_id, created_at) VALUES ($1, 'second', 0)";
        self.database.execute(key, &[SECOND_KEY_HASH]).await;
        SECOND_KEY
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Copies the engines' machine code, compiled by `cargo xtask test`, into a data directory.
pub fn copy_compiled_engines(data_dir: &TempDir) {
    let from = path_from_xtask("PINHOLE_TEST_COMPILED");
    let to = data_dir.path().join("compiled");
    std::fs::create_dir(&to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// A client without a proxy.
pub fn http_client() -> reqwest::Client {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .build()
        .unwrap()
}
