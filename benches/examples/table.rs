//! The workload set on every competitor, as a table in Markdown.
//!
//! ```text
//! cargo run --release -p mallocer-benches --features peers --example table -- [OPTIONS] [WORKLOAD…]
//!
//! WORKLOAD           a workload's name, or the beginning of one followed by `*`; default:
//!                    all but those that take gigabytes
//! --rounds N         rounds (default 5); the figure of a cell is their median
//! --threads N        threads of the workloads that have several (default 2)
//! --only A,B         these competitors alone, by the same rule
//! --beside PATH      flist's forms from another build of this example, too, as `beside:…`
//! --json FILE        every figure of every round
//! --list             the names of workloads and competitors
//! ```
//!
//! Rounds are interleaved, and each measurement has a process of its own. A figure is the
//! time of one operation, and behind it the ratio to the best *peer* of the row; peers are
//! all competitors that are neither flist nor a bump arena nor the bare free list. The last
//! rows are the geometric means of these ratios, of one thread and of several.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

use mallocer_benches::competitors::{self, Role, role};
use mallocer_workloads::race::{self, Cell, geometric_mean};
use mallocer_workloads::{Competitor, SET, Subject, Visitor, Workload};
use serde_json::json;

/// The argument that asks for one measurement.
const ONE: &str = "--one";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [one, workload, competitor, threads] = &arguments[..]
        && one == ONE
    {
        let workload = Workload::named(workload).ok_or("no such workload")?;
        let mut measured = One { workload, competitor, threads: threads.parse()?, time: None };
        competitors::each(&mut measured);
        println!("{}", measured.time.ok_or("the competitor cannot take part")?);
        return Ok(());
    }
    let options = Options::parse(arguments)?;
    let columns = columns(&options)?;
    if options.list {
        for workload in SET {
            println!("{:<14} {}", workload.name, workload.operation);
        }
        println!("\n{}", columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(" "));
        return Ok(());
    }
    let rows = rows(&options)?;
    let watched = std::io::stderr().is_terminal();
    let cells = race::race(options.rounds, rows.len(), columns.len(), |round, row, column| {
        let (row, column) = (rows[row], &columns[column]);
        column.meets(row).then(|| {
            if watched {
                eprint!("\r\x1b[Kround {}: {} on {}", round + 1, row.name, column.name);
            }
            let mut command = Command::new(&column.program);
            command.args([ONE, row.name, &column.competitor, &options.threads.to_string()]);
            race::ask(&mut command)
        })
    });
    if watched {
        eprint!("\r\x1b[K");
    }
    if let Some(file) = &options.json {
        fs::write(file, document(&options, &rows, &columns, &cells).to_string() + "\n")?;
    }
    print(&rows, &columns, &cells);
    Ok(())
}

/// What the arguments ask for.
struct Options {
    workloads: Vec<String>,
    only: Vec<String>,
    rounds: u32,
    threads: usize,
    beside: Option<PathBuf>,
    json: Option<PathBuf>,
    list: bool,
}

impl Options {
    fn parse(arguments: Vec<String>) -> Result<Options, Box<dyn Error>> {
        let mut options = Options {
            workloads: Vec::new(),
            only: Vec::new(),
            rounds: 5,
            threads: 2,
            beside: None,
            json: None,
            list: false,
        };
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                "--rounds" => options.rounds = value()?.parse()?,
                "--threads" => options.threads = value()?.parse()?,
                "--only" => options.only.extend(value()?.split(',').map(str::to_owned)),
                "--beside" => options.beside = Some(value()?.into()),
                "--json" => options.json = Some(value()?.into()),
                "--list" => options.list = true,
                other if other.starts_with("--") => {
                    return Err(format!("{other} is no option; see the head of table.rs").into());
                }
                _ => options.workloads.push(argument),
            }
        }
        Ok(options)
    }
}

/// Whether `name` is `pattern`, or begins with what stands before its `*`.
fn matches(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |beginning| name.starts_with(beginning))
}

/// The workloads that are asked for.
fn rows(options: &Options) -> Result<Vec<Workload>, String> {
    for pattern in &options.workloads {
        if !SET.iter().any(|workload| matches(pattern, workload.name)) {
            return Err(format!("no workload is called {pattern}; --list has their names"));
        }
    }
    let wanted = |workload: &Workload| match &options.workloads[..] {
        [] => !workload.big,
        patterns => patterns.iter().any(|pattern| matches(pattern, workload.name)),
    };
    Ok(SET.iter().copied().filter(wanted).collect())
}

/// A competitor, in the process of one of the two builds.
struct Column {
    name: String,
    competitor: String,
    program: PathBuf,
    any_size: bool,
    frees: bool,
    releases: bool,
    threads: bool,
}

impl Column {
    fn meets(&self, workload: Workload) -> bool {
        workload.needs.met(self.any_size, self.frees, self.releases, self.threads)
    }
}

