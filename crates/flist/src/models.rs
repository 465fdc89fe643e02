//! The protocols of the shared arena under loom: every order of events, within bounds.
//!
//! ```sh
//! .ci/loom.sh            # all models; LOOM_MAX_PREEMPTIONS=4 goes deeper
//! ```
//!
//! A model is a small program of two or three threads. loom runs it again and again, each
//! time with another order of the operations on locks and atomics, and with every value
//! that a relaxed load may see. It fails on a panic, a deadlock (a wake-up that is lost is
//! one), or two threads that have a locked value at once.
//!
//! Arenas have one slab and a small capacity here, so that magazines hold four chunks:
//! five allocations refill, five frees flush, and nine fill the depot.

extern crate std;

use core::alloc::Layout;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::boxed::Box;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::vec::Vec;

use loom::sync::{Arc, Mutex};
use loom::thread;
use mallocer_core::{AllocError, Budget, Config, Ladder, Mallocer};

use crate::cache::ThreadCache;
use crate::foreign::{Foreign, foreign_bytes};
use crate::local::local;
use crate::lock::Lock;
use crate::once::Once;
use crate::pool::Bare;
use crate::post::Post;
use crate::registry;
use crate::shelf::Shelf;
use crate::{Flist, SharedFlist};

/// Two threads are switched this often at most where they need not be: most faults of
/// concurrency need no more (Musuvathi and Qadeer 2007). `LOOM_MAX_PREEMPTIONS` decides
/// otherwise.
const PREEMPTIONS: usize = 3;

fn model(program: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(PREEMPTIONS));
    builder.max_branches = 20_000;
    let runs = std::sync::Arc::new(AtomicUsize::new(0));
    let counted = runs.clone();
    builder.check(move || {
        counted.fetch_add(1, Relaxed);
        program();
    });
    let runs = runs.load(Relaxed);
    std::println!("{runs} orders of events");
    assert!(runs > 1, "there is nothing to model");
}

/// The chunks' size.
const SIZE: usize = 64;
const CHUNK: Layout = match Layout::from_size_align(SIZE, 8) {
    Ok(layout) => layout,
    Err(_) => panic!("64 bytes are a layout"),
};

/// Enough for all, but so little that magazines hold four chunks.
const CAPACITY: usize = 64 << 10;

fn open(capacity: usize) -> Arc<SharedFlist> {
    let mut config = Config::default();
    config.capacity = capacity;
    config.ladder = Ladder::from_slabs(&[SIZE]).unwrap();
    Arc::new(SharedFlist::open(&config).unwrap())
}

/// A thread that uses arenas: at its end it does what the system has it do elsewhere.
fn start<T: 'static>(work: impl FnOnce() -> T + 'static) -> thread::JoinHandle<T> {
    thread::spawn(move || {
        let result = work();
        registry::end_thread(local().cast());
        result
    })
}

/// A chunk that a thread holds, filled with a mark of its own.
struct Held(NonNull<u8>, u8);

// SAFETY: the chunk belongs to whoever has the value.
unsafe impl Send for Held {}

fn take(heap: &SharedFlist, mark: u8) -> Held {
    let chunk = heap.try_alloc(CHUNK).unwrap();
    assert_eq!(chunk.len(), SIZE);
    // SAFETY: all of the chunk is ours.
    unsafe { chunk.cast::<u8>().write_bytes(mark, SIZE) };
    Held(chunk.cast(), mark)
}

/// Nobody else has the chunk: it holds what its holder wrote.
fn check(held: &Held) {
    // SAFETY: the chunk is live, and was filled.
    let bytes = unsafe { core::slice::from_raw_parts(held.0.as_ptr(), SIZE) };
    assert!(bytes.iter().all(|&byte| byte == held.1), "a chunk is handed out twice");
}

fn give(heap: &SharedFlist, held: Held) {
    check(&held);
    // SAFETY: live, ours, and not used afterwards.
    unsafe { heap.free(held.0) };
}

/// When all threads have ended: what is live, and that every equation holds.
fn settled(heap: &SharedFlist, live: usize) {
    heap.check_invariants();
    assert_eq!(heap.info().alloc, live * SIZE);
}

