//! The cost of one operation from a thousand to a hundred million live chunks, as a curve.
//!
//! ```text
//! cargo run --release -p mallocer-benches --example curve -- MOST docs/pictures/live.svg
//! ```
//!
//! Of 10³, 10⁴, … MOST live chunks of 16 bytes, a random one is freed and another
//! allocated, on flist and on the bare free list. A replace of the free list touches the
//! same chunks and the same table of pointers, so what it takes more with more chunks is
//! the processor's: caches, and the addresses that its tables of pages hold. flist is to
//! take no more than that beyond its own work.
//!
//! Each point is a process of its own: the median of five stretches of a million
//! replaces, after half a replace for each chunk. 10⁸ chunks take 2.5 GiB.

use std::alloc::Layout;
use std::env;
use std::error::Error;
use std::process::Command;
use std::ptr::NonNull;
use std::time::Instant;

use mallocer::{Arena, Flist};
use mallocer_workloads::race::{self, Cell};
use mallocer_workloads::{ByPointer, FreeList, Random, Subject};
use plotters::prelude::*;

const CHUNK: Layout = Layout::new::<[u64; 2]>();
const STRETCH: u32 = 1_000_000;
const NAMES: [&str; 2] = ["flist", "bare free list"];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match &arguments[..] {
        [name, live] if NAMES.contains(&name.as_str()) => {
            let live = live.parse()?;
            let time = if name == NAMES[0] {
                let arena = Arena::<Flist>::builder().capacity(64 << 30).build()?;
                replace(&ByPointer(arena), live)
            } else {
                replace(&FreeList::default(), live)
            };
            println!("{time}");
            Ok(())
        }
        [most, picture] => curve(most.parse()?, picture),
        _ => Err("usage: curve MOST FILE.svg; see the head of curve.rs".into()),
    }
}

/// Nanoseconds of a replace.
fn replace(subject: &impl Subject, live: usize) -> f64 {
    let mut random = Random::new(7);
    let take = |number: usize| {
        let chunk = subject.alloc(CHUNK);
        // SAFETY: the chunk is ours.
        unsafe { chunk.cast::<usize>().write(number) };
        chunk
    };
    let mut held: Vec<NonNull<u8>> = (0..live).map(take).collect();
    let mut step = || {
        let at = random.below(live);
        // SAFETY: the table has the only copy of the chunk, and gets another one.
        unsafe { subject.free(held[at], CHUNK) };
        held[at] = take(at);
    };
    (0..(live / 2).max(100_000)).for_each(|_| step());
    let mut stretches: Vec<f64> = (0..5)
        .map(|_| {
            let start = Instant::now();
            (0..STRETCH).for_each(|_| step());
            start.elapsed().as_nanos() as f64 / f64::from(STRETCH)
        })
        .collect();
    stretches.sort_by(f64::total_cmp);
    // The process ends, and its chunks with it: nothing is freed one by one.
    stretches[stretches.len() / 2]
}

/// Measures all points, prints them as a table, and draws them.
fn curve(most: usize, picture: &str) -> Result<(), Box<dyn Error>> {
    let lives: Vec<usize> =
        (3..=8).map(|power| 10_usize.pow(power)).filter(|&n| n <= most).collect();
    let program = env::current_exe()?;
    let cells = race::race(3, lives.len(), NAMES.len(), |round, row, column| {
        // The large ones take a minute: once is enough.
        let once = lives[row] > 10_000_000 && round > 0;
        let mut command = Command::new(&program);
        command.args([NAMES[column], &lives[row].to_string()]);
        (!once).then(|| race::ask(&mut command))
    });
    println!("| live chunks | {} | ratio |\n|---|---|---|---|", NAMES.join(" | "));
    for (live, cells) in lives.iter().zip(&cells) {
        let [flist, bare] = [0, 1].map(|column: usize| cells[column].median().unwrap_or(f64::NAN));
        println!("| {live} | {flist:.1} | {bare:.1} | {:.2} |", flist / bare);
    }
    draw(&lives, &cells, picture)
}

fn draw(lives: &[usize], cells: &[Vec<Cell>], picture: &str) -> Result<(), Box<dyn Error>> {
    let points = |column: usize| {
        let medians = cells.iter().map(move |cells| cells[column].median());
        lives.iter().zip(medians).filter_map(|(&live, time)| Some((live as f64, time?)))
    };
    let highest = (0..NAMES.len()).flat_map(points).map(|(_, time)| time).fold(1.0, f64::max);
    let most = *lives.last().ok_or("there is nothing to draw")? as f64;
    let area = SVGBackend::new(picture, (800, 480)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(20)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .caption("one replace among so many live chunks of 16 bytes", ("sans-serif", 18))
        .build_cartesian_2d((1e3..most * 1.2).log_scale(), 0.0..highest * 1.1)?;
    chart
        .configure_mesh()
        .x_desc("live chunks")
        .y_desc("nanoseconds")
        .x_label_formatter(&|live| format!("10^{:.0}", live.log10()))
        .draw()?;
    for (column, (name, colour)) in NAMES.iter().zip([&BLUE, &BLACK]).enumerate() {
        chart
            .draw_series(LineSeries::new(points(column), colour.stroke_width(2)).point_size(3))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE)
        .border_style(BLACK)
        .draw()?;
    area.present()?;
    Ok(())
}
