//! A shared heap serves any thread, and takes back on any thread what another got.

use std::iter;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use mallocer_core::{AllocError, Budget, Mallocer};

use super::{granted, in_threads, layout, open, open_in};
use crate::ledger::{Claim, Ledger};
use crate::program::{self, Op};
use crate::random::Random;

fn programs(threads: u64, operations: usize) -> Vec<Vec<Op>> {
    (0..threads).map(|seed| Op::program(100 + seed, operations).collect()).collect()
}

fn empty<M: Mallocer>(heap: &M) {
    let info = heap.info();
    assert_eq!(info.alloc, 0, "alloc is not 0 after everything is freed: {info}");
    heap.each_slab_use(&mut |slab| {
        assert_eq!(slab.chunks, 0, "chunks are left after everything is freed: {slab}");
    });
}

fn some<M: Mallocer>(ledger: &mut Ledger<'_, M>, random: &mut Random, count: usize) {
    for _ in 0..count {
        let limit = random.pick(&[32, 200, 200, 1000, 20_000]);
        let size = random.within(0, limit);
        granted(format_args!("{size} bytes"), ledger.alloc(layout(size, 8)));
    }
}

/// Four threads, each with a random program on the same heap.
pub(super) fn work_alone<M: Mallocer + Send + Sync>() {
    program::run_shared::<M>(1 << 30, &programs(4, 3000));
}

/// The same where many requests are refused.
pub(super) fn work_in_little_memory<M: Mallocer + Send + Sync>() {
    program::run_shared::<M>(2 << 20, &programs(4, 3000));
}

/// One thread allocates, another one looks, grows, and frees.
pub(super) fn hand_chunks_over<M: Mallocer + Send + Sync>() {
    let heap = open::<M>(1 << 28);
    let (sender, receiver) = sync_channel::<Claim>(64);
    let ends = Mutex::new((Some(sender), Some(receiver)));
    in_threads(2, |thread| {
        let mut random = Random::new(thread as u64);
        let mut ledger = Ledger::partial(&heap, thread as u64);
        if thread == 0 {
            let sender = ends.lock().unwrap().0.take().expect("one thread takes it");
            for _ in 0..20_000 {
                some(&mut ledger, &mut random, 1);
                // The other thread panics if it stops receiving.
                let _ = sender.send(ledger.hand_over().expect("it just came"));
            }
        } else {
            let receiver = ends.lock().unwrap().1.take().expect("one thread takes it");
            for claim in receiver {
                ledger.receive(claim);
                if random.below(4) == 0 {
                    let size = random.within(0, 3000);
                    granted(format_args!("{size} bytes"), ledger.realloc(0, layout(size, 8)));
                }
                if ledger.len() > 100 {
                    ledger.free(random.below(ledger.len()));
                }
            }
            ledger.free_all();
        }
    });
    empty(&heap);
}

/// Four threads in a ring: each frees what the one before it got, and sends on
/// what it gets itself.
pub(super) fn hand_chunks_around<M: Mallocer + Send + Sync>() {
    const THREADS: usize = 4;
    let heap = open::<M>(1 << 28);
    let (senders, receivers): (Vec<_>, Vec<_>) =
        (0..THREADS).map(|_| sync_channel::<Vec<Claim>>(1000)).unzip();
    let senders = Mutex::new(senders.into_iter().map(Some).collect::<Vec<_>>());
    let receivers = Mutex::new(receivers.into_iter().map(Some).collect::<Vec<_>>());
    in_threads(THREADS, |thread| {
        let sender: SyncSender<_> = senders.lock().unwrap()[thread].take().expect("one each");
        let receiver: Receiver<_> =
            receivers.lock().unwrap()[(thread + 1) % THREADS].take().expect("one each");
        let mut random = Random::new(thread as u64);
        let mut ledger = Ledger::partial(&heap, thread as u64);
        for _ in 0..200 {
            some(&mut ledger, &mut random, 10);
            let _ = sender.send(iter::from_fn(|| ledger.hand_over()).collect());
            for claims in receiver.try_iter() {
                claims.into_iter().for_each(|claim| ledger.receive(claim));
                while ledger.len() > 5 {
                    ledger.free_sized(random.below(ledger.len()), random.below(100));
                }
            }
        }
        drop(sender);
        for claims in receiver {
            claims.into_iter().for_each(|claim| ledger.receive(claim));
        }
        ledger.free_all();
    });
    empty(&heap);
}

