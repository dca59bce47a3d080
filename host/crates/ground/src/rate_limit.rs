//! Limits how often something happens, in fixed windows of time.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Open windows. Beyond that the oldest window is dropped.
const MAX_WINDOWS: usize = 10_000;

/// Limits how often something happens for each key, such as a user.
pub struct RateLimit<K> {
    max_count: u32,
    window: Duration,
    by_key: Mutex<HashMap<K, Window>>,
}

struct Window {
    start: Instant,
    count: u32,
}

impl Window {
    fn new(start: Instant) -> Self {
        Self { start, count: 0 }
    }
}

impl<K: Clone + Eq + Hash> RateLimit<K> {
    /// Allows this number in each window of time.
    #[must_use]
    pub fn new(max_count: u32, window: Duration) -> Self {
        Self {
            max_count,
            window,
            by_key: Mutex::default(),
        }
    }

    /// Counts one more. The error is the time to wait.
    pub fn count(&self, key: K, now: Instant) -> Result<(), Duration> {
        let mut windows = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        if windows.len() >= MAX_WINDOWS && !windows.contains_key(&key) {
            self.make_room(&mut windows, now);
        }
        let window = windows.entry(key).or_insert(Window::new(now));
        if !self.is_open(window, now) {
            *window = Window::new(now);
        } else if window.count >= self.max_count {
            return Err(self.window.saturating_sub(now.duration_since(window.start)));
        }
        window.count += 1;
        Ok(())
    }

    fn is_open(&self, window: &Window, now: Instant) -> bool {
        now.duration_since(window.start) < self.window
    }

    fn make_room(&self, windows: &mut HashMap<K, Window>, now: Instant) {
        windows.retain(|_, window| self.is_open(window, now));
        if windows.len() < MAX_WINDOWS {
            return;
        }
        let oldest = windows.iter().min_by_key(|(_, window)| window.start);
        if let Some(key) = oldest.map(|(key, _)| key.clone()) {
            windows.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(180);

    #[test]
    fn rate_limit_refuses_until_its_window_ends() {
        let (limit, start) = (RateLimit::new(2, WINDOW), Instant::now());
        let after = |secs| start + Duration::from_secs(secs);
        limit.count("a", start).unwrap();
        limit.count("a", after(100)).unwrap();
        let refused = limit.count("a", after(100));
        assert_eq!(refused, Err(Duration::from_secs(80)));
        limit.count("b", after(100)).unwrap();
        for _ in 0..2 {
            limit.count("a", after(180)).unwrap();
        }
        let refused_again = limit.count("a", after(180));
        assert_eq!(refused_again, Err(WINDOW));
    }

    #[test]
    fn rate_limit_drops_the_oldest_window_beyond_its_limit() {
        let (limit, start) = (RateLimit::new(1, WINDOW), Instant::now());
        let after = |key: usize| start + Duration::from_micros(u64::try_from(key).unwrap());
        for key in 0..=MAX_WINDOWS {
            limit.count(key, after(key)).unwrap();
        }
        let last = after(MAX_WINDOWS);
        assert_eq!(limit.by_key.lock().unwrap().len(), MAX_WINDOWS);
        assert!(limit.count(1, last).is_err());
        assert!(limit.count(0, last).is_ok());
    }
}
