//! The users of credentials, and their groups, that were read before.
//!
//! Every request needs them, and SQLite reads on another thread. A right that was withdrawn must not be found here, so
//! each entry has the version of identities under which it was read. The version changes before and after each commit
//! that changes a table of [`IDENTITY_TABLES`]; SQLite's update hook notices them, so no statement can be forgotten.
//! The version is in a file, because `pinhole user` and `pinhole key` change identities while the server runs.
//!
//! With PostgreSQL there is no cache: its servers are on several machines, which share no file.
//!
//! Entries expire, in case a process ends between its commit and the change of the version, or another program writes.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use cap_std::fs::Dir;
use pinhole_ground::data_dir;
use sqlx::sqlite::SqliteConnection;
use tokio::time::Instant;

use super::{CredentialId, Store, User, now};

/// The tables that decide who a request's user is, and what the user may do.
const IDENTITY_TABLES: [&str; 6] = [
    "accounts",
    "api_keys",
    "ended_sessions",
    "group_members",
    "user_groups",
    "users",
];
/// The file of the version in the data directory.
const FILE: &str = "identity-version";
/// Credentials, and users with groups. At the limit all entries are removed.
const MAX_ENTRIES: usize = 10_000;
/// How long an entry is valid.
const MAX_AGE: Duration = Duration::from_secs(5);

/// A cache of users and of their groups.
#[derive(Debug)]
pub(super) struct IdentityCache {
    file: File,
    /// Counts changes by this process, in case the file cannot be written.
    own_changes: AtomicU64,
    users: Mutex<Entries<CredentialId, CredentialUser>>,
    groups: Mutex<Entries<String, UserGroups>>,
}

/// The user of a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialUser {
    pub user: User,
    /// When the API key expires, in seconds since 1970: the credential itself, or the one that a session began with.
    pub key_expires_at: Option<i64>,
}

/// The groups of a user.
#[derive(Clone, Debug, Default)]
pub(super) struct UserGroups {
    pub(super) names: Vec<String>,
    /// One of them has the permission `features.image_generation`.
    pub(super) may_create_images: bool,
}

/// Identifies the state of the identity tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Version {
    file: [u8; 8],
    own_changes: u64,
}

/// Entries of one version.
#[derive(Debug)]
struct Entries<K, V> {
    version: Version,
    by_key: HashMap<K, (V, Instant)>,
}

/// Whether the current transaction changed an identity table. Clones share the flag.
#[derive(Clone, Debug, Default)]
pub(super) struct IdentityChange(Arc<AtomicBool>);

impl IdentityCache {
    pub(super) fn open(data: &Dir) -> anyhow::Result<Self> {
        let mut options = data_dir::private_file();
        let file = data
            .open_with(FILE, options.read(true).write(true).create(true))
            .with_context(|| format!("cannot open {FILE} in the data directory"))?;
        let cache = Self {
            file: file.into_std(),
            own_changes: AtomicU64::new(0),
            users: Mutex::default(),
            groups: Mutex::default(),
        };
        cache.change_version();
        Ok(cache)
    }

    /// The current version; `None` if it cannot be read. Read it before the database.
    fn version(&self) -> Option<Version> {
        let mut file = [0; 8];
        self.file.read_exact_at(&mut file, 0).ok()?;
        let own_changes = self.own_changes.load(Ordering::Acquire);
        Some(Version { file, own_changes })
    }

    /// Call it before and after the commit of a change.
    pub(super) fn change_version(&self) {
        self.own_changes.fetch_add(1, Ordering::AcqRel);
        let mut version = [0; 8];
        let changed = getrandom::fill(&mut version)
            .map_err(std::io::Error::from)
            .and_then(|()| self.file.write_all_at(&version, 0));
        if let Err(error) = changed {
            tracing::warn!(
                "cannot write {FILE}: other processes see a changed user after 5 s: {error}"
            );
        }
    }

    /// The user of a credential, read with `read` unless an entry is valid.
    pub(super) async fn user(
        &self,
        credential: CredentialId,
        read: impl AsyncFnOnce() -> sqlx::Result<Option<CredentialUser>>,
    ) -> sqlx::Result<Option<CredentialUser>> {
        let version = self.version();
        let cached = lock(&self.users).get(version, &credential);
        if let Some(found) = cached {
            let is_valid = found.key_expires_at.is_none_or(|at| at > now());
            return Ok(is_valid.then_some(found));
        }
        // Unknown credentials leave no entry, so that they remove no others.
        let Some(found) = read().await? else {
            return Ok(None);
        };
        lock(&self.users).insert(version, credential, found.clone());
        Ok(Some(found))
    }

    /// The groups of a user, read with `read` unless an entry is valid.
    pub(super) async fn groups(
        &self,
        user_id: &str,
        read: impl AsyncFnOnce() -> sqlx::Result<UserGroups>,
    ) -> sqlx::Result<UserGroups> {
        let version = self.version();
        if let Some(groups) = lock(&self.groups).get(version, user_id) {
            return Ok(groups);
        }
        let groups = read().await?;
        lock(&self.groups).insert(version, user_id.to_owned(), groups.clone());
        Ok(groups)
    }
}

impl Store {
    /// The user of a credential, read with `read` unless the cache has it. PostgreSQL has no cache: servers elsewhere
    /// change identities.
    pub(super) async fn cached_user(
        &self,
        credential: CredentialId,
        read: impl AsyncFnOnce() -> sqlx::Result<Option<CredentialUser>>,
    ) -> sqlx::Result<Option<CredentialUser>> {
        match &self.identities {
            Some(identities) => identities.user(credential, read).await,
            None => read().await,
        }
    }
}

