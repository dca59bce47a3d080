//! The keys that all servers of a database share.
//!
//! A server with another key would refuse the sessions of the others, and could not read their secrets. Each start
//! compares a check of its keys with the one in the database. Changed keys are accepted while no other server runs.

use anyhow::{Context, Result, bail};
use hmac::{Hmac, KeyInit, Mac};
use pinhole_ground::environment::Environment;
use sha2::Sha256;

use crate::store::{LEASE_SECS, Store};

/// What the keys sign.
const MESSAGE: &[u8] = b"pinhole: all servers of a database have this key";
const SECRET_KEY: &str = "WEBUI_SECRET_KEY";
const SETTINGS_KEY: &str = "PINHOLE_SETTINGS_KEY";

/// Fails if another server of the database runs with another key. `host` is this one, which is recorded already.
pub(super) async fn check(store: &Store, environment: &Environment, host: &str) -> Result<()> {
    if !store.is_shared() {
        return Ok(());
    }
    let secret = environment.get(SECRET_KEY).map(str::to_owned);
    // Its hexadecimal digits have two forms.
    let settings_key = environment
        .get(SETTINGS_KEY)
        .map(|key| key.trim().to_ascii_lowercase());
    for (name, key) in [(SECRET_KEY, secret), (SETTINGS_KEY, settings_key)] {
        let Some(key) = key else {
            continue;
        };
        let held = store.hold_key_check(name, &check_of(&key), host).await;
        if held.context("cannot compare the keys of the servers")? {
            continue;
        }
        store.remove_host(host).await.ok();
        bail!(
            "{name} differs from that of another server of the database: set the same on all servers; to change it, stop \
             all of them and wait {LEASE_SECS} seconds"
        );
    }
    Ok(())
}

/// A check of a key. The key cannot be computed from it.
fn check_of(key: &str) -> String {
    #[expect(clippy::expect_used, reason = "HMAC accepts keys of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("key of any length");
    mac.update(MESSAGE);
    base64_simd::STANDARD.encode_to_string(mac.finalize().into_bytes())
}
