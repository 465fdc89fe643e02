//! Threads that meet in nothing but the arena, and in atomics of this file.
//!
//! ThreadSanitizer knows of an order between threads what instrumented code and the calls
//! of the system's thread library say. The standard library comes built without it, so
//! what threads hand over through its locks, barriers and channels looks like a race.
//! Here they hand over through [`Slot`], wait at a [`Gate`], and end by a join, and there is
//! no test harness, whose threads have channels: what ThreadSanitizer reports is the
//! engine's.
//!
//! ```sh
//! .ci/sanitize.sh thread
//! ```

use std::alloc::Layout;
use std::panic;
use std::process;
use std::ptr::{self, NonNull};
use std::sync::atomic::Ordering::{AcqRel, Acquire};
use std::sync::atomic::{AtomicPtr, AtomicUsize};
use std::thread;

use mallocer_conformance::Random;
use mallocer_core::{Config, Mallocer};
use mallocer_flist::{Flist, SharedFlist};

const THREADS: usize = 3;

/// Steps of a thread: more where nobody looks over its shoulder.
const STEPS: usize = if cfg!(debug_assertions) { 20_000 } else { 100_000 };

fn open(capacity: usize) -> &'static SharedFlist {
    let mut config = Config::default();
    config.capacity = capacity;
    // Not dropped by a last thread, but left: the order of that is the standard library's.
    Box::leak(Box::new(SharedFlist::open(&config).unwrap()))
}

/// Runs `work` on some threads, and waits for all.
fn on_threads(count: usize, work: impl Fn(usize) + Copy + Send + 'static) {
    let threads: Vec<_> = (0..count).map(|me| thread::spawn(move || work(me))).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// A place where a thread leaves a chunk for any other.
struct Slot(AtomicPtr<u8>);

impl Slot {
    fn row(len: usize) -> &'static [Slot] {
        Vec::leak((0..len).map(|_| Slot(AtomicPtr::new(ptr::null_mut()))).collect())
    }

    /// Leaves a chunk, or null, and takes what was there.
    fn swap(&self, chunk: *mut u8) -> Option<NonNull<u8>> {
        NonNull::new(self.0.swap(chunk, AcqRel))
    }
}

/// Frees what is left in the slots, which is all there is.
fn empty(heap: &SharedFlist, slots: &[Slot]) {
    for slot in slots {
        if let Some(chunk) = slot.swap(ptr::null_mut()) {
            check_and_free(heap, chunk);
        }
    }
    assert_eq!(heap.info().alloc, 0);
}

/// A barrier.
struct Gate(AtomicUsize);

impl Gate {
    /// Waits until `count` threads have come for the `turn`-th time, from 1 on.
    fn pass(&self, count: usize, turn: usize) {
        self.0.fetch_add(1, AcqRel);
        while self.0.load(Acquire) < count * turn {
            thread::yield_now();
        }
    }
}

/// Sizes of pools, small ones most, and now and then an extent; 16 bytes at least.
fn size(random: &mut Random) -> usize {
    match random.below(100) {
        0 => random.within(40_000, 140_000),
        1..=9 => random.within(16, 8_000),
        _ => random.within(16, 300),
    }
}

/// A chunk whose first word is its size, and whose every other byte is a sum of it.
fn fill(heap: &impl Mallocer, size: usize) -> NonNull<u8> {
    let chunk = heap.try_alloc(Layout::from_size_align(size, 8).unwrap()).unwrap().cast::<u8>();
    // SAFETY: the chunk is ours and has `size` bytes, at least 16.
    unsafe {
        chunk.write_bytes(size as u8, size);
        chunk.cast::<usize>().write(size);
    }
    chunk
}

fn check_and_free(heap: &impl Mallocer, chunk: NonNull<u8>) {
    // SAFETY: the chunk was filled by `fill`, is live and ours, and freed once.
    unsafe {
        let size = chunk.cast::<usize>().read();
        let bytes = std::slice::from_raw_parts(chunk.as_ptr().add(8), size - 8);
        assert!(bytes.iter().all(|&byte| byte == size as u8));
        heap.free(chunk);
    }
}

fn chunks_go_from_thread_to_thread() {
    let (heap, slots) = (open(1 << 30), Slot::row(500));
    on_threads(THREADS, move |me| {
        let mut random = Random::new(me as u64);
        for _ in 0..STEPS {
            let chunk = fill(heap, size(&mut random));
            if let Some(other) = slots[random.below(slots.len())].swap(chunk.as_ptr()) {
                check_and_free(heap, other);
            }
        }
    });
    empty(heap, slots);
}

fn threads_come_and_go_with_survivors() {
    let (heap, slots) = (open(1 << 30), Slot::row(50));
    for round in 0..STEPS / 200 {
        on_threads(THREADS, move |me| {
            let mut random = Random::new((round * THREADS + me) as u64);
            for _ in 0..100 {
                let chunk = fill(heap, size(&mut random));
                if let Some(other) = slots[random.below(slots.len())].swap(chunk.as_ptr()) {
                    check_and_free(heap, other);
                }
            }
        });
    }
    empty(heap, slots);
    heap.purge();
    assert_eq!(heap.info().heap, 0, "threads that ended hold nothing back");
}

fn a_release_comes_between_the_work_of_threads() {
    static GATE: Gate = Gate(AtomicUsize::new(0));
    let heap = open(1 << 30);
    on_threads(THREADS, move |me| {
        let mut random = Random::new(me as u64);
        for round in 0..STEPS / 1000 {
            let mut chunks: Vec<_> = (0..200).map(|_| fill(heap, size(&mut random))).collect();
            chunks.drain(..100).for_each(|chunk| check_and_free(heap, chunk));
            GATE.pass(THREADS, 2 * round + 1);
            if me == 0 {
                // SAFETY: all threads wait, and forget what they had.
                unsafe { heap.release() };
                assert_eq!(heap.info().alloc, 0);
            }
            GATE.pass(THREADS, 2 * round + 2);
        }
    });
}

fn purges_and_figures_come_from_any_thread() {
    let heap = open(1 << 30);
    on_threads(THREADS, move |me| {
        let mut random = Random::new(me as u64);
        for step in 0..STEPS / 4 {
            let chunk = fill(heap, size(&mut random));
            if step % 500 == me {
                heap.purge();
            }
            if step % 100 == me {
                assert!(heap.info().alloc > 0);
                heap.each_slab_use(&mut |slab| assert!(slab.heap <= 1 << 30));
            }
            check_and_free(heap, chunk);
        }
    });
    assert_eq!(heap.info().alloc, 0);
}

/// Arenas of one thread each, which have in common where the process's memory comes from.
fn every_thread_has_arenas_of_its_own() {
    on_threads(THREADS, |me| {
        let mut random = Random::new(me as u64);
        for _ in 0..STEPS / 200 {
            let mut config = Config::default();
            config.capacity = 64 << 20;
            let heap = Flist::open(&config).unwrap();
            let mut chunks: Vec<_> = (0..100).map(|_| fill(&heap, size(&mut random))).collect();
            chunks.drain(50..).for_each(|chunk| check_and_free(&heap, chunk));
        }
    });
}

fn main() {
    // Whoever panics ends the program: others may wait at a gate for it.
    panic::set_hook(Box::new(|panic| {
        eprintln!("{panic}");
        process::abort();
    }));
    chunks_go_from_thread_to_thread();
    threads_come_and_go_with_survivors();
    a_release_comes_between_the_work_of_threads();
    purges_and_figures_come_from_any_thread();
    every_thread_has_arenas_of_its_own();
    println!("five programs of {THREADS} threads: no chunk is lost or handed out twice");
}
