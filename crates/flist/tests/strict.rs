//! Memory that must be committed before it is used: what strict overcommit
//! (`vm.overcommit_memory = 2`) asks of a process, without a change of the machine.
//!
//! A limit on data does the same to one process. A mapping that may be written to is refused
//! if it goes beyond what is left, addresses without access are granted, and giving them
//! access is counted. So the engine reserves without access and commits what it uses, and the
//! kernel's `VmData` says how much that is.
//!
//! The limit and the figure are the process's: there is no test harness, whose threads would
//! count, and one program runs after the other.
#![cfg(target_os = "linux")]

use std::alloc::Layout;
use std::fs;
use std::ptr::{self, NonNull};

use mallocer_core::{AllocError, Config, Mallocer};
use mallocer_flist::{Flist, SharedFlist};

const MIB: usize = 1 << 20;

/// What the process may write to: half of the machine's memory. A reservation for twice the
/// memory does not fit into that, and so is made without access; but the table of descriptors
/// of one for terabytes does. It is not refused, and must be found out by the figures.
fn limit() -> usize {
    memory() / 2
}

/// Bytes of memory that the machine has.
fn memory() -> usize {
    kib("/proc/meminfo", "MemTotal:") << 10
}

/// Lets the process have `bytes` of private memory that may be written to.
fn limit_data(bytes: usize) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the calls read and write `limit` only.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_DATA, &mut limit), 0);
        limit.rlim_cur = limit.rlim_max.min(bytes as libc::rlim_t);
        assert_eq!(libc::setrlimit(libc::RLIMIT_DATA, &limit), 0);
    }
}

/// Bytes that this process may write to, touched or not: what the limit counts, and what
/// strict overcommit does.
fn committed() -> usize {
    kib("/proc/self/status", "VmData:") << 10
}

/// The number behind `name` in a file of the kernel's.
fn kib(file: &str, name: &str) -> usize {
    let text = fs::read_to_string(file).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn open<M: Mallocer>() -> M {
    let mut config = Config::default();
    config.capacity = 1 << 30;
    M::open(&config).unwrap()
}

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, 8).unwrap()
}

/// A chunk of `size` bytes, each of which is `byte`.
fn filled(heap: &impl Mallocer, size: usize, byte: u8) -> Result<NonNull<[u8]>, AllocError> {
    let chunk = heap.try_alloc(layout(size))?;
    // SAFETY: all of the chunk is ours.
    unsafe { chunk.cast::<u8>().write_bytes(byte, chunk.len()) };
    Ok(chunk)
}

/// What the rest rests upon: the limit does what strict overcommit would.
fn a_range_is_reserved_without_access_only() {
    let reserve = |access| {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a fresh mapping at an address of the system's choice, which is given back
        // unused.
        unsafe {
            let start = libc::mmap(ptr::null_mut(), memory(), access, flags, -1, 0);
            let granted = start != libc::MAP_FAILED;
            if granted {
                assert_eq!(libc::munmap(start, memory()), 0);
            }
            granted
        }
    };
    assert!(!reserve(libc::PROT_READ | libc::PROT_WRITE), "the limit on data is not kept");
    assert!(reserve(libc::PROT_NONE));
}

/// The table of descriptors is committed whole, 64 bytes for each run of 64 KiB. For 16 TiB
/// that would be 16 GiB, again in each process that is forked; for twice the memory of the
/// machine it is a 512th of it.
fn the_first_arena_commits_a_table_for_twice_the_memory_at_most() {
    let before = committed();
    let heap: SharedFlist = open();
    filled(&heap, 16, 1).unwrap();
    let taken = committed() - before;
    // Alignment of the table, bookkeeping, a cache and a pool are below 4 MiB.
    let most = memory() / 512 + 4 * MIB;
    assert!(taken <= most, "the first chunk committed {taken} bytes, more than {most}");
    assert!(taken > 16 << 10, "nothing was committed: the reservation is not strict");
}

/// Pools and extents are committed when they are taken, and no more when they are given back.
fn what_is_given_back_counts_no_longer<M: Mallocer>() {
    const CHUNKS: usize = 100;
    let heap: M = open();
    Flist::trim();
    let before = committed();
    for size in [1 << 10, MIB] {
        for _ in 0..CHUNKS * MIB / size {
            filled(&heap, size, 0xff).unwrap();
        }
    }
    let held = committed();
    assert!(held >= before + 2 * CHUNKS * MIB, "{before} bytes before, {held} with all chunks");
    // SAFETY: no chunk is used any more.
    unsafe { heap.release() };
    assert!(Flist::trim() >= 2 * CHUNKS * MIB);
    let after = committed();
    assert!(after <= before + MIB, "{before} bytes before, {after} after");
    // The same addresses serve again, and nobody finds what was in them.
    for size in [1 << 10, MIB] {
        let chunk = heap.try_alloc_zeroed(layout(size)).unwrap();
        // SAFETY: the chunk is ours, and is initialised.
        assert!(unsafe { chunk.as_ref() }.iter().all(|&byte| byte == 0));
    }
}

/// When the system grants no more, that is an error; chunks stay as they are, and when it
/// grants again, the arena goes on.
fn a_refused_commit_is_an_error_and_harms_nothing<M: Mallocer>() {
    const MARGIN: usize = 64;
    let heap: M = open();
    let mut held = Vec::with_capacity(2 * MARGIN);
    Flist::trim();
    limit_data(committed() + MARGIN * MIB);
    let refusal = loop {
        match filled(&heap, MIB, held.len() as u8) {
            Ok(chunk) => held.push(chunk),
            Err(refusal) => break refusal,
        }
        assert!(held.len() <= MARGIN, "the limit on data is not kept");
    };
    let used = heap.info().heap;
    limit_data(limit());
    assert!(
        matches!(refusal, AllocError::System { requested, used: told, limit }
            if requested >= MIB && told == used && limit == 1 << 30),
        "{used} bytes are used: {refusal:?}"
    );
    assert!(held.len() >= MARGIN / 2, "{} of {MARGIN} MiB could be had", held.len());
    held.push(filled(&heap, MIB, held.len() as u8).expect("the limit is lifted"));
    for (number, chunk) in held.into_iter().enumerate() {
        // SAFETY: the chunk was filled, is live, and is freed once.
        unsafe {
            assert!(chunk.as_ref().iter().all(|&byte| byte == number as u8), "chunk {number}");
            heap.free(chunk.cast());
        }
    }
    assert_eq!(heap.info().alloc, 0);
}

fn main() {
    limit_data(limit());
    a_range_is_reserved_without_access_only();
    // The first arena of the process.
    the_first_arena_commits_a_table_for_twice_the_memory_at_most();
    what_is_given_back_counts_no_longer::<Flist>();
    what_is_given_back_counts_no_longer::<SharedFlist>();
    a_refused_commit_is_an_error_and_harms_nothing::<Flist>();
    a_refused_commit_is_an_error_and_harms_nothing::<SharedFlist>();
    println!("what must be committed is committed, counted, and given back");
}
