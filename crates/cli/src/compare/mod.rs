//! `mallocer compare`: the same work on every backend, side by side.
//!
//! # How it measures
//!
//! The words of real files make a [`work::Work`], planned once. A round does it
//! once on one backend, in a process of its own, and ends with a [`round::Round`] of
//! figures. Rounds of the backends take turns, so that a machine that gets slower or
//! faster does so for all of them:
//!
//! ```text
//! round 1   flist  malloc  jemalloc  mimalloc      phases, memory, faults
//!           flist  malloc  jemalloc  mimalloc      latencies
//! round 2   flist  …
//! ```
//!
//! Reading the clock around a call costs about as much as the call. Therefore
//! latencies have processes of their own, and phases and memory are taken from those
//! that read the clock only between phases.
//!
//! The workload set `arena` is measured in the same way, by [`arena`].
//!
//! # Modules
//!
//! `corpus` (files) → `work` (what to do) → `process` (start a round) → `round` and
//! `team` (do it) → [`index`] (in an arena); then `report`, `metrics`, `stats` and
//! `table` (show it).

use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use mallocer::{Backend, BackendError};
use serde::Serialize;

use crate::args::{CompareArgs, WorkloadSet};
use crate::failure::Failure;
use crate::terminal::{self, Terminal};

pub(crate) mod arena;
mod clock;
mod corpus;
mod digest;
mod index;
mod metrics;
mod process;
mod quantile;
mod random;
mod report;
pub(crate) mod round;
mod stats;
mod system;
mod table;
mod team;
mod work;

use corpus::Corpus;
use process::Launcher;
use report::{Outcome, Report, Settings, Summed};
use work::Work;

/// The hidden command that runs one round.
pub(crate) const ROUND_COMMAND: &str = "compare-round";

/// Unless the scale is given, a small text is indexed so often that about so many
/// tokens are.
const ENOUGH_TOKENS: usize = 250_000;

/// Unless the number of rounds is given: how many there are at most, and in which time
/// they are to end. The first one runs whatever it takes.
const MOST_ROUNDS: u32 = 7;
const ENOUGH_TIME: Duration = Duration::from_secs(20);

/// Runs the command.
pub(crate) fn run(args: &CompareArgs, terminal: Terminal) -> Result<(), Failure> {
    let backends = backends(&args.backends)?;
    if args.workload == WorkloadSet::Arena {
        return arena::run(args, &backends, terminal);
    }
    if let Some(name) = args.only.first() {
        return Err(Failure::Usage(format!(
            "--only {name} is for --workload arena; the index has no parts to leave out"
        )));
    }
    let corpus = Corpus::read(&args.paths, args.limit)?;
    check_writable(args.json.as_deref())?;
    let mut report = compare(args, &backends, corpus)?;
    report.backends.iter_mut().for_each(Outcome::summarise);
    show(&report, &table::render(&report, terminal), args.json.as_deref())?;
    verdict(&report)
}

/// Whether the file for the JSON can be written: better to know now than after the work.
fn check_writable(json: Option<&Path>) -> Result<(), Failure> {
    if let Some(file) = json.filter(|&file| file != Path::new("-")) {
        let opened = std::fs::OpenOptions::new().append(true).create(true).open(file);
        opened.map_err(|error| unwritable(file, &error))?;
    }
    Ok(())
}

/// Prints the table, or the JSON instead of it, or writes the JSON to a file beside it.
fn show(report: &impl Serialize, table: &str, json: Option<&Path>) -> Result<(), Failure> {
    match json {
        Some(file) if file == Path::new("-") => terminal::print_json(report),
        Some(file) => {
            terminal::print(table)?;
            write_json(report, file)
        }
        None => terminal::print(table),
    }
}

/// The backends that were asked for, or all.
fn backends(names: &[String]) -> Result<Vec<Backend>, Failure> {
    Backend::preferred().map_err(Failure::usage)?;
    let mut backends = Vec::new();
    for name in names {
        let backend: Backend = name.parse().map_err(Failure::usage)?;
        if !backend.is_compiled() {
            return Err(Failure::usage(BackendError::NotCompiled { backend }));
        }
        if !backends.contains(&backend) {
            backends.push(backend);
        }
    }
    Ok(if backends.is_empty() { Backend::compiled().to_vec() } else { backends })
}

