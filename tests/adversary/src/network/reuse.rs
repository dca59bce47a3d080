//! Connections that serve another credential, and proxies.

use anyhow::{Result, ensure};
use pinhole_tests::{FakeUpstream, PIXEL, RawStep};
use serde_json::json;

use super::{name_image, set_image_hosts};
use crate::target::AttackTarget;

pub(super) async fn pooled_connection(target: &AttackTarget) -> Result<()> {
    for key in ["one-key-of-this-host-5531", "another-key-of-this-host-9174"] {
        target
            .set("HOSTILE_API_KEY", key)
            .await?
            .require_success("setting the key")?;
        // The second request may use the connection of the first.
        for _ in 0..2 {
            let response = target.generate("ask").await?;
            response.require_success("the job")?;
        }
    }
    let requests = target.upstream.requests();
    ensure!(requests.len() == 4, "{requests:?}");
    let (before, after) = requests.split_at(2);
    let is_shared = before.iter().any(|request| {
        after
            .iter()
            .any(|other| other.connection == request.connection)
    });
    ensure!(!is_shared, "a connection served both keys: {requests:?}");
    Ok(())
}

pub(super) async fn proxy(target: &AttackTarget) -> Result<()> {
    let response = target.generate("ask").await?;
    response.require_success("the job")?;
    let requests = target.upstream.requests();
    ensure!(requests.len() == 1, "the upstream received {requests:?}");
    // URLs at other servers have another HTTP client than the upstream's own origin.
    let pictures = FakeUpstream::json(200, json!({})).await;
    let headers = "content-type: image/png\r\n";
    pictures.set_raw(vec![RawStep::response("200 OK", headers, PIXEL)]);
    set_image_hosts(target, &format!("*,{}", pictures.url())).await?;
    name_image(target, &format!("{}/x.png", pictures.url()));
    let listed = target.generate("result").await?;
    listed.require_success("fetching a listed image")
}
