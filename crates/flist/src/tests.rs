//! The engine against its own equations: random programs, refused system calls.

extern crate std;

use core::alloc::Layout;
use core::ptr::NonNull;
use std::collections::BTreeMap;
use std::vec::Vec;

use mallocer_core::{AllocError, Config, Hints, Ladder, Mallocer};

use crate::os::faults::refusing_after;
use crate::{Flist, SharedFlist};

/// A generator of the same numbers every time (Knuth's MMIX constants).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) as usize % bound
    }

    /// Mostly small, sometimes an extent.
    fn size(&mut self) -> usize {
        let bits = 3 + self.below(16);
        self.below(1 << bits)
    }
}

fn config(capacity: usize) -> Config {
    let mut config = Config::default();
    config.capacity = capacity;
    config
}

/// Live chunks by address, with their length and the byte they are filled with.
struct Model {
    live: BTreeMap<usize, (NonNull<[u8]>, u8)>,
}

impl Model {
    fn add(&mut self, chunk: NonNull<[u8]>, fill: u8) {
        let (start, end) =
            (chunk.cast::<u8>().addr().get(), chunk.cast::<u8>().addr().get() + chunk.len());
        if let Some((&before, (one, _))) = self.live.range(..end).next_back() {
            assert!(before + one.len() <= start, "{start:#x} overlaps {before:#x}");
        }
        // SAFETY: the chunk is ours, all of it.
        unsafe { chunk.cast::<u8>().write_bytes(fill, chunk.len()) };
        self.live.insert(start, (chunk, fill));
    }

    fn take(&mut self, at: usize) -> NonNull<[u8]> {
        let address = *self.live.keys().nth(at).unwrap();
        let (chunk, fill) = self.live.remove(&address).unwrap();
        // SAFETY: the chunk is live and was filled.
        let bytes = unsafe { chunk.as_ref() };
        assert!(bytes.iter().all(|&byte| byte == fill));
        chunk
    }
}

/// A heap of which a test can ask whether its equations hold.
trait Checked: Mallocer {
    fn check(&self);
}

impl Checked for Flist {
    fn check(&self) {
        self.check_invariants();
    }
}

impl Checked for SharedFlist {
    fn check(&self) {
        self.check_invariants();
    }
}

fn random_program(heap: &impl Checked, seed: u64, steps: usize) {
    let mut random = Random(seed);
    let mut model = Model { live: BTreeMap::new() };
    for step in 0..steps {
        let count = model.live.len();
        match random.below(20) {
            0..=8 => {
                let layout = Layout::from_size_align(random.size(), 1 << random.below(9)).unwrap();
                if let Ok(chunk) = heap.try_alloc(layout) {
                    assert!(chunk.len() >= layout.size());
                    assert_eq!(chunk.cast::<u8>().addr().get() % layout.align(), 0);
                    model.add(chunk, step as u8);
                }
            }
            9..=16 if count > 0 => {
                let chunk = model.take(random.below(count));
                // SAFETY: live until now.
                unsafe {
                    assert_eq!(heap.chunk_len(chunk.cast()), chunk.len());
                    heap.free(chunk.cast());
                }
            }
            17 if count > 0 => {
                let chunk = model.take(random.below(count));
                let layout = Layout::from_size_align(random.size(), 8).unwrap();
                // SAFETY: live until now; the old contents are checked by `take`.
                unsafe {
                    match heap.try_realloc(chunk.cast(), layout) {
                        Ok(moved) => {
                            let kept = chunk.len().min(layout.size()).min(moved.len());
                            let bytes = &moved.as_ref()[..kept];
                            assert!(bytes.windows(2).all(|two| two[0] == two[1]));
                            model.add(moved, step as u8);
                        }
                        Err(_) => model.add(chunk, step as u8),
                    }
                }
            }
            18 if count > 0 && random.below(40) == 0 => {
                let before = heap.info().heap;
                let given = heap.purge();
                assert_eq!(heap.info().heap, before - given);
            }
            19 if random.below(200) == 0 => {
                model.live.clear();
                // SAFETY: the model forgets all chunks.
                unsafe { heap.release() };
                assert_eq!((heap.info().alloc, heap.info().heap), (0, 0));
            }
            _ => {}
        }
        if step % 64 == 0 {
            heap.check();
            let live: usize = model.live.values().map(|(chunk, _)| chunk.len()).sum();
            assert_eq!(heap.info().alloc, live);
            let mut alloc = 0;
            heap.each_slab_use(&mut |slab| alloc += slab.alloc);
            assert_eq!(alloc, live);
        }
    }
    while !model.live.is_empty() {
        let chunk = model.take(0);
        // SAFETY: live until now.
        unsafe { heap.free(chunk.cast()) };
    }
    heap.check();
    assert_eq!(heap.info().alloc, 0);
    let heap_bytes = heap.info().heap;
    assert_eq!(heap.purge(), heap_bytes, "all is given back");
}