/// Plans the work and lets the backends do it in turns.
fn compare(args: &CompareArgs, backends: &[Backend], corpus: Corpus) -> Result<Report, Failure> {
    let tokens = Work::count_tokens(&corpus);
    if tokens == 0 {
        return Err(Failure::Usage(
            "the files hold no words; name files or directories with text in them".to_owned(),
        ));
    }
    let scale = args.scale.unwrap_or(((ENOUGH_TOKENS + tokens / 2) / tokens).max(1) as u32);
    if tokens as u64 * u64::from(scale) > u64::from(u32::MAX) {
        return Err(Failure::Usage(format!(
            "--scale {scale} of {tokens} words and pairs is more than 2^32; give a smaller scale"
        )));
    }
    let mut bytes = Vec::new();
    let threads = args.threads.unwrap_or(1);
    let work = Work::plan(&corpus, scale, threads, args.seed);
    let launcher = work
        .write(&mut bytes)
        .and_then(|()| Launcher::new(bytes, args.capacity))
        .map_err(|error| Failure::Failed(format!("cannot prepare the rounds: {error}")))?;
    drop(work);

    let mut outcomes: Vec<_> =
        backends.iter().map(|backend| Outcome::new(backend.name())).collect();
    let rounds = rounds(args, backends, &launcher, &mut outcomes);
    let (work, identical) = report::agreement(&outcomes);
    Ok(Report {
        schema: "mallocer.compare",
        version: 1,
        program: env!("CARGO_PKG_VERSION"),
        machine: system::Machine::describe(),
        input: corpus,
        settings: Settings { threads, rounds, scale, capacity: args.capacity, seed: args.seed },
        work,
        identical,
        backends: outcomes,
    })
}

/// Runs the rounds; returns how many there were. A backend that fails is out.
fn rounds(
    args: &CompareArgs,
    backends: &[Backend],
    launcher: &Launcher,
    outcomes: &mut [Outcome],
) -> u32 {
    let start = Instant::now();
    let most = args.rounds.unwrap_or(MOST_ROUNDS);
    let progress = progress(args.quiet, u64::from(most) * 2 * backends.len() as u64);
    let mut done = 0;
    while done < most {
        // The next round is expected to take as long as those before.
        let expected = start.elapsed() + start.elapsed() / done.max(1);
        if args.rounds.is_none() && expected > ENOUGH_TIME {
            break;
        }
        for latency in [false, true] {
            for (&backend, outcome) in backends.iter().zip(&mut *outcomes) {
                let what = if latency { "latencies" } else { "phases" };
                progress.set_message(format!("round {}: {what} of {backend}", done + 1));
                if outcome.failure.is_none() {
                    outcome.take(launcher.round(backend, latency));
                }
                progress.inc(1);
            }
        }
        done += 1;
    }
    progress.finish_and_clear();
    done
}

/// A bar on standard error, which is hidden where that is no terminal.
fn progress(quiet: bool, steps: u64) -> ProgressBar {
    if quiet {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30.green} {pos:>3}/{len} {elapsed} {msg}")
        .expect("the template is well formed");
    let bar = ProgressBar::new(steps).with_style(style.progress_chars("━━─"));
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}

fn write_json(report: &impl Serialize, file: &Path) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(report)
        .map_err(|error| Failure::Failed(format!("cannot write JSON: {error}")))?;
    std::fs::write(file, text + "\n").map_err(|error| unwritable(file, &error))
}

fn unwritable(file: &Path, error: &std::io::Error) -> Failure {
    Failure::Usage(format!("cannot write {}: {error}; name another file", file.display()))
}

/// Whether all backends did the work, and came to the same contents.
fn verdict(report: &Report) -> Result<(), Failure> {
    let failed: Vec<_> = report
        .backends
        .iter()
        .filter(|backend| backend.failure.is_some())
        .map(|backend| backend.name)
        .collect();
    if !failed.is_empty() {
        return Err(Failure::Failed(format!(
            "{} of {} backends failed: {}; the reason stands with each, and --backends leaves \
             one out",
            failed.len(),
            report.backends.len(),
            failed.join(", ")
        )));
    }
    if !report.identical {
        let contents: Vec<_> = report
            .backends
            .iter()
            .map(|backend| {
                let mut contents: Vec<_> = backend
                    .rounds
                    .iter()
                    .map(Summed::of)
                    .map(|work| format!("{} keys, digest {}", work.keys, work.digest))
                    .collect();
                contents.sort_unstable();
                contents.dedup();
                format!("{}: {}", backend.name, contents.join(" and "))
            })
            .collect();
        return Err(Failure::Failed(format!(
            "the contents of the index, or the calls it made, differ; a backend has lost or \
             changed memory: {}",
            contents.join("; ")
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_that_differ_are_an_error_that_names_them() {
        let mut report = report::sample::report(&["flist", "malloc"], None);
        assert!(verdict(&report).is_ok());
        report.identical = false;
        report.backends[1].rounds[2].digest = "other".to_owned();
        let failure = verdict(&report).unwrap_err();
        let message = failure.message().unwrap();
        assert!(matches!(failure, Failure::Failed(_)));
        assert!(
            message.contains("malloc: 0 keys, digest 0123456789abcdef and 0 keys, digest other")
        );
    }

    #[test]
    fn a_backend_that_failed_is_an_error_that_names_it() {
        let failure = verdict(&report::sample::report(&["flist", "malloc"], Some(1))).unwrap_err();
        assert!(failure.message().unwrap().starts_with("1 of 2 backends failed: malloc"));
    }
}
