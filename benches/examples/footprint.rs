//! What arenas cost beyond their chunks: to make, to keep, to choose, to release.
//!
//! ```text
//! cargo run --release -p mallocer-benches --example footprint
//! ```
//!
//! | figure | what is done |
//! |---|---|
//! | new arena | an arena is built and dropped, warm; median of 21 batches of 10 000 |
//! | 10 000 live | as many are built and kept; time and resident bytes for each |
//! | with a chunk | each of them allocates 16 bytes; resident bytes for each in all |
//! | choice | alloc + free of 96 bytes: chosen at run time over fixed when compiled; median ratio of 41 interleaved rounds |
//! | 100 releases | 1 000 000 live chunks of 16 to 256 bytes, released at once, a hundred times over: resident bytes after the first and after the last time, median time of a release |
//!
//! Each figure of each backend comes from a process of its own. Resident bytes are
//! those of `/proc/self/status`, so this runs on Linux.

use std::alloc::Layout;
use std::env;
use std::hint::black_box;
use std::process::Command;
use std::time::Instant;

use mallocer::{Arena, Backend, Flist, Jemalloc, Malloc, Mallocer, Mimalloc};

const FIGURES: [&str; 4] = ["new", "live", "choice", "release"];

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [backend, figure] = &arguments[..] {
        let backend = backend.parse().expect("the name of a backend");
        return measure(backend, figure);
    }
    let program = env::current_exe().expect("this program has a path");
    for figure in FIGURES {
        for backend in Backend::compiled() {
            let status = Command::new(&program).args([backend.name(), figure]).status();
            if !status.is_ok_and(|status| status.success()) {
                println!("{backend:>9}  {figure}: failed");
            }
        }
        println!();
    }
}

fn measure(backend: Backend, figure: &str) {
    match figure {
        "new" => new(backend),
        "live" => live(backend),
        "choice" => match backend {
            Backend::Flist => choice::<Flist>(backend),
            Backend::Malloc => choice::<Malloc>(backend),
            Backend::Jemalloc => choice::<Jemalloc>(backend),
            Backend::Mimalloc => choice::<Mimalloc>(backend),
        },
        "release" => release(backend),
        _ => panic!("{figure} is none of {FIGURES:?}"),
    }
}

fn arena(backend: Backend) -> Arena {
    Arena::builder().backend(backend).build().expect("an arena with the default capacity")
}

fn new(backend: Backend) {
    let mut batches: Vec<f64> = (0..21)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..10_000 {
                black_box(arena(backend));
            }
            start.elapsed().as_nanos() as f64 / 1e4
        })
        .collect();
    println!("{backend:>9}  new arena and drop: {:.0} ns", median(&mut batches));
}

fn live(backend: Backend) {
    const COUNT: usize = 10_000;
    let mut arenas = Vec::with_capacity(COUNT);
    // The handles are counted by their size.
    arenas.extend((0..COUNT).map(|_| None));
    let before = resident();
    let start = Instant::now();
    for slot in &mut arenas {
        match Arena::builder().backend(backend).build() {
            Ok(arena) => *slot = Some(arena),
            Err(refusal) => {
                println!("{backend:>9}  10 000 live: {refusal}");
                return;
            }
        }
    }
    let each = start.elapsed().as_nanos() as usize / COUNT;
    let empty = (resident() - before) / COUNT;
    for arena in arenas.iter().flatten() {
        black_box(arena.alloc(Layout::new::<[u8; 16]>()));
    }
    let with_chunk = (resident() - before) / COUNT;
    println!(
        "{backend:>9}  10 000 live: {each} ns to build each, {empty} bytes resident each beside \
         {} in the handle, {with_chunk} with a chunk of 16 bytes",
        size_of::<Arena>()
    );
}

fn choice<M: Mallocer>(backend: Backend) {
    let fixed = Arena::<M>::builder().build().expect("an arena with the default capacity");
    let chosen = arena(backend);
    let layout = Layout::new::<[u8; 96]>();
    let mut ratios: Vec<f64> = (0..41)
        .map(|_| {
            let of_chosen = pairs(|| {
                let chunk = chosen.alloc(black_box(layout));
                // SAFETY: allocated above, and freed once.
                unsafe { chosen.free(black_box(chunk.cast())) };
            });
            let of_fixed = pairs(|| {
                let chunk = fixed.alloc(black_box(layout));
                // SAFETY: allocated above, and freed once.
                unsafe { fixed.free(black_box(chunk.cast())) };
            });
            of_chosen / of_fixed
        })
        .collect();
    println!("{backend:>9}  chosen at run time / fixed: {:.3}", median(&mut ratios));
}

/// Nanoseconds of 200 000 pairs.
#[inline(never)]
fn pairs(mut pair: impl FnMut()) -> f64 {
    let start = Instant::now();
    for _ in 0..200_000 {
        pair();
    }
    start.elapsed().as_nanos() as f64
}

fn release(backend: Backend) {
    let arena = arena(backend);
    let (mut first, mut times) = (0, Vec::new());
    for round in 0..100 {
        for chunk in 0..1_000_000usize {
            let layout = Layout::from_size_align(16 + chunk * 7919 % 241, 8).expect("small sizes");
            let chunk = arena.alloc(layout);
            // SAFETY: a chunk is valid for writes of its whole length.
            unsafe { chunk.cast::<u8>().write(1) };
        }
        let start = Instant::now();
        // SAFETY: no chunk is used any more.
        unsafe { arena.reset() };
        times.push(start.elapsed().as_nanos() as f64 / 1e3);
        if round == 0 {
            first = resident();
        }
    }
    let last = resident();
    println!(
        "{backend:>9}  100 releases of 1 000 000 chunks: {:.1} MiB resident after the first, \
         {:.1} after the last ({:+.1} %), {:.0} µs each",
        first as f64 / 1048576.0,
        last as f64 / 1048576.0,
        (last as f64 / first as f64 - 1.0) * 100.0,
        median(&mut times)
    );
}

fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS is there");
    let kib = line.split_whitespace().nth(1).expect("VmRSS has a value");
    kib.parse::<usize>().expect("VmRSS is a number") << 10
}
