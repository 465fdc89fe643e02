//! The suite that every mallocer backend passes.
//!
//! [`Mallocer`] is an open trait: any crate may implement it. This one tells
//! whether such a type keeps what the trait promises. Add it as a
//! dev-dependency and write one test:
//!
//! ```no_run
//! # use mallocer_core::*;
//! # fn conforms<MyHeap: Mallocer + Send + Sync>() {
//! mallocer_conformance::check::<MyHeap>();         // one thread
//! mallocer_conformance::check_shared::<MyHeap>();  // the same, then many threads
//! # }
//! ```
//!
//! # How it works
//!
//! Every check is a small function with a name. It opens heaps of the backend and
//! works on them through a [`Ledger`], an independent book of every chunk that
//! the heap has handed out: where it is, how long, how aligned, and which pattern
//! was written all over it. The ledger refuses a chunk that is misaligned, too
//! short or overlaps another; it finds a pattern that changed; it compares the
//! heap's counters with its own. So each check states only what is special to it.
//!
//! All checks run, whether or not one before them failed, and the [`Report`] says
//! which failed and with what figures:
//!
//! ```text
//! malloc (my_crate::MyHeap) fails 1 of 33 checks:
//!   capacity::sixteen_byte_chunks: heap is 1048592 bytes, above the capacity of 1048576
//! ```
//!
//! A backend so broken that the process dies takes the report with it: run the
//! test with `--nocapture`, which shows the name of each check before it begins.
//!
//! # Layout of the crate
//!
//! * `checks/`: the checks, one file for each promise of the trait;
//! * [`program`]: random programs, as data, that any heap can be made to run; for
//!   tests that shrink and for fuzzing;
//! * [`Ledger`], and the byte patterns and random numbers that it uses;
//! * [`Report`]: running checks, and saying what failed.

mod checks;
mod ledger;
mod pattern;
pub mod program;
mod random;
mod report;

use mallocer_core::Mallocer;

pub use ledger::{Claim, Ledger};
pub use random::Random;
pub use report::{Failure, Report};

/// Runs every check for a heap that one thread uses.
///
/// # Panics
///
/// If a check fails, after all have run, with the [`Report`] as message.
pub fn check<M: Mallocer>() {
    report::<M>("").expect_clean();
}

/// Runs every check for a heap that many threads use at once: those of [`check`],
/// then those with threads.
///
/// # Panics
///
/// As [`check`].
pub fn check_shared<M: Mallocer + Send + Sync>() {
    report_shared::<M>("").expect_clean();
}

/// What the checks of [`check`] find whose names begin with `name`: all of them
/// (`""`), those of a file (`"realloc"`), or one.
pub fn report<M: Mallocer>(name: &str) -> Report {
    Report::of::<M>(&checks::single::<M>(), name)
}

/// What the checks of [`check_shared`] find whose names begin with `name`.
pub fn report_shared<M: Mallocer + Send + Sync>(name: &str) -> Report {
    let mut checks = checks::single::<M>();
    checks.extend(checks::shared::<M>());
    Report::of::<M>(&checks, name)
}
