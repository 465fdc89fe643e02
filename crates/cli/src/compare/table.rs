//! The comparison as a table: a column for each backend, a row for each metric.

use comfy_table::Cell;
use mallocer::Bytes;

use super::metrics::{Group, METRICS, Metric, grouped};
use super::report::{Outcome, Report};
use crate::terminal::{Terminal, best, figure, group, head};

/// The width of a figure with its mark and its spread: four of them and the names of
/// the rows fit into the 100 columns of the terminal.
const FIGURE: usize = 17;

/// The whole text: what was done, the figures, and how to read them.
pub(super) fn render(report: &Report, terminal: Terminal) -> String {
    let mut parts = vec![headline(report, terminal)];
    if report.backends.iter().any(|backend| !backend.rounds.is_empty()) {
        parts.push(figures(report, terminal));
        parts.push(terminal.faint(&legend(report)));
    }
    for backend in &report.backends {
        if let Some(failure) = &backend.failure {
            parts.push(format!("{} {}: {failure}", terminal.red("failed"), backend.name));
        }
    }
    parts.join("\n")
}

fn headline(report: &Report, terminal: Terminal) -> String {
    let settings = &report.settings;
    let copies = match settings.scale {
        1 => String::new(),
        scale => format!(", indexed {scale} times"),
    };
    let mut lines = vec![format!("{}{copies}", report.input.describe())];
    if let Some(work) = &report.work {
        lines.push(format!(
            "{} keys; {} calls of alloc, {} of realloc, {} of free",
            grouped(work.keys),
            grouped(work.allocs),
            grouped(work.reallocs),
            grouped(work.frees)
        ));
    }
    let arena = match settings.threads {
        1 => "1 thread on an Arena".to_owned(),
        threads => format!("{threads} threads on a SharedArena"),
    };
    let rounds = match settings.rounds {
        1 => "1 round".to_owned(),
        rounds => format!("{rounds} rounds"),
    };
    lines.push(format!("{arena} of {}, {rounds}", Bytes(settings.capacity)));
    lines.push(report.machine.line());
    let title = terminal.bold("mallocer compare");
    format!("{title}  {}", lines.join("\n                  "))
}

fn figures(report: &Report, terminal: Terminal) -> String {
    let backends = &report.backends;
    let mut table = terminal.table();
    let names = backends.iter().map(|backend| head(backend.name, false));
    table.set_header([head("", true)].into_iter().chain(names));
    for part in Group::ALL {
        table.add_row([group(part.title())]);
        for metric in METRICS.iter().filter(|metric| metric.group == part) {
            if let Some(cells) = row(metric, backends) {
                table.add_row(cells);
            }
        }
    }
    // Beside the space between columns, one at the left is enough.
    table.column_iter_mut().for_each(|column| {
        column.set_padding((1, 0));
    });
    table.trim_fmt()
}

/// The cells of a metric, unless no backend has it or all have nothing to show.
fn row(metric: &Metric, backends: &[Outcome]) -> Option<Vec<Cell>> {
    let summaries: Vec<_> =
        backends.iter().map(|backend| backend.metrics.get(metric.name).copied()).collect();
    if summaries.iter().flatten().all(|summary| summary.max == 0.0) {
        return None;
    }
    let medians: Vec<_> = summaries.iter().map(|summary| summary.map(|s| s.median)).collect();
    let marked = metric.best(&medians);
    let mut cells = vec![Cell::new(format!("  {}", metric.label))];
    for (at, summary) in summaries.iter().enumerate() {
        cells.push(match summary {
            None => figure("–"),
            Some(summary) => {
                let (value, spread) = (
                    metric.unit.show(summary.median),
                    format!("±{:.0}%", summary.spread_percent()),
                );
                if marked == Some(at) {
                    best(format!("{:>FIGURE$}", format!("* {value} {spread:>5}")))
                } else {
                    figure(format!("{:>FIGURE$}", format!("{value} {spread:>5}")))
                }
            }
        });
    }
    Some(cells)
}

fn legend(report: &Report) -> String {
    let contents = match (&report.work, report.identical) {
        (Some(work), true) => {
            let failed = report.backends.iter().any(|backend| backend.failure.is_some());
            let which = if failed { "in all rounds that ended" } else { "on all backends" };
            format!("Contents are identical {which} (digest {}).", work.digest)
        }
        _ => "Contents differ.".to_owned(),
    };
    format!(
        "Medians over the rounds, ± the median distance from the median; * marks the best of a row.\n\
         Waste: heap and overhead, or resident memory, above the live bytes. Heap counts pools on \
         flist and\nusable sizes on the libraries, so resident memory is what compares them all.\n\
         {contents}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::report::sample::report;

    const ALL: [&str; 4] = ["flist", "malloc", "jemalloc", "mimalloc"];

    #[test]
    fn four_backends_with_wide_values_fit_100_columns_and_no_cell_wraps() {
        let text = render(&report(&ALL, None), Terminal::plain());
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        let rows = text.lines().filter(|line| line.contains('±')).count();
        let begins = |label: &str| text.contains(&format!("\n   {label} "));
        let shown = METRICS.iter().filter(|metric| begins(metric.label)).count();
        // Every row is a line; the legend is the one more.
        assert_eq!(rows, shown + 1, "{text}");
        assert!(!text.contains("page faults, major"), "nothing to show");
    }

    #[test]
    fn the_best_is_marked_and_only_where_values_differ() {
        let text = render(&report(&ALL[..2], None), Terminal::plain());
        let row = |label: &str| text.lines().find(|line| line.contains(label)).unwrap().to_owned();
        assert_eq!(row(" build ").matches('*').count(), 1);
        assert!(row(" build ").contains("* 123 ms"));
        assert_eq!(row("heap at peak").matches('*').count(), 0);
    }

    #[test]
    fn a_backend_that_failed_is_named_and_the_others_are_shown() {
        let text = render(&report(&ALL, Some(2)), Terminal::plain());
        assert!(text.contains("failed jemalloc: was ended by signal 11"), "{text}");
        assert!(text.contains("identical in all rounds that ended"), "{text}");
        let build = text.lines().find(|line| line.contains(" build ")).unwrap();
        assert_eq!((build.matches('±').count(), build.matches('–').count()), (3, 1));
        // Nothing is left to show if all have failed.
        let nothing = render(&report(&ALL[..1], Some(0)), Terminal::plain());
        assert!(!nothing.contains('±') && nothing.contains("failed flist"));
    }
}
