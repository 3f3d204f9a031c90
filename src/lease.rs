//! Leases: the right of one caller to compute the value of one key. All processes of a namespace see the same leases.
//!
//! A claim looks the entry up and, where there is none, begins a lease, in one step of the store. A lease has a token, which
//! no other lease of the namespace has, an owner (the thread that computes), and a deadline. States of a lease:
//!
//! | state   | meaning                                              | becomes                                             |
//! | ------- | ---------------------------------------------------- | --------------------------------------------------- |
//! | running | its owner computes; each other claim is told so      | void, over or gone                                  |
//! | void    | as running, but its key was written: the result is for those alone who waited before that; a claim begins another lease | over or gone |
//! | over    | it was settled, and has an outcome for those who wait | gone: all have taken it, or its time is over        |
//! | gone    | there is no lease of this token                      |                                                     |
//!
//! Who makes it so, always under the lock:
//! - **Settled with a value**: the owner stores the entry; the lease is gone before the entry is there.
//! - **Settled without an entry** (nothing to store, an error, a value that can never fit): the lease is over where somebody
//!   waits, else gone.
//! - **Void**: any write of the key but that of the owner makes the lease void *before* the write is made ([`Cache::void`]), so a
//!   killed process leaves no entry that a late result could overwrite. Where nobody waits it is gone instead. Nobody can begin
//!   to wait for a void lease: who claims after the write must not get what was computed before it. Its deadline stays. What
//!   removes an entry for want of room, or because it has expired, is no write.
//! - **Given up**: the owner says so, or the process that has attached the store leaves it.
//! - **Expired**: its deadline is over *and* another claims. Until then the late result is stored.
//! - **Its owner is dead**: whoever waits, or claims, finds that out and ends it, void or not.
//!
//! A lease may *rest*: its owner is [`RESTING`], nobody computes, and nobody waits. [`Cache::fail`] begins it where the renewal of an entry
//! that is there has failed. Until its deadline a claim that renews ([`Ask::renews`]) is refused, in whatever process. Any other claim
//! ends it and has the lease; a write of the key ends it; so does a claim that finds no place. What rests past its deadline goes with the next
//! such failure. Nothing of it depends on the process that began it.
//!
//! A settle names the token. Where no running lease has it, nothing is stored; a void lease is over then. So the token says all: a lease that is void,
//! a store that moved (tokens of a segment are whole numbers, those of a heap are not), a lease that another took over.
//!
//! Leases are no entries: they are not evicted, evict nothing, and count for no limit. There are [`PLACES`] at the most; then a claim
//! is refused, and who is refused computes and stores nothing.
//!
//! Who waits takes all in one step, under the lock once: what became of the lease, and with that its outcome, or the entry that is there
//! then, and the end of its registration. That entry is as good as what a claim at that moment would find: whoever waits has called before
//! the lease ended. It counts as a read. What cannot be read in this process is not taken: a claim says why.
//!
//! Nobody polls. A process that waits registers with the lease. Whatever ends a lease that somebody waits for wakes all who
//! do: see [`Ended`], and `storage/shared/sleeper.rs` for other processes. The one thing that is looked at again and again,
//! and only while somebody waits, is whether the owner lives.

use parking_lot::Mutex;
use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use crate::{
    cache::{Cache, Clock, Past, Terms},
    error::Result,
    extras::Tags,
    storage::Storage,
    value::{OwnedValue, Value},
};

/// The most leases of a namespace.
pub const PLACES: u32 = 2048;

/// The most bytes of an outcome that is left in a lease.
pub const LONGEST_OUTCOME: usize = 64 * 1024;

/// The owner of a lease that rests. No thread has this number.
pub const RESTING: u64 = u64::MAX;

/// How long an outcome is left for those who have not taken it, in milliseconds. One who waits takes it within microseconds;
/// who was killed or stopped never does.
const OUTCOME_KEPT: u64 = 10_000;

