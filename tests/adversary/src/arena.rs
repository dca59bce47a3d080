//! Where a case is carried out: the server under attack, and everything around it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http::header::{HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::server::Server;
use super::upstream::Upstream;
use super::{Case, Place};
use pinhole_ground::audit::Kind;
use pinhole::config::Config;
use pinhole_egress::{BaseUrl, Credential, DEFAULT_SILENCE, Destination, Egress, Request, Tls};
use pinhole_sandbox::{Compiler, Engines};
use pinhole_ground::data_dir as folder;
use pinhole_sandbox::grant::FirstUse;

/// The secret that the engine `hostile` is given, and that nobody may ever see.
pub(super) const SECRET: &str = "sK-Zx81-quiet/heron+4711-wren.63-vault==";
/// How long an upstream's answer may pause, in seconds: less than a job may take.
const SILENCE_SECS: &str = "2";
/// Time that the server may take to answer one request: far more than it needs.
const PATIENCE: Duration = Duration::from_secs(180);
/// Length of an answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 256 << 20;
/// Lines of the audit log that are asked for at once.
const AUDIT_LINES: u32 = 1000;
const HOSTILE: &str = "hostile";

/// The server under attack, and how to ask it.
pub(super) struct Arena {
    /// Answers as the case lays it out. The engine `hostile` has it as its upstream `api`.
    pub(super) upstream: Upstream,
    /// Nobody may ever connect to it.
    pub(super) trap: Upstream,
    /// The server, asked with the administrator's key.
    pub(super) administrator: Destination,
    /// The server, asked without a key.
    pub(super) stranger: Destination,
    url: String,
    key: String,
    egress: Egress,
    server: Option<Mutex<Server>>,
    has_engine: bool,
    draws: bool,
    config: Config,
    components: PathBuf,
    changed: Mutex<BTreeSet<String>>,
}

