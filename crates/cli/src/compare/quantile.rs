//! Quantiles of intervals that a coarse clock has measured.
//!
//! Many machines' counters advance in steps of 10 ns or more, longer than a call. An
//! interval of true length `t` then shows as one of the two multiples of the step
//! around `t`, in such proportion that the mean is right. So each value stands for
//! all lengths up to half a step away,
//!
//! ```text
//!   values, step 10      10        20                  40
//!   stand for          │ 5 … 15 │ 15 … 25 │         │ 35 … 45 │
//! ```
//!
//! and a quantile lies in its value's range in proportion to its place among the
//! intervals with that value: the median of grouped data. Where the clock is fine the
//! ranges are narrow, and this is the ordinary quantile.

use hdrhistogram::Histogram;

/// The longest interval that is told from longer ones: ten seconds, in tenths of a
/// nanosecond.
const LONGEST_TENTHS: u64 = 100_000_000_000;

/// A histogram of intervals in tenths of a nanosecond, to three digits.
///
/// Its range is fixed: one that grows as it needs allocates between the calls that
/// are timed, and does not grow when values are recorded saturating.
pub(super) fn intervals() -> Histogram<u32> {
    Histogram::new_with_bounds(1, LONGEST_TENTHS, 3).expect("the bounds are in order")
}

/// The value that a `share` (from 0 to 1) of what is recorded is below, by a clock
/// that moves in steps of `step`.
pub(super) fn quantile(histogram: &Histogram<u32>, share: f64, step: f64) -> f64 {
    let wanted = share * histogram.len() as f64;
    let mut before = 0.0;
    for recorded in histogram.iter_recorded() {
        let (value, count) =
            (recorded.value_iterated_to() as f64, recorded.count_at_value() as f64);
        if before + count >= wanted {
            return (value + step * ((wanted - before) / count - 0.5)).max(0.0);
        }
        before += count;
    }
    0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(values: impl IntoIterator<Item = u64>) -> Histogram<u32> {
        let mut histogram = intervals();
        values.into_iter().for_each(|value| histogram.saturating_record(value));
        histogram
    }

    #[test]
    fn a_clock_with_steps_of_100_still_tells_lengths_apart() {
        for length in [120u64, 150, 180] {
            // An interval of this length that starts at every point of a step.
            let seen = (0..100).map(|start| (start + length) / 100 * 100);
            let median = quantile(&histogram(seen), 0.5, 100.0);
            assert!((median - length as f64).abs() <= 21.0, "{length}: {median}");
        }
    }

    #[test]
    fn a_fine_clock_gives_ordinary_quantiles() {
        let histogram = histogram(1..=1000);
        for (share, value) in [(0.5, 500.0), (0.99, 990.0), (0.999, 999.0)] {
            assert!((quantile(&histogram, share, 1.0) - value).abs() <= 1.0);
        }
    }

    #[test]
    fn an_interval_of_a_second_is_not_cut() {
        let histogram = histogram([100, 10_000_000_000]);
        let longest = quantile(&histogram, 1.0, 1.0);
        assert!(longest >= 9_990_000_000.0, "{longest}");
        assert_eq!(histogram.max() / 10_000_000, 1000);
    }

    #[test]
    fn a_few_very_long_intervals_do_not_move_the_median() {
        let seen = std::iter::repeat_n(500, 999).chain([1_000_000]);
        assert!((quantile(&histogram(seen), 0.5, 100.0) - 500.0).abs() < 1.0);
    }

    #[test]
    fn nothing_and_one_value() {
        assert_eq!(quantile(&histogram([]), 0.5, 1.0), 0.0);
        assert_eq!(quantile(&histogram([7, 7, 7, 7]), 0.5, 10.0), 7.0);
    }
}
