//! More jobs than slots.

use anyhow::{Context, Result, bail, ensure};
use futures_util::future::join_all;
use http::StatusCode;
use pinhole_tests::RawStep;
use serde_json::{Value, json};

use crate::target::{AttackTarget, ClientRequest, IMAGES_PATH};

/// Jobs of one user. The server has 16 slots, of which a user gets 8, and 32 of the user's jobs may wait.
const MANY_JOBS: usize = 60;
/// How many of them may run or wait.
const MAX_ACCEPTED: usize = 40;

/// Another user generates images while the administrator's jobs wait.
pub(super) async fn one_user(target: &AttackTarget) -> Result<()> {
    let user = json!({
        "name": "Modest", "email": "modest@example.org", "password": "a long password", "role": "user",
    });
    target.client.post("/api/v1/auths/add", &user).await?;
    let session = target.client.post("/api/v1/auths/signin", &user).await?;
    let session = session.json()?;
    let key = session.get("token").and_then(Value::as_str);
    let other_user = target
        .client
        .with_key(key.context("the user cannot sign in")?)?;
    let body = json!({"prompt": "a quiet hill", "engine": "sketch", "size": "32x32"});
    target.upstream.set_raw(vec![RawStep::Hold]);
    let waiting_jobs = join_all((0..20).map(|_| target.generate("wait")));
    let other_jobs = async {
        // The user's share of the slots.
        target.upstream.wait_for_requests(8).await;
        for _ in 0..5 {
            let request = ClientRequest::json(IMAGES_PATH, &body);
            let response = target.client.send_as(&other_user, request).await?;
            ensure!(response.status == StatusCode::OK, "{}", response.text());
        }
        anyhow::Ok(())
    };
    tokio::pin!(waiting_jobs, other_jobs);
    tokio::select! {
        _ = &mut waiting_jobs => bail!("the other user got no image before the jobs ended"),
        generated = &mut other_jobs => generated?,
    }
    waiting_jobs.await;
    Ok(())
}

pub(super) async fn full(target: &AttackTarget) -> Result<()> {
    target.upstream.set_raw(vec![RawStep::Hold]);
    let responses = join_all((0..MANY_JOBS).map(|_| target.generate("wait"))).await;
    let (mut refused, mut accepted) = (0, 0);
    for response in responses {
        match response?.status {
            StatusCode::TOO_MANY_REQUESTS => refused += 1,
            StatusCode::GATEWAY_TIMEOUT | StatusCode::SERVICE_UNAVAILABLE => accepted += 1,
            status => bail!("a job ended with status {status}"),
        }
    }
    ensure!(accepted <= MAX_ACCEPTED, "{accepted} jobs ran or waited");
    ensure!(refused > 0, "no job was refused");
    Ok(())
}
