//! What memory an arena takes beyond what its program holds, and how much it can address.

use std::alloc::Layout;
use std::hint::black_box;
use std::process::Command;
use std::ptr::NonNull;
use std::{env, fs};

use mallocer_core::{AllocError, Config, Mallocer};
use mallocer_flist::{Flist, SharedFlist};

fn open<M: Mallocer>(capacity: usize) -> M {
    let mut config = Config::default();
    config.capacity = capacity;
    M::open(&config).unwrap()
}

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, 8).unwrap()
}

/// A generator of the same numbers every time (Knuth's MMIX constants).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) as usize % bound
    }
}

/// Keeps 100 000 chunks of 16 to 1024 random bytes alive, replaces one at random ten million
/// times, and says which part of the live bytes heap and overhead are.
fn part_after_replaces<M: Mallocer>() -> f64 {
    const LIVE: usize = 100_000;
    let heap: M = open(1 << 30);
    let mut random = Random(7);
    let take = |random: &mut Random| {
        let layout = layout(16 + random.below(1009));
        (heap.try_alloc(layout).unwrap().cast::<u8>(), layout)
    };
    let mut held: Vec<(NonNull<u8>, Layout)> = (0..LIVE).map(|_| take(&mut random)).collect();
    for _ in 0..10_000_000 {
        let at = random.below(LIVE);
        // SAFETY: the table has the only copy of the chunk, and gets another one.
        unsafe { heap.free(held[at].0) };
        held[at] = take(&mut random);
    }
    let live: usize = held.iter().map(|(_, layout)| layout.size()).sum();
    let info = heap.info();
    println!("{}: {live} bytes live; {info}", heap.name());
    (info.heap + info.overhead) as f64 / live as f64
}

/// The most that heap and overhead may be of the live bytes then. Rounding to slabs takes
/// 0.027 of it; the rest is that a slab's pools stay as large as when it had most chunks. It is
/// a bound for this sequence of numbers: over eight others the one-thread form takes 1.106 to
/// 1.114, the shared one 1.102 to 1.109.
const MOST_AFTER_REPLACES: f64 = 1.11;

#[test]
fn after_ten_million_replaces_a_ninth_is_lost_at_most() {
    let part = part_after_replaces::<Flist>();
    assert!(part <= MOST_AFTER_REPLACES, "heap and overhead are {part:.3} of the live bytes");
}

#[test]
fn after_ten_million_replaces_a_ninth_is_lost_at_most_in_the_shared_form() {
    let part = part_after_replaces::<SharedFlist>();
    assert!(part <= MOST_AFTER_REPLACES, "heap and overhead are {part:.3} of the live bytes");
}

/// Allocates a mebibyte of one size after another, and frees it each time.
fn sizes_in_turn<M: Mallocer>() {
    const AT_ONCE: usize = 1 << 20;
    let heap: M = open(1 << 30);
    for size in (1..=40).map(|times| times * 48) {
        let chunks: Vec<NonNull<u8>> =
            (0..AT_ONCE / size).map(|_| heap.try_alloc(layout(size)).unwrap().cast()).collect();
        for chunk in chunks {
            // SAFETY: allocated above, and freed once.
            unsafe { heap.free(chunk) };
        }
    }
    let info = heap.info();
    println!("{}: {info}", heap.name());
    // Forty sizes that each kept what they had would be at 20 MiB.
    assert!(info.heap <= 8 * AT_ONCE, "{info}");
}

#[test]
fn what_one_size_leaves_serves_the_next() {
    sizes_in_turn::<Flist>();
}

#[test]
fn what_one_size_leaves_serves_the_next_in_the_shared_form() {
    sizes_in_turn::<SharedFlist>();
}

#[test]
fn a_small_arena_with_large_chunks_pays_for_no_pool() {
    let heap: Flist = open(1 << 20);
    let live: usize = (0..10).map(|_| heap.try_alloc(layout(64 << 10)).unwrap().len()).sum();
    let info = heap.info();
    let part = (info.heap + info.overhead) as f64 / live as f64;
    println!("ten chunks of 64 KiB in 1 MiB: {part:.3}; {info}");
    assert!(part <= 1.05, "heap and overhead are {part:.3} of the {live} bytes live: {info}");
    // And what is left of the capacity can be had.
    let rest = (1 << 20) - info.heap;
    let mut more = 0;
    while heap.try_alloc(layout(64 << 10)).is_ok() {
        more += 64 << 10;
    }
    assert!(rest - more < 64 << 10, "{more} of the {rest} bytes that were left");
}

/// Memory of this process that is resident in mappings without a name, in bytes, exactly: where
/// the arenas are, and not the C library's heap and statics, which the test harness shares.
#[cfg(target_os = "linux")]
fn resident() -> usize {
    let maps = fs::read_to_string("/proc/self/smaps").unwrap();
    let (mut unnamed, mut kib) = (false, 0);
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap();
        if !first.ends_with(':') {
            // A mapping begins: addresses, rights, offset, device, inode, name.
            unnamed = words.count() == 4;
        } else if unnamed && first == "Anonymous:" {
            kib += words.next().unwrap().parse::<usize>().unwrap();
        }
    }
    kib << 10
}

