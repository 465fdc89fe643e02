//! A shared arena on many threads.

use std::sync::mpsc;
use std::thread;

use mallocer::collections::Vec as ArenaVec;
use mallocer::{Backend, SharedArena};

use crate::{bytes, fill, holds};

#[test]
fn chunks_are_freed_by_other_threads_than_allocated_them() {
    for &backend in Backend::compiled() {
        let arena = SharedArena::builder().backend(backend).capacity(256 << 20).build().unwrap();
        thread::scope(|scope| {
            for thread in 0..4u8 {
                let (send, receive) = mpsc::sync_channel::<(usize, usize)>(64);
                let producer = arena.clone();
                scope.spawn(move || {
                    for round in 0..5_000usize {
                        let chunk = producer.alloc(bytes(1 + round * 37 % 2000));
                        fill(chunk, thread);
                        let address = chunk.as_ptr().cast::<u8>().expose_provenance();
                        send.send((address, chunk.len())).unwrap();
                    }
                });
                let consumer = arena.clone();
                scope.spawn(move || {
                    for (address, len) in receive {
                        let start = std::ptr::with_exposed_provenance_mut::<u8>(address);
                        let chunk = std::ptr::slice_from_raw_parts_mut(start, len);
                        let chunk = std::ptr::NonNull::new(chunk).unwrap();
                        assert!(holds(chunk, thread), "{backend}");
                        // SAFETY: the chunk was handed over, and is freed once.
                        unsafe { consumer.free(chunk.cast()) };
                    }
                });
            }
        });
        assert_eq!(arena.info().alloc, 0, "{backend}");
    }
}

#[test]
fn collections_move_between_threads_with_their_arena() {
    for &backend in Backend::compiled() {
        let arena = SharedArena::builder().backend(backend).capacity(64 << 20).build().unwrap();
        let threads: Vec<_> = (0..4usize)
            .map(|thread| {
                let mut numbers = ArenaVec::new_in(arena.clone());
                thread::spawn(move || {
                    numbers.extend((0..10_000).map(|number| number * thread));
                    numbers
                })
            })
            .collect();
        let budget = arena.budget().clone();
        drop(arena);
        let filled: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        for (thread, numbers) in filled.iter().enumerate() {
            assert!(numbers.iter().enumerate().all(|(at, &number)| number == at * thread));
        }
        // The last of its collections releases the arena.
        assert!(budget.used() > 0, "{backend}");
        drop(filled);
        assert_eq!(budget.used(), 0, "{backend}");
    }
}

#[test]
fn capacity_holds_under_threads() {
    for &backend in Backend::compiled() {
        let capacity = 8 << 20;
        let arena = SharedArena::builder().backend(backend).capacity(capacity).build().unwrap();
        thread::scope(|scope| {
            for thread in 0..4u8 {
                let arena = &arena;
                scope.spawn(move || {
                    let mut held = Vec::new();
                    while let Ok(chunk) = arena.try_alloc(bytes(5000)) {
                        fill(chunk, thread);
                        held.push(chunk);
                        assert!(arena.info().heap <= capacity, "{backend}");
                    }
                    assert!(held.iter().all(|&chunk| holds(chunk, thread)), "{backend}");
                });
            }
        });
        let info = arena.info();
        assert!(info.heap <= capacity && info.alloc > capacity / 2, "{backend}: {info}");
    }
}

#[test]
fn arenas_can_be_cloned_shared_and_sent() {
    fn check<T: Clone + Send + Sync>() {}
    check::<SharedArena>();
    #[cfg(feature = "flist")]
    check::<SharedArena<mallocer::SharedFlist>>();
}
