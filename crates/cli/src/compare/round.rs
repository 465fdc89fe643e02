//! One round: the work, once, on one backend, in this process.
//!
//! ```text
//! open ─ build ─ update ─ delete ─ scan ─ release
//! ```
//!
//! With one worker, it runs on this thread and in an [`Arena`], which takes no lock.
//! With several, each has a thread and a range of the keys, all share one
//! [`SharedArena`], and each hands the versions that it supersedes to the next one,
//! which frees them. A phase is timed from the moment all workers begin until the
//! last one ends; what workers still have to hand over then is not timed.

use std::sync::Barrier;
use std::time::{Duration, Instant};
use std::{io, thread};

use mallocer::{AllocError, Arena, Backend, BuildError, Mallocer, SharedArena};
use serde::{Deserialize, Serialize};

use super::clock::Clock;
use super::digest::Digest;
use super::index::memory::{Counting, Instrument, Latencies, Probe};
use super::system::{Cost, Faults, Resident, forget_peak};
use super::team::{Phase, Report, Team, Worker};
use super::work::Work;
use crate::args::RoundArgs;
use crate::failure::Failure;

/// What a round measures; times in nanoseconds, memory in bytes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Round {
    /// Adding all keys and postings.
    pub(crate) build_ns: u64,
    /// Replacing versions.
    pub(crate) update_ns: u64,
    /// Removing half of the keys.
    pub(crate) delete_ns: u64,
    /// Reading everything in the order of the keys.
    pub(crate) scan_ns: u64,
    /// Giving back the arena with all that is live.
    pub(crate) release_ns: u64,
    /// Time on processors, of all threads, from opening the arena until after its release.
    pub(crate) processor_ns: u64,
    /// Calls of alloc.
    pub(crate) allocs: u64,
    /// Calls of free.
    pub(crate) frees: u64,
    /// Calls of realloc.
    pub(crate) reallocs: u64,
    /// The most that the arena had taken, and the most that was live.
    pub(crate) peak: Usage,
    /// After half of the keys are deleted.
    pub(crate) deleted: Usage,
    /// The most that was resident, above what was before the arena was opened.
    pub(crate) resident_peak: Option<u64>,
    /// What is resident after half of the keys are deleted, above the same.
    pub(crate) resident_deleted: Option<u64>,
    /// What stays resident after the release, above the same.
    pub(crate) resident_released: Option<u64>,
    /// Page faults from opening the arena until after its release.
    pub(crate) faults: Faults,
    /// Of single calls, if this round measures them.
    pub(crate) latency: Option<Latency>,
    /// The keys in the index at the end.
    pub(crate) keys: u64,
    /// The contents of the index in the order of the scan.
    pub(crate) digest: String,
}

/// The bytes of an arena.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Usage {
    /// Taken for chunks.
    pub(crate) heap: u64,
    /// Taken for bookkeeping.
    pub(crate) overhead: u64,
    /// What the program has asked for and not freed.
    pub(crate) live: u64,
}

/// Percentiles of the latencies of single calls, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latency {
    /// Of alloc.
    pub(crate) alloc: Percentiles,
    /// Of free.
    pub(crate) free: Percentiles,
    /// How many calls were timed.
    pub(crate) samples: u64,
}

/// Half, 99 %, and 99.9 % of the calls take at most so long; in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Percentiles {
    /// The median.
    pub(crate) p50: f64,
    /// 99 %.
    pub(crate) p99: f64,
    /// 99.9 %.
    pub(crate) p99_9: f64,
}

/// Why a round has no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RoundError {
    /// The arena cannot be built.
    #[error("the arena cannot be built: {0}")]
    Build(#[from] BuildError),
    /// The arena ran out of memory.
    #[error("{phase}: {refusal}")]
    Alloc {
        /// What was being done.
        phase: &'static str,
        /// What the arena said.
        refusal: AllocError,
    },
}

/// Runs the hidden command: work from standard input, figures to standard output.
pub(crate) fn run(args: &RoundArgs) -> Result<(), Failure> {
    exit_on_panic();
    let backend: Backend = args.backend.parse().map_err(Failure::usage)?;
    let work = Work::read(io::BufReader::new(io::stdin().lock()))
        .map_err(|error| Failure::Failed(format!("cannot read the work of the round: {error}")))?;
    let clock = args.latency.then(Clock::calibrated);
    let round = on_backend(backend, &work, args.capacity, clock.as_ref());
    crate::terminal::print_json(&round.map_err(|error| Failure::Failed(error.to_string()))?)
}