/// Fifty threads allocate, fifty others free what those got.
pub(super) fn fifty_allocate_and_fifty_free<M: Mallocer + Send + Sync>() {
    const PAIRS: usize = 50;
    let heap = open::<M>(1 << 30);
    let (senders, receivers): (Vec<_>, Vec<_>) =
        (0..PAIRS).map(|_| sync_channel::<Claim>(50)).unzip();
    // Every allocating thread can send to every freeing one.
    let senders = Mutex::new(vec![Some(senders); PAIRS]);
    let receivers = Mutex::new(receivers.into_iter().map(Some).collect::<Vec<_>>());
    in_threads(2 * PAIRS, |thread| {
        let mut random = Random::new(thread as u64);
        let mut ledger = Ledger::partial(&heap, thread as u64);
        if thread < PAIRS {
            let senders = senders.lock().unwrap()[thread].take().expect("one each");
            for _ in 0..400 {
                some(&mut ledger, &mut random, 1);
                let claim = ledger.hand_over().expect("it just came");
                let _ = senders[random.below(PAIRS)].send(claim);
            }
        } else {
            let receiver = receivers.lock().unwrap()[thread - PAIRS].take().expect("one each");
            for claim in receiver {
                ledger.receive(claim);
                ledger.free(0);
            }
        }
    });
    empty(&heap);
}

/// Hundreds of threads, each for a moment, that leave half of their chunks behind.
pub(super) fn come_and_go<M: Mallocer + Send + Sync>() {
    let heap = open::<M>(1 << 28);
    let left = Mutex::new(Vec::new());
    for group in 0..50 {
        in_threads(8, |thread| {
            let seed = (8 * group + thread) as u64;
            let mut random = Random::new(seed);
            let mut ledger = Ledger::partial(&heap, seed);
            // What threads that are gone have left.
            let found: Option<Claim> = left.lock().unwrap().pop();
            found.into_iter().for_each(|claim| ledger.receive(claim));
            some(&mut ledger, &mut random, 20);
            while ledger.len() > 10 {
                ledger.free(random.below(ledger.len()));
            }
            left.lock().unwrap().extend(iter::from_fn(|| ledger.hand_over()));
        });
    }
    let mut ledger = Ledger::partial(&heap, 0);
    for claim in left.into_inner().unwrap() {
        ledger.receive(claim);
    }
    ledger.free_all();
    empty(&heap);
}

/// Heaps open and go while the threads that used them live on, and use others.
pub(super) fn outlive_heaps<M: Mallocer + Send + Sync>() {
    let root = Budget::new(1 << 30);
    let current = Mutex::new(None::<std::sync::Arc<M>>);
    in_threads(4, |thread| {
        let mut random = Random::new(thread as u64);
        for round in 0..60 {
            let heap = {
                let mut current = current.lock().unwrap();
                if round % 4 == thread || current.is_none() {
                    // The last thread to let go of the old one drops it.
                    *current = Some(std::sync::Arc::new(open_in::<M>(&root, 1 << 26)));
                }
                current.clone().expect("there is one")
            };
            let own = open_in::<M>(&root, 1 << 26);
            let mut ledger = Ledger::partial(&*heap, thread as u64);
            let mut owns = Ledger::new(&own);
            for _ in 0..5 {
                some(&mut ledger, &mut random, 5);
                some(&mut owns, &mut random, 5);
                owns.free(random.below(owns.len()));
            }
            // Every other time the heap is left to drop with chunks in it.
            if round % 2 == 0 {
                ledger.free_all();
                owns.free_all();
            }
        }
    });
    drop(current);
    assert_eq!(root.used(), 0, "the budget keeps bytes of heaps that are gone");
}

