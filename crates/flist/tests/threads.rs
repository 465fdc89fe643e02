//! The shared arena under threads: what is handed over, what a thread leaves behind.

use std::alloc::Layout;
use std::ptr::NonNull;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{channel, sync_channel};
use std::thread;
use std::time::Duration;

use mallocer_conformance::Random;
use mallocer_core::{AllocError, Config, Ladder, Mallocer};
use mallocer_flist::SharedFlist;

fn open(capacity: usize) -> SharedFlist {
    open_with(capacity, Ladder::DEFAULT)
}

fn open_with(capacity: usize, ladder: Ladder) -> SharedFlist {
    let mut config = Config::default();
    (config.capacity, config.ladder) = (capacity, ladder);
    SharedFlist::open(&config).unwrap()
}

/// A chunk on its way to another thread, filled with one byte.
struct Sent(NonNull<[u8]>, u8);

// SAFETY: the chunk belongs to whoever has the value.
unsafe impl Send for Sent {}

fn fill(heap: &SharedFlist, size: usize, byte: u8) -> Sent {
    let chunk = heap.try_alloc(Layout::from_size_align(size, 8).unwrap()).unwrap();
    // SAFETY: all of the chunk is ours.
    unsafe { chunk.cast::<u8>().write_bytes(byte, chunk.len()) };
    Sent(chunk, byte)
}

fn check_and_free(heap: &SharedFlist, Sent(chunk, byte): Sent) {
    // SAFETY: the chunk is live, filled, and freed once.
    unsafe {
        assert!(chunk.as_ref().iter().all(|&found| found == byte));
        heap.free(chunk.cast());
    }
}

/// Sizes of pools, small ones most, and now and then an extent.
fn size(random: &mut Random) -> usize {
    match random.below(100) {
        0 => random.within(40_000, 140_000),
        1..=9 => random.below(8_000),
        _ => random.below(300),
    }
}

#[test]
fn an_extent_at_hand_serves_all_requests_of_its_slab() {
    let heap = open_with(1 << 30, Ladder::QUARTERS);
    let slab = 112 << 10;
    // The second one shows that the slab comes again.
    for _ in 0..2 {
        check_and_free(&heap, fill(&heap, 100_000, 1));
    }
    let Sent(first, _) = fill(&heap, 100_000, 1);
    assert_eq!(first.len(), slab, "as long as its slab");
    check_and_free(&heap, Sent(first, 1));
    let last = fill(&heap, slab, 2);
    assert_eq!(last.0.cast::<u8>(), first.cast(), "it was at hand");
    check_and_free(&heap, last);
    // What is at hand elsewhere, or needs the lock, is as long as it must be.
    let other = fill(&heap, 140_000, 3);
    assert_eq!(other.0.len(), 140_000_usize.next_multiple_of(4096));
    check_and_free(&heap, other);
}

#[test]
fn an_extent_is_no_longer_than_capacity_allows() {
    // For one, but not for its slab of 160 KiB.
    let heap = open_with(150 << 10, Ladder::QUARTERS);
    for byte in 0..6 {
        check_and_free(&heap, fill(&heap, 140 << 10, byte));
    }
}

#[test]
fn chunks_are_freed_by_other_threads() {
    let heap = open(1 << 30);
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for worker in 0..4u8 {
            let (send, receive) = sync_channel(200);
            let heap = &heap;
            threads.push(scope.spawn(move || {
                let mut random = Random::new(worker.into());
                for step in 0..20_000usize {
                    send.send(fill(heap, size(&mut random), step as u8)).unwrap();
                }
            }));
            threads.push(
                scope.spawn(move || receive.iter().for_each(|chunk| check_and_free(heap, chunk))),
            );
        }
        // The end of the scope does not wait for what threads do last; a join does.
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
    assert_eq!(heap.info().alloc, 0);
    heap.purge();
    assert_eq!(heap.info().heap, 0, "threads that ended hold nothing back");
}

#[test]
fn fifty_threads_allocate_and_fifty_free() {
    let heap = open(1 << 30);
    thread::scope(|scope| {
        for worker in 0..50u8 {
            let (send, receive) = channel();
            let heap = &heap;
            scope.spawn(move || {
                let mut random = Random::new(worker.into());
                for _ in 0..2_000 {
                    send.send(fill(heap, size(&mut random), worker)).unwrap();
                }
            });
            scope.spawn(move || receive.iter().for_each(|chunk| check_and_free(heap, chunk)));
        }
    });
    assert_eq!(heap.info().alloc, 0);
}

