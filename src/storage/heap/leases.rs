//! The leases of a cache on the heap: see [`crate::lease`].

use std::{collections::HashMap, sync::Arc};

use super::HeapStorage;
use crate::{
    error::Result,
    extras::{Tags, is_outdated},
    lease::{Ended, Held, Lease, Leases, Outcome, OwnedOutcome, PLACES, Phase, heap_token},
};

/// The leases, and whom to tell when one ends for which somebody waits.
#[derive(Debug, Default)]
pub(super) struct HeapLeases {
    /// Those that run, by key.
    running: HashMap<Box<[u8]>, Running>,
    /// Those that are void or over, by token.
    ending: HashMap<u64, Ending>,
    pub(super) ended: Option<Arc<Ended>>,
    /// How often tags were invalidated while there were leases, and at which of these counts each tag was the last time.
    invalidations: u64,
    invalidated: HashMap<Box<[u8]>, u64>,
    /// What was claimed before this count is void, whatever its tags: there were too many to keep.
    floor: u64,
}

/// The most tags that are kept for leases.
const MOST_TAGS: usize = 1024;

#[derive(Debug)]
struct Running {
    lease: Lease,
    waiters: u32,
}

#[derive(Debug)]
struct Ending {
    lease: Lease,
    key: Box<[u8]>,
    /// None of a void one.
    outcome: Option<OwnedOutcome>,
    waiters: u32,
}

impl HeapLeases {
    /// Tags are invalidated.
    pub(super) fn invalidate(&mut self, tags: Tags<'_>) {
        if self.running.is_empty() && self.ending.is_empty() {
            self.invalidated.clear();
            return;
        }
        self.invalidations += 1;
        for tag in tags.iter() {
            if self.invalidated.len() >= MOST_TAGS {
                self.invalidated.clear();
                self.floor = self.invalidations;
            }
            self.invalidated.insert(tag.into(), self.invalidations);
        }
    }

    fn tell(&self, token: f64, waiters: u32) {
        if let (1.., Some(ended)) = (waiters, &self.ended) {
            ended.push(token);
        }
    }

    /// Makes room, if there is none, by what is past its time.
    fn has_room(&mut self, now: u64) -> bool {
        let most = PLACES as usize;
        let ended = self.ended.clone();
        let stays = |lease: &Lease, waiters: u32| {
            let stays = lease.deadline > now;
            if let (false, 1.., Some(ended)) = (stays, waiters, &ended) {
                ended.push(lease.token);
            }
            stays
        };
        if self.running.len() + self.ending.len() >= most {
            self.ending
                .retain(|_, ending| stays(&ending.lease, ending.waiters));
        }
        if self.running.len() + self.ending.len() >= most {
            self.running
                .retain(|_, running| stays(&running.lease, running.waiters));
        }
        self.running.len() + self.ending.len() < most
    }

    /// Makes a lease that ran one that is void or over, for those who wait.
    fn keep_ending(
        &mut self,
        key: Box<[u8]>,
        running: &Running,
        phase: Phase,
        outcome: Option<OwnedOutcome>,
    ) {
        let lease = Lease {
            phase,
            ..running.lease
        };
        let waiters = running.waiters;
        let ending = Ending {
            lease,
            key,
            outcome,
            waiters,
        };
        self.ending.insert(lease.token.to_bits(), ending);
    }

    /// The lease of a token that runs on a key.
    fn running(&mut self, key: &[u8], token: f64) -> Option<&mut Running> {
        self.running
            .get_mut(key)
            .filter(|running| running.lease.token == token)
    }
}

impl HeapStorage {
    /// How many wait for a lease; `None` where it does not run.
    pub fn waiters(&self, key: &[u8], token: f64) -> Option<u32> {
        let running = self.leases.running.get(key);
        Some(running.filter(|running| running.lease.token == token)?.waiters)
    }
}

impl Leases for HeapStorage {
    #[inline(always)]
    fn has_leases(&self) -> bool {
        !self.leases.running.is_empty() || !self.leases.ending.is_empty()
    }

    fn lease(&mut self, key: &[u8]) -> Option<Lease> {
        self.leases.running.get(key).map(|running| running.lease)
    }

    fn lease_with(&mut self, key: &[u8], token: f64) -> Option<Lease> {
        let running = self.leases.running(key, token).map(|running| running.lease);
        running.or_else(|| Some(self.leases.ending.get(&token.to_bits())?.lease))
    }

