//! How long criterion takes for one figure, in every benchmark.

use std::time::Duration;

use criterion::Criterion;

/// A second for each competitor in each group: all of them in one sitting. Fewer samples than
/// usual, since an iteration of the large workloads takes tens of milliseconds.
pub(crate) fn configuration() -> Criterion {
    Criterion::default()
        .sample_size(15)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800))
}
