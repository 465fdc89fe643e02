//! Running checks, and saying what failed.

use core::any::{Any, type_name};
use core::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use mallocer_core::{Config, Mallocer};

/// A check: its name, and the function that panics if the backend fails it.
pub(crate) struct Check {
    pub(crate) name: &'static str,
    pub(crate) run: fn(),
}

/// What the suite found out about a backend.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// The backend's name and its type.
    pub backend: String,
    /// The checks it passed, by name.
    pub passed: Vec<&'static str>,
    /// The checks it failed.
    pub failures: Vec<Failure>,
}

/// A check that a backend failed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Failure {
    /// The name of the check.
    pub check: &'static str,
    /// What was wrong, with the figures.
    pub message: String,
}

impl Report {
    pub(crate) fn of<M: Mallocer>(checks: &[Check], prefix: &str) -> Report {
        let backend = match catch_unwind(|| M::open(&Config::default()).map(|heap| heap.name())) {
            Ok(Ok(name)) => format!("{name} ({})", type_name::<M>()),
            _ => type_name::<M>().to_string(),
        };
        let mut report = Report { backend, passed: Vec::new(), failures: Vec::new() };
        for &Check { name, run } in checks.iter().filter(|check| check.name.starts_with(prefix)) {
            // If the backend takes the process down, this is the last line.
            eprintln!("{}: {name}", report.backend);
            // What a failed check leaves behind, nobody looks at any more.
            match catch_unwind(AssertUnwindSafe(run)) {
                Ok(()) => report.passed.push(name),
                Err(panic) => {
                    let message = message_of(panic.as_ref());
                    report.failures.push(Failure { check: name, message });
                }
            }
        }
        report
    }

    /// Whether every check passed.
    pub fn is_clean(&self) -> bool {
        self.failures.is_empty()
    }

    /// Passes if every check did, and there was one.
    ///
    /// # Panics
    ///
    /// With this report as message, otherwise.
    #[track_caller]
    pub fn expect_clean(&self) {
        assert!(!self.passed.is_empty() || !self.is_clean(), "no check has that name");
        assert!(self.is_clean(), "{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (failed, passed) = (self.failures.len(), self.passed.len());
        if failed == 0 {
            return write!(f, "{} passes all {passed} checks", self.backend);
        }
        write!(f, "{} fails {failed} of {} checks:", self.backend, failed + passed)?;
        for Failure { check, message } in &self.failures {
            write!(f, "\n  {check}: {message}")?;
        }
        Ok(())
    }
}

/// The text of a panic.
fn message_of(panic: &(dyn Any + Send)) -> String {
    if let Some(message) = panic.downcast_ref::<String>() {
        message.clone()
    } else if let Some(message) = panic.downcast_ref::<&str>() {
        (*message).to_string()
    } else {
        "a panic without a text".to_string()
    }
}