#[test]
fn thousands_of_threads_leave_survivors_and_nothing_else() {
    let heap = open(1 << 30);
    let mut survivors = Vec::new();
    for round in 0..300u64 {
        thread::scope(|scope| {
            let workers: Vec<_> = (0..8)
                .map(|worker| {
                    let heap = &heap;
                    scope.spawn(move || {
                        let mut random = Random::new(round * 8 + worker);
                        let mut mine: Vec<Sent> =
                            (0..50).map(|_| fill(heap, size(&mut random), worker as u8)).collect();
                        let last = mine.pop().unwrap();
                        mine.into_iter().for_each(|chunk| check_and_free(heap, chunk));
                        last
                    })
                })
                .collect();
            survivors.extend(workers.into_iter().map(|worker| worker.join().unwrap()));
        });
        // Those of the round before are freed by this thread.
        if round % 2 == 1 {
            survivors.drain(..).for_each(|chunk| check_and_free(&heap, chunk));
        }
    }
    assert_eq!(heap.info().alloc, 0);
    // At most nine threads were alive at once. A cache has some 15 KiB, so 2 400 of them
    // would be 36 MiB.
    let overhead = heap.info().overhead;
    assert!(overhead <= 2 << 20, "caches of ended threads are used again: {overhead} bytes");
    heap.purge();
    assert_eq!(heap.info().heap, 0);
}

#[test]
fn what_an_ended_thread_has_at_hand_serves_another_one() {
    for size in [8, 100, 1_000, 6_000] {
        let heap = open(1 << 30);
        // This thread has a cache of its own and does not take over that of the ended one.
        let mine = fill(&heap, size, 0);
        let work = || {
            let chunks: Vec<_> = (0..60).map(|at| fill(&heap, size, at)).collect();
            chunks.into_iter().for_each(|chunk| check_and_free(&heap, chunk));
        };
        thread::scope(|scope| scope.spawn(work).join().unwrap());
        let before = heap.info();
        assert_eq!(before.alloc, mine.0.len());
        // The next thread begins with it, and then this one needs it.
        thread::scope(|scope| scope.spawn(work).join().unwrap());
        assert_eq!((heap.info().alloc, heap.info().heap), (before.alloc, before.heap));
        work();
        assert_eq!(heap.info().heap, before.heap, "60 chunks of {size} bytes were free");
        check_and_free(&heap, mine);
        heap.purge();
        assert_eq!(heap.info().heap, 0);
    }
}

#[test]
fn in_a_large_heap_it_does_before_that_has_grown_much() {
    const SIZES: std::ops::Range<usize> = 1..60;
    let heap = open(1 << 30);
    let _live: Vec<_> = (0..2000).map(|at| fill(&heap, 6_000, at as u8)).collect();
    let work = || {
        for size in SIZES.map(|step| 32 * step) {
            let chunks: Vec<_> = (0..60).map(|at| fill(&heap, size, at)).collect();
            chunks.into_iter().for_each(|chunk| check_and_free(&heap, chunk));
        }
    };
    let (empty, alloc) = (heap.info().heap, heap.info().alloc);
    thread::scope(|scope| scope.spawn(work).join().unwrap());
    let left = heap.info().heap;
    assert!(left - empty > 1 << 20, "{left} after {empty}");
    // The next one begins with it, and then this one needs it. Magazines that are refilled take a little
    // more each time.
    thread::scope(|scope| scope.spawn(work).join().unwrap());
    work();
    let now = heap.info().heap;
    assert!(now - left < 1 << 20, "{now} after {left}");
    assert_eq!(heap.info().alloc, alloc);
}

