//! What several measurements of one thing say: the median, and how far they spread.

use serde::Serialize;

/// The middle and the spread of some values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Summary {
    /// Half of the values are at most so large.
    pub(crate) median: f64,
    /// The smallest.
    pub(crate) min: f64,
    /// The largest.
    pub(crate) max: f64,
    /// The median distance from the median.
    pub(crate) mad: f64,
}

impl Summary {
    /// The summary of `values`, if there are any.
    pub(crate) fn of(values: &[f64]) -> Option<Summary> {
        let median = median(values)?;
        let distances: Vec<f64> = values.iter().map(|value| (value - median).abs()).collect();
        Some(Summary {
            median,
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            mad: self::median(&distances)?,
        })
    }

    /// The median distance from the median, in percent of the median.
    pub(crate) fn spread_percent(&self) -> f64 {
        if self.median == 0.0 { 0.0 } else { self.mad * 100.0 / self.median.abs() }
    }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        len if len.is_multiple_of(2) => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
        _ => Some(sorted[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_of_five() {
        let summary = Summary::of(&[5.0, 1.0, 2.0, 4.0, 30.0]).unwrap();
        assert_eq!(summary, Summary { median: 4.0, min: 1.0, max: 30.0, mad: 2.0 });
        assert_eq!(summary.spread_percent(), 50.0);
    }

    #[test]
    fn the_summary_of_none_one_and_two() {
        assert_eq!(Summary::of(&[]), None);
        assert_eq!(Summary::of(&[7.0]).unwrap().spread_percent(), 0.0);
        assert_eq!(Summary::of(&[1.0, 3.0]).unwrap().median, 2.0);
        assert_eq!(Summary::of(&[0.0, 0.0]).unwrap().spread_percent(), 0.0);
    }
}
