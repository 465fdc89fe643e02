//! Workloads of several threads on one heap.
//!
//! Time runs from the moment when all threads are ready until the last one is done. It
//! is given for each operation of a thread: with twice the threads and twice the
//! processors, it stays the same where an allocator scales.

use std::ptr::{self, NonNull};
use std::sync::atomic::Ordering::{AcqRel, Relaxed};
use std::sync::atomic::{AtomicPtr, AtomicU64};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Barrier, Mutex};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use crate::chunk::{Held, free_in_order, room, take};
use crate::random::{Drawer, Random};
use crate::replace::Replace;
use crate::{Sizes, Subject};

/// Where threads wait for each other, before and after what is measured.
///
/// The threads themselves note when they begin and when they are done. Whoever waits for them
/// would learn of it late: with more threads than processors it may get one of them only when most of
/// the work is done.
struct Gate {
    all: Barrier,
    opened: Instant,
    /// Nanoseconds from `opened` to when the first thread began.
    first_began: AtomicU64,
    /// Nanoseconds from `opened` to when the last thread was done.
    last_done: AtomicU64,
}

impl Gate {
    fn new(threads: usize) -> Gate {
        let (first_began, last_done) = (AtomicU64::new(u64::MAX), AtomicU64::new(0));
        Gate { all: Barrier::new(threads), opened: Instant::now(), first_began, last_done }
    }

    /// Runs `part` of one thread, when all are ready.
    fn pass<T>(&self, part: impl FnOnce() -> T) -> T {
        self.all.wait();
        self.first_began.fetch_min(self.now_ns(), Relaxed);
        let result = part();
        self.last_done.fetch_max(self.now_ns(), Relaxed);
        self.all.wait();
        result
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_nanos()).expect("no run lasts for centuries")
    }

    /// The time that all parts together took, once all threads have ended.
    fn time(self) -> Duration {
        let (began, done) = (self.first_began.into_inner(), self.last_done.into_inner());
        Duration::from_nanos(done.checked_sub(began).expect("all threads have passed"))
    }
}

/// Starts a thread that tells the subject when it begins and ends.
fn start<'s, 'e, S: Subject + Sync>(
    scope: &'s Scope<'s, 'e>,
    subject: &'e S,
    part: impl FnOnce() + Send + 's,
) {
    scope.spawn(move || {
        subject.thread_begins();
        part();
        subject.thread_ends();
    });
}

/// Live chunks of each thread that works on its own.
const OWN_LIVE: usize = 10_000;

/// Each thread replaces chunks of its own, `iterations` of them.
pub(crate) fn own<S: Subject + Sync>(
    open: &dyn Fn() -> S,
    iterations: u64,
    threads: usize,
) -> Duration {
    let subject = open();
    let gate = Gate::new(threads);
    thread::scope(|scope| {
        for thread in 0..threads {
            let (subject, gate) = (&subject, &gate);
            start(scope, subject, move || {
                let seed = 0x0e1 + thread as u64;
                let mut replace = Replace::new(subject, OWN_LIVE, Sizes::Mixed, seed);
                gate.pass(|| replace.run(iterations));
            });
        }
    });
    gate.time()
}

/// Chunks that are handed over in one go.
const BATCH: usize = 100;

/// Batches that may be on their way.
const IN_FLIGHT: usize = 20;

/// Two ends of a way for batches, and of the way back for the emptied vectors: nothing is
/// allocated on the way.
struct Belt {
    full: (SyncSender<Vec<Held>>, Receiver<Vec<Held>>),
    empty: (SyncSender<Vec<Held>>, Receiver<Vec<Held>>),
}

impl Belt {
    fn new() -> Belt {
        let (full, empty) = (sync_channel(IN_FLIGHT), sync_channel(IN_FLIGHT));
        for _ in 0..IN_FLIGHT {
            empty.0.send(room(BATCH)).expect("the other end is here");
        }
        Belt { full, empty }
    }
}

/// Half of the threads allocate, `iterations` chunks each; each has a partner that frees
/// them.
pub(crate) fn handover<S: Subject + Sync>(
    open: &dyn Fn() -> S,
    iterations: u64,
    threads: usize,
) -> Duration {
    let subject = open();
    let pairs = (threads / 2).max(1);
    let gate = Gate::new(2 * pairs);
    thread::scope(|scope| {
        for pair in 0..pairs {
            let (subject, gate) = (&subject, &gate);
            let Belt { full: (full, arriving), empty: (back, empty) } = Belt::new();
            start(scope, subject, move || {
                let drawer = Drawer::new(Sizes::Mixed);
                let mut random = Random::new(0x4a2d + pair as u64);
                gate.pass(move || {
                    for _ in 0..iterations.div_ceil(BATCH as u64) {
                        let mut batch = empty.recv().expect("the consumer is there");
                        batch.extend((0..BATCH).map(|_| take(subject, drawer.draw(&mut random))));
                        full.send(batch).expect("the consumer is there");
                    }
                });
            });
            start(scope, subject, move || {
                gate.pass(move || {
                    for mut batch in arriving {
                        free_in_order(subject, &mut batch);
                        // After the last batch, the producer has gone.
                        let _ = back.send(batch);
                    }
                });
            });
        }
    });
    gate.time()
}

/// Slots in which threads leave chunks for each other, for each thread.
const SLOTS: usize = 5000;

