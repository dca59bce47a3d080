//! How often somebody may try: attempts are counted by address and by account, in windows.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Length of a window.
const WINDOW: Duration = Duration::from_secs(180);
/// Attempts of one address in a window. Many people may share one.
const MAX_PER_ADDRESS: u32 = 60;
/// Attempts on one account in a window.
///
/// Source: Open WebUI `routers/auths.py`, `signin_rate_limiter`.
const MAX_PER_ACCOUNT: u32 = 15;
/// Addresses, and accounts, that are counted at once; beyond that the oldest window is forgotten.
const MAX_COUNTED: usize = 10_000;

/// What was tried lately.
pub(super) struct Attempts {
    addresses: Windows<Option<IpAddr>>,
    accounts: Windows<String>,
}

impl Attempts {
    pub(super) fn new() -> Self {
        Self {
            addresses: Windows::new(MAX_PER_ADDRESS),
            accounts: Windows::new(MAX_PER_ACCOUNT),
        }
    }

    /// Counts an attempt, or says how long to wait. Addresses that are not known count as one.
    pub(super) fn of_address(&self, address: Option<IpAddr>) -> Result<(), Duration> {
        self.addresses.count(address.map(network), Instant::now())
    }

    /// Counts an attempt, or says how long to wait. The account need not exist.
    pub(super) fn of_account(&self, email: &str) -> Result<(), Duration> {
        self.accounts.count(email.to_owned(), Instant::now())
    }
}

/// Who has one address of IPv6 has a whole /64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

struct Windows<K> {
    max: u32,
    counts: Mutex<HashMap<K, (Instant, u32)>>,
}

impl<K: Clone + Eq + Hash> Windows<K> {
    fn new(max: u32) -> Self {
        Self {
            max,
            counts: Mutex::default(),
        }
    }

    fn count(&self, key: K, now: Instant) -> Result<(), Duration> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= MAX_COUNTED && !counts.contains_key(&key) {
            make_room(&mut counts, now);
        }
        let (begun, count) = counts.entry(key).or_insert((now, 0));
        let age = now.duration_since(*begun);
        if age >= WINDOW {
            (*begun, *count) = (now, 0);
        } else if *count >= self.max {
            return Err(WINDOW.saturating_sub(age));
        }
        *count += 1;
        Ok(())
    }
}

fn make_room<K: Clone + Eq + Hash>(counts: &mut HashMap<K, (Instant, u32)>, now: Instant) {
    counts.retain(|_, (begun, _)| now.duration_since(*begun) < WINDOW);
    if counts.len() < MAX_COUNTED {
        return;
    }
    let oldest = counts.iter().min_by_key(|(_, (begun, _))| *begun);
    if let Some(key) = oldest.map(|(key, _)| key.clone()) {
        counts.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_has_so_many_attempts_and_the_next_as_many() {
        let (windows, begun) = (Windows::new(2), Instant::now());
        let after = |secs| begun + Duration::from_secs(secs);
        windows.count("a", begun).unwrap();
        windows.count("a", after(100)).unwrap();
        let refused = windows.count("a", after(100));
        assert_eq!(refused, Err(Duration::from_secs(80)));
        windows.count("b", after(100)).unwrap();
        for _ in 0..2 {
            windows.count("a", after(180)).unwrap();
        }
        let refused = windows.count("a", after(180));
        assert_eq!(refused, Err(WINDOW));
    }

    #[test]
    fn neighbours_of_ipv6_are_one() {
        let check = |address: &str, expected: &str| {
            let network = network(address.parse().unwrap());
            assert_eq!(network.to_string(), expected, "{address}");
        };
        check("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::");
        check("192.0.2.1", "192.0.2.1");
        check("::ffff:192.0.2.1", "192.0.2.1");
    }

    #[test]
    fn what_is_counted_has_an_end() {
        let (windows, begun) = (Windows::new(1), Instant::now());
        let after = |key: usize| begun + Duration::from_micros(u64::try_from(key).unwrap());
        for key in 0..=MAX_COUNTED {
            windows.count(key, after(key)).unwrap();
        }
        let last = after(MAX_COUNTED);
        assert_eq!(windows.counts.lock().unwrap().len(), MAX_COUNTED);
        assert!(windows.count(1, last).is_err());
        assert!(windows.count(0, last).is_ok());
    }
}
