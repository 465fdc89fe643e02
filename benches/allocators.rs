//! The benchmarks: one criterion group for each workload, every competitor in it.

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mallocer_benches::Subject;
use mallocer_benches::competitors::{self, Competitor, Visitor};
use mallocer_benches::workload::{self, Held, LIVE, NODE, Replace, Sizes};

/// Chunks in the workloads that allocate or free many in one go.
const MANY: usize = 100_000;

/// What decides whether a competitor takes part.
type TakesPart = fn(any_size: bool, frees: bool, releases: bool) -> bool;

const ONE_SIZE: TakesPart = |_, frees, _| frees;
const ANY_SIZE: TakesPart = |any_size, frees, _| any_size && frees;
const GROWTH: TakesPart = |_, _, _| true;
const RELEASE: TakesPart = |any_size, _, releases| any_size && releases;

/// A workload on one competitor, measured: runs it `iterations` times and returns
/// how long the measured parts of that took.
trait Workload {
    fn measure<S: Subject>(&self, open: fn() -> S, iterations: u64) -> Duration;
}

/// One group: a workload, what one iteration of it counts for, and who takes part.
struct Group<'c, W> {
    criterion: &'c mut Criterion,
    name: &'static str,
    workload: W,
    chunks: usize,
    takes_part: TakesPart,
}

impl<W: Workload> Visitor for Group<'_, W> {
    fn visit<S: Subject>(&mut self, competitor: Competitor<S>) {
        let Competitor { name, open, any_size, frees, releases } = competitor;
        if !(self.takes_part)(any_size, frees, releases) {
            return;
        }
        let mut group = self.criterion.benchmark_group(self.name);
        group.throughput(Throughput::Elements(self.chunks as u64));
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| self.workload.measure(open, iterations));
        });
        group.finish();
    }
}

/// Measures `part`, which is everything.
fn timed(mut part: impl FnMut()) -> Duration {
    let start = Instant::now();
    part();
    start.elapsed()
}

struct Pair;

impl Workload for Pair {
    fn measure<S: Subject>(&self, open: fn() -> S, iterations: u64) -> Duration {
        let subject = open();
        timed(|| (0..iterations).for_each(|_| workload::pair(&subject, NODE)))
    }
}

struct Lifo;

impl Workload for Lifo {
    fn measure<S: Subject>(&self, open: fn() -> S, iterations: u64) -> Duration {
        let subject = open();
        let mut held = Vec::with_capacity(1000);
        timed(|| (0..iterations).for_each(|_| workload::lifo(&subject, &mut held, NODE)))
    }
}

struct Replacing(Sizes);

impl Workload for Replacing {
    fn measure<S: Subject>(&self, open: fn() -> S, iterations: u64) -> Duration {
        let subject = open();
        let mut replace = Replace::new(&subject, LIVE, self.0);
        timed(|| (0..iterations).for_each(|_| replace.step()))
    }
}

/// Opens a heap, and allocates; freeing is not measured.
struct Growth(Sizes);

impl Workload for Growth {
    fn measure<S: Subject>(&self, open: fn() -> S, iterations: u64) -> Duration {
        let mut held: Vec<Held> = Vec::with_capacity(MANY);
        let mut time = Duration::ZERO;
        for _ in 0..iterations {
            let start = Instant::now();
            let subject = open();
            workload::grow(&subject, &mut held, MANY, self.0);
            time += start.elapsed();
            workload::free_in_order(&subject, &mut held);
        }
        time
    }
}

/// Frees what was allocated in one go, in an order that `arrange` makes.
struct FreeAll {
    arrange: fn(&mut Vec<Held>),
}

impl Workload for FreeAll {
    fn measure<S: Subject>(&self, open: fn() -> S, iterations: u64) -> Duration {
        let mut held: Vec<Held> = Vec::with_capacity(MANY);
        let mut time = Duration::ZERO;
        let subject = open();
        for _ in 0..iterations {
            workload::grow(&subject, &mut held, MANY, Sizes::Fixed);
            (self.arrange)(&mut held);
            time += timed(|| workload::free_in_order(&subject, &mut held));
        }
        time
    }
}

struct Release;

impl Workload for Release {
    fn measure<S: Subject>(&self, open: fn() -> S, iterations: u64) -> Duration {
        let mut held: Vec<Held> = Vec::with_capacity(MANY);
        let mut time = Duration::ZERO;
        let mut subject = open();
        for _ in 0..iterations {
            workload::grow(&subject, &mut held, MANY, Sizes::Mixed);
            held.clear();
            // SAFETY: `held` had all chunks.
            time += timed(|| unsafe { subject.release() });
        }
        time
    }
}

fn all(criterion: &mut Criterion) {
    fn group(
        criterion: &mut Criterion,
        name: &'static str,
        chunks: usize,
        takes_part: TakesPart,
        workload: impl Workload,
    ) {
        competitors::each(&mut Group { criterion, name, workload, chunks, takes_part });
    }
    let free_all = |arrange| FreeAll { arrange };
    group(criterion, "pair 96", 1, ONE_SIZE, Pair);
    group(criterion, "lifo 1000 x 96", 1000, ONE_SIZE, Lifo);
    group(criterion, "replace among 100000 x 96", 1, ONE_SIZE, Replacing(Sizes::Fixed));
    group(criterion, "replace among 100000 x 16-1024", 1, ANY_SIZE, Replacing(Sizes::Mixed));
    group(criterion, "growth 100000 x 96", MANY, GROWTH, Growth(Sizes::Fixed));
    group(criterion, "free all in order", MANY, ONE_SIZE, free_all(|_| {}));
    group(criterion, "free all in reverse", MANY, ONE_SIZE, free_all(|held| held.reverse()));
    group(criterion, "free all at random", MANY, ONE_SIZE, free_all(|h| workload::shuffle(h)));
    group(criterion, "release 100000 x 16-1024", MANY, RELEASE, Release);
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(15)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800));
    targets = all
}
criterion_main!(benches);