/// Four threads fill one heap: together they hold no more than its capacity.
pub(super) fn share_the_capacity<M: Mallocer + Send + Sync>() {
    const CAPACITY: usize = 4 << 20;
    let heap = open::<M>(CAPACITY);
    let left = Mutex::new(Vec::new());
    in_threads(4, |thread| {
        let mut random = Random::new(thread as u64);
        let mut ledger = Ledger::partial(&heap, thread as u64);
        let mut refusals = 0;
        while refusals < 50 {
            // The ledger compares heap and capacity after every step.
            match ledger.alloc(layout(random.within(1, 2000), 8)) {
                Ok(()) => {}
                Err(AllocError::Capacity { .. }) => refusals += 1,
                Err(error) => panic!("refused, but not for capacity: {error:?}"),
            }
            if random.below(5) == 0 && !ledger.is_empty() {
                ledger.free(random.below(ledger.len()));
            }
        }
        ledger.verify_all();
        left.lock().unwrap().extend(iter::from_fn(|| ledger.hand_over()));
    });
    let mut ledger = Ledger::partial(&heap, 0);
    for claim in left.into_inner().unwrap() {
        ledger.receive(claim);
    }
    let held: usize = ledger.claims().iter().map(Claim::slab).sum();
    assert!(held <= CAPACITY, "chunks of {held} bytes are held, above the capacity {CAPACITY}");
    assert!(held >= CAPACITY / 2, "refused at {held} bytes, below half of the capacity {CAPACITY}");
    ledger.free(0);
    granted(format_args!("one byte after a free"), ledger.alloc(layout(1, 1)));
    ledger.free_all();
    empty(&heap);
}

/// Heaps on several threads that draw on one budget never exceed it together.
pub(super) fn share_the_budget<M: Mallocer + Send + Sync>() {
    const CAPACITY: usize = 4 << 20;
    let root = Budget::new(CAPACITY);
    in_threads(4, |thread| {
        let mut random = Random::new(thread as u64);
        let heap = open_in::<M>(&root, 1 << 30);
        let mut ledger = Ledger::partial(&heap, thread as u64).with_limit(CAPACITY);
        for _ in 0..2000 {
            // Another thread may hold it all: a refusal is as good as a chunk.
            let _ = ledger.alloc(layout(random.within(1, 5000), 8));
            assert!(root.used() <= CAPACITY, "{root:?} is exceeded");
            if ledger.len() > 200 {
                ledger.free(random.below(ledger.len()));
            }
        }
        ledger.verify_all();
    });
    assert_eq!(root.used(), 0, "the budget keeps bytes of heaps that are gone");
}

/// What threads got that are gone is released like everything else.
pub(super) fn release_after_them<M: Mallocer + Send + Sync>() {
    let heap = open::<M>(1 << 28);
    for round in 0..10 {
        in_threads(8, |thread| {
            let seed = (8 * round + thread) as u64;
            let mut ledger = Ledger::partial(&heap, seed);
            some(&mut ledger, &mut Random::new(seed), 200);
            for _ in 0..50 {
                ledger.free(0);
            }
            ledger.verify_all();
        });
        assert!(heap.info().alloc > 0, "nothing is held after eight threads took chunks");
        // SAFETY: the threads are gone, and with them every use of their chunks.
        unsafe { heap.release() };
        empty(&heap);
        let info = heap.info();
        assert_eq!(info.heap, 0, "heap is not 0 after release: {info}");
    }
    let mut ledger = Ledger::new(&heap);
    some(&mut ledger, &mut Random::new(17), 1000);
    ledger.free_all();
}