#[test]
fn random_programs_keep_every_equation() {
    for (seed, capacity) in (0..).zip([1 << 30, 1 << 20, 300 << 10, 64 << 20]) {
        random_program(&Flist::open(&config(capacity)).unwrap(), seed, 20_000);
        random_program(&SharedFlist::open(&config(capacity)).unwrap(), seed, 20_000);
    }
}

#[test]
fn random_programs_on_odd_ladders() {
    let odd: Vec<usize> = (1..=200).map(|at| at * at * 3 / 2 + at).collect();
    for slabs in [odd.as_slice(), &[1, 2, 3, 70, 72, 1000], &[64], &[70_000, 100_001]] {
        let mut config = config(1 << 26);
        config.ladder = Ladder::from_slabs(slabs).unwrap();
        config.max_chunks = 100;
        random_program(&Flist::open(&config).unwrap(), 9, 5_000);
        random_program(&SharedFlist::open(&config).unwrap(), 9, 5_000);
    }
}

#[test]
fn hints_and_decay_change_no_meaning() {
    let mut config = config(1 << 28);
    config.hints = Hints::GROWING | Hints::LONG_LIVED;
    config.decay = Some(core::time::Duration::ZERO);
    random_program(&Flist::open(&config).unwrap(), 5, 20_000);
    random_program(&SharedFlist::open(&config).unwrap(), 5, 20_000);
}

#[test]
fn the_last_byte_of_capacity_is_used_and_no_more() {
    let heap = Flist::open(&config(1 << 20)).unwrap();
    let layout = Layout::from_size_align(4096, 8).unwrap();
    let mut chunks = Vec::new();
    let refusal = loop {
        match heap.try_alloc(layout) {
            Ok(chunk) => chunks.push(chunk),
            Err(refusal) => break refusal,
        }
        assert!(heap.info().heap <= 1 << 20);
    };
    // The last pool could not take one more OS page.
    assert_eq!(refusal, AllocError::Capacity { requested: 4096, used: 1 << 20, limit: 1 << 20 });
    // SAFETY: allocated above.
    unsafe { heap.free(chunks.pop().unwrap().cast()) };
    chunks.push(heap.try_alloc(layout).unwrap());
    // A request of another slab is served once everything else is free.
    for chunk in chunks {
        // SAFETY: allocated above.
        unsafe { heap.free(chunk.cast()) };
    }
    let whole = Layout::from_size_align(1 << 20, 8).unwrap();
    assert_eq!(heap.try_alloc(whole).unwrap().len(), 1 << 20);
    heap.check_invariants();
}

#[test]
fn max_pools_is_a_named_error() {
    let mut config = config(1 << 30);
    (config.max_pools, config.max_chunks) = (2, 10);
    let heap = Flist::open(&config).unwrap();
    let mut served = 0;
    let refusal = loop {
        match heap.try_alloc(Layout::new::<[u64; 4]>()) {
            Ok(_) => served += 1,
            Err(refusal) => break refusal,
        }
    };
    assert_eq!((served, refusal), (20, AllocError::PoolLimit { slab: 32, pools: 2 }));
}

#[test]
fn only_chunks_are_live_in_pools_with_an_unused_end() {
    // Bookkeeping that an arena before this one has written to.
    let before = Flist::open(&Config::default()).unwrap();
    let dirty = before.try_alloc(Layout::new::<[u8; 4 << 20]>()).unwrap();
    // SAFETY: the chunk is ours, all of it.
    unsafe { dirty.cast::<u8>().write_bytes(1, dirty.len()) };
    drop(before);

    for (size, max_chunks) in [(96, 3), (8, 20_480), (1, 65_535)] {
        let mut config = Config::default();
        config.max_chunks = max_chunks;
        config.ladder = Ladder::from_slabs(&[1, 8, 96]).unwrap();
        let heap = Flist::open(&config).unwrap();
        let chunks: Vec<usize> = (0..50_000)
            .map(|_| heap.try_alloc(Layout::from_size_align(size, 1).unwrap()).unwrap())
            .map(|chunk| chunk.cast::<u8>().addr().get())
            .collect();
        let (first, last) = (chunks.iter().min().unwrap(), chunks.iter().max().unwrap());
        let runs = first & !0xffff..last | 0xffff;
        let live = runs.filter(|&address| heap.len_of(address).is_some()).count();
        assert_eq!(live, chunks.len(), "slab {size}, {max_chunks} chunks in a pool");
    }
}

