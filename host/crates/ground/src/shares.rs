//! Shares of something limited, such as connections or bytes in memory: all holders together have at most a
//! total, and one holder has at most a part of it, so that others find room.

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

/// Units of a holder. Dropping it returns them.
#[derive(Debug)]
pub struct Share<K: Clone + Eq + Hash> {
    shares: Arc<Shares<K>>,
    key: Option<K>,
    units: usize,
}

/// Why no units are left.
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

    /// Takes units. Without a key, only the total limits them.
    pub fn take(self: &Arc<Self>, key: Option<K>, units: usize) -> Result<Share<K>, SharesFull> {
        let mut share = Share {
            shares: self.clone(),
            key,
            units: 0,
        };
        share.grow(units)?;
        Ok(share)
    }

    /// Units that are held now.
    #[must_use]
    pub fn held_units(&self) -> usize {
        self.held().units
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

    /// Takes more units. After an error, the share is as before.
    pub fn grow(&mut self, units: usize) -> Result<(), SharesFull> {
        let mut held = self.shares.held();
        let total = held.units.saturating_add(units);
        if total > self.shares.max_units {
            return Err(SharesFull::Total);
        }
        if let Some(key) = &self.key {
            let of_key = held.by_key.get(key).copied().unwrap_or_default();
            let of_key = of_key.saturating_add(units);
            if of_key > self.shares.max_units_per_key {
                return Err(SharesFull::Key);
            }
            held.by_key.insert(key.clone(), of_key);
        }
        held.units = total;
        self.units += units;
        Ok(())
    }
}

impl<K: Clone + Eq + Hash> Drop for Share<K> {
    fn drop(&mut self) {
        let mut held = self.shares.held();
        held.units = held.units.saturating_sub(self.units);
        let Some(key) = &self.key else {
            return;
        };
        if let Some(of_key) = held.by_key.get_mut(key) {
            *of_key = of_key.saturating_sub(self.units);
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
        let mut ada = shares.take(Some("ada"), 3).unwrap();
        assert_eq!(ada.grow(2), Err(SharesFull::Key));
        ada.grow(1).unwrap();
        assert_eq!(shares.take(Some("ada"), 1).unwrap_err(), SharesFull::Key);
        let bea = shares.take(Some("bea"), 4).unwrap();
        assert_eq!(shares.take(Some("cy"), 3).unwrap_err(), SharesFull::Total);
        drop(ada);
        assert_eq!(shares.held_units(), 4);
        let unkeyed = shares.take(None, 6).unwrap();
        assert_eq!(shares.take(Some("ada"), 1).unwrap_err(), SharesFull::Total);
        drop((unkeyed, bea));
        assert_eq!(shares.held_units(), 0);
        assert!(shares.held().by_key.is_empty());
    }
}
