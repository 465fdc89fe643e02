//! The last results of the benchmarks as a table in Markdown.
//!
//! ```text
//! cargo bench -p mallocer-benches --features peers
//! cargo run --release -p mallocer-benches --example table [-- target/criterion]
//! ```
//!
//! A row is a competitor, a column a group. A figure is the median time of one operation
//! in nanoseconds (for a release, of the whole in microseconds), and behind it the ratio
//! to the first row.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use mallocer_benches::Subject;
use mallocer_benches::competitors::{self, Competitor, Visitor};
use serde_json::Value;

/// Nanoseconds of one operation, by group and competitor.
type Results = BTreeMap<String, BTreeMap<String, f64>>;

/// The competitors' names, in the table's order.
#[derive(Default)]
struct Names(Vec<&'static str>);

impl Visitor for Names {
    fn visit<S: Subject>(&mut self, competitor: Competitor<S>) {
        self.0.push(competitor.name);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "target/criterion".to_owned());
    let mut results = Results::new();
    collect(Path::new(&folder), &mut results)
        .map_err(|error| format!("no results in `{folder}` ({error}); run the benchmarks first"))?;
    if results.is_empty() {
        return Err(format!("no results in `{folder}`; run the benchmarks first").into());
    }
    let mut names = Names::default();
    competitors::each(&mut names);

    let groups: Vec<_> = results.iter().collect();
    println!("| |{}", groups.iter().map(|(group, _)| format!(" {group} |")).collect::<String>());
    println!("|---|{}", "---|".repeat(groups.len()));
    for name in &names.0 {
        let cells: String = groups.iter().map(|(group, of)| cell(group, of, name)).collect();
        println!("| {name} |{cells}");
    }
    Ok(())
}

fn cell(group: &str, results: &BTreeMap<String, f64>, name: &str) -> String {
    let (Some(&time), Some(&first)) = (results.get(name), results.get("flist")) else {
        return " |".to_owned();
    };
    let shown = if group.starts_with("release") {
        format!("{:.1} µs", time * 100_000.0 / 1e3)
    } else {
        format!("{time:.1}")
    };
    format!(" {shown} ({:.2}) |", time / first)
}

/// Finds every result below `folder`.
fn collect(folder: &Path, results: &mut Results) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, results)?;
        } else if path.ends_with("new/benchmark.json") {
            let benchmark = read(path.clone())?;
            let estimates = read(path.with_file_name("estimates.json"))?;
            let text = |key: &str| benchmark[key].as_str().unwrap_or_default().to_owned();
            let operations = benchmark["throughput"]["Elements"].as_f64().unwrap_or(1.0);
            let median = estimates["median"]["point_estimate"].as_f64().unwrap_or(f64::NAN);
            let group = results.entry(text("group_id")).or_default();
            group.insert(text("function_id"), median / operations);
        }
    }
    Ok(())
}

fn read(path: PathBuf) -> Result<Value, Box<dyn Error>> {
    Ok(serde_json::from_str(&fs::read_to_string(path)?)?)
}
