//! Quantiles of intervals that a coarse clock has measured.
//!
//! Many machines' counters advance in steps of 10 ns or more, longer than a call. An
//! interval of true length `t` then shows as one of the two multiples of the step
//! around `t`, in such proportion that the mean is right. So each value that occurs
//! stands for all lengths nearer to it than to the next value that occurs,
//!
//! ```text
//!   values        10        20              40
//!   stands for  │ 5 … 15 │ 15 …  30 │ 30  …  50 │
//! ```
//!
//! and a quantile lies in its value's range in proportion to its place among the
//! intervals with that value: the median of grouped data. Where the clock is fine the
//! ranges are narrow, and this is the ordinary quantile.

use hdrhistogram::Histogram;

/// The value that a share of `quantile` (from 0 to 1) of what is recorded is below.
pub(super) fn quantile(histogram: &Histogram<u32>, quantile: f64) -> f64 {
    let steps: Vec<(f64, f64)> = histogram
        .iter_recorded()
        .map(|step| (step.value_iterated_to() as f64, step.count_at_value() as f64))
        .collect();
    let wanted = quantile * histogram.len() as f64;
    let mut before = 0.0;
    for (at, &(value, count)) in steps.iter().enumerate() {
        if before + count >= wanted && count > 0.0 {
            let below = at.checked_sub(1).map(|at| (value - steps[at].0) / 2.0);
            let above = steps.get(at + 1).map(|next| (next.0 - value) / 2.0);
            // At either end, the range is as wide on the one side as on the other.
            let (below, above) = match (below, above) {
                (Some(below), Some(above)) => (below, above),
                (Some(side), None) | (None, Some(side)) => (side, side),
                (None, None) => (0.0, 0.0),
            };
            let low = (value - below).max(0.0);
            return low + (value + above - low) * (wanted - before) / count;
        }
        before += count;
    }
    0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(values: impl IntoIterator<Item = u64>) -> Histogram<u32> {
        let mut histogram = Histogram::new(3).unwrap();
        values.into_iter().for_each(|value| histogram.record(value).unwrap());
        histogram
    }

    #[test]
    fn a_clock_with_steps_of_100_still_tells_lengths_apart() {
        for length in [120u64, 150, 180] {
            // An interval of this length that starts at every point of a step.
            let seen = (0..100).map(|start| (start + length) / 100 * 100);
            let median = quantile(&histogram(seen), 0.5);
            assert!((median - length as f64).abs() <= 21.0, "{length}: {median}");
        }
    }

    #[test]
    fn a_fine_clock_gives_ordinary_quantiles() {
        let histogram = histogram(1..=1000);
        for (share, value) in [(0.5, 500.0), (0.99, 990.0), (0.999, 999.0)] {
            assert!((quantile(&histogram, share) - value).abs() <= 1.0);
        }
    }

    #[test]
    fn nothing_and_one_value() {
        assert_eq!(quantile(&histogram([]), 0.5), 0.0);
        assert_eq!(quantile(&histogram([7, 7, 7]), 0.99), 7.0);
    }
}
