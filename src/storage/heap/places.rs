//! The order of scans of a heap storage. The crate `lru` has the order of recency alone, in which entries move.
//!
//! Each key has a place here from the first scan on, and keeps the place while it is there. A key takes a place of one that is
//! gone, or the next: it was not there throughout a scan that has passed that place. Where nobody scans any more the places are
//! given up: they take memory.

use slab::Slab;
use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
};

use crate::key::Key;

/// The least number of changes without a scan after which the places are given up.
const LEAST_IDLE: usize = 10_000;

/// Each key at its place.
#[derive(Debug)]
pub struct Places {
    /// Tells these places from all others.
    order: [u64; 2],
    keys: Slab<Key>,
    /// The number of places that were ever taken.
    end: u32,
    /// Changes since the last part of a scan.
    changes: usize,
}

impl Default for Places {
    fn default() -> Self {
        let random = || RandomState::new().build_hasher().finish();
        Self {
            order: [random(), random()],
            keys: Slab::new(),
            end: 0,
            changes: 0,
        }
    }
}

impl Places {
    /// What tells these places from all others. A part of a scan begins.
    pub fn begin(&mut self) -> [u64; 2] {
        self.changes = 0;
        self.order
    }

    /// Gives a key a place. There are fewer than 2^32: an entry takes more than 100 bytes.
    pub fn add(&mut self, key: &Key) -> u32 {
        self.changes += 1;
        let place = self.keys.insert(key.clone()) as u32;
        self.end = self.end.max(place.saturating_add(1));
        place
    }

    /// Takes its place from a key that is gone.
    pub fn remove(&mut self, place: u32) {
        self.changes += 1;
        self.keys.try_remove(place as usize);
    }

    /// Whether nobody has scanned for a long time: so many changes that a scan costs less that makes new places.
    pub fn is_idle(&self) -> bool {
        self.changes > LEAST_IDLE.max(4 * self.keys.len())
    }

    /// The places from one on, taken or not.
    pub fn from(&self, place: u32) -> std::ops::Range<u32> {
        place.min(self.end)..self.end
    }

    /// The key at a place.
    pub fn key(&self, place: u32) -> Option<&Key> {
        self.keys.get(place as usize)
    }
}
