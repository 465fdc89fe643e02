//! Which memory asks for huge pages. Alone in its process, since memory that another arena has left keeps
//! what that asked for; and one after the other, for the same reason.
#![cfg(target_os = "linux")]

use std::alloc::Layout;
use std::fs;
use std::time::Duration;

use mallocer_core::{Config, Hints, Mallocer};
use mallocer_flist::{Flist, SharedFlist};

const HUGE_PAGE: usize = 2 << 20;
const LEAST_EXTENT: usize = 64 << 20;
/// A slab that has so much takes further pools out of units of huge pages.
const LEAST_SLAB: usize = 32 << 20;

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, 8).unwrap()
}

/// Whether this system gives huge pages to those who ask, and reserves address space freely.
fn is_usual() -> bool {
    let gives = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled");
    let counts = fs::read_to_string("/proc/sys/vm/overcommit_memory");
    gives.is_ok_and(|text| !text.contains("[never]")) && counts.is_ok_and(|text| text.trim() != "2")
}

/// Whether the mapping of `address` asks for huge pages.
fn asks(address: usize) -> bool {
    let maps = fs::read_to_string("/proc/self/smaps").unwrap();
    let mut within = false;
    for line in maps.lines() {
        let range = line.split_once(' ').and_then(|(range, _)| range.split_once('-'));
        let bound = |text| usize::from_str_radix(text, 16).ok();
        if let Some((start, end)) = range.and_then(|(s, e)| Some((bound(s)?, bound(e)?))) {
            within = (start..end).contains(&address);
        } else if let (true, Some(flags)) = (within, line.strip_prefix("VmFlags:")) {
            return flags.split(' ').any(|flag| flag == "hg");
        }
    }
    panic!("no mapping has {address:#x}");
}

/// Extents ask from a length on, which is less in an arena that is hot, until their memory goes back to
/// the system.
fn extents<M: Mallocer>() {
    for (hints, least) in [(Hints::NONE, LEAST_EXTENT), (Hints::HOT, HUGE_PAGE)] {
        let mut config = Config::default();
        config.hints = hints;
        let heap = M::open(&config).unwrap();
        let small = heap.try_alloc(layout(least - 4096)).unwrap().cast::<u8>();
        let large = heap.try_alloc(layout(least)).unwrap().cast::<u8>();
        assert!(!asks(small.addr().get()), "{hints:?}");
        assert!(asks(large.addr().get()), "{hints:?}");
        // SAFETY: the chunks are this heap's, and freed once.
        unsafe {
            large.write(1);
            heap.free(large);
            heap.free(small);
        }
        assert!(heap.purge() >= 2 * least - 4096);
        assert!(!asks(large.addr().get()), "what comes after it may be small");
    }
}

/// What decays does not ask.
fn extents_that_decay<M: Mallocer>() {
    let mut config = Config::default();
    config.decay = Some(Duration::from_secs(1000));
    let heap = M::open(&config).unwrap();
    let chunk = heap.try_alloc(layout(2 * LEAST_EXTENT)).unwrap().cast::<u8>();
    assert!(!asks(chunk.addr().get()));
    // SAFETY: the chunk is this heap's, and freed once.
    unsafe { heap.free(chunk) };
}

/// An extent that grows asks once it is large enough, in place or elsewhere, and what it leaves then does not.
fn growing_extents<M: Mallocer>() {
    let heap = M::open(&Config::default()).unwrap();
    let take = |size| heap.try_alloc(layout(size)).unwrap().cast::<u8>();
    let mut chunk = take(LEAST_EXTENT / 2);
    assert!(!asks(chunk.addr().get()));
    // SAFETY: the chunk is this heap's.
    assert!(unsafe { heap.resize_in_place(chunk, LEAST_EXTENT) }.is_some());
    assert!(asks(chunk.addr().get()));
    let behind = take(LEAST_EXTENT / 2);
    assert!(!asks(behind.addr().get()));
    // SAFETY: as above; each is freed once, or reallocated.
    unsafe {
        chunk.write(7);
        let old = chunk.addr().get();
        chunk = heap.try_realloc(chunk, layout(2 * LEAST_EXTENT)).unwrap().cast();
        assert_ne!(chunk.addr().get(), old);
        assert_eq!(chunk.read(), 7);
        assert!(asks(chunk.addr().get()));
        assert!(!asks(old), "it may be a small arena's next");
        heap.free(chunk);
        heap.free(behind);
    }
    heap.purge();
}

