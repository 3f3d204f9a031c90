//! The protocols of shared memory, on the code that production runs, in every schedule of a few threads within bounds.
//!
//! Each access of a segment's atomics goes to a machine (`machine.rs`). The machine chooses which thread goes on, which of
//! its values a word gives to a load, as far as C11 allows, and before which store a thread is killed. `explore.rs` tries all
//! choices with a small number of deviations from the plain run. A failure prints the accesses that led there. Seeds and
//! bounds are fixed, so each run is the same.
//!
//! - `litmus.rs`: the machine itself, on the usual small programs.
//! - `reads.rs`: reads without the lock and near reads; kills; the lock and its takeover; intents.
//! - `rings.rs`: rings.
//! - `leases.rs`: leases; writes and kills beside them.
//!
//! Each of these changes of the code makes a check fail: the old version ends last, or not at all; no gate; no epoch, or the
//! old one again; a reader looks at no gate, or at the version only once; no fence in that look, or after the end of a version;
//! the lock is taken relaxed, or given back by a plain store; the check number of a record is stored before its words; nobody
//! completes a record; the rings' limit is taken after the heads, or ignored; times of use are taken relaxed; the head of a
//! ring is stored relaxed; a record counts again; a late use becomes the newest; the ring of a living thread is claimed. The
//! test `without_an_ordering_a_read_is_out_of_date` takes the orderings away one by one.
//!
//! What the machine does not know: a load that reads what is stored only later (load buffering). `shuttle` runs the threads
//! as tasks of one thread of the system. `loom` could not run these checks: its atomics are larger than words, so that they
//! cannot lie in a segment, and it does not know words that are read as halves of numbers.

mod explore;
mod leases;
mod litmus;
mod machine;
mod reads;
mod rings;
