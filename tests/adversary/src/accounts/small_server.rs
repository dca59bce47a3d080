//! A server without engines, with users of its own.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use http::StatusCode;
use pinhole_tests::ServerProcess;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::target::{AttackTarget, Client, ClientRequest, FORWARDED, Response};

pub(super) const PASSWORD: &str = "correct horse";

/// A running server. Dropping it kills the process.
pub(super) struct SmallServer {
    pub(super) client: Client,
    _process: ServerProcess,
    _engines: TempDir,
}

/// A user who signed in.
pub(super) struct SignedIn {
    pub(super) id: String,
    pub(super) token: String,
    pub(super) role: String,
}

impl SmallServer {
    /// Starts a server with this data directory, for the first time.
    pub(super) async fn start(
        target: &AttackTarget,
        data: &Path,
        variables: &[(&str, &str)],
    ) -> Result<Self> {
        let (process, engines) = start_process(target, data, variables).await?;
        let key = process.key.clone();
        let key = key.context("the server printed no administrator key")?;
        Ok(Self {
            client: Client::new(&process.url, &key)?,
            _process: process,
            _engines: engines,
        })
    }

    /// A request with this key or token.
    pub(super) async fn send_as(
        &self,
        credential: &str,
        request: ClientRequest<'_>,
    ) -> Result<Response> {
        let user = self.client.with_key(credential)?;
        self.client.send_as(&user, request).await
    }

    /// A `POST` of JSON without a key.
    pub(super) async fn post_anonymously(&self, path: &str, body: &Value) -> Result<Response> {
        let request = ClientRequest::json(path, body);
        self.client.send_as(&self.client.anonymous, request).await
    }

    /// Adds a user who signs in.
    pub(super) async fn add_user(&self, name: &str) -> Result<SignedIn> {
        let email = email(name);
        let user = json!({"name": name, "email": email, "password": PASSWORD, "role": "user"});
        let added = self.client.post("/api/v1/auths/add", &user).await?;
        added.require_success("adding a user")?;
        let body = json!({"email": email, "password": PASSWORD});
        let session = self.post_anonymously("/api/v1/auths/signin", &body).await?;
        signed_in(&session)
    }

    /// Signs up.
    pub(super) async fn sign_up(&self, name: &str) -> Result<SignedIn> {
        let body = json!({"name": name, "email": email(name), "password": PASSWORD});
        let session = self.post_anonymously("/api/v1/auths/signup", &body).await?;
        signed_in(&session)
    }

    /// Creates an API key for the user of a session.
    pub(super) async fn create_key(&self, token: &str) -> Result<String> {
        let request = ClientRequest::json("/api/v1/auths/api_key", &json!({}));
        let response = self.send_as(token, request).await?;
        response.require_success("creating a key")?;
        let key = response.json()?;
        let key = key.get("api_key").and_then(Value::as_str);
        Ok(key.context("the response has no key")?.to_owned())
    }

    /// Fails if the server accepts this key or token.
    pub(super) async fn require_refused(&self, credential: &str) -> Result<()> {
        let request = ClientRequest::get("/api/v1/auths/");
        let response = self.send_as(credential, request).await?;
        ensure!(
            response.status == StatusCode::UNAUTHORIZED,
            "the credential is accepted: {}",
            response.text()
        );
        Ok(())
    }

    /// The lines of a kind in the audit log.
    pub(super) async fn audit_lines(&self, kind: &str) -> Result<Vec<Value>> {
        let path = format!("/api/v1/audit?limit=1000&kind={kind}");
        let log = self.client.get(&path).await?.json()?;
        let lines = log.get("lines").and_then(Value::as_array);
        Ok(lines.context("the audit log has no lines")?.clone())
    }
}

fn email(name: &str) -> String {
    format!("{name}@adversary.invalid")
}

fn signed_in(response: &Response) -> Result<SignedIn> {
    response.require_success("signing in")?;
    let session = response.json()?;
    let text = |field: &str| {
        let text = session.get(field).and_then(Value::as_str);
        text.map(str::to_owned)
            .with_context(|| format!("the session has no {field}"))
    };
    Ok(SignedIn {
        id: text("id")?,
        token: text("token")?,
        role: text("role")?,
    })
}

/// Starts the process, and the directory of its engines, which is empty.
pub(super) async fn start_process(
    target: &AttackTarget,
    data: &Path,
    variables: &[(&str, &str)],
) -> Result<(ServerProcess, TempDir)> {
    let engines = tempfile::tempdir()?;
    let mut command = Command::new(&target.program);
    command
        .args(["serve", "--listen", "127.0.0.1:0"])
        .env_clear()
        .env("PINHOLE_DATA", data)
        .env("PINHOLE_ENGINES", engines.path())
        .envs(variables.iter().copied());
    for name in FORWARDED {
        if let Some(value) = target.config.environment.get(name) {
            command.env(name, value);
        }
    }
    let process = tokio::task::spawn_blocking(|| ServerProcess::start(command)).await??;
    Ok((process, engines))
}