#[test]
fn a_lock_lets_one_in_and_wakes_all() {
    model(|| {
        let counter = Arc::new(Lock::new(0));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let counter = counter.clone();
                thread::spawn(move || *counter.lock() += 1)
            })
            .collect();
        *counter.lock() += 1;
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(*counter.lock(), 3);
    });
}

#[test]
fn what_is_made_once_is_made_once() {
    model(|| {
        let once = Arc::new(Once::new());
        let made = Arc::new(Mutex::new(0));
        let make = |fails: bool| {
            let (once, made) = (once.clone(), made.clone());
            thread::spawn(move || {
                let value = once.get_or_make(|| {
                    *made.lock().unwrap() += 1;
                    (!fails).then_some(7)
                });
                assert!(value.copied() == Some(7) || fails);
            })
        };
        let threads = [make(false), make(true)];
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(once.get(), Some(&7));
        assert!((1..=2).contains(&*made.lock().unwrap()), "a failed try is tried again");
    });
}

/// Both threads refill twice, and flush at their end.
#[test]
fn refills_hand_a_chunk_to_one_thread() {
    model(|| {
        let heap = open(CAPACITY);
        let threads: Vec<_> = (0..2)
            .map(|mark| {
                let heap = heap.clone();
                start(move || {
                    let held: Vec<_> = (0..5).map(|_| take(&heap, mark)).collect();
                    held.iter().for_each(check);
                    held.into_iter().for_each(|held| give(&heap, held));
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        settled(&heap, 0);
    });
}

/// One thread allocates, another one frees while the first goes on: chunks go back to the
/// pools of the one that has them, by the batch.
#[test]
fn chunks_are_handed_over() {
    model(|| {
        let heap = open(CAPACITY);
        let belt = Arc::new(Mutex::new(Vec::new()));
        let producer = {
            let (heap, belt) = (heap.clone(), belt.clone());
            start(move || {
                for mark in 0..2 {
                    let held: Vec<_> = (0..6).map(|_| take(&heap, mark)).collect();
                    belt.lock().unwrap().extend(held);
                }
            })
        };
        let consumer = {
            let (heap, belt) = (heap.clone(), belt.clone());
            start(move || {
                for _ in 0..2 {
                    let held: Vec<_> = belt.lock().unwrap().drain(..).collect();
                    held.into_iter().for_each(|held| give(&heap, held));
                }
            })
        };
        producer.join().unwrap();
        consumer.join().unwrap();
        let left: Vec<_> = belt.lock().unwrap().drain(..).collect();
        settled(&heap, left.len());
        start({
            let heap = heap.clone();
            move || left.into_iter().for_each(|held| give(&heap, held))
        })
        .join()
        .unwrap();
        settled(&heap, 0);
    });
}

/// Two threads send parcels to a third, which empties them and sends the blocks back: who has a block
/// sees what was done with it before.
#[test]
fn parcels_and_their_blocks_are_seen_whole() {
    /// What loom knows of a block: it complains about two threads that touch it at once.
    type Contents = loom::cell::UnsafeCell<u32>;
    struct Sent(*mut Post<Bare>);
    // SAFETY: what threads share of a post is atomic.
    unsafe impl Send for Sent {}

    /// A chunk that nobody has seen.
    fn chunk() -> Bare {
        Bare(Box::into_raw(Box::new(Contents::new(0))).cast())
    }

    /// A block for one chunk, which is where loom knows it by.
    fn block(home: *mut Post<Bare>) -> NonNull<Foreign<Bare>> {
        let words = std::vec![0_u64; foreign_bytes::<Bare>(1).div_ceil(8)].leak();
        // SAFETY: the block is as long as it says.
        unsafe {
            let block = Foreign::make(NonNull::from(words).cast(), 1, home);
            Foreign::slots(block.as_ptr()).write(chunk());
            block.as_ref().len.store(1, Relaxed);
            block
        }
    }

    fn contents(slots: *mut Bare) -> *const Contents {
        // SAFETY: the slot of a block's one chunk.
        unsafe { (*slots).0.cast_const().cast() }
    }

    /// Takes all parcels that have come, and gives their blocks back: how many they were.
    type Receive = fn(&Sent) -> u32;

    /// By emptying the post, which still has the blocks as their chunks are looked at.
    fn empty(Sent(owner): &Sent) -> u32 {
        let mut received = 0;
        let take = |slots: *mut Bare, count| {
            assert_eq!(count, 1);
            // SAFETY: a block that was received is this thread's.
            unsafe { (*contents(slots)).with_mut(|value| *value += 1) };
            received += 1;
        };
        // SAFETY: the post is this thread's until another one has joined it.
        unsafe { (**owner).empty(true, take) };
        received
    }

    /// Into a magazine, whose chunks are looked at when their blocks are somebody else's.
    fn receive(Sent(owner): &Sent) -> u32 {
        let mut shelf = Shelf::<Bare>::empty();
        let mut slots = [Bare(std::ptr::null_mut()); 4];
        shelf.magazine.replace(slots.as_mut_ptr(), 4, 0);
        shelf.set_post(*owner);
        // SAFETY: as above; a chunk that was received is this thread's.
        unsafe {
            shelf.receive();
            for slot in &mut slots[..shelf.magazine.len() as usize] {
                (*contents(slot)).with_mut(|value| *value += 1);
            }
        }
        shelf.magazine.len()
    }

    let parcels = |receive: Receive, same_chunks: bool| {
        let post = || Box::into_raw(Box::new(Post::<Bare>::new(4)));
        let owner = post();
        let sender = |own: *mut Post<Bare>| {
            let (owner, own) = (Sent(owner), Sent(own));
            thread::spawn(move || {
                let (Sent(owner), Sent(own)) = (&owner, &own);
                // SAFETY: posts are never given up; this one is the thread's. Blocks are the thread's
                // until they are sent.
                unsafe {
                    for _ in 0..2 {
                        let block = (**own).take_spare().unwrap_or_else(|| block(*own));
                        block.as_ref().len.store(1, Relaxed);
                        if !same_chunks {
                            Foreign::slots(block.as_ptr()).write(chunk());
                        }
                        let contents = contents(Foreign::slots(block.as_ptr()));
                        (*contents).with_mut(|value| *value += 1);
                        assert!((**owner).announce(1));
                        (**owner).send(block.as_ptr());
                    }
                }
            })
        };
        let senders = [sender(post()), sender(post())];
        let receiver = Sent(owner);
        let receiver = thread::spawn(move || receive(&receiver) + receive(&receiver));
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        let received = receiver.join().unwrap();
        assert_eq!(received + receive(&Sent(owner)), 4);
        // SAFETY: all threads have ended.
        assert_eq!(unsafe { (*owner).chunks() }, 0);
    };
    model(move || parcels(empty, true));
    model(move || parcels(receive, false));
}

/// One thread's frees fill its magazine, and send it to the depot whole; the other one's
/// allocations fetch it from there, or from the pools, whoever comes first.
#[test]
fn magazines_go_through_the_depot() {
    model(|| {
        let heap = open(CAPACITY);
        let threads = [
            {
                let heap = heap.clone();
                start(move || {
                    let held: Vec<_> = (0..6).map(|_| take(&heap, 1)).collect();
                    held.into_iter().for_each(|held| give(&heap, held));
                    Vec::new()
                })
            },
            {
                let heap = heap.clone();
                start(move || (0..5).map(|_| take(&heap, 2)).collect::<Vec<_>>())
            },
        ];
        let left: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        left.iter().for_each(check);
        settled(&heap, left.len());
    });
}

/// A thread ends, and what it leaves, chunks and pools, is used by two others at once.
#[test]
fn what_a_thread_leaves_is_taken_over() {
    model(|| {
        let heap = open(CAPACITY);
        let left = {
            let heap = heap.clone();
            start(move || (0..8).map(|_| take(&heap, 1)).collect::<Vec<_>>()).join().unwrap()
        };
        let mut left = left.into_iter();
        let heirs: Vec<_> = (2..4)
            .map(|mark| {
                let (heap, mine) = (heap.clone(), left.by_ref().take(4).collect::<Vec<_>>());
                start(move || {
                    mine.into_iter().for_each(|held| give(&heap, held));
                    let held: Vec<_> = (0..3).map(|_| take(&heap, mark)).collect();
                    held.iter().for_each(check);
                    held
                })
            })
            .collect();
        let held: Vec<_> = heirs.into_iter().flat_map(|heir| heir.join().unwrap()).collect();
        held.iter().for_each(check);
        settled(&heap, held.len());
    });
}

/// A thread ends while another one is at work, and a third takes its cache over.
#[test]
fn a_thread_that_ends_leaves_nothing() {
    model(|| {
        let heap = open(CAPACITY);
        let one = |mark: u8| {
            let heap = heap.clone();
            start(move || {
                let held = take(&heap, mark);
                let left = take(&heap, mark);
                give(&heap, held);
                left
            })
        };
        let (first, second) = (one(1), one(2));
        let mut left: Vec<Held> = Vec::new();
        left.push(first.join().unwrap());
        left.push(one(3).join().unwrap());
        left.push(second.join().unwrap());
        left.iter().for_each(check);
        settled(&heap, 3);
        let overhead = heap.info().overhead;
        // A thread more needs no cache more, only a larger magazine perhaps.
        one(4).join().unwrap();
        let cache = size_of::<ThreadCache>() + 2 * size_of::<Shelf<Bare>>();
        assert!(heap.info().overhead < overhead + cache);
    });
}

/// Two threads use two arenas and end, while both arenas go: no thread that ends touches
/// one that is gone.
#[test]
fn arenas_go_while_threads_end() {
    model(|| {
        let heaps = [open(CAPACITY), open(CAPACITY)];
        let users: Vec<_> = (0..2)
            .map(|mark| {
                let [first, second] = heaps.clone();
                start(move || {
                    let held = take(&first, mark);
                    // The last handles may be these.
                    drop(second);
                    give(&first, held);
                    drop(first);
                })
            })
            .collect();
        drop(heaps);
        users.into_iter().for_each(|user| user.join().unwrap());
    });
}

/// A chunk of before a release is freed after it: every thread that learns of the release
/// notices, though the arena's tag is read without ordering.
#[test]
fn a_late_free_after_a_release_is_caught() {
    quietly(|| {
        model(|| {
            let heap = open(CAPACITY);
            let released = Arc::new(Mutex::new(false));
            let late = {
                let (heap, released) = (heap.clone(), released.clone());
                let held = Arc::new(Mutex::new(None));
                let thread = {
                    let held = held.clone();
                    start(move || {
                        let chunk = take(&heap, 1);
                        *held.lock().unwrap() = Some(chunk);
                        // Not before the release, which nobody may race with.
                        while !*released.lock().unwrap() {
                            thread::yield_now();
                        }
                        let chunk = held.lock().unwrap().take().expect("put there above");
                        // SAFETY: it is not sound, and must be caught.
                        let caught =
                            catch_unwind(AssertUnwindSafe(|| unsafe { heap.free(chunk.0) }));
                        assert!(caught.is_err(), "a free after the release passes");
                        // The thread goes on in the same arena.
                        let held = take(&heap, 2);
                        give(&heap, held);
                    })
                };
                (thread, held)
            };
            let (thread, held) = late;
            while held.lock().unwrap().is_none() {
                thread::yield_now();
            }
            // SAFETY: the other thread waits; its chunk is used no more, but freed.
            unsafe { heap.release() };
            *released.lock().unwrap() = true;
            thread.join().unwrap();
            settled(&heap, 0);
        });
    });
}

/// Two threads free one chunk at once. Both may pass then, but the second copy is found
/// when it reaches the pools: at the end of a thread, or when the next one is not to have what it
/// left.
#[test]
fn of_two_frees_at_once_one_is_caught_in_the_end() {
    quietly(|| {
        model(|| {
            let heap = open(CAPACITY);
            let chunk = {
                let heap = heap.clone();
                start(move || take(&heap, 1)).join().unwrap()
            };
            let caught = Arc::new(Mutex::new(0));
            let threads: Vec<_> = (0..2)
                .map(|_| {
                    let (heap, caught) = (heap.clone(), caught.clone());
                    let chunk = chunk.0.as_ptr().expose_provenance();
                    thread::spawn(move || {
                        let chunk = NonNull::new(core::ptr::with_exposed_provenance_mut(chunk));
                        // SAFETY: one of the two is right, the other must be caught.
                        let free = catch_unwind(AssertUnwindSafe(|| unsafe {
                            heap.free(chunk.unwrap());
                        }));
                        let end = catch_unwind(|| registry::end_thread(local().cast()));
                        *caught.lock().unwrap() +=
                            u32::from(free.is_err()) + u32::from(end.is_err());
                    })
                })
                .collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            let purge = catch_unwind(AssertUnwindSafe(|| heap.purge()));
            assert_eq!(*caught.lock().unwrap() + u32::from(purge.is_err()), 1);
            settled(&heap, 0);
        });
    });
}

/// Two threads want the last bytes: what is refused would not fit, and what both got is
/// within the capacity.
#[test]
fn a_race_for_the_last_bytes_has_one_winner() {
    model(|| {
        let mut config = Config::default();
        config.capacity = 3 * 4096;
        config.ladder = Ladder::from_slabs(&[8192]).unwrap();
        let heap = Arc::new(SharedFlist::open(&config).unwrap());
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let heap = heap.clone();
                start(move || {
                    let answer = heap.try_alloc(Layout::new::<[u8; 8192]>());
                    assert!(heap.info().heap <= 3 * 4096);
                    match answer {
                        Ok(_) => 1,
                        Err(AllocError::Capacity { limit: 12_288, .. }) => 0,
                        Err(other) => panic!("{other}"),
                    }
                })
            })
            .collect();
        let won: u32 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert_eq!(won, 1);
    });
}

/// Another thread's purge and a thread's frees: what is given up is free, and what is used
/// is not given up.
#[test]
fn a_purge_takes_nothing_that_is_used() {
    model(|| {
        let heap = open(CAPACITY);
        let user = {
            let heap = heap.clone();
            start(move || {
                let held = take(&heap, 1);
                give(&heap, held);
                let held = take(&heap, 2);
                give(&heap, held);
            })
        };
        let purger = {
            let heap = heap.clone();
            start(move || heap.purge())
        };
        user.join().unwrap();
        purger.join().unwrap();
        settled(&heap, 0);
        let (heap_bytes, purger) = (heap.info().heap, heap.clone());
        assert_eq!(start(move || purger.purge()).join().unwrap(), heap_bytes);
    });
}

/// Child and parent draw on one budget from two threads; the spans of a process are taken
/// and given back by both.
#[test]
fn arenas_of_two_threads_share_the_process() {
    model(|| {
        let budget = Budget::new(CAPACITY);
        let threads: Vec<_> = (0..2)
            .map(|mark| {
                let budget = budget.clone();
                start(move || {
                    let mut config = Config::default();
                    config.capacity = CAPACITY;
                    config.parent = budget;
                    config.ladder = Ladder::from_slabs(&[SIZE]).unwrap();
                    let heap = Flist::open(&config).unwrap();
                    let chunk = heap.try_alloc(CHUNK).unwrap();
                    // SAFETY: all of the chunk is ours.
                    unsafe { chunk.cast::<u8>().write_bytes(mark, SIZE) };
                    let held = Held(chunk.cast(), mark);
                    thread::yield_now();
                    check(&held);
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(budget.used(), 0);
    });
}

/// Runs `models` without the messages of panics that they catch.
fn quietly(models: impl FnOnce()) {
    let told = std::panic::take_hook();
    std::panic::set_hook(std::boxed::Box::new(move |panic| {
        let words = panic.payload().downcast_ref::<std::string::String>();
        if !words.is_some_and(|words| words.starts_with("mallocer: misuse in")) {
            told(panic);
        }
    }));
    models();
}