/// A lease as it lies in a storage.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lease {
    /// Tells it from any other.
    pub token: f64,
    /// The thread that computes, as the lock of a segment names threads; 0 for this process; [`RESTING`].
    pub owner: u64,
    /// When another may claim, in milliseconds of [`boot_time`]. Of a lease that is over: when the outcome goes.
    pub deadline: u64,
    /// The count of invalidations of tags when it was claimed, as the storage counts them for its leases.
    pub since: u64,
    /// Its state.
    pub phase: Phase,
}

/// The states of a lease that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its owner computes.
    Running,
    /// Its owner computes for those who wait: the key was written meanwhile.
    Void,
    /// It was settled, and only the outcome is left.
    Over,
}

/// What a lease leaves for those who wait, where there is no entry.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome<'a> {
    /// A value that is not stored.
    Value(Value<'a>),
    /// An error, as text that JavaScript wrote.
    Error(&'a [u8]),
}

impl Outcome<'_> {
    /// The bytes that it has beside a kind and 8 bytes.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Value(value) => value.bytes(),
            Self::Error(text) => text,
        }
    }
}

/// An [`Outcome`] that a storage owns.
#[derive(Clone, Debug, PartialEq)]
pub enum OwnedOutcome {
    /// See [`Outcome::Value`].
    Value(OwnedValue),
    /// See [`Outcome::Error`].
    Error(Box<[u8]>),
}

impl OwnedOutcome {
    /// The outcome, borrowed.
    pub fn as_ref(&self) -> Outcome<'_> {
        match self {
            Self::Value(value) => Outcome::Value(value.as_ref()),
            Self::Error(text) => Outcome::Error(text),
        }
    }
}

impl Outcome<'_> {
    /// A copy that a storage can keep; `None` for a JavaScript value, or one that is too long.
    pub fn to_owned(&self) -> Option<OwnedOutcome> {
        match self {
            _ if self.bytes().len() > LONGEST_OUTCOME => None,
            Self::Value(Value::Slot(_)) => None,
            Self::Value(value) => Some(OwnedOutcome::Value(Value::to_owned(*value))),
            Self::Error(text) => Some(OwnedOutcome::Error((*text).into())),
        }
    }
}

/// A lease and what is known of its key, for [`Leases::end_leases`] and [`Leases::void_leases`].
#[derive(Clone, Copy, Debug)]
pub struct Held<'a> {
    /// The lease.
    pub lease: Lease,
    /// The key, or as much of its beginning as the storage keeps.
    pub head: &'a [u8],
    /// The length of the whole key.
    pub key_len: usize,
}

impl Held<'_> {
    /// Whether the key begins with `prefix`, or may: the storage may keep less of the key.
    pub fn may_begin_with(&self, prefix: &[u8]) -> bool {
        let known = prefix.len().min(self.head.len());
        self.key_len >= prefix.len() && self.head[..known] == prefix[..known]
    }
}

/// A place for leases. Every call needs the lock. Where a lease ends, or is over, all who wait for it are woken.
pub trait Leases {
    /// Whether there may be a lease. One load: every write asks.
    fn has_leases(&self) -> bool;

    /// The lease that runs on a key.
    fn lease(&mut self, key: &[u8]) -> Option<Lease>;

    /// The lease of a token on a key, in any state.
    fn lease_with(&mut self, key: &[u8], token: f64) -> Option<Lease>;

    /// Begins a lease on a key on which none runs, and gives its token. `None`: there is no place. `now` is in milliseconds of
    /// [`boot_time`].
    fn begin_lease(&mut self, key: &[u8], owner: u64, deadline: u64, now: u64) -> Option<f64>;

    /// Ends a lease.
    fn end_lease(&mut self, key: &[u8], token: f64);

