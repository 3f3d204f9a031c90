//! What the header says of the segment itself, and the limits of its cache. Both lie in the header alone, so each is
//! compared with a second copy: the head with the one that every attachment keeps, the limits with a check number.

use super::{kernel::KernelNamespaces, layout::Header};
use crate::storage::Limits;

/// The random numbers of a segment. The process that makes the segment chooses them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentId {
    /// The seed of the hash. It is random so that nobody can choose keys that collide.
    pub seed: u64,
    /// Tells this segment from any other.
    pub nonce: [u64; 2],
}

/// What the header says of the segment itself. It never changes once the segment is published.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct Head {
    pub(super) magic: u64,
    pub(super) version: u32,
    pub(super) ready: u32,
    pub(super) sizes: [u32; 3],
    pub(super) seed: u64,
    pub(super) hash_check: u64,
    pub(super) nonce: [u64; 2],
    pub(super) namespaces: KernelNamespaces,
}

impl Head {
    #[inline(always)]
    pub(super) fn read(header: &Header) -> Self {
        Self {
            // First: `write` stores `ready` last, so everything else is there then.
            ready: header.ready.acquire(),
            magic: header.magic.get(),
            version: header.version.get(),
            sizes: [
                header.buckets_max.get(),
                header.rows_max.get(),
                header.blocks_max.get(),
            ],
            seed: header.seed.get(),
            hash_check: header.hash_check.get(),
            nonce: [header.nonce[0].get(), header.nonce[1].get()],
            namespaces: KernelNamespaces {
                pid: header.pid_namespace.get(),
                time: header.time_namespace.get(),
            },
        }
    }

    pub(super) fn write(&self, header: &Header) {
        header.magic.set(self.magic);
        header.version.set(self.version);
        header.buckets_max.set(self.sizes[0]);
        header.rows_max.set(self.sizes[1]);
        header.blocks_max.set(self.sizes[2]);
        header.seed.set(self.seed);
        header.hash_check.set(self.hash_check);
        header.nonce[0].set(self.nonce[0]);
        header.nonce[1].set(self.nonce[1]);
        header.pid_namespace.set(self.namespaces.pid);
        header.time_namespace.set(self.namespaces.time);
        header.ready.publish(self.ready);
    }
}

/// The limits in the header; `None` where they do not have their check number.
#[inline(always)]
pub(super) fn read_limits(header: &Header) -> Option<Limits> {
    let limits = Limits {
        max: header.max.get(),
        max_size: header.max_size.get(),
        max_entry_size: header.max_entry_size.get(),
        max_age: header.max_age.get(),
        allow_stale: header.allow_stale.get() != 0,
    };
    (limits_check(&limits) == header.limits_check.get()).then_some(limits)
}

/// The check number of limits.
#[inline(always)]
pub(super) fn limits_check(limits: &Limits) -> u64 {
    let numbers = [
        limits.max,
        limits.max_size,
        limits.max_entry_size,
        limits.max_age,
        f64::from(u8::from(limits.allow_stale)),
    ];
    check_of(numbers.into_iter().map(f64::to_bits))
}

/// The check number of some numbers in their order.
pub(super) fn check_of(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.fold(0x9E37_79B9_7F4A_7C15, |sum: u64, number| {
        (sum ^ number).wrapping_mul(0xFF51_AFD7_ED55_8CCD).rotate_left(32)
    })
}