/// What an extent leaves to others, when it becomes shorter and when its arena is released, asks no more,
/// though nobody has touched it.
fn what_extents_leave<M: Mallocer>() {
    let heap = M::open(&Config::default()).unwrap();
    let chunk = heap.try_alloc(layout(4 * LEAST_EXTENT)).unwrap().cast::<u8>();
    let (start, tail) = (chunk.addr().get(), chunk.addr().get() + 3 * LEAST_EXTENT);
    assert!(asks(start) && asks(tail));
    // SAFETY: the chunk is this heap's.
    assert!(unsafe { heap.resize_in_place(chunk, 2 * LEAST_EXTENT) }.is_some());
    assert!(asks(start) && !asks(tail));
    drop(heap);
    assert!(!asks(start));
}

fn pools_of_a_large_slab() {
    let heap = Flist::open(&Config::default()).unwrap();
    let take = |count: usize| {
        let chunks = (0..count).map(|_| heap.try_alloc(layout(1024)).unwrap().cast::<u8>());
        chunks.last().unwrap().addr().get()
    };
    let few = take(1000);
    let many = take(2 * LEAST_SLAB / 1024);
    assert_eq!((asks(few), asks(many)), (false, true));
    // What is charged and not used is a unit, and what pools are charged ahead, at most.
    let info = heap.info();
    assert!(info.heap - info.alloc <= 2 * HUGE_PAGE, "{info}");
    #[cfg(debug_assertions)]
    heap.check_invariants();
    // Its memory keeps the advice: no other test is to get it.
    std::mem::forget(heap);
}

/// A slab that is most of its arena takes a huge page at a time.
fn the_main_slab() {
    // The most bytes of heap that nobody holds, as the slab grows to 12 MiB beside another
    // that has `beside` chunks of 1 MiB.
    let most_unused = |beside: usize, decay: Option<Duration>| {
        let mut config = Config::default();
        config.decay = decay;
        let heap = Flist::open(&config).unwrap();
        for _ in 0..beside {
            heap.try_alloc(layout(1 << 20)).unwrap();
        }
        let mut most = 0;
        for _ in 0..12 << 10 {
            heap.try_alloc(layout(1 << 10)).unwrap();
            let info = heap.info();
            most = most.max(info.heap - info.alloc);
        }
        #[cfg(debug_assertions)]
        heap.check_invariants();
        std::mem::forget(heap);
        most
    };
    let unit = HUGE_PAGE - (256 << 10)..=HUGE_PAGE + (64 << 10);
    assert!(unit.contains(&most_unused(0, None)));
    assert!(most_unused(20, None) < 512 << 10);
    assert!(most_unused(0, Some(Duration::from_secs(1000))) < 512 << 10);
}

#[test]
fn large_memory_asks_for_huge_pages() {
    if !is_usual() {
        println!("not tested: this system gives no huge pages, or counts what is reserved");
        return;
    }
    extents::<Flist>();
    extents::<SharedFlist>();
    extents_that_decay::<Flist>();
    extents_that_decay::<SharedFlist>();
    growing_extents::<Flist>();
    growing_extents::<SharedFlist>();
    what_extents_leave::<Flist>();
    what_extents_leave::<SharedFlist>();
    pools_of_a_large_slab();
    the_main_slab();
}
