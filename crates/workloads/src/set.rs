//! The set: what each workload is called, what counts as one operation, how often it is
//! done, and what it asks of an allocator.

use std::time::Duration;

use crate::whole::Order;
use crate::{Sizes, Subject, bursts, large, replace, strings, threads, whole};

/// One workload of the set.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// How it is called: one word.
    pub name: &'static str,
    /// What one operation is.
    pub operation: &'static str,
    /// What it asks of an allocator.
    pub needs: Needs,
    /// Operations in one iteration.
    pub operations: u64,
    /// Iterations that make one measurement of some ten milliseconds.
    pub iterations: u64,
    /// Measurements that one process takes: several where the first one warms up, one
    /// where a cold start is what is measured.
    pub samples: u32,
    /// Whether it takes gigabytes, so that it runs only when it is named.
    pub big: bool,
    kind: Kind,
}

/// What a workload asks of an allocator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Chunks of one size, taken back one by one.
    OneSize,
    /// Chunks of any size, taken back one by one.
    AnySize,
    /// Chunks of one size that need not be freed.
    Growth,
    /// Release of all chunks at once.
    Release,
    /// Any size, and several threads.
    Threads,
}

impl Needs {
    /// Whether a competitor with these abilities can take part.
    pub fn met(self, any_size: bool, frees: bool, releases: bool, threads: bool) -> bool {
        match self {
            Needs::OneSize => frees,
            Needs::AnySize => any_size && frees,
            Needs::Growth => true,
            Needs::Release => any_size && releases,
            Needs::Threads => any_size && frees && threads,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Pair,
    Lifo,
    Replace(usize, Sizes),
    Grow(Sizes),
    FreeAll(Order),
    Release,
    Strings,
    Buffer,
    Large,
    Own,
    Handover,
    Larson,
    Generations,
    Crowd,
}

const fn workload(
    name: &'static str,
    operation: &'static str,
    kind: Kind,
    iterations: u64,
) -> Workload {
    use Kind::*;
    let many = whole::MANY as u64;
    let operations = match kind {
        Lifo => bursts::BURST as u64,
        Grow(_) | FreeAll(_) => many,
        Buffer => strings::BUFFER_DOUBLINGS,
        Generations => threads::LIFE as u64,
        Crowd => threads::CROWD as u64,
        Pair | Replace(..) | Release | Strings | Large | Own | Handover | Larson => 1,
    };
    let needs = match kind {
        Pair | Lifo | Replace(_, Sizes::Fixed) | FreeAll(_) => Needs::OneSize,
        Grow(Sizes::Fixed) => Needs::Growth,
        Release => Needs::Release,
        Own | Handover | Larson | Generations | Crowd => Needs::Threads,
        Replace(..) | Grow(_) | Strings | Buffer | Large => Needs::AnySize,
    };
    let big = matches!(kind, Replace(live, _) if live > 1_000_000);
    let samples = if matches!(kind, Grow(_) | Crowd) || big { 1 } else { 3 };
    Workload { name, operation, needs, operations, iterations, samples, big, kind }
}

/// All workloads, in the order of the tables.
pub const SET: &[Workload] = {
    use Kind::*;
    use Order::*;
    use Sizes::*;
    &[
        workload("pair", "allocate 96 B and free them", Pair, 2_000_000),
        workload("lifo", "the same, 1000 in a row and freed in reverse", Lifo, 2000),
        workload("replace-1k", "replace one of 1000 x 96 B", Replace(1000, Fixed), 1_000_000),
        workload("replace", "replace one of 100 000 x 96 B", Replace(100_000, Fixed), 1_000_000),
        workload("replace-10m", "replace one of 10 000 000 x 96 B", big(Fixed), 2_000_000),
        workload("mixed-1k", "replace one of 1000 x 16-1024 B", Replace(1000, Mixed), 1_000_000),
        workload("mixed", "replace one of 100 000 x 16-1024 B", Replace(100_000, Mixed), 1_000_000),
        workload("mixed-10m", "replace one of 10 000 000 x 16-1024 B", big(Mixed), 2_000_000),
        workload(
            "pareto",
            "replace one of 100 000 of Pareto's sizes",
            Replace(100_000, Pareto),
            1_000_000,
        ),
        workload("grow", "open a heap; each of 100 000 x 96 B, cold", Grow(Fixed), 1),
        workload("grow-mixed", "open a heap; each of 100 000 x 16-1024 B, cold", Grow(Mixed), 1),
        workload("free-order", "free 100 000 x 96 B, each, as allocated", FreeAll(Allocation), 10),
        workload("free-reverse", "free 100 000 x 96 B, each, in reverse", FreeAll(Reverse), 10),
        workload("free-random", "free 100 000 x 96 B, each, at random", FreeAll(Random), 5),
        workload("release", "release 100 000 x 16-1024 B, all at once", Release, 5),
        workload("strings", "realloc: one of 1000 strings doubles, 16 B-4 KiB", Strings, 500_000),
        workload("buffer", "realloc: a buffer doubles, 4 KiB-64 MiB", Buffer, 2),
        workload("large", "replace one of 10 blocks of 1-25 MiB", Large, 100),
        workload("own", "threads: each replaces one of its own 10 000", Own, 1_000_000),
        workload("handover", "threads: one allocates, another frees", Handover, 1_000_000),
        workload("larson", "threads: replace any of 5000 slots a thread", Larson, 1_000_000),
        workload("generations", "threads come and go: each chunk of 4000 a life", Generations, 50),
        workload("crowd", "50 threads allocate, 50 check and free", Crowd, 10_000),
    ]
};

const fn big(sizes: Sizes) -> Kind {
    Kind::Replace(10_000_000, sizes)
}

impl Workload {
    /// The workload of this name.
    pub fn named(name: &str) -> Option<Workload> {
        SET.iter().copied().find(|workload| workload.name == name)
    }

    /// Whether it is one of several threads.
    pub fn is_threaded(&self) -> bool {
        self.needs == Needs::Threads
    }

    /// Runs it `iterations` times on subjects that `open` opens; the time that the
    /// measured parts take.
    ///
    /// # Panics
    ///
    /// When it is a workload of several threads, when the subject has no memory, or is
    /// not able to do what the workload [needs](Workload::needs).
    pub fn measure<S: Subject>(&self, open: &dyn Fn() -> S, iterations: u64) -> Duration {
        match self.kind {
            Kind::Pair => bursts::pair(open, iterations),
            Kind::Lifo => bursts::lifo(open, iterations),
            Kind::Replace(live, sizes) => replace::replace(open, iterations, live, sizes),
            Kind::Grow(sizes) => whole::grow(open, iterations, sizes),
            Kind::FreeAll(order) => whole::free_all(open, iterations, order),
            Kind::Release => whole::release(open, iterations),
            Kind::Strings => strings::strings(open, iterations),
            Kind::Buffer => strings::buffer(open, iterations),
            Kind::Large => large::large(open, iterations),
            Kind::Own | Kind::Handover | Kind::Larson | Kind::Generations | Kind::Crowd => {
                panic!("{} is a workload of several threads", self.name)
            }
        }
    }

    /// As [`measure`](Workload::measure), with so many threads where the workload has
    /// several.
    ///
    /// # Panics
    ///
    /// As [`measure`](Workload::measure), but for workloads of several threads.
    pub fn measure_shared<S: Subject + Sync>(
        &self,
        open: &dyn Fn() -> S,
        iterations: u64,
        threads: usize,
    ) -> Duration {
        match self.kind {
            Kind::Own => threads::own(open, iterations, threads),
            Kind::Handover => threads::handover(open, iterations, threads),
            Kind::Larson => threads::larson(open, iterations, threads),
            Kind::Generations => threads::generations(open, iterations, threads),
            Kind::Crowd => threads::crowd(open, iterations),
            _ => self.measure(open, iterations),
        }
    }

    /// One measurement: nanoseconds of an operation, the median of this process's
    /// [samples](Workload::samples), each taken by `measure` for a number of iterations.
    pub fn sample(&self, mut measure: impl FnMut(u64) -> Duration) -> f64 {
        let operations = (self.operations * self.iterations) as f64;
        let mut samples: Vec<f64> = (0..self.samples)
            .map(|_| measure(self.iterations).as_nanos() as f64 / operations)
            .collect();
        samples.sort_by(f64::total_cmp);
        samples[samples.len() / 2]
    }
}

#[cfg(test)]
mod tests;
