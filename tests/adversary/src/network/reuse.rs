//! Connections that serve another credential, and proxies.

use anyhow::{Result, ensure};

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
    Ok(())
}