    /// Ends every lease, in any state, of which `which` says so.
    fn end_leases(&mut self, which: impl FnMut(&Held<'_>) -> bool);

    /// A running lease is void. Ends it instead where nobody waits.
    fn void_lease(&mut self, key: &[u8], token: f64);

    /// As [`Leases::void_lease`], of every running lease of which `which` says so.
    fn void_leases(&mut self, which: impl FnMut(&Held<'_>) -> bool);

    /// A lease that runs or is void is over, and leaves this until a time. Ends it instead where nobody waits, or there is no room.
    fn leave_outcome(&mut self, key: &[u8], token: f64, outcome: Outcome<'_>, until: u64);

    /// Passes the outcome of a lease that is over to `read`.
    ///
    /// # Errors
    /// That of `read`.
    fn outcome<R>(
        &mut self,
        key: &[u8],
        token: f64,
        read: impl FnOnce(Outcome<'_>) -> Result<R>,
    ) -> Result<Option<R>>;

    /// Whether one of these tags was invalidated since the lease was claimed.
    fn is_outdated(&mut self, lease: &Lease, tags: Tags<'_>) -> bool;

    /// A process waits for a lease to end, or no longer does. A lease that is void or over goes with the last one.
    fn await_lease(&mut self, key: &[u8], token: f64, waits: bool);
}

/// How a claim is to be made.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// The thread that will compute, as the lock names threads; 0 for this process.
    pub owner: u64,
    /// For how many milliseconds no other may claim.
    pub timeout: u64,
    /// Whether an entry that is there does not count.
    pub fresh: bool,
    /// Whether the caller has an entry, or takes one that is past its age, and only renews it.
    pub renews: bool,
    /// The time, in milliseconds of [`boot_time`].
    pub at: u64,
}

/// What a claim gives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Claim<R> {
    /// There is an entry.
    Hit {
        /// What was read of it.
        read: R,
        /// When it was set, in milliseconds since the epoch; 0 where no age applied at that time.
        set_at: f64,
        /// When it expires, in milliseconds since the epoch; infinite for never.
        expires: f64,
    },
    /// The caller has the lease of this token.
    Leased(f64),
    /// Another has it.
    Held(Lease),
    /// There is no lease to be had.
    Full,
    /// A renewal has failed; none begins for so many milliseconds.
    Resting(u64),
    /// An error is stored: this was read of its text.
    Error(R),
}

/// How a computation failed.
#[derive(Clone, Copy, Debug)]
pub struct Failure<'a> {
    /// The text of the error, for those who wait.
    pub text: &'a [u8],
    /// For how many milliseconds the error is stored where there is no entry, not even one that is kept past its age.
    pub time: f64,
    /// For how many milliseconds an entry that is there is not renewed.
    pub rest: u64,
}

/// What one who waits finds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Look<R> {
    /// The lease runs.
    Running(Lease),
    /// The lease is void, and its owner still computes.
    Void(Lease),
    /// The lease is gone, and there is an entry.
    Settled,
    /// The lease has left this.
    Left(R),
    /// The lease is gone, or its deadline is over, and there is no entry.
    Gone,
}

impl<R> Look<R> {
    /// Whether nothing more is to be waited for.
    pub fn is_end(&self) -> bool {
        !matches!(self, Self::Running(_) | Self::Void(_))
    }
}

impl<S: Storage> Cache<S> {
    /// Reads an entry as [`Cache::get`] does; where there is none that has not expired, begins a lease on its key. An entry that is kept
    /// past its age is read, too, and with `fresh` any entry: then `read` is given what is known of it.
    ///
    /// # Errors
    /// As [`Cache::get`].
    pub fn claim<R>(
        &mut self,
        key: &[u8],
        ask: Ask,
        now: impl Clock,
        mut read: impl FnMut(Value<'_>, Option<Past>) -> Result<R>,
    ) -> Result<Claim<R>> {
        if ask.fresh {
            self.latest(key, now, |value, past| read(value, Some(past)))?;
        } else {
            if let Some((read, set_at, expires)) = self.get_fresh(key, now, |value| read(value, None))? {
                return Ok(Claim::Hit {
                    read,
                    set_at,
                    expires,
                });
            }
            let kept = self.kept(key, now, |value, past| read(value, Some(past)))?;
            if let Some((read, Past { is_error: true, .. })) = kept {
                return Ok(Claim::Error(read));
            }
        }
        match self.storage_mut().lease(key) {
            Some(lease) if lease.deadline > ask.at && lease.owner != RESTING => {
                return Ok(Claim::Held(lease));
            }
            Some(lease) if lease.deadline > ask.at && ask.renews => {
                return Ok(Claim::Resting(lease.deadline - ask.at));
            }
            Some(lease) => self.storage_mut().end_lease(key, lease.token),
            None => {}
        }
        let deadline = ask.at.saturating_add(ask.timeout);
        let begun = self.storage_mut().begin_lease(key, ask.owner, deadline, ask.at);
        Ok(begun.map_or(Claim::Full, Claim::Leased))
    }

    /// Stores the value that was computed under a lease, if the lease still runs. Returns whether it did and the value was stored. A
    /// value that is not stored is declined, see [`Storage::decline`]; one that can never fit, and that of a void lease, is left for
    /// those who wait.
    ///
    /// # Errors
    /// As [`Cache::set`].
    pub fn settle(
        &mut self,
        key: &[u8],
        token: f64,
        value: Value<'_>,
        terms: &Terms<'_>,
        at: u64,
        now: impl Clock,
    ) -> Result<bool> {
        let is_outdated = self.is_outdated(key, token, terms.extras.tags);
        if is_outdated || !self.holds(key, token) {
            if !is_outdated {
                self.leave(key, token, Outcome::Value(value), at);
            }
            self.storage_mut().decline(value);
            self.release(key, token);
            return Ok(false);
        }
        if self.fits(key, value, terms.extras) {
            // First: the write would make the lease void.
            self.storage_mut().end_lease(key, token);
        } else {
            self.leave(key, token, Outcome::Value(value), at);
        }
        self.set_on(key, value, terms, now)
    }

    /// Ends a lease whose computation failed, leaves the text of the error for those who wait, and stores it, or lets the key rest, as
    /// [`Failure`] says. Returns whether the lease still ran.
    ///
    /// # Errors
    /// As [`Cache::set`]. The lease has ended.
    pub fn fail(
        &mut self,
        key: &[u8],
        token: f64,
        Failure { text, time, rest }: Failure<'_>,
        at: u64,
        now: impl Clock,
    ) -> Result<bool> {
        if !self.leave(key, token, Outcome::Error(text), at) {
            return Ok(false);
        }
        let is_there = self.has(key, now)? || self.kept(key, now, |_, _| Ok(()))?.is_some();
        if is_there && rest > 0 {
            self.rest(key, at.saturating_add(rest), at);
        } else if !is_there && time > 0.0 {
            self.set_error(key, Value::String(text), time, now)?;
        }
        Ok(true)
    }

    /// Lets a key rest on which no lease runs. Where there is no place it does not rest.
    fn rest(&mut self, key: &[u8], until: u64, at: u64) {
        let storage = self.storage_mut();
        storage.end_leases(|Held { lease, .. }| lease.owner == RESTING && lease.deadline <= at);
        storage.begin_lease(key, RESTING, until, at);
    }

    /// Ends a lease whose result is not stored, and leaves it for those who wait. Returns whether the lease still ran, and was not
    /// void.
    pub fn leave(&mut self, key: &[u8], token: f64, outcome: Outcome<'_>, at: u64) -> bool {
        let phase = self.computes(key, token);
        if phase.is_some() {
            let until = at.saturating_add(OUTCOME_KEPT);
            self.storage_mut().leave_outcome(key, token, outcome, until);
        }
        phase == Some(Phase::Running)
    }

    /// Gives a lease up.
    pub fn release(&mut self, key: &[u8], token: f64) {
        if self.computes(key, token).is_some() {
            self.storage_mut().end_lease(key, token);
        }
    }

    /// The state of a lease whose owner computes.
    fn computes(&mut self, key: &[u8], token: f64) -> Option<Phase> {
        if !self.storage().has_leases() {
            return None;
        }
        let lease = self.storage_mut().lease_with(key, token)?;
        (lease.phase != Phase::Over).then_some(lease.phase)
    }

    /// Whether one of these tags was invalidated since the claim of a lease, or may have been, where the lease is gone: a settle with
    /// them stores nothing, and leaves nothing. Who began to wait after the invalidation, which ends no lease, must not get it.
    pub fn is_outdated(&mut self, key: &[u8], token: f64, tags: Tags<'_>) -> bool {
        if tags.is_empty() {
            return false;
        }
        // An invalidation is a write of every entry with the tag, of one that is computed at that moment, too.
        let lease = self.storage_mut().lease_with(key, token);
        lease.is_none_or(|lease| self.storage_mut().is_outdated(&lease, tags))
    }

    /// Whether a lease runs on a key and has this token.
    pub fn holds(&mut self, key: &[u8], token: f64) -> bool {
        self.lease_of(key, token).is_some()
    }

    fn lease_of(&mut self, key: &[u8], token: f64) -> Option<Lease> {
        if !self.storage().has_leases() {
            return None;
        }
        let lease = self.storage_mut().lease(key);
        lease.filter(|lease| lease.token == token)
    }

    /// What has become of a lease. `read` is given the outcome that it has left.
    ///
    /// # Errors
    /// That of `read`, or as [`Cache::has`].
    pub fn look<R>(
        &mut self,
        key: &[u8],
        token: f64,
        at: u64,
        now: impl Clock,
        read: impl FnOnce(Outcome<'_>) -> Result<R>,
    ) -> Result<Look<R>> {
        match self.storage_mut().lease_with(key, token) {
            Some(lease) if lease.phase == Phase::Over => {
                let left = self.storage_mut().outcome(key, token, read)?;
                Ok(left.map_or(Look::Gone, Look::Left))
            }
            Some(lease) if lease.deadline <= at => Ok(Look::Gone),
            Some(lease) if lease.phase == Phase::Void => Ok(Look::Void(lease)),
            Some(lease) => Ok(Look::Running(lease)),
            None => Ok(if self.has(key, now)? {
                Look::Settled
            } else {
                Look::Gone
            }),
        }
    }

    /// The lease that runs on a key is void: the key is written. Called before the write, by every function that makes one.
    #[inline(always)]
    pub(crate) fn void(&mut self, key: &[u8]) {
        if self.storage().has_leases() {
            self.void_lease(key);
        }
    }

    #[cold]
    fn void_lease(&mut self, key: &[u8]) {
        if let Some(lease) = self.storage_mut().lease(key) {
            self.storage_mut().void_lease(key, lease.token);
        }
    }

    /// As [`Cache::void`], of every key.
    pub(crate) fn void_all(&mut self) {
        if self.storage().has_leases() {
            self.storage_mut().void_leases(|_| true);
        }
    }

    /// As [`Cache::void`], of every key that begins with `prefix`.
    pub fn void_prefix(&mut self, prefix: &[u8]) {
        if self.storage().has_leases() {
            self.storage_mut().void_leases(|held| held.may_begin_with(prefix));
        }
    }
}

/// A token of a lease on the heap of this process. No segment has it: tokens of segments are whole numbers.
pub(crate) fn heap_token() -> f64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Relaxed) as f64 + 0.5
}

/// The time since the system started, in milliseconds, the time in which it was suspended included. All processes of a time namespace
/// have the same.
#[cfg(target_os = "linux")]
pub fn boot_time() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: a pointer to a local. Every kernel that has a `memfd` has this clock; without it the time is 0.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut time) };
    time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000
}

/// The time since the first call of this process, in milliseconds.
#[cfg(not(target_os = "linux"))]
pub fn boot_time() -> u64 {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed().as_millis() as u64
}

/// Called with the token of a lease that has ended.
type Notify = Box<dyn Fn(f64) + Send + Sync>;

/// Tells JavaScript of each lease of a store that has ended, of those for which this process waits.
#[derive(Default)]
pub struct Ended(Mutex<Option<Notify>>);

impl Ended {
    /// Says what to call when a lease has ended. It is called with locks held, so it only passes the token on.
    pub fn set_notify(&self, notify: impl Fn(f64) + Send + Sync + 'static) {
        *self.0.lock() = Some(Box::new(notify));
    }

    /// A lease has ended.
    pub fn push(&self, token: f64) {
        if let Some(notify) = &*self.0.lock() {
            notify(token);
        }
    }
}

impl fmt::Debug for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ended").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
