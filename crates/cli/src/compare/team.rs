//! The workers of a round, and what they share.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use mallocer::{AllocError, Info};

use super::digest::Digest;
use super::index::memory::{Latencies, Probe, Tally};
use super::index::store::Store;
use super::index::version::Mailbox;
use super::round::Usage;
use super::work::{KeyBuffer, Part, Work};

/// How many superseded versions are held, by all workers together.
const HELD_VERSIONS: usize = 8192;

/// Every how many operations a worker looks at the arena's bytes.
const LOOK_EVERY: usize = 1024;

/// The parts of the work that are timed one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Adds all keys and postings.
    Build,
    /// Replaces versions.
    Update,
    /// Removes half of the keys.
    Delete,
    /// Reads everything in the order of the keys.
    Scan,
}

impl Phase {
    /// All of them, in the order in which they run.
    pub(crate) const ALL: [Phase; 4] = [Phase::Build, Phase::Update, Phase::Delete, Phase::Scan];

    /// The name of the phase.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Phase::Build => "build",
            Phase::Update => "update",
            Phase::Delete => "delete",
            Phase::Scan => "scan",
        }
    }
}

/// What the workers of a round share, beside the arena.
pub(crate) struct Team<'w> {
    work: &'w Work,
    seats: Vec<Seat>,
    peak: Mutex<Usage>,
}

/// What one worker shows the others.
#[derive(Debug, Default)]
#[repr(align(128))] // two workers' seats share no cache line
struct Seat {
    /// Versions that the worker before has superseded.
    mailbox: Mailbox,
    /// The worker's bytes asked for and not freed, some operations ago.
    live: AtomicI64,
}

impl<'w> Team<'w> {
    /// A team with a seat for each part of the work.
    pub(crate) fn new(work: &'w Work) -> Team<'w> {
        let seats = work.parts().iter().map(|_| Seat::default()).collect();
        Team { work, seats, peak: Mutex::default() }
    }

    /// Notes how much memory there is in use now.
    pub(crate) fn look(&self, info: Info) -> Usage {
        let live: i64 = self.seats.iter().map(|seat| seat.live.load(Relaxed)).sum();
        let (heap, overhead) = (info.heap as u64, info.overhead as u64);
        let usage = Usage { heap, overhead, live: live.max(0) as u64 };
        let mut peak = self.peak.lock().unwrap_or_else(PoisonError::into_inner);
        if usage.heap + usage.overhead > peak.heap + peak.overhead {
            (peak.heap, peak.overhead) = (usage.heap, usage.overhead);
        }
        peak.live = peak.live.max(usage.live);
        usage
    }

    /// The most that the arena had taken, and the most that was live, which need not
    /// be at the same moment: an arena that takes pools is at its peak early.
    pub(crate) fn peak(&self) -> Usage {
        *self.peak.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is left of a worker at the end.
pub(crate) struct Report {
    /// Its calls.
    pub(crate) tally: Tally,
    /// Their latencies, if they were measured.
    pub(crate) latencies: Option<Latencies>,
    /// What its scan has read.
    pub(crate) digest: Digest,
}

/// One worker with its part of the index.
pub(crate) struct Worker<'t, P> {
    team: &'t Team<'t>,
    seat: usize,
    part: &'t Part,
    probe: &'t P,
    store: Store<'t, P>,
    digest: Digest,
}

impl<'t, P: Probe> Worker<'t, P> {
    /// The worker of a seat, on the memory behind `probe`.
    pub(crate) fn open(team: &'t Team<'t>, seat: usize, probe: &'t P) -> Result<Self, AllocError> {
        let store = Store::new(probe, HELD_VERSIONS.div_ceil(team.seats.len()))?;
        let part = &team.work.parts()[seat];
        Ok(Worker { team, seat, part, probe, store, digest: Digest::default() })
    }

    /// Does a phase of the worker's part.
    pub(crate) fn run(&mut self, phase: Phase) -> Result<(), AllocError> {
        let work = self.team.work;
        let mut buffer: KeyBuffer = [0; size_of::<KeyBuffer>()];
        match phase {
            Phase::Build => {
                for (turn, &operation) in self.part.builds.iter().enumerate() {
                    let key = work.key(operation, &mut buffer);
                    self.store.add(key, operation, work.line(operation))?;
                    self.look(turn);
                }
            }
            Phase::Update => {
                for (turn, &operation) in self.part.updates.iter().enumerate() {
                    let key = work.key(operation, &mut buffer);
                    self.store.replace(key, work.line(operation))?;
                    self.exchange();
                    self.look(turn);
                }
            }
            Phase::Delete => {
                for (turn, &operation) in self.part.deletes.iter().enumerate() {
                    let removed = self.store.remove(work.key(operation, &mut buffer));
                    debug_assert!(removed, "every key is deleted once");
                    self.exchange();
                    self.look(turn);
                }
            }
            Phase::Scan => self.digest = self.store.scan(),
        }
        self.store.post(&self.next().mailbox);
        Ok(())
    }

    /// Takes what is still in the mailbox, after all workers have ended a phase.
    pub(crate) fn settle(&mut self) {
        self.store.collect(&self.own().mailbox);
        self.show_live();
    }

    /// Ends the work, and leaves its memory to the release of the arena.
    pub(crate) fn report(self) -> Report {
        let (tally, latencies) = (self.probe.tally(), self.probe.latencies());
        Report { tally, latencies, digest: self.digest }
    }

    fn own(&self) -> &'t Seat {
        &self.team.seats[self.seat]
    }

    fn next(&self) -> &'t Seat {
        &self.team.seats[(self.seat + 1) % self.team.seats.len()]
    }

    #[inline]
    fn exchange(&mut self) {
        let (own, next) = (self.own(), self.next());
        self.store.exchange(&own.mailbox, &next.mailbox);
    }

    /// Shows the bytes in use now and then; the first worker also looks at the arena.
    #[inline]
    fn look(&self, turn: usize) {
        if turn.is_multiple_of(LOOK_EVERY) {
            self.show_live();
            if self.seat == 0 {
                self.team.look(self.probe.info());
            }
        }
    }

    fn show_live(&self) {
        self.own().live.store(self.probe.tally().live, Relaxed);
    }
}
