//! One LRU cache for each namespace, which all processes of a Node.js application use: in shared memory, in the primary of
//! a cluster, or in this process.
//!
//! | module | holds |
//! |---|---|
//! | [`cache`] | the rules: ages, recency, limits, counters |
//! | [`command`], [`copies`] | every command, and what it reads |
//! | [`storage`] | where entries lie |
//! | [`store`] | a cache behind its lock, on the heap or in a segment |
//! | `migrate` | moves of entries from the heap to a segment, and from one segment to another |
//! | [`lease`] | the right of one caller to compute a value |
//! | [`key`], [`value`], [`wtf8`] | what an entry is made of |
//! | [`extras`] | what an entry may have besides: its tags |
//! | [`slots`] | values that stay JavaScript values |
//! | [`stats`] | what is counted |
//! | [`options`], [`registry`] | caches by namespace |
//! | [`prune`] | cron patterns and their scheduler |
//! | [`wire`], [`handler`] | what workers send, and what they are answered |
//! | `addon` | the N-API boundary: conversions only |
//!
//! Everything but `addon` builds and tests without Node.

#![warn(missing_docs)]

// Only Node can call it, so a test build, which Node does not load, has no use for it.
#[cfg(all(feature = "addon", not(test)))]
mod addon;
pub mod cache;
pub mod command;
pub mod copies;
pub mod error;
pub mod extras;
pub mod handler;
pub mod key;
pub mod lease;
#[cfg(target_os = "linux")]
mod migrate;
pub mod options;
pub mod prune;
pub mod registry;
pub mod slots;
pub mod stats;
pub mod storage;
pub mod store;
pub mod value;
pub mod wire;
pub mod wtf8;