/// What the server answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Arena {
    /// Starts a server with the engines `hostile` and `sketch`.
    pub(super) async fn throw_away(config: &Config, components: &Path) -> Result<Self> {
        let (upstream, trap) = (Upstream::start().await?, Upstream::start().await?);
        let engines = [
            components.join(HOSTILE).with_extension("wasm"),
            config.engines.join("sketch.wasm"),
        ];
        let (base, proxy) = (upstream.url(), trap.url());
        let chat = format!("{base}/chat");
        let variables = [
            // Nobody may take these to heart.
            ("HTTP_PROXY", proxy.as_str()),
            ("http_proxy", proxy.as_str()),
            ("ALL_PROXY", proxy.as_str()),
            ("all_proxy", proxy.as_str()),
            ("PINHOLE_UPSTREAM_SILENCE_SECS", SILENCE_SECS),
            ("HOSTILE_BASE_URL", base.as_str()),
            ("HOSTILE_API_KEY", SECRET),
            ("HOSTILE_NOTE", "a note"),
            ("OPENAI_API_BASE_URL", chat.as_str()),
            ("OPENAI_API_KEY", SECRET),
        ];
        let server = Server::start(config, &engines, &variables).await?;
        let (url, key) = (server.url.clone(), server.key.clone());
        Self::new(
            config,
            components,
            (upstream, trap),
            (&url, &key),
            Some(server),
        )
        .await
    }

    /// Attacks a server that runs already. What is set there for the engine `hostile` is put back
    /// by [`Self::close`].
    pub(super) async fn installed(
        config: &Config,
        components: &Path,
        url: &str,
        key: &str,
    ) -> Result<Self> {
        let upstreams = (Upstream::start().await?, Upstream::start().await?);
        let arena = Self::new(config, components, upstreams, (url, key), None).await?;
        if arena.has_engine {
            arena.restore_to_base().await?;
        }
        Ok(arena)
    }

    async fn new(
        config: &Config,
        components: &Path,
        (upstream, trap): (Upstream, Upstream),
        (url, key): (&str, &str),
        server: Option<Server>,
    ) -> Result<Self> {
        let (egress, url) = (
            Egress::new(&[], DEFAULT_SILENCE)?,
            url.trim_end_matches('/'),
        );
        let credential = Credential::bearer(key).map_err(anyhow::Error::msg)?;
        let mut arena = Self {
            upstream,
            trap,
            administrator: open(&egress, url, credential)?,
            stranger: open(&egress, url, Credential::default())?,
            url: url.to_owned(),
            key: key.to_owned(),
            egress,
            server: server.map(Mutex::new),
            has_engine: false,
            draws: false,
            config: config.clone(),
            components: components.to_owned(),
            changed: Mutex::default(),
        };
        let settings = arena.get("/api/v1/settings").await?;
        ensure!(
            settings.status == StatusCode::OK,
            "{url} does not take the key: it must be an administrator's ({})",
            settings.status
        );
        let settings = settings.text();
        arena.has_engine = settings.contains("HOSTILE_BASE_URL");
        arena.draws = arena.still_draws().await.is_ok() || arena.server.is_some();
        Ok(arena)
    }

    /// Why this case cannot be run here, if it cannot.
    pub(super) fn cannot(&self, case: &Case) -> Option<String> {
        match case.place {
            _ if self.server.is_some() => None,
            Place::ThrowAway => Some("needs a server that is started for it".to_owned()),
            Place::Anywhere if !self.has_engine => Some(format!(
                "needs the engine {HOSTILE}: put {} into the server's folder of engines and start it anew",
                self.components
                    .join(HOSTILE)
                    .with_extension("wasm")
                    .display()
            )),
            _ => None,
        }
    }

    /// Makes ready for a case.
    pub(super) fn begin(&self) {
        self.upstream.reset();
        self.trap.reset();
    }

    /// Puts back what the case has set.
    pub(super) async fn restore(&self) -> Result<()> {
        let changed =
            std::mem::take(&mut *self.changed.lock().unwrap_or_else(PoisonError::into_inner));
        if changed.is_empty() {
            return Ok(());
        }
        let back = changed.into_iter().map(|name| (name, Value::Null));
        let mut back: Map<String, Value> = back.collect();
        if self.server.is_none() {
            back.extend(self.base());
        }
        let answer = self.post("/api/v1/settings", &Value::Object(back)).await?;
        ensure!(
            answer.status == StatusCode::OK,
            "cannot put settings back: {answer:?}"
        );
        Ok(())
    }

    /// What the engine `hostile` is set to while nothing else is.
    fn base(&self) -> Map<String, Value> {
        let values = [
            ("HOSTILE_BASE_URL", self.upstream.url()),
            ("HOSTILE_API_KEY", SECRET.to_owned()),
            ("HOSTILE_NOTE", "a note".to_owned()),
        ];
        let values = values.into_iter();
        values
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect()
    }

    async fn restore_to_base(&self) -> Result<()> {
        let answer = self
            .post("/api/v1/settings", &Value::Object(self.base()))
            .await?;
        ensure!(
            answer.status == StatusCode::OK,
            "cannot set up the engine {HOSTILE}: {answer:?}"
        );
        Ok(())
    }

    /// Leaves an installed server as it was.
    pub(super) async fn close(self) -> Result<()> {
        if self.server.is_some() || !self.has_engine {
            return Ok(());
        }
        let back = self.base().into_iter().map(|(name, _)| (name, Value::Null));
        let back = Value::Object(back.collect());
        let answer = self.post("/api/v1/settings", &back).await?;
        ensure!(
            answer.status == StatusCode::OK,
            "cannot put settings back: {answer:?}"
        );
        Ok(())
    }

    /// The server, asked with another person's key.
    pub(super) fn person(&self, key: &str) -> Result<Destination> {
        let credential = Credential::bearer(key).map_err(anyhow::Error::msg)?;
        open(&self.egress, &self.url, credential)
    }

    /// A request with the administrator's key.
    pub(super) async fn get(&self, path: &str) -> Result<Answer> {
        self.ask(&self.administrator, Method::GET, path, "", Bytes::new())
            .await
    }

    /// A `POST` of JSON with the administrator's key.
    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        let body = body.to_string().into();
        self.ask(
            &self.administrator,
            Method::POST,
            path,
            "application/json",
            body,
        )
        .await
    }

    /// Any request that is spelled as it should be, by anybody.
    pub(super) async fn ask(
        &self,
        by: &Destination,
        method: Method,
        path: &str,
        content_type: &str,
        body: Bytes,
    ) -> Result<Answer> {
        let content_type = match content_type {
            "" => None,
            named => Some(HeaderValue::try_from(named)?),
        };
        let request = Request {
            method,
            path: path.to_owned(),
            content_type,
            body,
            ..Request::default()
        };
        let deadline = Instant::now() + PATIENCE;
        let sent = by.send(request, MAX_ANSWER_BYTES, deadline).await;
        let mut response = sent.context("the server gives no answer")?;
        Ok(Answer {
            status: response.status,
            headers: std::mem::take(&mut response.headers),
            body: response.bytes().await.context("its answer breaks off")?,
        })
    }

    /// What a server without TLS answers to a path as it is, and not as a client would spell it.
    pub(super) async fn get_raw(&self, path: &str) -> Result<Vec<u8>> {
        let address = self.url.strip_prefix("http://");
        let address = address.context("needs a server without TLS")?;
        let address = address.split('/').next().unwrap_or_default();
        #[allow(
            clippy::disallowed_methods,
            reason = "a client that sends what the egress would not"
        )]
        let mut stream = TcpStream::connect(address).await?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {}\r\n\
             connection: close\r\n\r\n",
            self.key
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        let most = u64::try_from(MAX_ANSWER_BYTES)?;
        let mut limited = stream.take(most);
        timeout(PATIENCE, limited.read_to_end(&mut answer))
            .await
            .context("the server gives no answer")??;
        Ok(answer)
    }

    /// A job of the engine `hostile`, whose prompt says how it misbehaves.
    pub(super) async fn draw(&self, prompt: &str) -> Result<Answer> {
        self.draw_with(json!({"prompt": prompt})).await
    }

    /// The same with more fields of OpenAI's request.
    pub(super) async fn draw_with(&self, mut body: Value) -> Result<Answer> {
        if let Some(fields) = body.as_object_mut() {
            fields.insert("engine".to_owned(), HOSTILE.into());
        }
        self.post("/v1/images/generations", &body).await
    }

    /// Sets an engine's or the server's setting for the rest of the case.
    pub(super) async fn set(&self, name: &str, value: impl Into<Value>) -> Result<Answer> {
        {
            let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
            changed.insert(name.to_owned());
        }
        let mut fields = Map::new();
        fields.insert(name.to_owned(), value.into());
        self.post("/api/v1/settings", &Value::Object(fields)).await
    }

    /// Another engine still makes a picture.
    pub(super) async fn still_draws(&self) -> Result<()> {
        if self.server.is_none() && !self.draws && self.has_engine {
            // An installed server need not have the example engine.
            return self.get("/health").await.map(|_| ());
        }
        let body = json!({"prompt": "a quiet hill", "engine": "sketch", "size": "32x32"});
        let answer = self.post("/v1/images/generations", &body).await?;
        match answer.status {
            StatusCode::OK => Ok(()),
            status => bail!("{status}: {}", answer.text()),
        }
    }

    /// How many refusals of a kind the audit log tells of.
    pub(super) async fn refusals(&self, kind: Kind) -> Result<usize> {
        let path = format!("/api/v1/audit?limit={AUDIT_LINES}&kind={}", kind.name());
        let answer = self.get(&path).await?;
        ensure!(answer.status == StatusCode::OK, "no audit log: {answer:?}");
        let total = answer.json()?;
        let total = total.get("counted").and_then(Value::as_u64);
        Ok(usize::try_from(
            total.context("the audit log has no total")?,
        )?)
    }

    /// What the server's process holds of the machine's memory, in bytes. Only of a throw-away one.
    pub(super) fn memory_bytes(&self) -> Result<u64> {
        let server = self.server.as_ref().context("not a server of ours")?;
        let mut server = server.lock().unwrap_or_else(PoisonError::into_inner);
        ensure!(server.lives(), "the server has ended");
        server.memory_bytes()
    }

    /// What the server has written for an operator. Only of a throw-away one.
    pub(super) fn log(&self) -> Result<String> {
        let server = self.server.as_ref().context("not a server of ours")?;
        let server = server.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(server.log())
    }

    /// A hostile component, by its name without `.wasm`.
    pub(super) fn component(&self, name: &str) -> Result<Vec<u8>> {
        let path = self.components.join(name).with_extension("wasm");
        let most = usize::try_from(pinhole_sandbox::MAX_COMPONENT_BYTES)?;
        folder::read_whole(&path, most).with_context(|| format!("cannot read {}", path.display()))
    }

    /// Opens a folder of engines with a data folder as a server would at its start, in this process.
    pub(super) async fn open_engines(&self, engines: &Path, data: &Path) -> Result<Engines> {
        self.open_engines_with(engines, data, self.compiler()).await
    }

    /// How components are compiled in this process.
    pub(super) fn compiler(&self) -> Compiler {
        self.config.compiler.clone()
    }

    async fn open_engines_with(
        &self,
        engines: &Path,
        data: &Path,
        compiler: Compiler,
    ) -> Result<Engines> {
        Engines::open(&Config {
            data: data.to_owned(),
            engines: engines.to_owned(),
            compiler,
            slots: self.config.slots.min(8),
            slots_per_user: self.config.slots_per_user.min(8),
            first_use: FirstUse::Declared,
            ..self.config.clone()
        })
        .await
    }

    /// Has files admitted as a server would at its start, in this process and in folders of
    /// their own: those that were refused, with the reason.
    pub(super) async fn admit(&self, files: &[(&str, &[u8])]) -> Result<Vec<(String, String)>> {
        self.admit_with(files, self.compiler()).await
    }

    /// The same with other limits for the compiler.
    pub(super) async fn admit_with(
        &self,
        files: &[(&str, &[u8])],
        compiler: Compiler,
    ) -> Result<Vec<(String, String)>> {
        let (data, engines): (TempDir, TempDir) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let folder = folder::open(engines.path())?;
        for (name, bytes) in files {
            folder.write(name, bytes)?;
        }
        let opened = self
            .open_engines_with(engines.path(), data.path(), compiler)
            .await?;
        let refused = opened.rejected_files().iter();
        Ok(refused
            .map(|it| (it.file.clone(), it.reason.clone()))
            .collect())
    }
}

