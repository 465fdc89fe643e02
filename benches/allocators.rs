//! The benchmarks: one criterion group for each workload, every competitor in it.

mod configuration;

use std::time::Duration;

use configuration::configuration;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mallocer_benches::competitors;
use mallocer_workloads::{Competitor, SET, Subject, Visitor, Workload};

/// Threads of the workloads that have several.
const THREADS: usize = 2;

/// One group: a workload.
struct Group<'c> {
    criterion: &'c mut Criterion,
    workload: Workload,
}

impl Group<'_> {
    fn bench<S>(
        &mut self,
        competitor: Competitor<S>,
        threads: bool,
        mut measure: impl FnMut(Workload, u64) -> Duration,
    ) {
        let Competitor { name, any_size, frees, releases, .. } = competitor;
        let workload = self.workload;
        if workload.big || !workload.needs.met(any_size, frees, releases, threads) {
            return;
        }
        let mut group = self.criterion.benchmark_group(workload.name);
        group.throughput(Throughput::Elements(workload.operations));
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| measure(workload, iterations));
        });
        group.finish();
    }
}

impl Visitor for Group<'_> {
    fn visit<S: Subject>(&mut self, competitor: Competitor<S>) {
        let open = competitor.open;
        self.bench(competitor, false, |workload, iterations| workload.measure(&open, iterations));
    }

    fn visit_shared<S: Subject + Sync>(&mut self, competitor: Competitor<S>) {
        let open = competitor.open;
        self.bench(competitor, true, |workload, iterations| {
            workload.measure_shared(&open, iterations, THREADS)
        });
    }
}

fn all(criterion: &mut Criterion) {
    for &workload in SET {
        competitors::each(&mut Group { criterion, workload });
    }
}

criterion_group! {
    name = benches;
    config = configuration();
    targets = all
}
criterion_main!(benches);
