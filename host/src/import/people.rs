//! Users with their passwords, API keys and groups.

use anyhow::{Context, Result};
use pinhole_ground::text::plain;
use serde::Deserialize;

use super::row_pages::RowPages;
use super::{INVALID_ID, Kind, Run, UNREADABLE, is_id, plausible_time, stop};
use crate::accounts::{UNUSABLE_HASH, check_name, check_role, is_bcrypt, parse_email};
use crate::store::{
    ImportOutcome, ImportedGroup, ImportedKey, ImportedUser, SourceGroup, SourceKey, SourceMember,
    SourceUser, now,
};

/// Length of a name, in bytes; a longer one is cut.
const MAX_NAME_BYTES: usize = 200;
/// Length of the description of a group, in bytes; a longer one is cut.
const MAX_DESCRIPTION_BYTES: usize = 2000;
/// Length of an API key in bytes. A shorter one could be guessed.
const MIN_KEY_BYTES: usize = 24;
const MAX_KEY_BYTES: usize = 200;
/// The setting of Open WebUI without which API keys are refused.
const KEYS_ARE_ENABLED: &str = "auth.enable_api_keys";

/// The permissions of a group, as far as this server has them.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Permissions {
    features: Features,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Features {
    image_generation: bool,
}

impl Run<'_> {
    pub(super) async fn import_users(&mut self) -> Result<()> {
        let mut pages = RowPages::default();
        loop {
            let page = self.source.users(pages.after()).await;
            let page = page.context("cannot read the users of the Open WebUI database")?;
            let continues = pages.advance(&page, |user| &user.id);
            for row in page {
                self.report.found(Kind::Users);
                match row {
                    Ok(user) => self.import_user(&user).await?,
                    Err(row) => self.report.skipped(Kind::Users, &row.id, UNREADABLE),
                }
            }
            self.progress(Kind::Users);
            if !continues {
                return Ok(());
            }
        }
    }

    async fn import_user(&mut self, source: &SourceUser) -> Result<()> {
        let id = source.id.as_str();
        if !is_id(id) {
            self.report.skipped(Kind::Users, id, INVALID_ID);
            return Ok(());
        }
        let (Ok(email), Ok(())) = (parse_email(&source.email), check_role(&source.role)) else {
            let reason = "it has no valid email, or no role of admin, user and pending";
            self.report.skipped(Kind::Users, id, reason);
            return Ok(());
        };
        let name = plain(source.name.trim(), MAX_NAME_BYTES);
        let password = source.password.as_deref().filter(|hash| is_bcrypt(hash));
        let is_disabled = source.password.is_some() && !source.is_active;
        let user = ImportedUser {
            id,
            name: if check_name(&name).is_ok() {
                &name
            } else {
                &email
            },
            email: &email,
            role: if is_disabled { "pending" } else { &source.role },
            password: password.unwrap_or(UNUSABLE_HASH),
            created_at: plausible_time(source.created_at),
        };
        match self.app.store.import_user(&user).await {
            Ok(ImportOutcome::Added) => {
                self.report.imported(Kind::Users);
                if is_disabled {
                    let note = "the account is disabled: the user has the role pending";
                    self.report.note(Kind::Users, id, note);
                }
                if password.is_none() {
                    let note = "it has no password that can be imported: set one with `pinhole user reset-password`";
                    self.report.note(Kind::Users, id, note);
                }
            }
            Ok(ImportOutcome::EmailTaken) => {
                let reason = "another user of this server has its email, so it and what belongs to it are left out: \
                              delete that user, and import again";
                self.report.skipped(Kind::Users, id, reason);
            }
            Ok(outcome) => self.record(Kind::Users, id, outcome),
            Err(error) => return stop(Kind::Users, id, error.into()),
        }
        Ok(())
    }

    pub(super) async fn import_keys(&mut self) -> Result<()> {
        let enabled = self
            .settings
            .value(&mut self.source, KEYS_ARE_ENABLED)
            .await?;
        let are_disabled = enabled.and_then(|it| it.as_bool()) == Some(false);
        let mut pages = RowPages::default();
        loop {
            let page = self.source.keys(pages.after()).await;
            let page = page.context("cannot read the API keys of the Open WebUI database")?;
            let continues = pages.advance(&page, |key| &key.id);
            for row in page {
                self.report.found(Kind::ApiKeys);
                match row {
                    Ok(key) if are_disabled => {
                        let reason = "Open WebUI has API keys disabled";
                        self.report.skipped(Kind::ApiKeys, &key.id, reason);
                    }
                    Ok(key) => self.import_key(&key).await?,
                    Err(row) => self.report.skipped(Kind::ApiKeys, &row.id, UNREADABLE),
                }
            }
            self.progress(Kind::ApiKeys);
            if !continues {
                return Ok(());
            }
        }
    }

    async fn import_key(&mut self, source: &SourceKey) -> Result<()> {
        let id = source.id.as_str();
        let key = source.key.as_str();
        let is_valid = key.starts_with("sk-")
            && (MIN_KEY_BYTES..=MAX_KEY_BYTES).contains(&key.len())
            && key.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_valid {
            let reason = "it is not a key of Open WebUI: sk- and at least 21 characters";
            self.report.skipped(Kind::ApiKeys, id, reason);
            return Ok(());
        }
        if source.expires_at.is_some_and(|at| at <= now()) {
            self.report.skipped(Kind::ApiKeys, id, "it has expired");
            return Ok(());
        }
        let imported = ImportedKey {
            user_id: &source.user_id,
            key,
            expires_at: source.expires_at,
            created_at: plausible_time(source.created_at),
        };
        match self.app.store.import_key(&imported).await {
            Ok(outcome) => self.record(Kind::ApiKeys, id, outcome),
            Err(error) => return stop(Kind::ApiKeys, id, error.into()),
        }
        Ok(())
    }

    pub(super) async fn import_groups(&mut self) -> Result<()> {
        let mut pages = RowPages::default();
        loop {
            let page = self.source.groups(pages.after()).await;
            let page = page.context("cannot read the groups of the Open WebUI database")?;
            let continues = pages.advance(&page, |group| &group.id);
            for row in page {
                self.report.found(Kind::Groups);
                match row {
                    Ok(group) => self.import_group(&group).await?,
                    Err(row) => self.report.skipped(Kind::Groups, &row.id, UNREADABLE),
                }
            }
            self.progress(Kind::Groups);
            if !continues {
                return Ok(());
            }
        }
    }

    async fn import_group(&mut self, source: &SourceGroup) -> Result<()> {
        let id = source.id.as_str();
        let name = plain(source.name.trim(), MAX_NAME_BYTES);
        if !is_id(id) || check_name(&name).is_err() {
            let reason = "its id or its name is invalid";
            self.report.skipped(Kind::Groups, id, reason);
            return Ok(());
        }
        let permissions: Permissions =
            serde_json::from_str(&source.permissions).unwrap_or_default();
        let group = ImportedGroup {
            id,
            name: &name,
            description: &plain(&source.description, MAX_DESCRIPTION_BYTES),
            may_create_images: permissions.features.image_generation,
            created_at: plausible_time(source.created_at),
        };
        match self.app.store.import_group(&group).await {
            Ok(outcome) => self.record(Kind::Groups, id, outcome),
            Err(error) => return stop(Kind::Groups, id, error.into()),
        }
        Ok(())
    }

    pub(super) async fn import_members(&mut self) -> Result<()> {
        let mut pages = RowPages::default();
        loop {
            let page = self.source.members(pages.after()).await;
            let page = page.context("cannot read the groups of the Open WebUI database")?;
            let continues = pages.advance(&page, |member| &member.id);
            for row in page {
                self.report.found(Kind::Memberships);
                match row {
                    Ok(member) => self.import_member(&member).await?,
                    Err(row) => self.report.skipped(Kind::Memberships, &row.id, UNREADABLE),
                }
            }
            self.progress(Kind::Memberships);
            if !continues {
                return Ok(());
            }
        }
    }

    async fn import_member(&mut self, source: &SourceMember) -> Result<()> {
        let SourceMember {
            id,
            group_id,
            user_id,
        } = source;
        match self.app.store.import_member(group_id, user_id).await {
            Ok(outcome) => self.record(Kind::Memberships, id, outcome),
            Err(error) => return stop(Kind::Memberships, id, error.into()),
        }
        Ok(())
    }

    /// Counts what became of a row.
    pub(super) fn record(&mut self, kind: Kind, id: &str, outcome: ImportOutcome) {
        let reason = match outcome {
            ImportOutcome::Added => return self.report.imported(kind),
            ImportOutcome::Exists => return self.report.exists(kind),
            ImportOutcome::EmailTaken => "another user has its email",
            ImportOutcome::OwnerMissing => "the user or group that it belongs to was not imported",
            ImportOutcome::TooMany => "there are too many: the limit of this server is reached",
            ImportOutcome::TooLong => "it is too long",
        };
        self.report.skipped(kind, id, reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_those_of_images_only() {
        for (json, expected) in [
            (
                r#"{"features": {"image_generation": true, "web_search": false}}"#,
                true,
            ),
            (r#"{"features": {"image_generation": false}}"#, false),
            (r#"{"features": {}}"#, false),
            (r#"{"workspace": {"models": true}}"#, false),
            (r#"{"features": {"image_generation": "yes"}}"#, false),
            ("null", false),
            ("", false),
        ] {
            let parsed: Permissions = serde_json::from_str(json).unwrap_or_default();
            assert_eq!(parsed.features.image_generation, expected, "{json}");
        }
    }
}
