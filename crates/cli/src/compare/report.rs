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
    /// Whether all rounds of all backends ended with the same contents.
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

    /// Whether another round has come to the same contents.
    pub(super) fn agrees(&self, round: &Round) -> bool {
        (self.keys, &self.digest) == (round.keys, &round.digest)
    }
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
