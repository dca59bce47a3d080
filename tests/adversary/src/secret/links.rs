//! Links to images, which work without a key.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::target::{AttackTarget, ClientRequest, Response};

const LIFETIME: &str = "PINHOLE_LINK_LIFETIME";
/// Time in which a link of one second must expire.
const MAX_EXPIRY: Duration = Duration::from_secs(20);

/// The parts of a link: `/api/v1/files/{id}/content/{expires}/{signature}/{name}`.
struct Link {
    id: String,
    expires: String,
    signature: String,
}

impl Link {
    /// A link to an image that the administrator generates.
    async fn generate(target: &AttackTarget) -> Result<Self> {
        let body = json!({"prompt": "picture", "response_format": "url"});
        let response = target.generate_with(body).await?.json()?;
        let url = response.pointer("/data/0/url").and_then(Value::as_str);
        let url = url.with_context(|| format!("no link: {response}"))?;
        let (_, path) = url.split_once("/api/v1/files/").context("no file")?;
        let parts: Vec<&str> = path.split('/').collect();
        let [id, "content", expires, signature, _name] = parts[..] else {
            anyhow::bail!("the link is {url}");
        };
        let part = str::to_owned;
        Ok(Self {
            id: part(id),
            expires: part(expires),
            signature: part(signature),
        })
    }

    fn path(&self) -> String {
        path(&self.id, &self.expires, &self.signature)
    }
}

fn path(id: &str, expires: &str, signature: &str) -> String {
    format!("/api/v1/files/{id}/content/{expires}/{signature}/image.png")
}

async fn get(target: &AttackTarget, method: Method, path: &str) -> Result<Response> {
    let request = ClientRequest::without_body(method, path);
    let anonymous = &target.client.anonymous;
    target.client.send_as(anonymous, request).await
}

pub(super) async fn signature(target: &AttackTarget) -> Result<()> {
    let (link, other) = (Link::generate(target).await?, Link::generate(target).await?);
    let works = get(target, Method::GET, &link.path()).await?;
    works.require_success("opening a link")?;
    let later = link.expires.parse::<u64>()?.saturating_add(1).to_string();
    let (id, expires, signature) = (&link.id, &link.expires, &link.signature);
    let shorter = signature.get(..signature.len() - 1).unwrap_or_default();
    let forged = "A".repeat(signature.len());
    for (attack, path) in [
        ("another file's id", path(&other.id, expires, signature)),
        (
            "another file's signature",
            path(id, expires, &other.signature),
        ),
        ("a later time", path(id, &later, signature)),
        (
            "another spelling of the time",
            path(id, &format!("0{expires}"), signature),
        ),
        ("a forged signature", path(id, expires, &forged)),
        ("a part of the signature", path(id, expires, shorter)),
        (
            "the time in the signature",
            path(id, "0", &format!("{expires}{signature}")),
        ),
        (
            "the query",
            format!("/api/v1/files/{id}/content?expires={expires}&signature={signature}"),
        ),
        (
            "the thumbnail",
            format!("/api/v1/files/{id}/thumbnail/{expires}/{signature}/image.png"),
        ),
        (
            "the metadata",
            format!("/api/v1/files/{id}/{expires}/{signature}"),
        ),
        (
            "the file's own URL",
            format!("/api/v1/files/{id}/content/{signature}"),
        ),
    ] {
        let response = get(target, Method::GET, &path).await?;
        ensure!(
            response.status.is_client_error(),
            "{attack}: {}",
            response.status
        );
    }
    let removal = get(target, Method::DELETE, &link.path()).await?;
    ensure!(
        removal.status.is_client_error(),
        "the link removes the file: {}",
        removal.status
    );
    let path = format!("/api/v1/files/{id}");
    target
        .client
        .delete(&path)
        .await?
        .require_success("removing the file")?;
    let removed = get(target, Method::GET, &link.path()).await?;
    ensure!(
        removed.status == StatusCode::NOT_FOUND,
        "a removed file: {}",
        removed.status
    );
    Ok(())
}

pub(super) async fn expiry(target: &AttackTarget) -> Result<()> {
    let set = async |lifetime: Value| {
        let body = json!({ LIFETIME: lifetime });
        let changed = target.client.post("/api/v1/settings", &body).await?;
        changed.require_success("changing the lifetime of links")
    };
    set(json!("1s")).await?;
    let link = Link::generate(target).await;
    set(Value::Null).await?;
    let path = link?.path();
    let start = Instant::now();
    while get(target, Method::GET, &path).await?.status == StatusCode::OK {
        ensure!(
            start.elapsed() < MAX_EXPIRY,
            "the link works after its time"
        );
        sleep(Duration::from_millis(100)).await;
    }
    let response = get(target, Method::GET, &path).await?;
    ensure!(
        response.status == StatusCode::FORBIDDEN,
        "an expired link: {}",
        response.status
    );
    Ok(())
}
