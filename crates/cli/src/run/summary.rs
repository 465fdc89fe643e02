//! The library's report, in a few lines.

use comfy_table::Cell;
use mallocer_core::Bytes;
use serde::Deserialize;

use crate::failure::Failure;
use crate::terminal::Terminal;

/// How many slabs are shown.
const MOST_SLABS: usize = 8;

/// What of the report is shown.
#[derive(Debug, Deserialize)]
struct Report {
    max_heap: usize,
    peak_heap: usize,
    heap: usize,
    in_use: usize,
    overhead: usize,
    misses: u64,
    most_misses: u64,
    all_misses: u64,
    blocks: usize,
    slabs: Vec<Slab>,
}

#[derive(Debug, Deserialize)]
struct Slab {
    slab: usize,
    pools: usize,
    chunks: usize,
    in_use: usize,
    heap: usize,
}

/// Prints the report on standard error.
pub(super) fn print(text: &[u8], terminal: Terminal) -> Result<(), Failure> {
    // A program that has replaced itself by another has written several, one a line.
    let last = text.split(|&byte| byte == b'\n').rfind(|line| !line.is_empty()).unwrap_or_default();
    let report: Report = serde_json::from_slice(last)
        .map_err(|error| Failure::Failed(format!("the library's report: {error}")))?;
    let rows = [
        ("max heap size", Bytes(report.max_heap).to_string()),
        ("peak heap size", Bytes(report.peak_heap).to_string()),
        ("heap at the end", Bytes(report.heap).to_string()),
        ("in use at the end", Bytes(report.in_use).to_string()),
        ("overhead", Bytes(report.overhead).to_string()),
        ("blocks", report.blocks.to_string()),
        (
            "misses",
            format!(
                "{} in a row at the end, at most {}, {} in all",
                report.misses, report.most_misses, report.all_misses
            ),
        ),
    ];
    eprintln!("\n{}", terminal.bold("mallocer: the program's heap"));
    for (name, value) in rows {
        eprintln!("  {name:<18}{value}");
    }
    let mut slabs = report.slabs;
    slabs.sort_by_key(|slab| std::cmp::Reverse(slab.heap));
    let rest = slabs.len().saturating_sub(MOST_SLABS);
    let mut table = terminal.table();
    table.set_header(["slab", "pools", "chunks in use", "bytes in use", "heap"]);
    for slab in slabs.iter().take(MOST_SLABS) {
        table.add_row([
            Cell::new(slab.slab),
            Cell::new(slab.pools),
            Cell::new(slab.chunks),
            Cell::new(Bytes(slab.in_use)),
            Cell::new(Bytes(slab.heap)),
        ]);
    }
    if !slabs.is_empty() {
        eprintln!("{table}");
    }
    if rest > 0 {
        eprintln!("{}", terminal.faint(&format!("and {rest} slabs with less")));
    }
    Ok(())
}
