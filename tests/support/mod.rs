//! What the tests of the store share, the fuzz targets included.
//!
//! A storage of another kind reuses all of it: `replay::check(|slots| ..)` runs it against the model.

// Each test file is a crate of its own and uses a part of this.
#![allow(dead_code)]

pub mod batch;
pub mod js;
pub mod model;
pub mod replay;
pub mod validate;
