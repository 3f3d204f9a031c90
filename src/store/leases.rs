//! Calls on leases, each under the lock of its store: see [`crate::lease`]. Whether an owner lives is asked without the lock, since
//! that takes some 10 µs.

use std::time::Duration;

use super::{Guard, Place, Store};
#[cfg(target_os = "linux")]
use crate::storage::shared::{
    lock::{is_alive, this_thread, thread_of},
    sleeper::Sleeper,
};
use crate::{
    cache::{Clock, Past, Remembered},
    error::Result,
    lease::{Ask, Claim, Ended, Lease, Leases, Look, Outcome, Phase, RESTING, boot_time},
    value::Value,
};

/// How often a claim is made again because an owner was found dead.
const TRIES: u32 = 3;

/// The owner of leases on the heap: this process.
const NOBODY: u64 = 0;

/// How a process waits for a lease.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Joined {
    /// For how many milliseconds the lease runs.
    pub left: u64,
    /// Whether [`Ended`] tells its end. If not, look again now and then.
    pub is_told: bool,
}

/// How a claim is to be made: see [`Ask`].
#[derive(Clone, Copy, Debug, Default)]
pub struct How {
    /// See [`Ask::timeout`].
    pub timeout: u64,
    /// See [`Ask::fresh`].
    pub fresh: bool,
    /// See [`Ask::renews`].
    pub renews: bool,
    /// The process that will compute, where it is another.
    pub process: Option<u32>,
}

/// What one who waits takes with a look at a lease that has ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Takes {
    /// Whether it reads the entry that is there.
    pub entry: bool,
    /// Whether this process waits no more then: [`Store::quit`] is not called.
    pub quits: bool,
}

/// What one who waits has taken.
#[derive(Clone, Debug, PartialEq)]
pub struct Taken<R> {
    /// What has become of the lease.
    pub look: Look<R>,
    /// What was read of the entry, when it was set and when it expires: see [`Claim::Hit`].
    pub entry: Option<(R, f64, f64)>,
    /// What may be remembered of that entry.
    pub remembered: Option<Remembered>,
}

/// Whether the owner of a lease lives. That of one that rests does not: where there is no place, others have it.
fn lives(owner: u64) -> bool {
    #[cfg(target_os = "linux")]
    return owner == NOBODY || (owner != RESTING && is_alive(owner));
    #[cfg(not(target_os = "linux"))]
    return owner == NOBODY;
}

impl Store {
    /// The leases that were joined and have ended since.
    pub fn ended(&self) -> &Ended {
        &self.ended
    }

