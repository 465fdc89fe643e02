//! A release gives memory back for good: resident memory does not creep.
//!
//! What the heap counts is the suite's matter; this asks the operating system. The
//! tests look at the whole process, so they are a binary of their own and take
//! turns. Linux only.
#![cfg(target_os = "linux")]

use std::alloc::Layout;
use std::sync::Mutex;

use mallocer_core::{Config, Mallocer};

/// Held by the test whose turn it is.
static TURN: Mutex<()> = Mutex::new(());

/// Resident bytes of this process.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("it has VmRSS");
    let kib = line.split_whitespace().nth(1).expect("VmRSS has a value");
    kib.parse::<usize>().expect("it is a number") << 10
}

/// Fills a heap with `chunks` chunks of 16 to 256 bytes and releases it, `rounds`
/// times: resident memory ends within 5 % of where it was after the first time
/// (or 1 MiB, of which 5 % are less than what the test harness itself uses).
fn steady<M: Mallocer>(chunks: usize, rounds: usize) {
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut config = Config::default();
    config.capacity = 4 << 30;
    let heap = M::open(&config).expect("a heap of 4 GiB opens");
    let mut first = None;
    for _ in 0..rounds {
        for chunk in 0..chunks {
            let size = 16 + chunk * 7919 % 241;
            let layout = Layout::from_size_align(size, 8).expect("small sizes are layouts");
            let chunk = heap.try_alloc(layout).expect("4 GiB hold all of them");
            // SAFETY: a chunk is valid for writes of its whole length.
            unsafe { chunk.cast::<u8>().write(1) };
        }
        // SAFETY: no chunk is used any more, and no other thread uses the heap.
        unsafe { heap.release() };
        first.get_or_insert_with(resident);
    }
    let (first, last) = (first.expect("there is a round"), resident());
    assert!(
        last <= first + (first / 20).max(1 << 20),
        "{}: {first} bytes are resident after the first release, {last} after {rounds}",
        heap.name()
    );
}

/// What the figure is worth: memory that is touched shows in it.
#[test]
fn touched_memory_is_resident() {
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let before = resident();
    let bytes = vec![1_u8; 64 << 20];
    let after = resident();
    assert!(after >= before + bytes.len() / 2, "{before} bytes before, {after} after 64 MiB");
}

macro_rules! backends {
    ($($backend:ident: $single:ty, $shared:ty;)+) => {$(
        mod $backend {
            #[test]
            fn single() {
                super::steady::<$single>(50_000, 20);
            }

            #[test]
            fn shared() {
                super::steady::<$shared>(50_000, 20);
            }

            #[test]
            #[ignore = "takes a minute for each backend"]
            fn a_million_chunks_a_hundred_times() {
                super::steady::<$single>(1_000_000, 100);
            }
        }
    )+};
}

backends! {
    flist: mallocer_flist::Flist, mallocer_flist::SharedFlist;
    malloc: mallocer_malloc::Malloc, mallocer_malloc::SharedMalloc;
    jemalloc: mallocer_jemalloc::Jemalloc, mallocer_jemalloc::SharedJemalloc;
    mimalloc: mallocer_mimalloc::Mimalloc, mallocer_mimalloc::SharedMimalloc;
}
