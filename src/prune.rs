//! Pruning by the clock: cron patterns, and the thread that runs a callback whenever one comes due.

mod pattern;
mod scheduler;
mod timetable;

pub use pattern::{Pattern, PatternError};
pub use scheduler::{Job, Scheduler};
