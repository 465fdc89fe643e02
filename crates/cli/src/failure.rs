//! Why the program stops, and with which exit code.

use std::fmt;
use std::process::ExitCode;

/// What went wrong, as it is shown after `error:`.
///
/// A message names the value that is wrong and what to do about it.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The request cannot be carried out as given: exit code 2, as for arguments
    /// that do not parse.
    Usage(String),
    /// The work was done and did not end well: exit code 1.
    Failed(String),
    /// Whoever reads the output has stopped reading: nothing to say, exit code 0.
    OutputClosed,
}

impl Failure {
    /// A usage failure with the words of another error.
    pub(crate) fn usage(cause: impl fmt::Display) -> Failure {
        Failure::Usage(cause.to_string())
    }

    /// The exit code that tells a script which kind it was.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Failure::Usage(_) => ExitCode::from(2),
            Failure::Failed(_) => ExitCode::FAILURE,
            Failure::OutputClosed => ExitCode::SUCCESS,
        }
    }

    /// The words after `error:`, if there is something to say.
    pub(crate) fn message(&self) -> Option<&str> {
        match self {
            Failure::Usage(message) | Failure::Failed(message) => Some(message),
            Failure::OutputClosed => None,
        }
    }
}
