//! Running a round in a process of its own.
//!
//! The program starts itself again with a hidden command, writes the work to the
//! child's standard input, and reads the figures from its standard output. So each
//! round begins with an address space that no other backend has been in, and one
//! that crashes takes nothing with it.

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use mallocer::Backend;

use super::ROUND_COMMAND;
use super::round::Round;

/// How long a round may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often a round is looked at while it works.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// How to start rounds.
pub(super) struct Launcher {
    /// This program.
    program: PathBuf,
    /// The work, as a round reads it.
    work: Vec<u8>,
    /// Capacity of the arenas, in bytes.
    capacity: usize,
}

impl Launcher {
    /// Finds this program.
    pub(super) fn new(work: Vec<u8>, capacity: usize) -> io::Result<Launcher> {
        Ok(Launcher { program: std::env::current_exe()?, work, capacity })
    }

    /// Runs a round; the error is a sentence about what became of it.
    pub(super) fn round(&self, backend: Backend, latency: bool) -> Result<Round, String> {
        let mut command = Command::new(&self.program);
        command
            .arg(ROUND_COMMAND)
            .args(["--backend", backend.name(), "--capacity", &self.capacity.to_string()])
            .args(latency.then_some("--latency"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("cannot be started: {error}"))?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(mut stdin), Some(stdout), Some(stderr)) = pipes else {
            unreachable!("all three are piped")
        };
        thread::scope(|scope| {
            let output = scope.spawn(|| drain(stdout));
            let errors = scope.spawn(|| drain(stderr));
            // A child that dies early does not read: its status says more than this would.
            let _ = stdin.write_all(&self.work);
            drop(stdin);

            let deadline = Instant::now() + PATIENCE;
            let status = loop {
                match child.try_wait() {
                    Ok(Some(status)) => break Some(status),
                    Ok(None) if Instant::now() < deadline => thread::sleep(LOOK_EVERY),
                    _ => {
                        let _ = child.kill();
                        let _ = child.wait();
                        break None;
                    }
                }
            };
            let (output, errors) = (output.join(), errors.join());
            let (output, errors) = (output.unwrap_or_default(), errors.unwrap_or_default());
            let Some(status) = status else {
                return Err(failure("gave no answer within 120 s", &errors));
            };
            if !status.success() {
                return Err(failure(&describe(status), &errors));
            }
            serde_json::from_str(&output)
                .map_err(|error| failure(&format!("gave figures that do not parse: {error}"), ""))
        })
    }
}

fn drain(mut pipe: impl Read) -> String {
    let mut bytes = Vec::new();
    let _ = pipe.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What became of a process that did not succeed.
fn describe(status: ExitStatus) -> String {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        let name = match signal {
            libc::SIGABRT => " (abort)",
            libc::SIGBUS => " (bus error)",
            libc::SIGILL => " (illegal instruction)",
            libc::SIGKILL => " (killed; out of memory?)",
            libc::SIGSEGV => " (segmentation fault)",
            _ => "",
        };
        return format!("was ended by signal {signal}{name}");
    }
    match status.code() {
        Some(code) => format!("ended with exit code {code}"),
        None => "ended without an exit code".to_owned(),
    }
}

/// One sentence: what became of it, and what it said last.
fn failure(what: &str, errors: &str) -> String {
    let said: Vec<&str> = errors.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let said = said[said.len().saturating_sub(4)..].join(" | ");
    let said = said.strip_prefix("error: ").unwrap_or(&said);
    if said.is_empty() { what.to_owned() } else { format!("{what}: {said}") }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn an_end_by_signal_and_one_by_code_are_named() {
        let by_signal = ExitStatus::from_raw(libc::SIGSEGV);
        assert_eq!(describe(by_signal), "was ended by signal 11 (segmentation fault)");
        assert_eq!(describe(ExitStatus::from_raw(3 << 8)), "ended with exit code 3");
    }

    #[test]
    fn a_failure_ends_with_what_the_process_said_last() {
        assert_eq!(failure("ended", ""), "ended");
        assert_eq!(failure("ended", "error: no memory\n"), "ended: no memory");
        assert_eq!(failure("ended", "1\n2\n\n3\n4\n5\n"), "ended: 2 | 3 | 4 | 5");
    }

    #[test]
    fn a_program_that_is_no_round_is_a_failure() {
        let launcher = |program: &str| Launcher {
            program: PathBuf::from(program),
            work: vec![0; 1 << 20],
            capacity: 1 << 20,
        };
        let failure = |program| launcher(program).round(Backend::Flist, false).unwrap_err();
        assert!(failure("/nowhere/at/all").starts_with("cannot be started: "));
        assert!(failure("false").contains("exit code 1"));
        assert!(failure("true").contains("figures that do not parse"));
    }
}