#[test]
fn chunks_on_their_way_are_counted_however_many_threads_come_meanwhile() {
    const SIZE: usize = 500;
    let heap = open(1 << 30);
    // This thread gets them back by the parcel, and takes none in.
    let chunks: Vec<Sent> = (0..2_000).map(|at| fill(&heap, SIZE, at as u8)).collect();
    let len = chunks[0].0.len();
    let free_all = || chunks.into_iter().for_each(|chunk| check_and_free(&heap, chunk));
    thread::scope(|scope| scope.spawn(free_all).join().unwrap());
    assert_eq!(heap.info().alloc, 0);
    let (begun, looked) = (Barrier::new(41), Barrier::new(41));
    thread::scope(|scope| {
        let work = || {
            let mine = fill(&heap, SIZE, 1);
            begun.wait();
            looked.wait();
            check_and_free(&heap, mine);
        };
        let threads: Vec<_> = (0..40).map(|_| scope.spawn(work)).collect();
        begun.wait();
        let alloc = heap.info().alloc;
        looked.wait();
        assert_eq!(alloc, 40 * len);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
    heap.purge();
    assert_eq!((heap.info().alloc, heap.info().heap), (0, 0));
}

#[test]
fn who_begins_with_a_free_goes_on_with_the_cache_of_that_chunk() {
    let heap = open(1 << 30);
    let (begun, ended) = (Barrier::new(4), Barrier::new(4));
    // All at once, so that each has a cache of its own.
    let live: Vec<Sent> = thread::scope(|scope| {
        let work = |byte| {
            begun.wait();
            let sent = fill(&heap, 100, byte);
            ended.wait();
            sent
        };
        let threads: Vec<_> = (0..4).map(|byte| scope.spawn(move || work(byte))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut live: Vec<_> = live.into_iter().map(Some).collect();
    for at in [2, 0, 3, 1] {
        let sent = live[at].take().unwrap();
        let heir = || {
            let sent = sent;
            let address = sent.0.addr();
            check_and_free(&heap, sent);
            let again = fill(&heap, 100, 9);
            let same = again.0.addr() == address;
            check_and_free(&heap, again);
            same
        };
        let same = thread::scope(|scope| scope.spawn(heir).join().unwrap());
        assert!(same, "another thread's chunk would be on its way to there");
    }
    heap.purge();
    assert_eq!(heap.info().heap, 0);
}

#[test]
fn what_an_ended_thread_has_at_hand_decays() {
    let heap_after = |decay| {
        let mut config = Config::default();
        config.decay = decay;
        let heap = SharedFlist::open(&config).unwrap();
        // So that this thread has a cache of its own.
        check_and_free(&heap, fill(&heap, 8, 0));
        thread::scope(|scope| {
            let work = || {
                let chunks: Vec<_> = (0..1_000).map(|at| fill(&heap, 1_000, at as u8)).collect();
                chunks.into_iter().for_each(|chunk| check_and_free(&heap, chunk));
            };
            scope.spawn(work).join().unwrap();
        });
        // What has nothing at hand comes by the heap, which looks at the time.
        for size in [10, 100, 2_000, 5_000] {
            check_and_free(&heap, fill(&heap, size, 1));
        }
        heap.info().heap
    };
    assert!(heap_after(None) > 900_000);
    let decayed = heap_after(Some(Duration::ZERO));
    assert!(decayed < 200_000, "{decayed} bytes are left");
}

#[test]
fn a_thread_notices_that_the_arena_was_released() {
    let heap = open(1 << 30);
    let (released, filled) = (Barrier::new(3), Barrier::new(3));
    thread::scope(|scope| {
        for worker in 0..2u64 {
            let (heap, released, filled) = (&heap, &released, &filled);
            scope.spawn(move || {
                let mut random = Random::new(worker);
                for _ in 0..200 {
                    let chunks: Vec<_> =
                        (0..200).map(|at| fill(heap, size(&mut random), at)).collect();
                    // Some go to this thread's magazines.
                    let mut chunks = chunks.into_iter();
                    chunks.by_ref().take(50).for_each(|chunk| check_and_free(heap, chunk));
                    filled.wait();
                    released.wait();
                }
            });
        }
        for _ in 0..200 {
            filled.wait();
            // SAFETY: both threads wait, and forget what they had.
            unsafe { heap.release() };
            assert_eq!((heap.info().alloc, heap.info().heap), (0, 0));
            released.wait();
        }
    });
}

#[test]
fn many_arenas_on_few_threads() {
    let heaps: Vec<_> = (0..40).map(|_| open(1 << 26)).collect();
    thread::scope(|scope| {
        for worker in 0..3u64 {
            let heaps = &heaps;
            scope.spawn(move || {
                let mut random = Random::new(worker);
                let mut mine: Vec<(usize, Sent)> = Vec::new();
                for step in 0..20_000usize {
                    let at = random.below(heaps.len());
                    if mine.len() > 300 {
                        let (from, chunk) = mine.swap_remove(random.below(300));
                        check_and_free(&heaps[from], chunk);
                    }
                    mine.push((at, fill(&heaps[at], size(&mut random), step as u8)));
                }
                mine.into_iter().for_each(|(from, chunk)| check_and_free(&heaps[from], chunk));
            });
        }
    });
    for heap in &heaps {
        assert_eq!(heap.info().alloc, 0);
    }
}

#[test]
fn arenas_come_and_go_while_threads_end() {
    thread::scope(|scope| {
        for worker in 0..4u64 {
            scope.spawn(move || {
                for round in 0..100 {
                    let heap = open(1 << 24);
                    let mut random = Random::new(worker * 100 + round);
                    let kept = fill(&heap, size(&mut random), 1);
                    thread::scope(|inner| {
                        inner.spawn(|| {
                            let chunk = fill(&heap, 100, 2);
                            check_and_free(&heap, chunk);
                        });
                    });
                    check_and_free(&heap, kept);
                }
            });
        }
    });
}

#[test]
fn capacity_holds_while_threads_race_for_it() {
    let heap = open(1 << 20);
    let refusals = AtomicUsize::new(0);
    thread::scope(|scope| {
        for worker in 0..4u64 {
            let (heap, refusals) = (&heap, &refusals);
            scope.spawn(move || {
                let mut random = Random::new(worker);
                let mut mine = Vec::new();
                for _ in 0..20_000 {
                    let layout = Layout::from_size_align(size(&mut random) % 20_000, 8).unwrap();
                    match heap.try_alloc(layout) {
                        Ok(chunk) => mine.push(chunk),
                        Err(AllocError::Capacity { used, limit, .. }) => {
                            assert!(used <= limit && limit == 1 << 20);
                            refusals.fetch_add(1, Relaxed);
                            for chunk in mine.drain(..) {
                                // SAFETY: allocated above, freed once.
                                unsafe { heap.free(chunk.cast()) };
                            }
                        }
                        Err(other) => panic!("{other}"),
                    }
                    assert!(heap.info().heap <= 1 << 20);
                }
                for chunk in mine {
                    // SAFETY: allocated above, freed once.
                    unsafe { heap.free(chunk.cast()) };
                }
            });
        }
    });
    assert!(refusals.into_inner() > 0, "there was no race for anything");
    assert_eq!(heap.info().alloc, 0);
}

#[test]
fn a_forked_child_has_every_heap_whole() {
    let heap = open(1 << 30);
    let stop = AtomicBool::new(false);
    // Looked at when the threads have ended: they would go on for ever if this one panicked.
    let ends: Vec<_> = thread::scope(|scope| {
        for worker in 0..2u64 {
            let (heap, stop) = (&heap, &stop);
            scope.spawn(move || {
                let mut random = Random::new(worker);
                while !stop.load(Relaxed) {
                    let chunks: Vec<_> =
                        (0..100).map(|at| fill(heap, size(&mut random), at)).collect();
                    chunks.into_iter().for_each(|chunk| check_and_free(heap, chunk));
                }
            });
        }
        let forked = || {
            // SAFETY: the child uses this arena and `_exit` only.
            let child = unsafe { libc::fork() };
            if child == 0 {
                let mut live = 0;
                for at in 0..1_000usize {
                    let layout = Layout::from_size_align(at * 50, 8).unwrap();
                    if let Ok(chunk) = heap.try_alloc(layout) {
                        live += 1;
                        // SAFETY: allocated above, freed once.
                        unsafe { heap.free(chunk.cast()) };
                    }
                }
                // SAFETY: ends the child at once.
                unsafe { libc::_exit(if live == 1_000 { 0 } else { 1 }) };
            }
            let mut status = 0;
            // SAFETY: the child was forked above, or there is none.
            let waited = unsafe { libc::waitpid(child, &mut status, 0) };
            (child > 0 && waited == child, status)
        };
        let ends = (0..50).map(|_| forked()).collect();
        stop.store(true, Relaxed);
        ends
    });
    assert_eq!(ends, [(true, 0); 50], "each child was forked and ended well");
}

/// A freed chunk has a mark in its first word. When its memory becomes an extent's, at the
/// same address, the mark must not be taken for one of the extent.
#[test]
fn an_extent_is_not_taken_for_the_chunk_that_was_freed_there() {
    let heap = SharedFlist::open(&Config::default()).unwrap();
    for size in [10_000, 50_000, 10_000, 40_000] {
        let layout = Layout::from_size_align(size, 8).unwrap();
        let chunks: Vec<_> = (0..300).map(|_| heap.try_alloc(layout).unwrap()).collect();
        for chunk in chunks {
            // SAFETY: allocated above, and freed once.
            unsafe { heap.free(chunk.cast()) };
        }
    }
    assert_eq!(heap.info().alloc, 0);
}

/// Threads that free large chunks and never allocate one.
#[test]
fn who_only_frees_large_chunks_keeps_none() {
    const SIZES: [usize; 6] = [16_384, 20_000, 30_000, 40_000, 50_000, 65_536];
    const AT_ONCE: usize = 4;
    let heap = open(1 << 30);
    let live: usize = SIZES.iter().sum::<usize>() * AT_ONCE;
    thread::scope(|scope| {
        let ways: Vec<_> = (0..6)
            .map(|_| {
                let (there, arriving) = sync_channel::<Sent>(0);
                let heap = &heap;
                scope.spawn(move || arriving.iter().for_each(|sent| check_and_free(heap, sent)));
                there
            })
            .collect();
        for way in ways.iter().cycle().take(60) {
            let chunks: Vec<Sent> = (0..AT_ONCE)
                .flat_map(|_| SIZES)
                .map(|size| fill(&heap, size, size as u8))
                .collect();
            chunks.into_iter().for_each(|chunk| way.send(chunk).unwrap());
        }
    });
    // What is live, as much at hand of the one that allocates, and rounding.
    let peak = heap.statistics().peak_heap;
    assert!(peak < 4 * live, "{peak} bytes at the peak for {live} live ones");
}