/// The competitors that are asked for.
fn columns(options: &Options) -> Result<Vec<Column>, Box<dyn Error>> {
    struct Names(Vec<Column>, PathBuf);
    impl Names {
        fn add<S>(&mut self, competitor: Competitor<S>, threads: bool) {
            let Competitor { name, any_size, frees, releases, .. } = competitor;
            let (name, competitor, program) = (name.to_owned(), name.to_owned(), self.1.clone());
            self.0.push(Column { name, competitor, program, any_size, frees, releases, threads });
        }
    }
    impl Visitor for Names {
        fn visit<S: Subject>(&mut self, competitor: Competitor<S>) {
            self.add(competitor, false);
        }
        fn visit_shared<S: Subject + Sync>(&mut self, competitor: Competitor<S>) {
            self.add(competitor, true);
        }
    }
    let mut names = Names(Vec::new(), env::current_exe()?);
    competitors::each(&mut names);
    if let Some(beside) = &options.beside {
        let mut others = Names(Vec::new(), beside.clone());
        competitors::each(&mut others);
        others.0.retain(|column| role(&column.name) == Role::Own);
        others.0.iter_mut().for_each(|column| column.name.insert_str(0, "beside:"));
        names.0.splice(0..0, others.0);
    }
    let mut columns = names.0;
    if !options.only.is_empty() {
        columns.retain(|column| options.only.iter().any(|only| matches(only, &column.name)));
    }
    if columns.is_empty() {
        return Err("no such competitor; --list has their names".into());
    }
    Ok(columns)
}

/// One measurement: of one workload on one competitor.
struct One<'n> {
    workload: Workload,
    competitor: &'n str,
    threads: usize,
    time: Option<f64>,
}

impl Visitor for One<'_> {
    fn visit<S: Subject>(&mut self, Competitor { name, open, .. }: Competitor<S>) {
        if name == self.competitor && !self.workload.is_threaded() {
            let measure = |iterations| self.workload.measure(&open, iterations);
            self.time = Some(self.workload.sample(measure));
        }
    }

    fn visit_shared<S: Subject + Sync>(&mut self, Competitor { name, open, .. }: Competitor<S>) {
        if name == self.competitor {
            let measure = |n| self.workload.measure_shared(&open, n, self.threads);
            self.time = Some(self.workload.sample(measure));
        }
    }
}

/// The table, and the geometric means below it.
fn print(rows: &[Workload], columns: &[Column], cells: &[Vec<Cell>]) {
    let shown = |column: &&usize| cells.iter().any(|row| !row[**column].rounds.is_empty());
    let shown: Vec<usize> =
        (0..columns.len()).collect::<Vec<_>>().iter().filter(shown).copied().collect();
    let heads: String =
        shown.iter().map(|&column| format!(" {} |", columns[column].name)).collect();
    println!("| |{heads}\n|---|{}", "---|".repeat(shown.len()));
    // By the name of a column: its ratios with one thread, and with several.
    let mut ratios: BTreeMap<usize, [Vec<f64>; 2]> = BTreeMap::new();
    for (row, cells) in rows.iter().zip(cells) {
        let peers =
            columns.iter().zip(cells).filter(|(column, _)| role(&column.name) == Role::Peer);
        let best = peers.filter_map(|(_, cell)| cell.median()).min_by(f64::total_cmp);
        print!("| {} |", row.name);
        for &column in &shown {
            match (cells[column].median(), best) {
                (Some(time), Some(best)) => {
                    let ratio = time / best;
                    ratios.entry(column).or_default()[usize::from(row.is_threaded())].push(ratio);
                    print!(" {} ({ratio:.2}) |", race::show(time));
                }
                (Some(time), None) => print!(" {} |", race::show(time)),
                (None, _) => print!(" {} |", cells[column].failure.as_deref().unwrap_or("")),
            }
        }
        println!();
    }
    for (threaded, name) in ["one thread", "several threads"].into_iter().enumerate() {
        if !ratios.values().any(|of| !of[threaded].is_empty()) {
            continue;
        }
        print!("| **geometric mean, {name}** |");
        for column in &shown {
            let mean = ratios.get(column).and_then(|of| geometric_mean(&of[threaded]));
            print!("{}", mean.map_or(" |".to_owned(), |mean| format!(" {mean:.2} |")));
        }
        println!();
    }
}

/// Every figure of every round.
fn document(
    options: &Options,
    rows: &[Workload],
    columns: &[Column],
    cells: &[Vec<Cell>],
) -> serde_json::Value {
    let row = |(row, cells): (&Workload, &Vec<Cell>)| {
        let of = columns.iter().zip(cells).filter(|(_, cell)| !cell.rounds.is_empty());
        let of: serde_json::Map<_, _> =
            of.map(|(column, cell)| (column.name.clone(), json!(cell.rounds))).collect();
        json!({ "workload": row.name, "operation": row.operation, "ns": of })
    };
    let rows: Vec<_> = rows.iter().zip(cells).map(row).collect();
    json!({ "threads": options.threads, "rounds": options.rounds, "workloads": rows })
}
