//! Approvals of an administrator, and single requests that are allowed or denied. They hold at once.

use std::sync::Arc;

use pinhole_ground::guard::Guard;
use pinhole_sandbox::grant::{Grant, RequestRule, Right};

use super::install::{Candidate, InstallReport};
use super::rows::{file_label, grant_row, read_rights};
use super::{ReleaseError, Releases, history, internal};
use crate::store::{EngineChange, ReleaseRow};

/// Length of an unknown request in a message, in bytes.
const MAX_QUOTED_BYTES: usize = 200;

impl Releases {
    /// Grants the release of an engine that waits for approval all rights that it declares, except those that an
    /// administrator denied. It serves at once. `digest` is the component that was reviewed.
    pub async fn approve(
        &self,
        engine: &str,
        digest: Option<&str>,
        by: &str,
    ) -> Result<InstallReport, ReleaseError> {
        let rows = self.rows();
        let release = rows.parked(engine).cloned().or_else(|| {
            // A grant that cannot be read is given again to the current component.
            rows.grant(engine).err()?;
            let track = rows.tracks.get(engine)?;
            rows.releases.get(&track.current).cloned()
        });
        let Some(release) = release else {
            self.track(engine)?;
            return Err(ReleaseError::Conflict(format!(
                "engine {engine}: there is nothing to grant"
            )));
        };
        let label = file_label(&release);
        Guard::ShownDigest
            .refuse_if(
                digest.is_some_and(|it| it != release.digest),
                || "was changed during the review: review it again",
            )
            .map_err(|refusal| ReleaseError::refused(&label, refusal))?;
        let declared = read_rights(&release.declared).map_err(internal)?;
        let previous = rows.grant(engine).ok().flatten().unwrap_or_default();
        let is_denied = |right: &Right| previous.denies.iter().any(|denied| denied.includes(right));
        let mut allows = declared;
        allows.retain(|right| !is_denied(right));
        let grant = Grant {
            digest: release.digest.clone(),
            file: release.file.clone(),
            allows,
            denies: previous.denies,
        };
        let component = self
            .admit_release(&release)
            .await
            .map_err(|refusal| ReleaseError::refused(&label, refusal))?;
        let is_current = rows
            .tracks
            .get(engine)
            .is_some_and(|track| track.current == release.digest);
        if is_current {
            let _changes = self.changes.lock().await;
            return self.grant_again(release, grant, by).await;
        }
        let mut candidate = Candidate {
            component: Arc::new(component),
            size_bytes: usize::try_from(release.size_bytes).unwrap_or_default(),
            file: release.file.clone(),
            by: by.to_owned(),
            strategy: self.strategy,
            is_forced: false,
            probe: None,
            steps: vec!["granted".to_owned()],
        };
        self.test_within(&mut candidate, &grant).await?;
        let _changes = self.changes.lock().await;
        let is_same = |it: &ReleaseRow| it.digest == release.digest;
        let denies = self
            .rows()
            .grant(engine)
            .ok()
            .flatten()
            .unwrap_or_default()
            .denies;
        if !self.rows().parked(engine).is_some_and(is_same) || denies != grant.denies {
            return Err(ReleaseError::Conflict(format!(
                "engine {engine} was changed during the review: review it again"
            )));
        }
        let report = self.serve(candidate, &grant).await;
        self.remove_old_releases().await;
        report
    }

    async fn grant_again(
        &self,
        release: ReleaseRow,
        grant: Grant,
        by: &str,
    ) -> Result<InstallReport, ReleaseError> {
        let change = EngineChange {
            grant: Some(grant_row(&release.engine, &grant)),
            history: vec![history(&release.engine, &release.digest, "granted", "", by)],
            ..EngineChange::default()
        };
        self.commit(change, Vec::new()).await?;
        Ok(InstallReport {
            engine: release.engine,
            version: release.version,
            digest: release.digest,
            state: release.state.name().to_owned(),
            steps: vec!["granted".to_owned(), "serves".to_owned()],
            new_rights: Vec::new(),
        })
    }

    /// Allows and denies requests, such as `api POST /images/`. Jobs that start from then on obey.
    pub async fn change_requests(
        &self,
        engine: &str,
        allow: &[String],
        deny: &[String],
        by: &str,
    ) -> Result<(), ReleaseError> {
        let _changes = self.changes.lock().await;
        let rows = self.rows();
        let grant = rows
            .grant(engine)
            .map_err(|refusal| ReleaseError::refused(engine, refusal))?;
        let Some(mut grant) = grant else {
            self.track(engine)?;
            return Err(ReleaseError::Conflict(format!(
                "engine {engine} has no grant yet: run `pinhole engine grant {engine}` first"
            )));
        };
        let mut known = grant.denies.clone();
        for release in rows.releases_of(engine) {
            known.extend(read_rights(&release.declared).unwrap_or_default());
        }
        let find = |text: &String| {
            let right = parse_request(text);
            right.filter(|right| known.contains(right)).ok_or_else(|| {
                let requests = known
                    .iter()
                    .filter(|it| matches!(it, Right::Request { .. }));
                let requests: Vec<_> = requests.map(|it| format!("'{it}'")).collect();
                let text = pinhole_ground::text::plain(text, MAX_QUOTED_BYTES);
                let reason = format!(
                    "does not declare {text:?}: its requests are {}",
                    requests.join(", ")
                );
                ReleaseError::refused(&format!("engine {engine}"), reason.into())
            })
        };
        let mut changes = Vec::new();
        for text in allow {
            let right = find(text)?;
            changes.push(format!("= {right}"));
            grant.denies.remove(&right);
            grant.allows.insert(right);
        }
        for text in deny {
            let right = find(text)?;
            changes.push(format!("! {right}"));
            grant.allows.remove(&right);
            grant.denies.insert(right);
        }
        let change = EngineChange {
            history: vec![history(
                engine,
                &grant.digest,
                "changed-grant",
                &changes.join(", "),
                by,
            )],
            grant: Some(grant_row(engine, &grant)),
            ..EngineChange::default()
        };
        self.commit(change, Vec::new()).await
    }

    /// The grant of an engine; the default if it has none.
    pub fn grant(&self, engine: &str) -> Result<Grant, ReleaseError> {
        let grant = self.rows().grant(engine);
        grant
            .map(Option::unwrap_or_default)
            .map_err(|refusal| ReleaseError::refused(engine, refusal))
    }
}

/// Parses a request such as `api POST /images/`.
fn parse_request(text: &str) -> Option<Right> {
    let (upstream, request) = text.split_once(' ')?;
    Some(Right::Request {
        upstream: upstream.to_owned(),
        request: RequestRule::parse(request).ok()?,
    })
}
