//! The shared store: a cache in one memory segment that many processes map.
//!
//! ```text
//!  offset 0
//!  ┌────────┬──────────────┬───────────────┬──────────────┬──────────┬────────┬──────────────┬────────────────────────────┐
//!  │ header │ index        │ rows          │ versions     │ rings    │ tags   │ sections     │ blocks                     │
//!  │ 1 page │ 4 B a bucket │ 64 B an entry │ 8 B an entry │ 132 KiB  │ 64 KiB │ a bit for    │ 64 B each: 60 B of payload,│
//!  │        │              │               │              │ a thread │        │ a free block │ 4 B of link                │
//!  └────────┴──────────────┴───────────────┴──────────────┴──────────┴────────┴──────────────┴────────────────────────────┘
//!      │       │ hash            ▲ │ chain: same bucket                                        ▲ link: next block of the
//!      │       └── first row ────┘ │ newer, older: recency                                     │ entry
//!      │                           └── first block: key, then extras, then value ──────────────┘
//!      ├─ what it is: magic, version, sizes, seed, nonce, PID and time namespace; ready, stored last
//!      ├─ the lock: which thread has it, if any
//!      └─ limits; counters; heads of the lists of rows and blocks; how far each region is in use
//! ```
//!
//! Every region has its own range of a large reserved mapping and grows in place, so nothing ever moves. Only what is
//! in use takes memory. A link is the number of a row or a block; the end of a list is 0, which no row or block has.
//!
//! Rules:
//! - **The rows are the truth.** A row is an entry exactly when its state word says so, and that word is stored after
//!   everything else in the row. The index, the order of recency (each row has the time of its last use, a number that
//!   only rises), the list of free rows and the bits of free blocks can be rebuilt from the rows at any time. [`Segment::recover`] rebuilds them where
//!   damage is found.
//! - **A change is whole or not made.** It is recorded before it is made. Where a process is killed, the next one to take
//!   the lock completes the change: the cost does not depend on the number of entries.
//! - **Nothing read is trusted.** Each number is compared with the size of its region, each walk is at most as long as
//!   the region, and a row on the wrong list is recognised by its mark. Damage ends in a rebuild that drops
//!   what makes no sense. Damage never ends in a crash. There is one exception: a process that writes the name of a
//!   living thread into the lock's word without having the lock keeps all others out while that thread lives.
//! - **The new value is whole before the old one goes**, so a process may be killed before any store.
//! - **The lock is a word that names its owner.** A waiter looks for the owner itself, so a dead owner keeps nobody out.
//!
//! Modules use those above them only: `atomics` < `layout` < `head` < `view` < `intent` < `blocks` < `validate`, `edit` < `control`, `rings`,
//! `scan`, `tags`, `unlocked` < `rebuild` < [`segment`] < `leases`, `listing`, [`access`] < [`siblings`]; `handover` < [`memfd`] < [`access`].
//! `tests/modules.rs` checks this.
//!
//! | module | holds |
//! |---|---|
//! | [`memory`] | a run of memory that grows: of this process, or of all |
//! | `atomics` | those of the standard library; in tests a model can stand before them |
//! | `layout` | header, row, block; the words they are made of |
//! | `crash_point` | the point before each store where a test can stop a process |
//! | `head` | what the header says of the segment itself; the limits |
//! | `view` | checked reads |
//! | `intent` | the record of a change, by which it is completed after its process was killed |
//! | `blocks` | which blocks are free; takes and frees them |
//! | `edit` | changes |
//! | `control` | what processes read without the lock: versions, gate, epoch |
//! | `rings` | recency of reads that take no lock |
//! | `unlocked` | reads without the lock |
//! | `scan` | an order in which no key moves |
//! | `tags` | the tags that were invalidated, and the sweeps that remove their entries |
//! | `validate` | checks of whole rows, and of all of a segment |
//! | `rebuild` | makes everything consistent from the rows |
//! | [`segment`] | implements [`Storage`](super::Storage); begins and ends what is done under the lock |
//! | `leases` | leases: who computes what |
//! | `sleeper` | the thread that sleeps until a lease ends |
//! | `listing` | every entry, without the lock but for moments |
//! | [`lock`] | the lock |
//! | [`kernel`] | the PID and time namespaces that a segment belongs to |
//! | `handover` | gives the file of a segment to siblings, over a socket |
//! | [`memfd`] | memory that other processes can attach |
//! | `headroom` | whether the machine and its control groups have memory to give |
//! | `refused` | which refusals of the system pass by themselves |
//! | [`access`] | makes a segment in shared memory; takes its lock and gives the lock back |
//! | [`running`] | the segments of all applications that run, for the command |
//! | [`siblings`] | how workers without a primary of this package find the segment of a namespace |

#[cfg(target_os = "linux")]
pub mod access;
mod atomics;
mod blocks;
mod control;
mod crash_point;
mod edit;
#[cfg(target_os = "linux")]
mod handover;
mod head;
#[cfg(target_os = "linux")]
mod headroom;
mod intent;
pub mod kernel;
pub(in crate::storage) mod layout;
mod leases;
#[cfg(target_os = "linux")]
pub(crate) mod listing;
#[cfg(target_os = "linux")]
pub mod lock;
#[cfg(target_os = "linux")]
pub mod memfd;
pub mod memory;
mod rebuild;
#[cfg(target_os = "linux")]
mod refused;
mod rings;
#[cfg(target_os = "linux")]
pub mod running;
mod scan;
pub mod segment;
#[cfg(target_os = "linux")]
pub mod siblings;
#[cfg(target_os = "linux")]
pub mod sleeper;
mod tags;
mod unlocked;
mod validate;
mod view;

#[cfg(test)]
mod tests;

pub use layout::Geometry;
pub use rebuild::Recovered;
pub use segment::Segment;
