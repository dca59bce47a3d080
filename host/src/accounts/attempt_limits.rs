//! Limits attempts to sign up or in, by IP address and by account, in fixed windows.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::clients::network_of;

/// Length of a window.
pub const ATTEMPT_WINDOW: Duration = Duration::from_secs(180);
/// Attempts from one IP address in a window. Many users may share an address.
pub const MAX_ATTEMPTS_PER_IP: u32 = 60;
/// Attempts on one account in a window.
///
/// Source: Open WebUI `routers/auths.py`, `signin_rate_limiter`.
pub const MAX_ATTEMPTS_PER_ACCOUNT: u32 = 15;
/// Open windows of IP addresses, and of accounts. Beyond that the oldest window is dropped.
const MAX_WINDOWS: usize = 10_000;

/// Recent attempts.
pub(super) struct AttemptLimits {
    ips: Windows<Option<IpAddr>>,
    accounts: Windows<String>,
}

impl AttemptLimits {
    pub(super) fn new() -> Self {
        Self {
            ips: Windows::new(MAX_ATTEMPTS_PER_IP),
            accounts: Windows::new(MAX_ATTEMPTS_PER_ACCOUNT),
        }
    }

    /// Counts an attempt. The error is the time to wait. All unknown addresses share one window.
    pub(super) fn count_ip(&self, ip: Option<IpAddr>) -> Result<(), Duration> {
        self.ips.count(ip.map(network_of), Instant::now())
    }

    /// Counts an attempt. The error is the time to wait. The account need not exist.
    pub(super) fn count_account(&self, email: &str) -> Result<(), Duration> {
        self.accounts.count(email.to_owned(), Instant::now())
    }
}

struct Windows<K> {
    max_attempts: u32,
    by_key: Mutex<HashMap<K, Window>>,
}

struct Window {
    start: Instant,
    attempts: u32,
}

impl Window {
    fn new(start: Instant) -> Self {
        Self { start, attempts: 0 }
    }

    fn is_open(&self, now: Instant) -> bool {
        now.duration_since(self.start) < ATTEMPT_WINDOW
    }
}

impl<K: Clone + Eq + Hash> Windows<K> {
    fn new(max_attempts: u32) -> Self {
        Self {
            max_attempts,
            by_key: Mutex::default(),
        }
    }

    fn count(&self, key: K, now: Instant) -> Result<(), Duration> {
        let mut windows = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        if windows.len() >= MAX_WINDOWS && !windows.contains_key(&key) {
            make_room(&mut windows, now);
        }
        let window = windows.entry(key).or_insert(Window::new(now));
        if !window.is_open(now) {
            *window = Window::new(now);
        } else if window.attempts >= self.max_attempts {
            return Err(ATTEMPT_WINDOW.saturating_sub(now.duration_since(window.start)));
        }
        window.attempts += 1;
        Ok(())
    }
}

fn make_room<K: Clone + Eq + Hash>(windows: &mut HashMap<K, Window>, now: Instant) {
    windows.retain(|_, window| window.is_open(now));
    if windows.len() < MAX_WINDOWS {
        return;
    }
    let oldest = windows.iter().min_by_key(|(_, window)| window.start);
    if let Some(key) = oldest.map(|(key, _)| key.clone()) {
        windows.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_limit_attempts_and_reopen() {
        let (windows, start) = (Windows::new(2), Instant::now());
        let after = |secs| start + Duration::from_secs(secs);
        windows.count("a", start).unwrap();
        windows.count("a", after(100)).unwrap();
        let refused = windows.count("a", after(100));
        assert_eq!(refused, Err(Duration::from_secs(80)));
        windows.count("b", after(100)).unwrap();
        for _ in 0..2 {
            windows.count("a", after(180)).unwrap();
        }
        let refused_again = windows.count("a", after(180));
        assert_eq!(refused_again, Err(ATTEMPT_WINDOW));
    }

    #[test]
    fn windows_drop_the_oldest_beyond_their_limit() {
        let (windows, start) = (Windows::new(1), Instant::now());
        let after = |key: usize| start + Duration::from_micros(u64::try_from(key).unwrap());
        for key in 0..=MAX_WINDOWS {
            windows.count(key, after(key)).unwrap();
        }
        let last = after(MAX_WINDOWS);
        assert_eq!(windows.by_key.lock().unwrap().len(), MAX_WINDOWS);
        assert!(windows.count(1, last).is_err());
        assert!(windows.count(0, last).is_ok());
    }
}
