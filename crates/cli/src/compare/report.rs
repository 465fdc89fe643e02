//! The outcome of a comparison: what JSON and table are made from.

use std::collections::BTreeMap;

use serde::Serialize;

use super::corpus::Corpus;
use super::metrics::METRICS;
use super::round::Round;
use super::stats::Summary;
use super::system::Machine;

/// Everything that `compare` has found out. As JSON, `docs/cli.md` describes it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) schema: &'static str,
    pub(super) version: u32,
    pub(super) program: &'static str,
    pub(super) machine: Machine,
    pub(super) input: Corpus,
    pub(super) settings: Settings,
    pub(super) work: Option<Summed>,
    /// Whether all rounds of all backends made the same calls and ended with the same
    /// contents.
    pub(super) identical: bool,
    pub(super) backends: Vec<Outcome>,
}

/// What the comparison was asked for, and what it made of it.
#[derive(Debug, Serialize)]
pub(super) struct Settings {
    pub(super) threads: usize,
    pub(super) rounds: u32,
    pub(super) scale: u32,
    pub(super) capacity: usize,
    pub(super) seed: u64,
}

/// The work of each round, the same on every backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Summed {
    /// Keys in the index at the end, half of those that were built.
    pub(super) keys: u64,
    /// The digest of the contents in scan order.
    pub(super) digest: String,
    /// Calls of alloc, free and realloc.
    pub(super) allocs: u64,
    pub(super) frees: u64,
    pub(super) reallocs: u64,
}

impl Summed {
    /// The work that a round has done.
    pub(super) fn of(round: &Round) -> Summed {
        Summed {
            keys: round.keys,
            digest: round.digest.clone(),
            allocs: round.allocs,
            frees: round.frees,
            reallocs: round.reallocs,
        }
    }

    /// Whether another round has made the same calls and come to the same contents.
    ///
    /// With several workers too: when a version is freed, and by whom, depends on
    /// timing; how many are freed by the end of a phase does not.
    pub(super) fn agrees(&self, round: &Round) -> bool {
        *self == Summed::of(round)
    }
}

/// The work that the first round has done, and whether all others agree.
pub(super) fn agreement(outcomes: &[Outcome]) -> (Option<Summed>, bool) {
    let mut rounds = outcomes.iter().flat_map(|outcome| &outcome.rounds);
    let work = rounds.next().map(Summed::of);
    let agreed = work.as_ref().is_some_and(|work| rounds.all(|round| work.agrees(round)));
    (work, agreed)
}

/// What became of one backend.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    pub(super) name: &'static str,
    /// Why it was given up, if it was.
    pub(super) failure: Option<String>,
    /// Each metric over all rounds.
    pub(super) metrics: BTreeMap<&'static str, Summary>,
    /// Every round as it was measured.
    pub(super) rounds: Vec<Round>,
}

impl Outcome {
    /// A backend that has not run yet.
    pub(super) fn new(name: &'static str) -> Outcome {
        Outcome { name, failure: None, metrics: BTreeMap::new(), rounds: Vec::new() }
    }

    /// Takes the result of a round.
    pub(super) fn take(&mut self, result: Result<Round, String>) {
        match result {
            Ok(round) => self.rounds.push(round),
            Err(failure) => self.failure = Some(failure),
        }
    }

    /// Adds up the rounds.
    pub(super) fn summarise(&mut self) {
        self.metrics = METRICS
            .iter()
            .filter_map(|metric| Some((metric.name, metric.summary(&self.rounds)?)))
            .collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_agree_only_if_contents_and_calls_are_the_same() {
        let round = Round { keys: 3, allocs: 5, digest: "d".to_owned(), ..Round::default() };
        let work = Summed::of(&round);
        assert!(work.agrees(&Round { build_ns: 7, ..round.clone() }), "times may differ");
        assert!(!work.agrees(&Round { digest: "e".to_owned(), ..round.clone() }));
        assert!(!work.agrees(&Round { keys: 4, ..round.clone() }));
        assert!(!work.agrees(&Round { allocs: 6, ..round }));
    }

    #[test]
    fn one_round_of_one_backend_that_differs_is_found() {
        let outcome = |digests: &[&str]| {
            let mut outcome = Outcome::new("flist");
            for &digest in digests {
                outcome.take(Ok(Round { digest: digest.to_owned(), ..Round::default() }));
            }
            outcome
        };
        assert!(agreement(&[outcome(&["a", "a"]), outcome(&["a"]), outcome(&[])]).1);
        assert!(!agreement(&[outcome(&["a", "a"]), outcome(&["a", "b"])]).1);
        assert!(!agreement(&[outcome(&[])]).1, "nothing was done");
    }
}

/// A report to try things on.
#[cfg(test)]
pub(super) mod sample {
    use super::*;
    use crate::compare::round::{Latency, Percentiles, Usage};
    use crate::compare::system::Faults;

    /// A round with the widest values that there are.
    fn round(factor: u64) -> Round {
        Round {
            build_ns: 123_456_789 * factor,
            update_ns: 12_345_678_901 * factor,
            release_ns: 12_345 * factor,
            allocs: 123_456_789,
            peak: Usage { heap: 1_023 << 20, overhead: 777 << 10, live: 1_000 << 20 },
            resident_peak: Some((1_023 << 20) * factor),
            faults: Faults { minor: 1_234_567 * factor, major: 0 },
            digest: "0123456789abcdef".to_owned(),
            ..Round::default()
        }
    }

    /// A comparison of these backends, of which one may have failed.
    pub(in crate::compare) fn report(names: &[&'static str], failing: Option<usize>) -> Report {
        let late = Percentiles { p50: 123.4, p99: 123_456.7, p99_9: 1_234_567.8 };
        let latency = Some(Latency { alloc: late, free: late, samples: 1 });
        let backends = names.iter().enumerate().map(|(at, &name)| {
            let mut outcome = Outcome::new(name);
            for factor in [1, 1, 4] {
                outcome.take(Ok(round(factor * (at as u64 + 1))));
            }
            outcome.take(Ok(Round { latency, ..round(1) }));
            outcome.summarise();
            outcome
        });
        let mut backends: Vec<_> = backends.collect();
        if let Some(at) = failing {
            let outcome = &mut backends[at];
            *outcome = Outcome::new(outcome.name);
            outcome.take(Err("was ended by signal 11 (segmentation fault)".to_owned()));
            outcome.summarise();
        }
        let input =
            Corpus { text: Vec::new(), files: 1, bytes: 1, cut: true, unreadable: Vec::new() };
        Report {
            schema: "mallocer.compare",
            version: 1,
            program: "0",
            machine: Machine { processor: "p".into(), cores: 1, system: "s".into() },
            input,
            settings: Settings { threads: 1, rounds: 3, scale: 1, capacity: 1 << 30, seed: 1 },
            work: Some(Summed::of(&round(1))),
            identical: true,
            backends,
        }
    }
}