    /// As [`crate::cache::Cache::claim`], with what may be remembered of an entry. The lease is that of this thread, or of the
    /// process `process`.
    ///
    /// # Errors
    /// As [`Store::lock`], and as [`crate::cache::Cache::claim`].
    pub fn claim<R>(
        &self,
        key: &[u8],
        how: How,
        now: impl Clock,
        patience: Duration,
        mut read: impl FnMut(Value<'_>, Option<Past>) -> Result<R>,
    ) -> Result<(Claim<R>, Option<Remembered>)> {
        let mut tries = 0;
        loop {
            let mut guard = self.lock(patience)?;
            let ask = Ask {
                owner: self.lease_owner(&guard, how.process),
                timeout: how.timeout,
                fresh: how.fresh,
                renews: how.renews,
                at: boot_time(),
            };
            guard.readable(Some(key))?;
            let claim = guard.claim(key, ask, now, &mut read)?;
            tries += 1;
            match claim {
                Claim::Held(lease) if tries < TRIES => {
                    drop(guard);
                    if lives(lease.owner) {
                        return Ok((claim, None));
                    }
                    self.lock(patience)?.end_leases_of(&[lease.owner]);
                }
                Claim::Full if tries < TRIES => {
                    let mut owners = vec![];
                    guard.storage_mut().end_leases(|held| {
                        if !owners.contains(&held.lease.owner) {
                            owners.push(held.lease.owner);
                        }
                        false
                    });
                    drop(guard);
                    owners.retain(|owner| !lives(*owner));
                    if owners.is_empty() {
                        return Ok((claim, None));
                    }
                    self.lock(patience)?.end_leases_of(&owners);
                }
                Claim::Hit { .. } => return Ok((claim, guard.remembered())),
                claim => return Ok((claim, None)),
            }
        }
    }

    /// The owner of a lease that is claimed now.
    #[cfg_attr(not(target_os = "linux"), allow(unused_variables, clippy::unused_self))]
    fn lease_owner(&self, guard: &Guard<'_>, process: Option<u32>) -> u64 {
        #[cfg(target_os = "linux")]
        if guard.is_shared() {
            if let Some(process) = process {
                return thread_of(process);
            }
            let owner = this_thread();
            self.claimed.store(owner, std::sync::atomic::Ordering::Relaxed);
            return owner;
        }
        NOBODY
    }

    /// Waits for a lease: once, its end is told, or that it is void; its outcome is kept until [`Store::quit`]. `again`: this process
    /// waits already, and was told. `None`: the lease does not run, nor is it a void one for which this process waits.
    ///
    /// # Errors
    /// As [`Store::lock`].
    pub fn join(&self, key: &[u8], token: f64, again: bool, patience: Duration) -> Result<Option<Joined>> {
        let mut guard = self.lock(patience)?;
        let now = boot_time();
        let lease = guard.storage_mut().lease_with(key, token);
        let lease = lease.filter(|lease| match lease.phase {
            Phase::Running => lease.deadline > now,
            Phase::Void => again && lease.deadline > now,
            Phase::Over => false,
        });
        let Some(lease) = lease else { return Ok(None) };
        // Before this process is registered: an end after that is told.
        let is_told = self.tell(&guard, key, lease);
        if !again {
            guard.storage_mut().await_lease(key, token, true);
        }
        Ok(Some(Joined {
            left: lease.deadline - now,
            is_told,
        }))
    }

    #[cfg_attr(not(target_os = "linux"), allow(unused_variables, clippy::unused_self))]
    fn tell(&self, guard: &Guard<'_>, key: &[u8], lease: Lease) -> bool {
        match guard.storage() {
            Place::Heap(_) => true,
            #[cfg(target_os = "linux")]
            Place::Shared(segment) => {
                let Some(at) = segment.lease_is(key, lease) else {
                    return false;
                };
                let mut sleeper = self.sleeper.lock();
                if sleeper.is_none() {
                    let windows = segment.lease_windows();
                    *sleeper = windows.map(|windows| Sleeper::new(windows, self.ended.clone()));
                }
                sleeper.as_ref().is_some_and(|sleeper| sleeper.watch(at, lease))
            }
        }
    }

    /// Undoes [`Store::join`].
    ///
    /// # Errors
    /// As [`Store::lock`].
    pub fn quit(&self, key: &[u8], token: f64, patience: Duration) -> Result<()> {
        self.forget_lease(token);
        self.lock(patience)?.storage_mut().await_lease(key, token, false);
        Ok(())
    }

    /// The end of a lease is not told any more.
    #[cfg_attr(not(target_os = "linux"), allow(unused_variables, clippy::unused_self))]
    pub fn forget_lease(&self, token: f64) {
        #[cfg(target_os = "linux")]
        if let Some(sleeper) = &*self.sleeper.lock() {
            sleeper.forget(token);
        }
    }

    /// As [`crate::cache::Cache::look`], and takes what there is of a lease that has ended, under the same lock. `read` is given an entry as
    /// a value. Leases of an owner that is dead are ended. After an error this process waits still.
    ///
    /// # Errors
    /// As [`Store::lock`], and as [`crate::cache::Cache::look`].
    pub fn take<R>(
        &self,
        key: &[u8],
        token: f64,
        takes: Takes,
        now: impl Clock,
        patience: Duration,
        mut read: impl FnMut(Outcome<'_>) -> Result<R>,
    ) -> Result<Taken<R>> {
        let mut guard = self.lock(patience)?;
        let mut look = guard.look(key, token, boot_time(), now, &mut read)?;
        if let Look::Running(lease) | Look::Void(lease) = look {
            drop(guard);
            if lives(lease.owner) {
                return Ok(Taken::only(look));
            }
            guard = self.lock(patience)?;
            guard.end_leases_of(&[lease.owner]);
            look = guard.look(key, token, boot_time(), now, &mut read)?;
            if !look.is_end() {
                return Ok(Taken::only(look));
            }
        }
        let mut taken = Taken::only(look);
        if takes.entry && matches!(taken.look, Look::Settled) && guard.readable(Some(key)).is_ok() {
            taken.entry = guard.get_fresh(key, now, |value| read(Outcome::Value(value)))?;
            taken.remembered = taken.entry.as_ref().and_then(|_| guard.remembered());
        }
        if takes.quits {
            guard.storage_mut().await_lease(key, token, false);
            drop(guard);
            self.forget_lease(token);
        }
        Ok(taken)
    }

    /// How many processes wait for a lease; `None` where it does not run: another has written the key, say. Does not wait for the lock
    /// of a segment.
    pub fn waiters(&self, key: &[u8], token: f64) -> Option<u32> {
        match self.inner.lock().cache.storage() {
            Place::Heap(heap) => heap.waiters(key, token),
            #[cfg(target_os = "linux")]
            Place::Shared(segment) => segment.lease_runs(key, token).map(|(_, waiters)| waiters),
        }
    }
}

impl<R> Taken<R> {
    fn only(look: Look<R>) -> Self {
        Self {
            look,
            entry: None,
            remembered: None,
        }
    }
}

impl Guard<'_> {
    /// Ends the leases of some owners.
    pub(super) fn end_leases_of(&mut self, owners: &[u64]) {
        self.storage_mut()
            .end_leases(|held| held.lease.phase != Phase::Over && owners.contains(&held.lease.owner));
    }
}
