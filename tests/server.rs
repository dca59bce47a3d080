//! A server in this process, on a port of its own and with a data folder of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use pinhole::app::App;
use pinhole::config::Config;
use pinhole_sandbox::Compiler;
use pinhole_ground::environment::Environment;
use serde_json::Value;
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use tempfile::TempDir;

/// The folder of our own engines, as `cargo xtask` has just built them.
pub fn engines() -> PathBuf {
    from_xtask("PINHOLE_TEST_ENGINES")
}

/// The folder of the test engines.
pub fn guests() -> PathBuf {
    from_xtask("PINHOLE_TEST_GUESTS")
}

/// The program `pinhole`.
pub fn program() -> PathBuf {
    from_xtask("PINHOLE_TEST_PROGRAM")
}

/// Only xtask sets these, so a test never meets a component that was not just built.
fn from_xtask(variable: &str) -> PathBuf {
    std::env::var_os(variable)
        .unwrap_or_else(|| panic!("{variable} is not set: run the tests with `cargo xtask test`"))
        .into()
}

/// An environment of these variables, with our engines and this data folder unless they say otherwise.
pub fn environment(data: &TempDir, variables: &[(&str, &str)]) -> Environment {
    let text = |path: PathBuf| path.into_os_string().into_string().unwrap();
    let defaults = [
        ("PINHOLE_DATA", text(data.path().to_owned())),
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

/// How components are compiled: by the program `pinhole`.
pub fn compiler() -> Compiler {
    let data = tempfile::tempdir().unwrap();
    Config::new(environment(&data, &[])).unwrap().compiler
}

/// A running server; it ends when dropped.
pub struct Server {
    pub app: Arc<App>,
    /// The administrator's key.
    pub key: String,
    pub address: SocketAddr,
    pub client: reqwest::Client,
    pub data: TempDir,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Starts a server with these variables set and nothing else.
    pub async fn start(variables: &[(&str, &str)]) -> Self {
        let data = tempfile::tempdir().unwrap();
        copy_compiled_engines(&data);
        Self::open(data, None, variables).await
    }

    /// Ends the server and starts another on its data folder, with these variables and nothing else.
    pub async fn restart(mut self, variables: &[(&str, &str)]) -> Self {
        let other = tempfile::tempdir().unwrap();
        let data = std::mem::replace(&mut self.data, other);
        let key = self.key.clone();
        drop(self);
        Self::open(data, Some(key), variables).await
    }

    async fn open(data: TempDir, key: Option<String>, variables: &[(&str, &str)]) -> Self {
        let config = Config::new(environment(&data, variables)).unwrap();
        let app = Arc::new(App::open(&config).await.unwrap());
        let made = app.store.first_administrator().await.unwrap();
        let key = made.or(key).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router =
            pinhole::web::router(app.clone()).into_make_service_with_connect_info::<SocketAddr>();
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            app,
            key,
            address,
            client: client(),
            data,
            task,
        }
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

    /// The status and JSON of a `POST`.
    pub async fn ask(&self, path: &str, body: &Value) -> (u16, Value) {
        let response = self.post(path, body).send().await.unwrap();
        let status = response.status().as_u16();
        let bytes = response.bytes().await.unwrap();
        let json = serde_json::from_slice(&bytes);
        (
            status,
            json.unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&bytes))),
        )
    }

    /// How many pictures lie in the data folder.
    pub fn stored(&self) -> usize {
        std::fs::read_dir(self.data.path().join("files"))
            .unwrap()
            .count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Copies the engines' code, which `cargo xtask test` has compiled, into a data directory.
fn copy_compiled_engines(data: &TempDir) {
    let from = from_xtask("PINHOLE_TEST_COMPILED");
    let to = data.path().join("compiled");
    std::fs::create_dir(&to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn client() -> reqwest::Client {
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

/// The second user's key, and how the store keeps it: SHA-256 in hexadecimal.
const SECOND_KEY: &str = "sk-second";
const SECOND_KEY_HASH: &str = "b464ce30b204dc60e335136ee46a01efe74914f4e4a6264f48448448642c9a0c";

impl Server {
    /// Adds a user besides the administrator, in the database, as there is no other way yet. The key.
    pub async fn second_user(&self) -> &'static str {
        let options = SqliteConnectOptions::new().filename(self.data.path().join("pinhole.db"));
        let mut database = options.connect().await.unwrap();
        sqlx::query("INSERT INTO users VALUES ('second', 'Second', 'user', 0)")
            .execute(&mut database)
            .await
            .unwrap();
        sqlx::query("INSERT INTO api_keys VALUES ($1, 'second', 0)")
            .bind(SECOND_KEY_HASH)
            .execute(&mut database)
            .await
            .unwrap();
        SECOND_KEY
    }
}

impl Server {
    /// Starts a server that has only this engine and uses it: the others need not be compiled then.
    pub async fn with_engine(engine: &str, variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = format!("{engine}.wasm");
        std::fs::copy(engines().join(&file), folder.path().join(&file)).unwrap();
        let mut all = vec![
            ("IMAGE_GENERATION_ENGINE", engine),
            ("PINHOLE_ENGINES", folder.path().to_str().unwrap()),
        ];
        all.extend(variables);
        Self::start(&all).await
    }
}
