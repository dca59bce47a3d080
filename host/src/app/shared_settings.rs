//! Image settings that an Open WebUI has in the same Redis (`PINHOLE_REDIS_CONFIG`).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use futures_util::future::join_all;
use tokio::time::MissedTickBehavior;

use super::App;
use crate::cluster::{AgreedValue, Cluster, RedisSetting};
use crate::settings::{Change, SettingKey, SharedStep};
use crate::store::User;

/// Time between two looks at the settings in Redis.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// Who has made the changes, in their history.
const OPEN_WEBUI: &str = "Open WebUI";

/// The values of Open WebUI that are not used, by the names of their settings.
#[derive(Debug, Default)]
struct Refusals(HashMap<String, Refusal>);

#[derive(Debug)]
struct Refusal {
    json: Vec<u8>,
    /// The settings with which the value was refused. With others it may be valid.
    revision: i64,
}

/// A setting with its value in Redis.
struct FoundSetting<'a> {
    key: &'a SettingKey,
    found: RedisSetting,
}

/// A value of Open WebUI for the database.
struct ReadSetting<'a> {
    setting: FoundSetting<'a>,
    change: Change,
}

/// A value of the database for Open WebUI. `None` removes it.
struct WrittenSetting<'a> {
    setting: FoundSetting<'a>,
    value: Option<AgreedValue>,
}

/// The settings that differ.
#[derive(Default)]
struct Differences<'a> {
    read: Vec<ReadSetting<'a>>,
    written: Vec<WrittenSetting<'a>>,
}

impl Refusals {
    /// Refuses a value. Returns false if that is known already.
    fn add(&mut self, name: &str, json: &[u8], revision: i64) -> bool {
        let refusal = Refusal {
            json: json.to_owned(),
            revision,
        };
        let before = self.0.insert(name.to_owned(), refusal);
        before.is_none_or(|it| it.json != json)
    }

    /// True if a value was refused with the settings of this revision.
    fn contains(&self, name: &str, json: &[u8], revision: i64) -> bool {
        let refusal = self.0.get(name);
        refusal.is_some_and(|it| it.json == json && it.revision == revision)
    }

    fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }
}

impl App {
    /// Exchanges image settings with an Open WebUI that uses the same Redis. Never returns.
    pub async fn share_settings(self: Arc<Self>) {
        let cluster = self.events.cluster().filter(|it| it.has_settings());
        let Some(cluster) = cluster else {
            return std::future::pending().await;
        };
        let mut refusals = Refusals::default();
        let mut looks = tokio::time::interval(LOOK_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = looks.tick() => {}
                () = self.settings.wait_for_publication() => {}
            }
            if let Err(error) = self.exchange_settings(cluster, &mut refusals).await {
                tracing::warn!("cannot exchange settings with Open WebUI: {error:#}");
            }
        }
    }

    /// Compares all shared settings once.
    async fn exchange_settings(&self, cluster: &Cluster, refusals: &mut Refusals) -> Result<()> {
        let keys = self.setting_keys().await?;
        // Before the database: what another host writes in between would look like a change.
        let shared = keys.iter().filter(|key| key.is_shared());
        let found = join_all(shared.map(async |key| {
            let found = cluster.read_setting(&key.name).await?;
            Some(FoundSetting { key, found })
        }))
        .await;
        let lock = self.settings.lock().await;
        self.apply_newer_settings().await?;
        let found = found.into_iter().flatten();
        let mut differences = self.find_differences(&keys, found, refusals);
        self.apply_read(&mut differences.read, refusals).await?;
        drop(lock);
        join_all(differences.read.iter().map(async |it| {
            let text = it.change.text().unwrap_or_default();
            cluster.agree_on_setting(&it.setting.key.name, text).await;
        }))
        .await;
        join_all(differences.written.iter().map(async |it| {
            let FoundSetting { key, found: seen } = &it.setting;
            let value = it.value.as_ref();
            cluster.write_setting(&key.name, seen, value).await;
        }))
        .await;
        Ok(())
    }

    /// The caller holds the lock of the settings, and has the newest ones.
    fn find_differences<'a>(
        &self,
        keys: &[SettingKey],
        found: impl Iterator<Item = FoundSetting<'a>>,
        refusals: &mut Refusals,
    ) -> Differences<'a> {
        let overlay = self.settings.overlay();
        let revision = self.settings.revision();
        let mut differences = Differences::default();
        for setting in found {
            let (name, json) = (&setting.key.name, &setting.found.json);
            match setting.key.compare(keys, &overlay, &setting.found) {
                SharedStep::Nothing => refusals.remove(name),
                SharedStep::Refuse(reason) => {
                    if refusals.add(name, json, revision) {
                        warn_about(name, &format!("{name} {reason}"));
                    }
                }
                SharedStep::Read(change) => {
                    if !refusals.contains(name, json, revision) {
                        let change = *change;
                        differences.read.push(ReadSetting { setting, change });
                    }
                }
                SharedStep::Write(value) => {
                    let value = Some(value);
                    differences.written.push(WrittenSetting { setting, value });
                }
                SharedStep::Remove => {
                    let value = None;
                    differences.written.push(WrittenSetting { setting, value });
                }
            }
        }
        differences
    }

    /// Stores what Open WebUI has changed. Only what is accepted remains in the list.
    async fn apply_read(
        &self,
        read: &mut Vec<ReadSetting<'_>>,
        refusals: &mut Refusals,
    ) -> Result<()> {
        let changes = read.iter().map(|it| it.change.clone()).collect();
        let refused = self.apply_accepted_changes(&open_webui(), changes).await?;
        let revision = self.settings.revision();
        for group in refused {
            let is_refused = |it: &mut ReadSetting<'_>| {
                let path = &it.setting.key.path;
                group
                    .changes
                    .iter()
                    .any(|change| change.key().path == *path)
            };
            for ReadSetting { setting, .. } in read.extract_if(.., is_refused) {
                let name = &setting.key.name;
                if refusals.add(name, &setting.found.json, revision) {
                    warn_about(name, &group.reason);
                }
            }
        }
        Ok(())
    }
}

fn warn_about(name: &str, reason: &str) {
    tracing::warn!(
        "refused Open WebUI's value of {name} in Redis: {reason}; the setting stays as it is until Open WebUI has another value"
    );
}

fn open_webui() -> User {
    User {
        id: String::new(),
        name: OPEN_WEBUI.to_owned(),
        role: "admin".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_value_is_new_once_and_tried_again_with_other_settings() {
        let mut refusals = Refusals::default();
        assert!(refusals.add("IMAGE_SIZE", b"1", 7));
        assert!(!refusals.add("IMAGE_SIZE", b"1", 8));
        assert!(refusals.contains("IMAGE_SIZE", b"1", 8));
        assert!(!refusals.contains("IMAGE_SIZE", b"1", 9));
        assert!(!refusals.contains("IMAGE_STEPS", b"1", 8));
        assert!(refusals.add("IMAGE_SIZE", b"2", 8));
        refusals.remove("IMAGE_SIZE");
        assert!(refusals.add("IMAGE_SIZE", b"2", 8));
    }
}
