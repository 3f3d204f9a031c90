//! The N-API boundary: arguments in, results out, errors mapped. Nothing is decided here.
//!
//! Calls on a cache are the hot path, so they are plain Node-API functions ([`call`]) over a number that names
//! the cache: no object is unwrapped, no class checked. The registry, asked once per message, is a class of
//! `napi-derive`.

mod arguments;
mod caches;
mod call;
mod leases;
mod near;
mod registry;
mod results;
mod store;
