//! One LRU cache in the primary of a Node.js `cluster`, shared by all workers.
//!
//! | module | holds |
//! |---|---|
//! | [`cache`] | the rules: ages, recency, bounds, counters |
//! | [`command`], [`copies`] | every command, and what it reads |
//! | [`storage`] | where entries lie |
//! | [`store`] | a cache behind its lock, on the heap or shared |
//! | [`key`], [`value`], [`wtf8`] | what an entry is made of |
//! | [`slots`] | values that stay JavaScript values |
//! | [`options`], [`registry`] | caches by namespace |
//! | [`prune`] | cron patterns and their scheduler |
//! | [`protocol`], [`handler`] | what workers send, and what they are answered |
//! | `addon` | the N-API boundary: conversions only |
//!
//! Everything but `addon` builds and tests without Node.

#![warn(missing_docs)]
#![deny(unsafe_op_in_unsafe_fn)]

// Only Node can call it, so a test build, which Node does not load, has no use for it.
#[cfg(all(feature = "addon", not(test)))]
mod addon;
pub mod cache;
pub mod command;
pub mod copies;
pub mod error;
pub mod handler;
pub mod key;
pub mod options;
pub mod protocol;
pub mod prune;
pub mod registry;
pub mod slots;
pub mod storage;
pub mod store;

pub mod value;
pub mod wtf8;
