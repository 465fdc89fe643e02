//! `mallocer compare --workload arena`: single operations, side by side.
//!
//! The workloads are those of the crate `mallocer-workloads`, which the benches have, too.
//! A column is a backend as an arena of the facade, or (`itself`) the library as a global
//! allocator; what that means in types is in [`sample`](mod@sample).

use std::path::PathBuf;
use std::process::Command;

use mallocer::Backend;
use mallocer_workloads::race::{self, Cell};
use mallocer_workloads::{Needs, SET, Workload};
use serde::Serialize;

use super::stats::Summary;
use super::system::Machine;
use super::{check_writable, progress, show};
use crate::args::CompareArgs;
use crate::failure::Failure;
use crate::terminal::{Terminal, best, figure, head};

mod sample;

pub(crate) use sample::run as sample;

/// The hidden command that takes one measurement.
pub(crate) const SAMPLE_COMMAND: &str = "compare-sample";

/// Rounds, and threads of the workloads that have several, unless they are given.
const ROUNDS: u32 = 3;
const THREADS: usize = 2;

/// The JSON of `compare --workload arena`.
#[derive(Debug, Serialize)]
struct Document {
    schema: &'static str,
    version: u32,
    program: &'static str,
    machine: Machine,
    settings: Settings,
    workloads: Vec<Row>,
    /// For each column the geometric mean of its ratios to the best.
    means: Vec<Mean>,
}

#[derive(Debug, Serialize)]
struct Settings {
    threads: usize,
    rounds: u32,
    capacity: usize,
}

/// One workload.
#[derive(Debug, Serialize)]
struct Row {
    name: &'static str,
    operation: &'static str,
    results: Vec<Figure>,
}

/// One workload on one backend.
#[derive(Debug, Serialize)]
struct Figure {
    backend: &'static str,
    /// `arena`, or `global` for the library itself.
    form: &'static str,
    failure: Option<String>,
    /// Nanoseconds of an operation, over the rounds.
    ns: Option<Summary>,
    /// The median over the least median of the row.
    ratio: Option<f64>,
    rounds: Vec<f64>,
}

#[derive(Debug, Serialize)]
struct Mean {
    backend: &'static str,
    form: &'static str,
    ratio: Option<f64>,
}

/// What a column is.
#[derive(Clone, Copy, Debug)]
struct Column {
    backend: Backend,
    global: bool,
}

impl Column {
    fn form(self) -> &'static str {
        if self.global { "global" } else { "arena" }
    }

    /// Whether it has what a workload needs: a library itself has no heap to release.
    fn meets(self, workload: &Workload) -> bool {
        !(self.global && workload.needs == Needs::Release)
    }
}

/// Runs the command.
pub(super) fn run(
    args: &CompareArgs,
    backends: &[Backend],
    terminal: Terminal,
) -> Result<(), Failure> {
    if let Some(path) = args.paths.first() {
        return Err(Failure::Usage(format!(
            "--workload arena reads no files; leave out {}",
            path.display()
        )));
    }
    let rows = rows(&args.only)?;
    check_writable(args.json.as_deref())?;
    let program = std::env::current_exe()
        .map_err(|error| Failure::Failed(format!("cannot find this program: {error}")))?;
    let document = measure(args, backends, &rows, &program);
    show(&document, &render(&document, terminal), args.json.as_deref())?;
    verdict(&document)
}

/// The workloads that were asked for, or all that are not big.
fn rows(names: &[String]) -> Result<Vec<Workload>, Failure> {
    if names.is_empty() {
        return Ok(SET.iter().filter(|workload| !workload.big).copied().collect());
    }
    let named = names.iter().map(|name| {
        Workload::named(name).ok_or_else(|| {
            let all: Vec<_> = SET.iter().map(|workload| workload.name).collect();
            Failure::Usage(format!("no workload is called `{name}`; there are {}", all.join(", ")))
        })
    });
    named.collect()
}

