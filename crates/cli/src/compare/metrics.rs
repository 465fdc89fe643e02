//! The rows of the comparison: what is taken from a round, and how it is shown.

use super::round::{Latency, Round};
use super::stats::Summary;

/// One row.
pub(super) struct Metric {
    /// Its name in JSON, unit last.
    pub(super) name: &'static str,
    /// Its name in the table.
    pub(super) label: &'static str,
    /// The rows it is shown with.
    pub(super) group: Group,
    /// How its values are shown.
    pub(super) unit: Unit,
    /// Which values are better.
    pub(super) better: Better,
    /// Its value in a round, if the round has measured it.
    pub(super) of: fn(&Round) -> Option<f64>,
}

/// The groups of rows, in the order of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    Time,
    Latency,
    Memory,
}

impl Group {
    pub(super) const ALL: [Group; 3] = [Group::Time, Group::Latency, Group::Memory];

    pub(super) fn title(self) -> &'static str {
        match self {
            Group::Time => "time",
            Group::Latency => "latency of one call",
            Group::Memory => "memory",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Nanoseconds,
    Bytes,
    Percent,
    Count,
    PerSecond,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Better {
    Less,
    More,
    /// The same on every backend, or nothing to be proud of.
    Neither,
}

/// The row called `name`, whose value every round of times has.
const fn row(
    name: &'static str,
    label: &'static str,
    group: Group,
    unit: Unit,
    better: Better,
    of: fn(&Round) -> Option<f64>,
) -> Metric {
    Metric { name, label, group, unit, better, of }
}

/// All rows, in the order of the table.
pub(super) const METRICS: &[Metric] = {
    use Better::*;
    use Group::*;
    use Unit::*;
    &[
        row("build_ns", "build", Time, Nanoseconds, Less, |r| timed(r, r.build_ns)),
        row("update_ns", "update", Time, Nanoseconds, Less, |r| timed(r, r.update_ns)),
        row("delete_ns", "delete", Time, Nanoseconds, Less, |r| timed(r, r.delete_ns)),
        row("scan_ns", "scan", Time, Nanoseconds, Less, |r| timed(r, r.scan_ns)),
        row("release_ns", "release", Time, Nanoseconds, Less, |r| timed(r, r.release_ns)),
        row("total_ns", "total", Time, Nanoseconds, Less, |r| timed(r, total(r))),
        row("processor_ns", "processor time", Time, Nanoseconds, Less, |r| {
            timed(r, r.processor_ns)
        }),
        row("calls_per_second", "calls per second", Time, PerSecond, More, |r| {
            timed(r, 1).map(|_| calls(r) as f64 * 1e9 / working(r) as f64)
        }),
        row("alloc_p50_ns", "alloc  p50", Latency, Nanoseconds, Less, |r| late(r, |l| l.alloc.p50)),
        row("alloc_p99_ns", "alloc  p99", Latency, Nanoseconds, Less, |r| late(r, |l| l.alloc.p99)),
        row("alloc_p99_9_ns", "alloc  p99.9", Latency, Nanoseconds, Less, |r| {
            late(r, |l| l.alloc.p99_9)
        }),
        row("free_p50_ns", "free   p50", Latency, Nanoseconds, Less, |r| late(r, |l| l.free.p50)),
        row("free_p99_ns", "free   p99", Latency, Nanoseconds, Less, |r| late(r, |l| l.free.p99)),
        row("free_p99_9_ns", "free   p99.9", Latency, Nanoseconds, Less, |r| {
            late(r, |l| l.free.p99_9)
        }),
        row("live_peak_bytes", "live at peak", Memory, Bytes, Neither, |r| timed(r, r.peak.live)),
        row("heap_peak_bytes", "heap at peak", Memory, Bytes, Less, |r| timed(r, r.peak.heap)),
        row("overhead_peak_bytes", "overhead at peak", Memory, Bytes, Less, |r| {
            timed(r, r.peak.overhead)
        }),
        row("waste_peak_percent", "waste at peak", Memory, Percent, Less, |r| {
            timed(r, 1).and_then(|_| above(r.peak.heap + r.peak.overhead, r.peak.live))
        }),
        row("resident_peak_bytes", "resident at peak", Memory, Bytes, Less, |r| {
            timed(r, r.resident_peak?)
        }),
        row("resident_waste_percent", "  waste of resident", Memory, Percent, Less, |r| {
            timed(r, 1).and_then(|_| above(r.resident_peak?, r.peak.live))
        }),
        row("resident_deleted_bytes", "  after delete", Memory, Bytes, Less, |r| {
            timed(r, r.resident_deleted?)
        }),
        row("resident_released_bytes", "  after release", Memory, Bytes, Less, |r| {
            timed(r, r.resident_released?)
        }),
        row("faults_minor", "page faults, minor", Memory, Count, Less, |r| {
            timed(r, r.faults.minor)
        }),
        row("faults_major", "page faults, major", Memory, Count, Less, |r| {
            timed(r, r.faults.major)
        }),
    ]
};

/// A value of a round that measures times and memory, and not latencies.
fn timed(round: &Round, value: u64) -> Option<f64> {
    round.latency.is_none().then_some(value as f64)
}

/// A value of a round that measures latencies.
fn late(round: &Round, value: fn(&Latency) -> f64) -> Option<f64> {
    round.latency.as_ref().map(value)
}

fn total(round: &Round) -> u64 {
    working(round) + round.scan_ns + round.release_ns
}

/// The time of the phases that allocate and free.
fn working(round: &Round) -> u64 {
    (round.build_ns + round.update_ns + round.delete_ns).max(1)
}

fn calls(round: &Round) -> u64 {
    round.allocs + round.frees + round.reallocs
}

/// By how much `taken` is above `live`, in percent.
fn above(taken: u64, live: u64) -> Option<f64> {
    (live > 0).then(|| (taken as f64 / live as f64 - 1.0) * 100.0)
}

impl Metric {
    /// The summary over `rounds`, if any has measured it.
    pub(super) fn summary(&self, rounds: &[Round]) -> Option<Summary> {
        let values: Vec<f64> = rounds.iter().filter_map(self.of).collect();
        Summary::of(&values)
    }

    /// Which of `medians` is the best, if they differ and a best is to be shown.
    pub(super) fn best(&self, medians: &[Option<f64>]) -> Option<usize> {
        let known = medians.iter().enumerate().filter_map(|(at, &median)| Some((at, median?)));
        let ordered = known.clone().min_by(|(_, a), (_, b)| match self.better {
            Better::More => b.total_cmp(a),
            Better::Less | Better::Neither => a.total_cmp(b),
        });
        let (at, best) = ordered?;
        let differ = known.into_iter().any(|(_, median)| median != best);
        (differ && self.better != Better::Neither).then_some(at)
    }
}

impl Unit {
    /// A value with its unit, in three significant digits or so.
    pub(super) fn show(self, value: f64) -> String {
        match self {
            Unit::Nanoseconds => time(value),
            Unit::Bytes => bytes(value),
            Unit::Percent => format!("{value:.1} %"),
            Unit::Count => grouped(value as u64),
            Unit::PerSecond if value >= 1e6 => format!("{} M/s", digits(value / 1e6)),
            Unit::PerSecond => format!("{} /s", grouped(value as u64)),
        }
    }
}

fn time(nanoseconds: f64) -> String {
    match nanoseconds {
        ns if ns < 1e3 => format!("{} ns", digits(ns)),
        ns if ns < 1e6 => format!("{} µs", digits(ns / 1e3)),
        ns if ns < 1e9 => format!("{} ms", digits(ns / 1e6)),
        ns => format!("{} s", digits(ns / 1e9)),
    }
}

fn bytes(bytes: f64) -> String {
    match bytes {
        b if b < 1024.0 => format!("{b:.0} B"),
        b if b < 1024.0 * 1024.0 => format!("{} KiB", digits(b / 1024.0)),
        b if b < 1024.0 * 1024.0 * 1024.0 => format!("{} MiB", digits(b / (1024.0 * 1024.0))),
        b => format!("{} GiB", digits(b / (1024.0 * 1024.0 * 1024.0))),
    }
}

/// Three significant digits, as far as they stand after the point.
fn digits(value: f64) -> String {
    match value {
        v if v < 10.0 => format!("{v:.2}"),
        v if v < 100.0 => format!("{v:.1}"),
        v => format!("{v:.0}"),
    }
}

/// A number with a thin mark between thousands: `1 234 567`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(' ');
        }
        shown.push(digit);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_show_with_their_unit() {
        assert_eq!(Unit::Nanoseconds.show(5.25), "5.25 ns");
        assert_eq!(Unit::Nanoseconds.show(12_345.0), "12.3 µs");
        assert_eq!(Unit::Nanoseconds.show(123_456_789.0), "123 ms");
        assert_eq!(Unit::Nanoseconds.show(2e9), "2.00 s");
        assert_eq!(Unit::Bytes.show(1000.0), "1000 B");
        assert_eq!(Unit::Bytes.show(1536.0), "1.50 KiB");
        assert_eq!(Unit::Bytes.show(23.4 * 1024.0 * 1024.0), "23.4 MiB");
        assert_eq!(Unit::Percent.show(12.345), "12.3 %");
        assert_eq!(Unit::Count.show(1_234_567.0), "1 234 567");
        assert_eq!(Unit::PerSecond.show(12_340_000.0), "12.3 M/s");
    }

    #[test]
    fn the_best_is_shown_only_if_values_differ() {
        let metric = |name| METRICS.iter().find(|metric| metric.name == name).unwrap();
        let (time, rate) = (metric("total_ns"), metric("calls_per_second"));
        assert_eq!(time.best(&[Some(3.0), None, Some(2.0)]), Some(2));
        assert_eq!(rate.best(&[Some(3.0), None, Some(2.0)]), Some(0));
        assert_eq!(time.best(&[Some(2.0), Some(2.0)]), None);
        assert_eq!(time.best(&[None, None]), None);
        assert_eq!(metric("live_peak_bytes").best(&[Some(1.0), Some(2.0)]), None);
    }

    #[test]
    fn a_round_measures_either_times_or_latencies() {
        let plain = Round { build_ns: 5, ..Round::default() };
        let late = Round { latency: Some(Default::default()), ..plain.clone() };
        for metric in METRICS {
            assert!((metric.of)(&plain).is_none() || (metric.of)(&late).is_none());
        }
        let summary = METRICS[0].summary(&[plain, late]).unwrap();
        assert_eq!((summary.median, summary.min, summary.max), (5.0, 5.0, 5.0));
    }
}