/// Runs the named test of this file alone, in a process of its own, as told by this
/// variable; `true` in that process.
fn alone(name: &str) -> bool {
    const ALONE: &str = "MALLOCER_TEST_ALONE";
    if env::var_os(ALONE).is_some() {
        return true;
    }
    let mut command = Command::new(env::current_exe().unwrap());
    // With one arena the C library's heap is where its name says, and not in a mapping for each
    // thread.
    let command = command.env(ALONE, "1").env("MALLOC_ARENA_MAX", "1");
    let command = command.args(["--exact", name, "--nocapture"]);
    let output = command.output().unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{out}");
    assert!(output.status.success(), "{out}{err}");
    assert!(out.contains("1 passed"), "the test is called {name}: {out}");
    false
}

/// The first arena of a process: its descriptors and bookkeeping are counted, too.
#[test]
#[cfg(target_os = "linux")]
fn one_small_chunk_makes_five_os_pages_resident_at_most() {
    if !alone("one_small_chunk_makes_five_os_pages_resident_at_most") {
        return;
    }
    // The stack, too, has no name: it grows before it is looked at.
    black_box([1u8; 64 << 10]);
    resident();
    let before = resident();
    let heap: Flist = open(1 << 20);
    let chunk = heap.try_alloc(layout(16)).unwrap();
    // SAFETY: the chunk is ours.
    unsafe { chunk.cast::<u8>().write_bytes(1, chunk.len()) };
    let taken = resident() - before;
    println!("one chunk of 16 bytes: {taken} bytes resident; {}", heap.info());
    // Four are flist's: descriptors, two of bookkeeping, the chunk's. One more may be the
    // harness's own.
    assert!(taken <= 5 * 4096, "{taken} bytes are resident for one chunk of 16");
}

/// 64 GiB of chunks, of which only the ends are touched: what is counted, and that the
/// address of each leads to it.
fn sixty_four_gib<M: Mallocer>() {
    const CAPACITY: usize = 64 << 30;
    const BLOCK: usize = 1 << 30;
    let heap: M = open(CAPACITY);
    let first = heap.try_alloc(layout(24)).unwrap();
    let blocks: Vec<NonNull<[u8]>> =
        (0..63).map(|_| heap.try_alloc(layout(BLOCK)).unwrap()).collect();
    let mut rest: Vec<NonNull<[u8]>> = Vec::new();
    let refusal = loop {
        match heap.try_alloc(layout(16 << 20)) {
            Ok(chunk) => rest.push(chunk),
            Err(refusal) => break refusal,
        }
    };
    assert!(
        matches!(refusal, AllocError::Capacity { requested, used, limit }
            if limit == CAPACITY && used <= limit && requested > limit - used),
        "{refusal:?}"
    );
    let last = heap.try_alloc(layout(24)).unwrap();
    let info = heap.info();
    assert!(info.heap <= CAPACITY && info.heap > CAPACITY - (17 << 20), "{info}");
    let all =
        || [first, last].into_iter().chain(blocks.iter().copied()).chain(rest.iter().copied());
    let span = |chunk: NonNull<[u8]>| {
        let start = chunk.cast::<u8>().addr().get();
        (start, start + chunk.len())
    };
    let lowest = all().map(|chunk| span(chunk).0).min().unwrap();
    let highest = all().map(|chunk| span(chunk).1).max().unwrap();
    assert!(highest - lowest >= 63 * BLOCK, "the chunks span {} bytes", highest - lowest);
    // SAFETY: all chunks are live and ours; each is written within its length, read back,
    // and freed once.
    unsafe {
        for (number, chunk) in (0_u8..).zip(all()) {
            chunk.cast::<u8>().write(number);
            chunk.cast::<u8>().add(chunk.len() - 1).write(!number);
        }
        for (number, chunk) in (0_u8..).zip(all()) {
            let start = chunk.cast::<u8>();
            assert_eq!(start.read(), if chunk.len() == 1 { !number } else { number });
            assert_eq!(start.add(chunk.len() - 1).read(), !number);
            assert_eq!(heap.chunk_len(start), chunk.len(), "chunk {number}");
        }
        for chunk in all().collect::<Vec<_>>().into_iter().rev() {
            heap.free(chunk.cast());
        }
    }
    assert_eq!(heap.info().alloc, 0);
}

#[test]
fn an_arena_of_64_gib_addresses_all_of_it() {
    sixty_four_gib::<Flist>();
}

#[test]
fn a_shared_arena_of_64_gib_addresses_all_of_it() {
    sixty_four_gib::<SharedFlist>();
}