    fn begin_lease(&mut self, key: &[u8], owner: u64, deadline: u64, now: u64) -> Option<f64> {
        let leases = &mut self.leases;
        if !leases.has_room(now) {
            return None;
        }
        let lease = Lease {
            token: heap_token(),
            owner,
            deadline,
            since: leases.invalidations,
            phase: Phase::Running,
        };
        leases.running.insert(key.into(), Running { lease, waiters: 0 });
        Some(lease.token)
    }

    fn end_lease(&mut self, key: &[u8], token: f64) {
        let leases = &mut self.leases;
        if leases.running(key, token).is_some() {
            if let Some(running) = leases.running.remove(key) {
                leases.tell(token, running.waiters);
            }
        } else if let Some(ending) = leases.ending.remove(&token.to_bits()) {
            leases.tell(token, ending.waiters);
        }
    }

    fn end_leases(&mut self, mut which: impl FnMut(&Held<'_>) -> bool) {
        let mut told = vec![];
        let mut keep = |key: &[u8], lease: Lease, waiters: u32| {
            let held = Held {
                lease,
                head: key,
                key_len: key.len(),
            };
            let ends = which(&held);
            if ends {
                told.push((lease.token, waiters));
            }
            !ends
        };
        let leases = &mut self.leases;
        leases
            .running
            .retain(|key, running| keep(key, running.lease, running.waiters));
        leases
            .ending
            .retain(|_, ending| keep(&ending.key, ending.lease, ending.waiters));
        for (token, waiters) in told {
            leases.tell(token, waiters);
        }
    }

    fn void_lease(&mut self, key: &[u8], token: f64) {
        let leases = &mut self.leases;
        if leases.running(key, token).is_none() {
            return;
        }
        if let Some((key, running)) = leases.running.remove_entry(key) {
            if running.waiters > 0 {
                leases.keep_ending(key, &running, Phase::Void, None);
            }
            leases.tell(token, running.waiters);
        }
    }

    fn void_leases(&mut self, mut which: impl FnMut(&Held<'_>) -> bool) {
        let mut void = vec![];
        for (key, running) in &self.leases.running {
            let held = Held {
                lease: running.lease,
                head: key,
                key_len: key.len(),
            };
            if which(&held) {
                void.push((key.clone(), running.lease.token));
            }
        }
        for (key, token) in void {
            self.void_lease(&key, token);
        }
    }

    fn leave_outcome(&mut self, key: &[u8], token: f64, outcome: Outcome<'_>, until: u64) {
        let leases = &mut self.leases;
        let ran = match leases.running(key, token) {
            Some(_) => leases.running.remove_entry(key),
            None => leases
                .ending
                .remove(&token.to_bits())
                .filter(|ending| ending.lease.phase == Phase::Void)
                .map(
                    |Ending {
                         key, lease, waiters, ..
                     }| (key, Running { lease, waiters }),
                ),
        };
        let Some((key, mut running)) = ran else { return };
        if let (1.., Some(outcome)) = (running.waiters, outcome.to_owned()) {
            running.lease.deadline = until;
            leases.keep_ending(key, &running, Phase::Over, Some(outcome));
        }
        leases.tell(token, running.waiters);
    }

    fn outcome<R>(
        &mut self,
        _: &[u8],
        token: f64,
        read: impl FnOnce(Outcome<'_>) -> Result<R>,
    ) -> Result<Option<R>> {
        let ending = self.leases.ending.get(&token.to_bits());
        let outcome = ending.and_then(|ending| ending.outcome.as_ref());
        outcome.map(|outcome| read(outcome.as_ref())).transpose()
    }

    fn is_outdated(&mut self, lease: &Lease, tags: Tags<'_>) -> bool {
        let number = |tag: &[u8]| self.leases.invalidated.get(tag).map_or(0, |number| *number);
        lease.since < self.leases.floor || is_outdated(lease.since, tags.iter().map(number))
    }

    fn await_lease(&mut self, key: &[u8], token: f64, waits: bool) {
        let change = |waiters: u32| {
            if waits {
                waiters.saturating_add(1)
            } else {
                waiters.saturating_sub(1)
            }
        };
        let leases = &mut self.leases;
        if let Some(running) = leases.running(key, token) {
            running.waiters = change(running.waiters);
        } else if let Some(ending) = leases.ending.get_mut(&token.to_bits()) {
            ending.waiters = change(ending.waiters);
            if ending.waiters == 0 {
                leases.ending.remove(&token.to_bits());
            }
        }
    }
}