/// Each thread allocates a chunk, puts it into any of the slots that all share, and frees
/// what was there: what a server does that hands its requests on (after Larson and
/// Krishnan 1998).
pub(crate) fn larson<S: Subject + Sync>(
    open: &dyn Fn() -> S,
    iterations: u64,
    threads: usize,
) -> Duration {
    let subject = open();
    let slots: Vec<AtomicPtr<u8>> =
        (0..SLOTS * threads).map(|_| AtomicPtr::new(ptr::null_mut())).collect();
    let drop_at = |slot: &AtomicPtr<u8>, new: *mut u8| {
        if let Some(chunk) = NonNull::new(slot.swap(new, AcqRel)) {
            // SAFETY: who takes a chunk out of its slot has its only copy. Its first word
            // is its size.
            unsafe { Held { chunk, size: chunk.cast().read() }.free(&subject) };
        }
    };
    let gate = Gate::new(threads);
    thread::scope(|scope| {
        for thread in 0..threads {
            let (subject, gate, slots, drop_at) = (&subject, &gate, &slots, &drop_at);
            start(scope, subject, move || {
                let drawer = Drawer::new(Sizes::Mixed);
                let mut random = Random::new(0x1a45 + thread as u64);
                let mut run = |count: u64| {
                    for _ in 0..count {
                        let held = take(subject, drawer.draw(&mut random));
                        drop_at(&slots[random.below(slots.len())], held.chunk.as_ptr());
                    }
                };
                run(4 * SLOTS as u64);
                gate.pass(|| run(iterations));
            });
        }
    });
    slots.iter().for_each(|slot| drop_at(slot, ptr::null_mut()));
    gate.time()
}

/// Chunks that a thread allocates in its life, and of which the next one inherits half.
pub(crate) const LIFE: usize = 4000;

/// Threads come, free what their predecessors left, allocate [`LIFE`] chunks, free half of
/// them, and go; `iterations` times, as many at once as there are threads.
pub(crate) fn generations<S: Subject + Sync>(
    open: &dyn Fn() -> S,
    iterations: u64,
    threads: usize,
) -> Duration {
    let subject = open();
    let estates: Vec<Mutex<Vec<Held>>> = (0..threads).map(|_| Mutex::new(room(LIFE))).collect();
    let begin = Instant::now();
    for generation in 0..iterations {
        thread::scope(|scope| {
            for (thread, estate) in estates.iter().enumerate() {
                let subject = &subject;
                start(scope, subject, move || {
                    let mut held = estate.lock().expect("no heir panics");
                    free_in_order(subject, &mut held);
                    let drawer = Drawer::new(Sizes::Mixed);
                    let mut random = Random::new(1 + generation * threads as u64 + thread as u64);
                    held.extend((0..LIFE).map(|_| take(subject, drawer.draw(&mut random))));
                    for _ in 0..LIFE / 2 {
                        let any = random.below(held.len());
                        // SAFETY: the chunk has left the list, and is not used afterwards.
                        unsafe { held.swap_remove(any).free(subject) };
                    }
                });
            }
        });
    }
    let time = begin.elapsed();
    for estate in estates {
        free_in_order(&subject, &mut estate.into_inner().expect("no heir panics"));
    }
    time
}

/// Threads that allocate in the crowd, and as many that free.
pub(crate) const CROWD: usize = 50;

/// Fifty threads allocate and fill, `iterations` chunks each; fifty others check the
/// contents and free.
///
/// # Panics
///
/// When a chunk does not hold what was written to it.
pub(crate) fn crowd<S: Subject + Sync>(open: &dyn Fn() -> S, iterations: u64) -> Duration {
    let subject = open();
    let gate = Gate::new(2 * CROWD);
    thread::scope(|scope| {
        for pair in 0..CROWD {
            let (subject, gate) = (&subject, &gate);
            let Belt { full: (full, arriving), empty: (back, empty) } = Belt::new();
            start(scope, subject, move || {
                let drawer = Drawer::new(Sizes::Mixed);
                let mut random = Random::new(0xc4_04d + pair as u64);
                gate.pass(move || {
                    for number in 0..iterations.div_ceil(BATCH as u64) {
                        let mut batch = empty.recv().expect("the partner is there");
                        for _ in 0..BATCH {
                            let held = take(subject, drawer.draw(&mut random));
                            // SAFETY: the chunk has so many bytes.
                            unsafe { held.chunk.write_bytes(mark(pair, number), held.size) };
                            batch.push(held);
                        }
                        full.send(batch).expect("the partner is there");
                    }
                });
            });
            start(scope, subject, move || {
                gate.pass(move || {
                    for (number, mut batch) in (0..).zip(arriving) {
                        for held in &batch {
                            // SAFETY: the chunk has so many bytes, all written, and nobody
                            // else uses it.
                            let bytes = unsafe {
                                std::slice::from_raw_parts(held.chunk.as_ptr(), held.size)
                            };
                            let mark = mark(pair, number);
                            let right = bytes.iter().filter(|&&byte| byte == mark).count();
                            assert_eq!(right, held.size, "bytes that hold what was written");
                        }
                        free_in_order(subject, &mut batch);
                        let _ = back.send(batch);
                    }
                });
            });
        }
    });
    gate.time()
}

/// What the chunks of a batch are filled with.
fn mark(pair: usize, number: u64) -> u8 {
    (pair as u64 * 31 + number * 7 + 1) as u8
}
