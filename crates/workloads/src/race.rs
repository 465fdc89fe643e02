//! Taking rounds in turns, and summing them up.
//!
//! A machine gets slower and faster while it measures. Therefore every round measures
//! each workload on each allocator once, the allocators of a workload one right after
//! the other, and the figure of a cell is the median over the rounds:
//!
//! ```text
//! round 1   pair: flist jemalloc mimalloc …   lifo: flist jemalloc mimalloc …   …
//! round 2   pair: flist …
//! ```

use std::io;
use std::process::{Command, Stdio};

/// The figures of one workload on one allocator.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cell {
    /// Nanoseconds of an operation, one for each round.
    pub rounds: Vec<f64>,
    /// Why there is none, if a round failed; then no further one is run.
    pub failure: Option<String>,
}

impl Cell {
    /// The median over the rounds, if there are any and none failed.
    pub fn median(&self) -> Option<f64> {
        let mut sorted = self.rounds.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        match (&self.failure, sorted.len()) {
            (Some(_), _) | (_, 0) => None,
            (None, len) if len % 2 == 0 => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
            (None, _) => Some(sorted[middle]),
        }
    }
}

/// Runs `rounds` rounds over a table of `rows` × `columns`. `run` measures one cell, or
/// says by `None` that this column does not take part in this row.
pub fn race(
    rounds: u32,
    rows: usize,
    columns: usize,
    mut run: impl FnMut(u32, usize, usize) -> Option<Result<f64, String>>,
) -> Vec<Vec<Cell>> {
    let mut cells = vec![vec![Cell::default(); columns]; rows];
    for round in 0..rounds {
        for (row, cells) in cells.iter_mut().enumerate() {
            for (column, cell) in cells.iter_mut().enumerate() {
                if cell.failure.is_some() {
                    continue;
                }
                match run(round, row, column) {
                    None => {}
                    Some(Ok(time)) => cell.rounds.push(time),
                    Some(Err(failure)) => cell.failure = Some(failure),
                }
            }
        }
    }
    cells
}

/// Runs a process that prints one number, as a measurement of its own.
///
/// # Errors
///
/// A sentence about what became of it.
pub fn ask(command: &mut Command) -> Result<f64, String> {
    let output: io::Result<_> =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).output();
    let output = output.map_err(|error| format!("cannot be started: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
    if !output.status.success() {
        return Err(format!("ended with {}: {last}", output.status));
    }
    let printed = String::from_utf8_lossy(&output.stdout);
    printed.trim().parse().map_err(|_| format!("printed `{}`, which is no number", printed.trim()))
}

/// The geometric mean of `ratios`, if there are any.
pub fn geometric_mean(ratios: &[f64]) -> Option<f64> {
    let logarithms: f64 = ratios.iter().map(|ratio| ratio.ln()).sum();
    (!ratios.is_empty()).then(|| (logarithms / ratios.len() as f64).exp())
}

/// A time in three significant digits, with its unit.
pub fn show(nanoseconds: f64) -> String {
    let (value, unit) = match nanoseconds {
        ns if ns < 1e3 => (ns, "ns"),
        ns if ns < 1e6 => (ns / 1e3, "µs"),
        ns if ns < 1e9 => (ns / 1e6, "ms"),
        ns => (ns / 1e9, "s"),
    };
    match value {
        v if v < 10.0 => format!("{v:.2} {unit}"),
        v if v < 100.0 => format!("{v:.1} {unit}"),
        v => format!("{v:.0} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_take_turns_and_a_failure_is_the_end_of_its_cell() {
        let mut calls = Vec::new();
        let cells = race(2, 2, 3, |round, row, column| {
            calls.push((round, row, column));
            match (row, column) {
                (0, 1) => Some(Err("no".to_owned())),
                (1, 2) => None,
                _ => Some(Ok(f64::from(round) + 1.0)),
            }
        });
        let first_round = [(0, 0, 0), (0, 0, 1), (0, 0, 2), (0, 1, 0), (0, 1, 1), (0, 1, 2)];
        assert_eq!(calls[..6], first_round);
        assert_eq!(calls[6..8], [(1, 0, 0), (1, 0, 2)], "what failed is not run again");
        assert_eq!(cells[0][0].median(), Some(1.5));
        assert_eq!((cells[0][1].median(), cells[0][1].failure.as_deref()), (None, Some("no")));
        assert_eq!(cells[1][2].median(), None);
    }

    #[test]
    fn a_process_answers_by_a_number_or_by_what_it_said() {
        let shell = |script: &str| ask(Command::new("sh").args(["-c", script]));
        assert_eq!(shell("echo 1.25"), Ok(1.25));
        assert!(shell("echo fast").unwrap_err().contains("`fast`"));
        let failed = shell("echo one >&2; echo two >&2; exit 3").unwrap_err();
        assert!(failed.contains('3') && failed.ends_with("two"), "{failed}");
        assert!(ask(&mut Command::new("/no/such/program")).unwrap_err().contains("started"));
    }

    #[test]
    fn means_and_times() {
        assert_eq!(geometric_mean(&[]), None);
        assert!((geometric_mean(&[0.5, 2.0, 1.0]).unwrap() - 1.0).abs() < 1e-12);
        assert_eq!(show(3.456), "3.46 ns");
        assert_eq!(show(34_560.0), "34.6 µs");
        assert_eq!(show(345_600_000.0), "346 ms");
    }
}
