//! `mallocer slabs`: a ladder, the requests that each slab serves, and the waste.

use mallocer_core::{AllocError, Bytes, Ladder, Step};
use serde::Serialize;

use crate::args::{Request, SlabsArgs};
use crate::failure::Failure;
use crate::terminal::{Terminal, figure, head, print, print_json};

/// The JSON of `slabs --json`; sizes in bytes.
#[derive(Debug, Serialize)]
struct Document {
    schema: &'static str,
    version: u32,
    count: usize,
    alignment: usize,
    slabs: Vec<Slab>,
    requests: Vec<Served>,
}

/// One slab and the requests it serves.
#[derive(Debug, Serialize)]
struct Slab {
    size: usize,
    from: usize,
    to: usize,
    worst_waste_percent: f64,
    mean_waste_percent: f64,
}

/// One request and the slab that serves it.
#[derive(Debug, Serialize)]
struct Served {
    request: usize,
    alignment: usize,
    slab: usize,
    waste: usize,
    waste_percent: f64,
}

/// Runs the command.
pub(crate) fn run(args: &SlabsArgs, terminal: Terminal) -> Result<(), Failure> {
    let ladder = ladder(args).map_err(Failure::usage)?;
    let requests: Result<Vec<_>, _> = args.request.iter().map(|&r| serve(&ladder, r)).collect();
    let requests = requests?;
    if args.json {
        return print_json(&document(&ladder, requests));
    }
    if !requests.is_empty() {
        print(&requests_table(&requests, terminal))?;
        if args.head.is_none() {
            return Ok(());
        }
    }
    print(&ladder_table(&ladder, args.head, terminal))
}

fn ladder(args: &SlabsArgs) -> Result<Ladder, mallocer_core::ConfigError> {
    if let Some(slabs) = &args.list {
        return Ladder::from_slabs(slabs);
    }
    let mut builder = Ladder::builder();
    if let Some(min) = args.min {
        builder = builder.min(min);
    }
    if let Some(max) = args.max {
        builder = builder.max(max);
    }
    if let Some(align) = args.align {
        builder = builder.alignment(align);
    }
    if let Some(utilization) = args.utilization {
        builder = builder.utilization(utilization);
    }
    builder.build()
}

/// Finds the slab for a request; a size of 0 counts as 1.
fn serve(ladder: &Ladder, Request { size, align }: Request) -> Result<Served, Failure> {
    let largest = ladder.largest();
    if size > largest {
        return Err(Failure::usage(AllocError::AboveLargestSlab { requested: size, largest }));
    }
    let slab = ladder.find(size, align).map(|index| ladder.slab_size(index)).ok_or_else(|| {
        Failure::Usage(format!(
            "no slab of at least {size} bytes is a multiple of {align}; ask for a smaller \
             alignment, or add such a slab to the ladder"
        ))
    })?;
    let waste = slab - size;
    let waste_percent = waste as f64 * 100.0 / slab as f64;
    Ok(Served { request: size, alignment: align, slab, waste, waste_percent })
}

fn slab(step: Step) -> Slab {
    Slab {
        size: step.size,
        from: step.least,
        to: step.size,
        worst_waste_percent: step.worst_waste_percent(),
        mean_waste_percent: step.mean_waste_percent(),
    }
}

fn document(ladder: &Ladder, requests: Vec<Served>) -> Document {
    Document {
        schema: "mallocer.slabs",
        version: 1,
        count: ladder.slabs().len(),
        alignment: ladder.alignment(),
        slabs: ladder.steps().map(slab).collect(),
        requests,
    }
}

fn requests_table(requests: &[Served], terminal: Terminal) -> String {
    let mut table = terminal.table();
    table.set_header(
        ["request", "alignment", "slab", "waste", "waste %"].map(|name| head(name, false)),
    );
    for served in requests {
        table.add_row([
            figure(served.request),
            figure(served.alignment),
            figure(served.slab),
            figure(served.waste),
            figure(format!("{:.2}", served.waste_percent)),
        ]);
    }
    table.trim_fmt()
}

fn ladder_table(ladder: &Ladder, limit: Option<usize>, terminal: Terminal) -> String {
    let count = ladder.slabs().len();
    let shown = limit.map_or(count, |limit| limit.min(count));
    let mut table = terminal.table();
    table.set_header(
        ["", "slab", "size", "serves from", "to", "worst waste %", "mean waste %"]
            .map(|name| head(name, false)),
    );
    for (position, step) in ladder.steps().take(shown).map(slab).enumerate() {
        table.add_row([
            figure(position),
            figure(step.size),
            figure(Bytes(step.size)),
            figure(step.from),
            figure(step.to),
            figure(format!("{:.2}", step.worst_waste_percent)),
            figure(format!("{:.2}", step.mean_waste_percent)),
        ]);
    }
    let rest = match count - shown {
        0 => String::new(),
        hidden => format!(" ({hidden} more not shown)"),
    };
    let summary = format!(
        "{count} slabs from {} to {}, alignment {}{rest}",
        Bytes(ladder.slabs()[0]),
        Bytes(ladder.largest()),
        ladder.alignment(),
    );
    format!("{}\n{}", table.trim_fmt(), terminal.faint(&summary))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_of_67_bytes_gets_72() {
        let served = serve(&Ladder::DEFAULT, Request { size: 67, align: 8 }).unwrap();
        assert_eq!((served.slab, served.waste), (72, 5));
        assert!((served.waste_percent - 500.0 / 72.0).abs() < 1e-9);
    }

    #[test]
    fn a_request_that_nothing_serves_is_named() {
        let ladder = Ladder::from_slabs(&[70, 72]).unwrap();
        let message = |size, align| {
            serve(&ladder, Request { size, align }).unwrap_err().message().unwrap().to_owned()
        };
        assert!(message(73, 1).contains("73 bytes requested, above the largest slab of 72"));
        assert!(message(67, 16).contains("multiple of 16"));
    }

    #[test]
    fn the_whole_default_ladder_fits_the_terminal() {
        let text = ladder_table(&Ladder::DEFAULT, None, Terminal::plain());
        assert!(text.lines().all(|line| line.chars().count() <= 100));
        assert!(text.ends_with("479 slabs from 8 B to 1 TiB, alignment 8"));
        let text = ladder_table(&Ladder::DEFAULT, Some(3), Terminal::plain());
        assert!(text.ends_with("(476 more not shown)"));
    }
}