impl IdentityChange {
    /// Notices the changes that the connection makes.
    pub(super) async fn watch(&self, connection: &mut SqliteConnection) -> sqlx::Result<()> {
        let change = self.clone();
        let mut handle = connection.lock_handle().await?;
        handle.set_update_hook(move |update| {
            if IDENTITY_TABLES.contains(&update.table) {
                change.0.store(true, Ordering::Release);
            }
        });
        Ok(())
    }

    /// Was there a change since the last call?
    pub(super) fn take(&self) -> bool {
        self.0.swap(false, Ordering::AcqRel)
    }
}

impl<K, V> Default for Entries<K, V> {
    fn default() -> Self {
        Self {
            version: Version::default(),
            by_key: HashMap::new(),
        }
    }
}

impl<K: Eq + std::hash::Hash, V: Clone> Entries<K, V> {
    fn get<Q>(&self, version: Option<Version>, key: &Q) -> Option<V>
    where
        K: std::borrow::Borrow<Q>,
        Q: Eq + std::hash::Hash + ?Sized,
    {
        if version != Some(self.version) {
            return None;
        }
        let (value, read_at) = self.by_key.get(key)?;
        (read_at.elapsed() < MAX_AGE).then(|| value.clone())
    }

    fn insert(&mut self, version: Option<Version>, key: K, value: V) {
        let Some(version) = version else {
            return;
        };
        if version != self.version || self.by_key.len() >= MAX_ENTRIES {
            self.by_key.clear();
            self.version = version;
        }
        self.by_key.insert(key, (value, Instant::now()));
    }
}

fn lock<T>(entries: &Mutex<T>) -> MutexGuard<'_, T> {
    entries.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::test_database::TestDatabase;

    /// Two stores of one database, as the server and a command have, and an administrator's key.
    async fn two_stores(test: &TestDatabase) -> (&Store, Store, String) {
        let key = test.store.create_first_administrator().await.unwrap();
        (&test.store, test.connect().await, key.unwrap())
    }

    #[tokio::test]
    async fn identity_cache_sees_each_change_of_another_process_at_once() {
        TestDatabase::each(async |test| {
            let (server, command, key) = two_stores(&test).await;
            for _ in 0..20 {
                let user = server.user_by_key(&key).await.unwrap().unwrap();
                let name = format!("{}x", user.name);
                command
                    .update_user(&user.id, &name, "admin", None)
                    .await
                    .unwrap();
                let changed = server.user_by_key(&key).await.unwrap().unwrap();
                assert_eq!(changed.name, name);
            }
            let user = server.user_by_key(&key).await.unwrap().unwrap();
            command.revoke_keys(&user.id, None).await.unwrap();
            assert_eq!(server.user_by_key(&key).await.unwrap(), None);
        })
        .await;
    }

    #[tokio::test]
    async fn identity_cache_sees_members_that_are_added_and_removed() {
        TestDatabase::each(async |test| {
            let (server, _command, key) = two_stores(&test).await;
            let user = server.user_by_key(&key).await.unwrap().unwrap();
            assert!(server.groups_of(&user.id).await.unwrap().is_empty());
            let group = server.add_group("draw", "", true).await.unwrap().unwrap();
            let members = [user.id.clone()];
            server.add_members(&group.id, &members).await.unwrap();
            assert_eq!(server.groups_of(&user.id).await.unwrap(), ["draw"]);
            assert!(server.has_group_image_permission(&user.id).await.unwrap());
            server.remove_members(&group.id, &members).await.unwrap();
            assert!(server.groups_of(&user.id).await.unwrap().is_empty());
            assert!(!server.has_group_image_permission(&user.id).await.unwrap());
        })
        .await;
    }

    #[tokio::test]
    async fn identity_cache_reads_a_known_user_once_and_an_unknown_one_each_time() {
        let data = tempfile::tempdir().unwrap();
        let cache = IdentityCache::open(&data_dir::open(data.path()).unwrap()).unwrap();
        let reads = std::cell::Cell::new(0);
        let read = async |found: Option<CredentialUser>| {
            let credential = CredentialId::ApiKey("hash".to_owned());
            let read = async || {
                reads.set(reads.get() + 1);
                Ok(found)
            };
            cache.user(credential, read).await.unwrap()
        };
        let user = CredentialUser {
            user: User {
                id: "1".to_owned(),
                name: "Ada".to_owned(),
                role: "user".to_owned(),
            },
            key_expires_at: None,
        };
        for expected in [1, 2] {
            assert_eq!(read(None).await, None);
            assert_eq!(reads.get(), expected);
        }
        for _ in 0..3 {
            assert_eq!(read(Some(user.clone())).await, Some(user.clone()));
            assert_eq!(reads.get(), 3);
        }
        cache.change_version();
        assert_eq!(read(Some(user.clone())).await, Some(user));
        assert_eq!(reads.get(), 4);
    }

    #[test]
    fn entries_expire_and_are_limited() {
        let mut entries = Entries::default();
        let version = Version {
            own_changes: 1,
            ..Version::default()
        };
        for key in 0..=MAX_ENTRIES {
            entries.insert(Some(version), key, ());
            assert!(entries.by_key.len() <= MAX_ENTRIES);
        }
        assert_eq!(entries.get(Some(version), &MAX_ENTRIES), Some(()));
        for (_, read_at) in entries.by_key.values_mut() {
            *read_at -= MAX_AGE;
        }
        assert_eq!(entries.get(Some(version), &MAX_ENTRIES), None);
    }
}