fn measure(
    args: &CompareArgs,
    backends: &[Backend],
    rows: &[Workload],
    program: &PathBuf,
) -> Document {
    let columns: Vec<Column> = [false, true]
        .into_iter()
        .flat_map(|global| backends.iter().map(move |&backend| Column { backend, global }))
        .collect();
    let settings = Settings {
        threads: args.threads.unwrap_or(THREADS),
        rounds: args.rounds.unwrap_or(ROUNDS),
        capacity: args.capacity,
    };
    let steps = u64::from(settings.rounds) * (rows.len() * columns.len()) as u64;
    let bar = progress(args.quiet, steps);
    let cells = race::race(settings.rounds, rows.len(), columns.len(), |round, row, column| {
        let (workload, column) = (&rows[row], columns[column]);
        let backend = column.backend.name();
        bar.set_message(format!("round {}: {} on {backend}", round + 1, workload.name));
        bar.inc(1);
        column.meets(workload).then(|| {
            let mut command = Command::new(program);
            command
                .arg(SAMPLE_COMMAND)
                .args(["--backend", backend, "--workload", workload.name])
                .args(["--threads", &settings.threads.to_string()])
                .args(["--capacity", &settings.capacity.to_string()])
                .args(column.global.then_some("--global"));
            race::ask(&mut command)
        })
    });
    bar.finish_and_clear();
    let workloads: Vec<Row> =
        rows.iter().zip(&cells).map(|(row, cells)| self::row(row, &columns, cells)).collect();
    let means = columns.iter().enumerate().map(|(at, column)| {
        let ratios: Vec<f64> = workloads.iter().filter_map(|row| row.results[at].ratio).collect();
        let ratio = race::geometric_mean(&ratios);
        Mean { backend: column.backend.name(), form: column.form(), ratio }
    });
    Document {
        schema: "mallocer.compare.arena",
        version: 1,
        program: env!("CARGO_PKG_VERSION"),
        machine: Machine::describe(),
        settings,
        means: means.collect(),
        workloads,
    }
}

/// What the rounds of a workload say.
fn row(workload: &Workload, columns: &[Column], cells: &[Cell]) -> Row {
    let least = cells.iter().filter_map(Cell::median).min_by(f64::total_cmp);
    let figure = |(column, cell): (&Column, &Cell)| Figure {
        backend: column.backend.name(),
        form: column.form(),
        failure: cell.failure.clone(),
        ns: Summary::of(&cell.rounds).filter(|_| cell.failure.is_none()),
        ratio: cell.median().zip(least).map(|(median, least)| median / least),
        rounds: cell.rounds.clone(),
    };
    let results = columns.iter().zip(cells).map(figure).collect();
    Row { name: workload.name, operation: workload.operation, results }
}

fn render(document: &Document, terminal: Terminal) -> String {
    let settings = &document.settings;
    let mut table = terminal.table();
    let names = document.means.iter().map(|mean| match mean.form {
        "arena" => head(mean.backend, false),
        _ => head(format!("{}\nitself", mean.backend), false),
    });
    table.set_header([head("", true)].into_iter().chain(names));
    for row in &document.workloads {
        let cells = row.results.iter().map(|result| match (result.ns, result.ratio) {
            (Some(ns), Some(1.0)) => best(format!("* {}", race::show(ns.median))),
            (Some(ns), _) => figure(race::show(ns.median)),
            (None, _) => figure("–"),
        });
        table.add_row([comfy_table::Cell::new(row.name)].into_iter().chain(cells));
    }
    let means = document.means.iter().map(|mean| match mean.ratio {
        Some(ratio) => figure(format!("{ratio:.2}")),
        None => figure("–"),
    });
    table.add_row([comfy_table::Cell::new("mean ratio")].into_iter().chain(means));
    table.column_iter_mut().for_each(|column| {
        column.set_padding((1, 0));
    });
    let mut lines = vec![
        format!(
            "{}  workloads: {}; rounds: {}; threads, where there are several: {}",
            terminal.bold("mallocer compare --workload arena"),
            document.workloads.len(),
            settings.rounds,
            settings.threads
        ),
        document.machine.line(),
        table.trim_fmt(),
    ];
    let legend = "Time of one operation, medians of interleaved rounds; * marks the best of a row. \
         Mean ratio: the\ngeometric mean of a column's ratios to the best of each row. An arena \
         keeps a capacity and can be\nreleased at once; `itself` is the library as a global \
         allocator, without either.";
    lines.push(terminal.faint(legend));
    let longest = document.workloads.iter().map(|row| row.name.len()).max().unwrap_or(0);
    lines.extend(
        document
            .workloads
            .iter()
            .map(|row| terminal.faint(&format!("  {:<longest$}  {}", row.name, row.operation))),
    );
    for row in &document.workloads {
        for result in &row.results {
            if let Some(failure) = &result.failure {
                let (failed, form) = (terminal.red("failed"), result.form);
                lines.push(format!(
                    "{failed} {} on {} ({form}): {failure}",
                    row.name, result.backend
                ));
            }
        }
    }
    lines.join("\n")
}

