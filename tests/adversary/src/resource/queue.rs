//! More jobs than slots.

use anyhow::{Result, bail, ensure};
use futures_util::future::join_all;
use http::StatusCode;
use pinhole_tests::RawStep;
use serde_json::json;

use crate::target::{AttackTarget, ClientRequest, IMAGES_PATH};

/// Jobs of one user for one engine. The server has 16 slots, of which they get 9, and 48 of the user's jobs may
/// wait.
const MANY_JOBS: usize = 80;
/// How many of them may run or wait.
const MAX_ACCEPTED: usize = 57;

/// Another user generates images while the administrator's jobs wait.
pub(super) async fn one_user(target: &AttackTarget) -> Result<()> {
    let other_user = target.add_user("modest").await?;
    let body = json!({"prompt": "ask", "engine": "hostile"});
    target.hold_waiting_jobs();
    let waiting_jobs = join_all((0..20).map(|_| target.generate("wait")));
    let other_jobs = async {
        // The user's share of the slots.
        target.upstream.wait_for_requests(9).await;
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

/// Another engine generates images for the same user while the user's jobs hang on their upstream.
pub(super) async fn hung_upstream(target: &AttackTarget) -> Result<()> {
    target.hold_waiting_jobs();
    let hanging = join_all((0..40).map(|_| target.generate("wait")));
    let other_engine = async {
        target.upstream.wait_for_requests(9).await;
        for _ in 0..5 {
            target.check_other_engine().await?;
        }
        anyhow::Ok(())
    };
    tokio::pin!(hanging, other_engine);
    tokio::select! {
        _ = &mut hanging => bail!("the other engine generated nothing before the jobs ended"),
        generated = &mut other_engine => generated?,
    }
    hanging.await;
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
