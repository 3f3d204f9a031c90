//! Reads without the lock: the version of an entry, a copy of its bytes, the version once more. Where both are the same,
//! the copy is the entry at the moment of the first load.
//!
//! A reader trusts nothing until the second load: it checks every number before it uses it, as a reader under the lock
//! does, and judges no byte before. Where anything is odd it gives up: the caller takes the lock, finds out what is wrong,
//! and mends it. So a miss is never found here, either.

use std::sync::atomic::Ordering::Acquire;

use super::{
    atomics::fence,
    head::read_limits,
    layout::{NONE, State},
    memory::Memory,
    view::{Checked, Fault, View},
};
use crate::{
    storage::{Glimpse, Seen},
    value::{Kind, Value},
};

/// How many rows of a bucket a reader looks at. A bucket has one row on average.
const LONGEST: u32 = 64;

/// How often a reader tries before it takes the lock.
const TRIES: u32 = 3;

impl<M: Memory> View<M> {
    /// The entry of a key; `None` where the lock has to be taken. The value's bytes are a copy in the scratch memory.
    pub(super) fn glimpse(&self, key: &[u8], hash: u32) -> Option<Glimpse<'_>> {
        let control = &self.header().control;
        let epoch = control.epoch.acquire();
        if epoch & 1 == 1 || control.gate.acquire() & 1 == 1 {
            return None;
        }
        let limits = read_limits(self.header())?;
        for _ in 0..TRIES {
            // Where the entry has changed meanwhile, the next try finds it as it is then; a miss stays one.
            if let Ok(found) = self.try_glimpse(key, hash) {
                let (value, seen) = found?;
                // The limits are those of the epoch.
                return (control.epoch.acquire() == epoch).then_some(Glimpse { value, seen, limits });
            }
        }
        None
    }

    /// One try; `None`: there is no such entry where it was looked for, or only the lock lets its value be read.
    ///
    /// # Errors
    /// The entry changed meanwhile, so that what was read makes no sense; or it is damaged.
    fn try_glimpse(&self, key: &[u8], hash: u32) -> Checked<Option<(Value<'_>, Seen)>> {
        let floor = self.header().floor.get();
        let mut at = self.bucket(hash)?.get();
        for _ in 0..LONGEST {
            if at == NONE {
                break;
            }
            let row = self.row(at)?;
            let version = self.version_at(at)?.acquire();
            if row.hash.get() == hash && version > floor && self.key_is(row, key)? {
                let state = row.state();
                let inline = row.inline.get();
                let stamp = Self::stamp_of(row);
                let lengths = self.extent(row).map(|_| (row.key_len.get(), row.value_len.get()));
                let first = row.first.get();
                self.check_still(at, version)?;
                // The tags that were invalidated are read under the lock.
                let kind = state
                    .kind()
                    .filter(|kind| *kind != Kind::Slot && !state.has_extras());
                let (Some(kind), State::LIVE, (key_len, value_len)) = (kind, state.is(), lengths?) else {
                    return Ok(None);
                };
                let bytes = if kind.has_bytes() {
                    let bytes = self.scratch(value_len as usize)?;
                    self.copy_out(first, key_len as usize, bytes)?;
                    &*bytes
                } else {
                    &[]
                };
                self.check_still(at, version)?;
                let value = Value::from_parts(kind, inline, bytes).ok_or(Fault::Damage)?;
                let seen = Seen {
                    row: at,
                    version,
                    stamp,
                    tags: None,
                };
                return Ok(Some((value, seen)));
            }
            at = row.chain.get();
        }
        Ok(None)
    }

    /// Checks that everything that was read of a row up to here was of this version.
    pub(super) fn check_still(&self, at: u32, version: f64) -> Checked<()> {
        fence(Acquire);
        match self.version_at(at)?.get() == version {
            true => Ok(()),
            false => Err(Fault::Damage),
        }
    }
}