/// Whether all measurements could be taken.
fn verdict(document: &Document) -> Result<(), Failure> {
    let failed: Vec<String> = document
        .workloads
        .iter()
        .flat_map(|row| row.results.iter().map(move |result| (row.name, result)))
        .filter(|(_, result)| result.failure.is_some())
        .map(|(name, result)| format!("{name} on {} ({})", result.backend, result.form))
        .collect();
    if failed.is_empty() {
        return Ok(());
    }
    Err(Failure::Failed(format!(
        "{} measurements failed: {}; the reason stands with each",
        failed.len(),
        failed.join(", ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A document with the widest figures there are.
    fn document(failing: bool) -> Document {
        let columns: Vec<Column> = [false, true]
            .into_iter()
            .flat_map(|global| Backend::ALL.map(|backend| Column { backend, global }))
            .collect();
        let cells: Vec<Cell> = (0..columns.len())
            .map(|at| Cell {
                rounds: vec![100_000.0 * (at + 1) as f64; 3],
                failure: (failing && at == 3).then(|| "ended with signal: 11".to_owned()),
            })
            .collect();
        let rows = SET.iter().map(|workload| row(workload, &columns, &cells)).collect();
        let mean = |column: &Column| Mean {
            backend: column.backend.name(),
            form: column.form(),
            ratio: Some(12.345),
        };
        Document {
            schema: "mallocer.compare.arena",
            version: 1,
            program: "0",
            machine: Machine { processor: "p".into(), cores: 1, system: "s".into() },
            settings: Settings { threads: 2, rounds: 3, capacity: 1 << 30 },
            means: columns.iter().map(mean).collect(),
            workloads: rows,
        }
    }

    #[test]
    fn eight_columns_fit_100_columns_and_every_workload_is_a_line() {
        let text = render(&document(false), Terminal::plain());
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        for workload in SET {
            let begins = format!(" {} ", workload.name);
            let figures =
                text.lines().filter(|line| line.starts_with(&begins) && line.contains("µs"));
            assert_eq!(figures.count(), 1, "{}: {text}", workload.name);
        }
        assert_eq!(text.matches("* 100 µs").count(), SET.len(), "one best in each row");
    }

    #[test]
    fn a_measurement_that_failed_is_named_and_the_others_are_shown() {
        let document = document(true);
        let text = render(&document, Terminal::plain());
        assert!(text.contains("failed pair on mimalloc (arena): ended with signal: 11"), "{text}");
        let failure = verdict(&document).unwrap_err();
        assert!(failure.message().unwrap().contains("larson on mimalloc (arena)"));
        assert!(verdict(&self::document(false)).is_ok());
    }

    #[test]
    fn the_big_workloads_run_only_when_they_are_named() {
        assert!(rows(&[]).unwrap().iter().all(|workload| !workload.big));
        assert!(rows(&["mixed-10m".to_owned()]).unwrap()[0].big);
        assert!(rows(&["none".to_owned()]).unwrap_err().message().unwrap().contains("larson"));
    }
}