/// A worker that panics would leave the others waiting for it.
fn exit_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::exit(101);
    }));
}

/// A round on heaps that the compiler knows.
#[cfg_attr(
    not(any(feature = "flist", feature = "malloc", feature = "jemalloc", feature = "mimalloc")),
    expect(dead_code, reason = "a build may have no backend")
)]
fn fixed<M: Mallocer, S: Mallocer + Send + Sync>(
    work: &Work,
    capacity: usize,
    clock: Option<&Clock>,
) -> Result<Round, RoundError> {
    round(
        work,
        clock,
        || Arena::<M>::builder().capacity(capacity).build(),
        || SharedArena::<S>::builder().capacity(capacity).build(),
    )
}

/// Runs a round on a backend: each is a type of its own.
pub(crate) fn on_backend(
    backend: Backend,
    work: &Work,
    capacity: usize,
    clock: Option<&Clock>,
) -> Result<Round, RoundError> {
    match backend {
        #[cfg(feature = "flist")]
        Backend::Flist => fixed::<mallocer::Flist, mallocer::SharedFlist>(work, capacity, clock),
        #[cfg(feature = "malloc")]
        Backend::Malloc => fixed::<mallocer::Malloc, mallocer::SharedMalloc>(work, capacity, clock),
        #[cfg(feature = "jemalloc")]
        Backend::Jemalloc => {
            fixed::<mallocer::Jemalloc, mallocer::SharedJemalloc>(work, capacity, clock)
        }
        #[cfg(feature = "mimalloc")]
        Backend::Mimalloc => {
            fixed::<mallocer::Mimalloc, mallocer::SharedMimalloc>(work, capacity, clock)
        }
        // A backend that this crate leaves out, and another one has compiled in: it
        // is chosen at run time, or refused as missing.
        #[cfg(not(all(
            feature = "flist",
            feature = "malloc",
            feature = "jemalloc",
            feature = "mimalloc"
        )))]
        _ => round(
            work,
            clock,
            || Arena::builder().backend(backend).capacity(capacity).build(),
            || SharedArena::builder().backend(backend).capacity(capacity).build(),
        ),
    }
}

/// Chooses the kind of arena by the number of workers, and the probe by the clock.
fn round<M: Mallocer, S: Mallocer + Send + Sync>(
    work: &Work,
    clock: Option<&Clock>,
    alone: impl FnOnce() -> Result<Arena<M>, BuildError>,
    shared: impl FnOnce() -> Result<SharedArena<S>, BuildError>,
) -> Result<Round, RoundError> {
    let one = work.parts().len() == 1;
    match (one, clock) {
        (true, None) => alone_in(work, alone, &Counting),
        (true, Some(clock)) => alone_in(work, alone, clock),
        (false, None) => together_in(work, shared, &Counting),
        (false, Some(clock)) => together_in(work, shared, clock),
    }
}

/// One worker, on this thread.
fn alone_in<M: Mallocer, I: Instrument>(
    work: &Work,
    open: impl FnOnce() -> Result<Arena<M>, BuildError>,
    instrument: &I,
) -> Result<Round, RoundError> {
    let team = Team::new(work);
    let before = Before::now();
    let arena = open()?;
    let mut round = Round::default();
    let report = {
        let probe = instrument.probe(&arena);
        let mut worker = Worker::open(&team, 0, &probe).map_err(during("open"))?;
        for phase in Phase::ALL {
            let start = Instant::now();
            worker.run(phase).map_err(during(phase.name()))?;
            round.set_time(phase, start.elapsed());
            worker.settle();
            round.look(phase, team.look(arena.info()), &before);
        }
        worker.report()
    };
    round.finish(&team, &[report], instrument.clock(), before, || arena.release());
    Ok(round)
}