#[test]
fn extents_grow_in_place_and_shrink() {
    let heap = Flist::open(&config(1 << 30)).unwrap();
    let layout = |size| Layout::from_size_align(size, 8).unwrap();
    let chunk = heap.try_alloc(layout(100_000)).unwrap();
    assert_eq!(chunk.len(), 102_400);
    // SAFETY: live, and used only within the returned lengths.
    unsafe {
        // Within its runs an extent grows wherever it is.
        chunk.cast::<u8>().write_bytes(7, chunk.len());
        for size in [120_000, 131_072, 70_000] {
            let resized = heap.try_realloc(chunk.cast(), layout(size)).unwrap();
            let pages = size.next_multiple_of(4096);
            assert_eq!((resized.cast::<u8>(), resized.len()), (chunk.cast(), pages));
            assert_eq!(heap.info().heap, pages);
            heap.check_invariants();
        }
        // Beyond them it may have to move.
        let grown = heap.try_realloc(chunk.cast(), layout(40 << 20)).unwrap();
        assert!(grown.as_ref()[..70_000].iter().all(|&byte| byte == 7));
        let chunk = heap.try_realloc(grown.cast(), layout(90_000)).unwrap();
        assert_eq!(chunk.cast::<u8>(), grown.cast::<u8>());
        let small = heap.try_realloc(chunk.cast(), layout(100)).unwrap();
        assert!(small.as_ref()[..100].iter().all(|&byte| byte == 7));
        heap.free_sized(small.cast(), layout(100));
    }
    heap.check_invariants();
}

#[test]
fn every_refused_system_call_is_an_error_and_harms_nothing() {
    // Once the process has its reservation (making it is refused call by call in the
    // reservation's own tests), pages that are asked for ahead and pages that are given
    // back can be refused: the n-th call and all after it.
    fn refused<H: Checked>(heap: &H) -> u32 {
        let mut all = 0;
        for calls in 0..30 {
            let ((), refused) =
                refusing_after(calls, || random_program(heap, u64::from(calls), 4_000));
            heap.check();
            all += refused;
        }
        all
    }
    assert!(refused(&Flist::open(&config(1 << 28)).unwrap()) > 0);
    assert!(refused(&SharedFlist::open(&config(1 << 28)).unwrap()) > 0);
}

#[test]
fn released_arenas_leave_memory_for_the_next() {
    for _ in 0..3 {
        let heap = Flist::open(&config(1 << 30)).unwrap();
        for _ in 0..10_000 {
            heap.try_alloc(Layout::new::<[u64; 12]>()).unwrap();
        }
        assert_eq!(heap.info().alloc, 960_000);
    }
}

#[test]
fn magazines_of_many_threads_have_little_room() {
    const THREADS: usize = 40;
    let rooms = |threads: usize| {
        let heap = SharedFlist::open(&Config::default()).unwrap();
        let all = std::sync::Barrier::new(threads);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    let burst = |count: usize| {
                        let layouts =
                            (1..64).map(|at| Layout::from_size_align(at * 32, 8).unwrap());
                        let chunks: Vec<_> = layouts
                            .flat_map(|layout| core::iter::repeat_n(layout, count))
                            .map(|layout| heap.try_alloc(layout).unwrap())
                            .collect();
                        // SAFETY: allocated above, and freed once.
                        chunks.into_iter().for_each(|chunk| unsafe { heap.free(chunk.cast()) });
                    };
                    burst(1);
                    all.wait();
                    burst(200);
                    all.wait();
                });
            }
        });
        heap.check_invariants();
        let locked = heap.sharing().heap.lock();
        let (mut rooms, mut cache) = (Vec::new(), locked.caches);
        while !cache.is_null() {
            // SAFETY: the list holds the arena's caches, and no thread is left.
            unsafe {
                rooms.push(locked.magazine_room(cache));
                cache = (*cache).next;
            }
        }
        rooms
    };
    // A magazine that is as small as it comes has room for sixteen chunks.
    let first: usize = (1..64).map(|at| at * 36 * 16).sum();
    let many = rooms(THREADS);
    assert_eq!(many.len(), THREADS);
    assert!(many.iter().all(|&room| room <= first + (16 << 20) / THREADS), "{many:?}");
    assert!(rooms(2).iter().all(|&room| room > 2 << 20), "two may have more");
}
