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
//! | release or free | the same chunks: median time of releasing them at once, and of freeing them one by one in the order of allocation, 9 times each |
//! | after replaces | 100 000 live chunks of 16 to 1024 random bytes, of which one at random is replaced ten million times: heap and overhead, and what is resident, over the live bytes |
//!
//! `footprint one-by-one replaces` takes these two alone: `new`, `live`, `choice`, `release`,
//! `one-by-one` and `replaces` are their names.
//!
//! Each figure of each backend comes from a process of its own. Resident bytes are
//! those of `/proc/self/status`, so this runs on Linux.

use std::alloc::Layout;
use std::env;
use std::hint::black_box;
use std::process::Command;
use std::ptr::NonNull;
use std::time::Instant;

use mallocer::{Arena, Backend, Flist, Jemalloc, Malloc, Mallocer, Mimalloc};
use mallocer_workloads::Random;

const FIGURES: [&str; 6] = ["new", "live", "choice", "release", "one-by-one", "replaces"];

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [backend, figure] = &arguments[..]
        && let Ok(backend) = backend.parse()
    {
        return measure(backend, figure);
    }
    let program = env::current_exe().expect("this program has a path");
    let wanted = |figure: &&str| arguments.is_empty() || arguments.iter().any(|one| one == figure);
    for figure in FIGURES.into_iter().filter(wanted) {
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
        "one-by-one" => one_by_one(backend),
        "replaces" => replaces(backend),
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

/// Fills the arena with a million chunks of 16 to 256 bytes.
fn million(arena: &Arena, chunks: &mut Vec<NonNull<u8>>) {
    for chunk in 0..1_000_000usize {
        let layout = Layout::from_size_align(16 + chunk * 7919 % 241, 8).expect("small sizes");
        let chunk = arena.alloc(layout).cast::<u8>();
        // SAFETY: a chunk is valid for writes of its whole length.
        unsafe { chunk.write(1) };
        chunks.push(chunk);
    }
}

fn one_by_one(backend: Backend) {
    let arena = arena(backend);
    let mut chunks = Vec::with_capacity(1_000_000);
    let (mut releases, mut frees) = (Vec::new(), Vec::new());
    for _ in 0..9 {
        million(&arena, &mut chunks);
        chunks.clear();
        let start = Instant::now();
        // SAFETY: no chunk is used any more.
        unsafe { arena.reset() };
        releases.push(start.elapsed().as_nanos() as f64 / 1e3);

        million(&arena, &mut chunks);
        let start = Instant::now();
        for chunk in chunks.drain(..) {
            // SAFETY: allocated above, and freed once.
            unsafe { arena.free(chunk) };
        }
        frees.push(start.elapsed().as_nanos() as f64 / 1e3);
    }
    let (release, free) = (median(&mut releases), median(&mut frees));
    println!(
        "{backend:>9}  1 000 000 chunks: released in {release:.0} µs, freed in {free:.0} µs, \
         1/{:.0} of it",
        free / release
    );
}

fn replaces(backend: Backend) {
    const LIVE: usize = 100_000;
    let before = resident();
    let arena = arena(backend);
    let mut random = Random::new(7);
    let take = |random: &mut Random| {
        let layout = Layout::from_size_align(16 + random.below(1009), 8).expect("small sizes");
        let chunk = arena.alloc(layout).cast::<u8>();
        // SAFETY: a chunk is valid for writes of its whole length.
        unsafe { chunk.write_bytes(1, layout.size()) };
        (chunk, layout)
    };
    let mut held: Vec<_> = (0..LIVE).map(|_| take(&mut random)).collect();
    for _ in 0..10_000_000 {
        let at = random.below(LIVE);
        // SAFETY: the table has the only copy of the chunk, and gets another one.
        unsafe { arena.free_sized(held[at].0, held[at].1) };
        held[at] = take(&mut random);
    }
    let live: usize = held.iter().map(|(_, layout)| layout.size()).sum();
    let (info, table) = (arena.info(), size_of_val(&held[..]));
    println!(
        "{backend:>9}  10 000 000 replaces: heap and overhead {:.3} of the live bytes, resident {:.3}",
        (info.heap + info.overhead) as f64 / live as f64,
        (resident() - before - table) as f64 / live as f64
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