/// Several workers, on a thread each.
fn together_in<M: Mallocer + Send + Sync, I: Instrument>(
    work: &Work,
    open: impl FnOnce() -> Result<SharedArena<M>, BuildError>,
    instrument: &I,
) -> Result<Round, RoundError> {
    let team = Team::new(work);
    let before = Before::now();
    let arena = open()?;
    let mut round = Round::default();
    let seats = work.parts().len();
    let barrier = Barrier::new(seats + 1);
    let reports: Result<Vec<Report>, RoundError> = thread::scope(|scope| {
        let workers: Vec<_> = (0..seats)
            .map(|seat| {
                let (team, arena, barrier) = (&team, &arena, &barrier);
                scope.spawn(move || work_along(team, seat, &instrument.probe(arena), barrier))
            })
            .collect();
        for phase in Phase::ALL {
            barrier.wait();
            let start = Instant::now();
            barrier.wait();
            round.set_time(phase, start.elapsed());
            barrier.wait();
            round.look(phase, team.look(arena.info()), &before);
        }
        workers.into_iter().map(|worker| worker.join().expect("a panic ends the process")).collect()
    });
    round.finish(&team, &reports?, instrument.clock(), before, || arena.release());
    Ok(round)
}

/// A worker on a thread of its own. One that fails goes on keeping the time, so that
/// nobody waits for it for ever.
fn work_along<P: Probe>(
    team: &Team<'_>,
    seat: usize,
    probe: &P,
    barrier: &Barrier,
) -> Result<Report, RoundError> {
    let mut worker = Worker::open(team, seat, probe).map_err(during("open"));
    for phase in Phase::ALL {
        barrier.wait();
        let ran = worker.as_mut().ok().map(|worker| worker.run(phase));
        if let Some(Err(refusal)) = ran {
            worker = Err(during(phase.name())(refusal));
        }
        barrier.wait();
        if let Ok(worker) = &mut worker {
            worker.settle();
        }
        barrier.wait();
    }
    worker.map(|worker| worker.report())
}

fn during(phase: &'static str) -> impl Fn(AllocError) -> RoundError {
    move |refusal| RoundError::Alloc { phase, refusal }
}

/// What the system says before the arena is opened.
struct Before {
    resident: Resident,
    cost: Cost,
}

impl Before {
    fn now() -> Before {
        forget_peak();
        Before { resident: Resident::read(), cost: Cost::so_far() }
    }

    /// By how much `bytes` are above what was resident before.
    fn above(&self, bytes: Option<u64>) -> Option<u64> {
        Some(bytes?.saturating_sub(self.resident.now?))
    }
}

impl Round {
    fn set_time(&mut self, phase: Phase, elapsed: Duration) {
        *match phase {
            Phase::Build => &mut self.build_ns,
            Phase::Update => &mut self.update_ns,
            Phase::Delete => &mut self.delete_ns,
            Phase::Scan => &mut self.scan_ns,
        } = elapsed.as_nanos() as u64;
    }

    /// Notes what is in use between two phases.
    fn look(&mut self, phase: Phase, usage: Usage, before: &Before) {
        if phase == Phase::Delete {
            self.deleted = usage;
            self.resident_deleted = before.above(Resident::read().now);
        }
    }

    /// Releases the arena, and writes down what is known at the end.
    fn finish(
        &mut self,
        team: &Team<'_>,
        reports: &[Report],
        clock: Option<&Clock>,
        before: Before,
        release: impl FnOnce(),
    ) {
        self.resident_peak = before.above(Resident::read().peak);
        let start = Instant::now();
        release();
        self.release_ns = start.elapsed().as_nanos() as u64;
        self.resident_released = before.above(Resident::read().now);
        let cost = Cost::so_far().since(before.cost);
        self.faults = cost.faults;
        self.processor_ns = cost.processor.as_nanos() as u64;

        self.peak = team.peak();
        let mut contents = Digest::default();
        let mut latencies: Option<Latencies> = None;
        for report in reports {
            self.allocs += report.tally.allocs;
            self.frees += report.tally.frees;
            self.reallocs += report.tally.reallocs;
            contents.append(report.digest);
            if let Some(more) = &report.latencies {
                match &mut latencies {
                    None => latencies = Some(more.clone()),
                    Some(latencies) => latencies.add(more),
                }
            }
        }
        self.keys = contents.count();
        self.digest = format!("{:016x}", contents.hash());
        self.latency = clock.zip(latencies).map(|(clock, latencies)| latencies.percentiles(clock));
    }
}
