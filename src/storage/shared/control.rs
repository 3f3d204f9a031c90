//! What processes read without the lock: versions, the gate and the epoch. Rust reads them here; JavaScript reads them in
//! `lib/near/`.
//!
//! A process that has read an entry may keep a copy with the row's version. One load that finds this version in the
//! column of versions is a read of the entry: the version ends before the change of an entry is visible to anybody, and
//! versions never come again. Rules:
//! - **Commit first.** The record of a change is committed, then the version of the old entry ends, then the index leads to
//!   the new one, and last of all its version begins (see `intent.rs`). So nobody can read the new entry and be told the
//!   old one afterwards.
//! - **The gate** is odd while several changes that count as one are under way (`mSet`, a `set` that evicts, a function of
//!   the application): between them, a version that is still there proves nothing.
//! - **The epoch** is odd while the ages change or everything goes, and has a new value after that. A reader loads the
//!   epoch before the value that it keeps.
//! - Gate and epoch become even again when the next owner of the lock gives it back, so a killed process leaves none odd.
//!   After damage that is not mended they stay odd. Whoever takes the lock and finds one odd knows that the last owner did
//!   not come to an end.

use std::sync::atomic::Ordering::Release;

use super::{
    atomics::fence,
    edit::Edit,
    memory::Memory,
    view::{Checked, MOST_VERSIONS},
};

/// The version after which a new segment begins: the time since the system started, in units of 100 ns. So no version, and no
/// token of a lease, comes again where a namespace was destroyed and is made anew: a segment does not give ten versions in a
/// microsecond all its life. The numbers begin again after seven years.
#[cfg(target_os = "linux")]
pub(super) fn version_of_now() -> f64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: a pointer to a local. Every kernel that has a `memfd` has this clock; without it the time is 0.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut time) };
    let units = time.tv_sec as u64 * 10_000_000 + time.tv_nsec as u64 / 100;
    (units % (1 << 51)) as f64
}

/// No process shares a segment.
#[cfg(not(target_os = "linux"))]
fn version_of_now() -> f64 {
    0.0
}

impl<M: Memory> Edit<M> {
    /// From here to [`Edit::settle`] all changes count as one.
    pub(super) fn begin_steps(&self) {
        let gate = &self.header().control.gate;
        if gate.get() & 1 == 0 {
            gate.set(gate.get() | 1);
            // Who sees a change from here on sees that the gate is odd.
            fence(Release);
        }
    }

    /// From here to [`Edit::settle`] no copy counts that was kept before; nor does any after that.
    pub(super) fn begin_epoch(&self) {
        let epoch = &self.header().control.epoch;
        if epoch.get() & 1 == 0 {
            epoch.set(epoch.get() | 1);
            fence(Release);
        }
    }

    /// Whether what [`Edit::begin_steps`] or [`Edit::begin_epoch`] has begun is under way.
    pub(super) fn is_unsettled(&self) -> bool {
        let control = &self.header().control;
        (control.gate.get() | control.epoch.get()) & 1 == 1
    }

    /// Ends what [`Edit::begin_steps`] and [`Edit::begin_epoch`] have begun, in this process or in one that was killed.
    pub(super) fn settle(&self) {
        let header = self.header();
        if header.damaged.get() != 0 {
            return;
        }
        for word in [&header.control.epoch, &header.control.gate] {
            if word.get() & 1 == 1 {
                word.publish(word.get().wrapping_add(1));
            }
        }
    }

    /// Sees to it that each of the first `rows` rows has a version if it is an entry, and that no other row has one. An
    /// entry keeps its version, and so the uses that are still to be applied, unless the version is damaged.
    pub(super) fn mend_versions(&self, rows: u32, is_entry: impl Fn(u32) -> bool) -> Checked<()> {
        let header = self.header();
        let written = self.versions_written();
        header.versions_ready.set(written);
        self.grow_versions(rows)?;
        let is_version = |version: f64| (1.0..MOST_VERSIONS).contains(&version) && version.fract() == 0.0;
        let mut last = header.last_version.get();
        if !is_version(last) {
            last = version_of_now();
        }
        for at in 1..written.max(rows) {
            let version = self.version_at(at)?;
            if at < rows && is_entry(at) && is_version(version.get()) {
                last = last.max(version.get());
            } else if version.get() != 0.0 {
                version.end(0.0);
            }
        }
        header.last_version.set(last);
        for at in 1..rows {
            if is_entry(at) && self.version_at(at)?.get() == 0.0 {
                self.begin_version(at)?;
            }
        }
        Ok(())
    }
}
