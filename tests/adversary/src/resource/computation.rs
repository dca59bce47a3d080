//! Engines that compute endlessly.

use anyhow::{Context, Result, bail};
use futures_util::future::join_all;

use super::{require_error, require_rejected};
use crate::target::AttackTarget;

/// Jobs that compute endlessly at the same time.
const ENDLESS_JOBS: usize = 4;
/// Images that another engine generates meanwhile.
const OTHER_JOBS: usize = 10;

/// Fails unless a component with an endless loop in each of these places is rejected.
pub(super) async fn endless(target: &AttackTarget, places: &[&str]) -> Result<()> {
    for place in places {
        require_rejected(target, &format!("spin-{place}"), "it ran for more than")
            .await
            .with_context(|| format!("in {place}"))?;
    }
    Ok(())
}

pub(super) async fn other_engine_generates(target: &AttackTarget) -> Result<()> {
    let endless_jobs = join_all((0..ENDLESS_JOBS).map(|_| target.generate("spin")));
    let other_jobs = async {
        for _ in 0..OTHER_JOBS {
            target.check_other_engine().await?;
        }
        anyhow::Ok(())
    };
    tokio::pin!(endless_jobs, other_jobs);
    tokio::select! {
        _ = &mut endless_jobs => bail!("the other engine waited for the endless jobs"),
        generated = &mut other_jobs => generated?,
    }
    for response in endless_jobs.await {
        require_error(&response?, "stopped")?;
    }
    Ok(())
}
