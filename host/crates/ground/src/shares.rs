//! Shares of something limited, such as connections: all holders together have at most a total, and one holder
//! has at most a part of it, so that others find room.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A limited number of units, divided among holders. A holder is a key, such as a user's id.
#[derive(Debug)]
pub struct Shares<K> {
    max_units: usize,
    max_units_per_key: usize,
    held: Mutex<Held<K>>,
}

#[derive(Debug)]
struct Held<K> {
    units: usize,
    by_key: HashMap<K, usize>,
}

/// One unit of a holder. Dropping it returns the unit.
#[derive(Debug)]
pub struct Share<K: Clone + Eq + Hash> {
    shares: Arc<Shares<K>>,
    key: Option<K>,
}

/// Why no unit is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharesFull {
    /// This holder has its part.
    Key,
    /// All holders together have everything.
    Total,
}

impl<K: Clone + Eq + Hash> Shares<K> {
    /// Units in total, and those that one key may hold.
    #[must_use]
    pub fn new(max_units: usize, max_units_per_key: usize) -> Arc<Self> {
        Arc::new(Self {
            max_units,
            max_units_per_key,
            held: Mutex::new(Held {
                units: 0,
                by_key: HashMap::new(),
            }),
        })
    }

    /// Takes a unit. Without a key, only the total limits it.
    pub fn take(self: &Arc<Self>, key: Option<K>) -> Result<Share<K>, SharesFull> {
        let mut held = self.held();
        if held.units >= self.max_units {
            return Err(SharesFull::Total);
        }
        if let Some(key) = &key {
            let of_key = held.by_key.get(key).copied().unwrap_or_default();
            if of_key >= self.max_units_per_key {
                return Err(SharesFull::Key);
            }
            held.by_key.insert(key.clone(), of_key + 1);
        }
        held.units += 1;
        Ok(Share {
            shares: self.clone(),
            key,
        })
    }

    fn held(&self) -> MutexGuard<'_, Held<K>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash> Share<K> {
    /// The holder.
    #[must_use]
    pub fn key(&self) -> Option<&K> {
        self.key.as_ref()
    }
}

impl<K: Clone + Eq + Hash> Drop for Share<K> {
    fn drop(&mut self) {
        let mut held = self.shares.held();
        held.units = held.units.saturating_sub(1);
        let Some(key) = &self.key else {
            return;
        };
        if let Some(of_key) = held.by_key.get_mut(key) {
            *of_key = of_key.saturating_sub(1);
            if *of_key == 0 {
                held.by_key.remove(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_leave_room_for_other_keys_and_return_units() {
        let shares = Shares::new(10, 4);
        let take = |key, count: usize| -> Vec<_> {
            (0..count).map(|_| shares.take(key).unwrap()).collect()
        };
        let ada = take(Some("ada"), 4);
        assert_eq!(shares.take(Some("ada")).unwrap_err(), SharesFull::Key);
        let bea = take(Some("bea"), 4);
        let cy = take(Some("cy"), 2);
        assert_eq!(shares.take(Some("cy")).unwrap_err(), SharesFull::Total);
        drop((ada, cy));
        assert_eq!(shares.held().units, 4);
        let unkeyed = take(None, 6);
        assert_eq!(shares.take(Some("ada")).unwrap_err(), SharesFull::Total);
        drop((unkeyed, bea));
        assert_eq!(shares.held().units, 0);
        assert!(shares.held().by_key.is_empty());
    }
}