fn open(egress: &Egress, url: &str, credential: Credential) -> Result<Destination> {
    let base_url = BaseUrl {
        url,
        allows_private: true,
        setting: "--against",
    };
    let destination = egress.destination(base_url, credential, &Tls::default());
    destination.map_err(|why| anyhow::anyhow!("cannot attack {url}: {why}"))
}

impl Answer {
    /// The body as text.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub(super) fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("no JSON: {}", self.text()))
    }

    /// The message of an error in OpenAI's shape, which is where the engine `hostile` says what it
    /// met; empty where there is none.
    pub(super) fn message(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let message = body.pointer("/error/message").and_then(Value::as_str);
        message.unwrap_or_default().to_owned()
    }

    /// Fails unless the engine heard that its upstream's answer is longer than allowed.
    pub(super) fn was_too_large(&self) -> Result<()> {
        let heard = self.message();
        ensure!(
            !self.status.is_success() && heard.contains("the request or its response exceeds its size limit"),
            "the engine read it: {}",
            self.text()
        );
        Ok(())
    }

    /// Fails unless the engine was refused by the host: it heard `not granted`, and no more.
    pub(super) fn was_not_granted(&self) -> Result<()> {
        let heard = self.message();
        ensure!(
            !self.status.is_success() && heard.contains("not granted"),
            "the engine was not refused: {} {}",
            self.status,
            self.text()
        );
        Ok(())
    }
}
