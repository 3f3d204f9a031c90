//! The shared store: a cache in one memory segment that many processes map.
//!
//! ```text
//!  offset 0
//!  ┌────────┬────────────────┬──────────────────────────┬───────────────────────────────────────────┐
//!  │ header │ index          │ rows                     │ blocks                                    │
//!  │ 1 page │ 4 B a bucket   │ 64 B an entry            │ 64 B each: 60 B of payload, 4 B of link   │
//!  └────────┴────────────────┴──────────────────────────┴───────────────────────────────────────────┘
//!      │       │ hash            ▲ │ chain: same bucket    ▲ link: next block of the entry, or the
//!      │       └── first row ────┘ │ newer, older: recency │ next free one, marked as free
//!      │                           └── first block: key, then value
//!      ├─ what it is: magic, version, sizes, seed, nonce, PID and time namespace; ready, stored last
//!      ├─ the lock: which thread has it, if any
//!      └─ bounds; counters; heads of the lists of rows and blocks; how far each region is in use
//! ```
//!
//! Every region has its own range of a large reserved mapping and grows in place, so nothing ever moves; only
//! what is in use takes memory. A link is the number of a row or a block, and 0, which no row or block has, is
//! the end.
//!
//! **What is true is in the rows.** A row is an entry exactly when its state word says so, and that word is
//! stored once everything else of it is in place. The index, the order of recency (each row has the time of
//! its last use, a number that only rises) and the free lists can be rebuilt from the rows at any time:
//! [`Segment::recover`] does, after a process died inside the lock or where damage is found.
//!
//! **Nothing read is trusted.** Each number is compared with the size of its region, each walk is as long as
//! the region at most, a row or block on the wrong list is noticed by its mark. Damage ends in a rebuild that
//! drops what makes no sense; it never ends in a crash. (What no care here can help: a process that writes where
//! it must not while another is inside libc's part of the lock, or that leaves there the name of a living thread.)
//!
//! | module | holds |
//! |---|---|
//! | [`memory`] | a run of memory that grows: of this process, or of all |
//! | `layout` | header, row, block; the words they are made of |
//! | [`segment`] | the entries: find, put, remove, order. Implements [`Storage`](super::Storage) |
//! | `recover` | rebuild and validate |
//! | [`lock`] | the lock |
//! | [`kernel`] | the PID and time namespaces that a segment belongs to |
//! | [`mapping`] | memory that other processes can attach |
//! | `room` | whether the machine and its control groups have more of it |
//! | `refused` | which refusals of the system pass by themselves |
//! | [`siblings`] | how processes find it that nobody tells where it is |
//! | [`door`] | a cache in shared memory: locked, repaired where need be, then used as any other |

#[cfg(target_os = "linux")]
pub mod access;
mod crash_point;
mod edit;
mod head;
#[cfg(target_os = "linux")]
mod headroom;
pub mod kernel;
mod layout;
#[cfg(target_os = "linux")]
pub mod lock;
#[cfg(target_os = "linux")]
pub mod memfd;
pub mod memory;
mod rebuild;
#[cfg(target_os = "linux")]
mod refused;
pub mod segment;
#[cfg(target_os = "linux")]
pub mod siblings;
mod validate;
mod view;

#[cfg(test)]
mod tests;

pub use layout::Geometry;
pub use rebuild::Recovered;
pub use segment::Segment;
