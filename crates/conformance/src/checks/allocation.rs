//! A chunk is aligned, long enough, apart from all others, and keeps its contents.

use mallocer_core::{AllocError, Mallocer};

use super::{granted, layout, open};
use crate::ledger::Ledger;
use crate::random::Random;

/// The slabs up to 64 KiB: all up to 2 KiB, and of the others one at least every
/// sixteenth part, so that heaps with a slab for every 16 bytes take no longer.
fn small_slabs<M: Mallocer>(heap: &M) -> Vec<usize> {
    let mut picked = Vec::new();
    let mut next = 0;
    for &slab in heap.slabs().iter().take_while(|&&slab| slab <= 64 << 10) {
        if slab >= next {
            picked.push(slab);
            next = if slab < 2048 { 0 } else { slab + slab / 16 };
        }
    }
    picked
}

/// Slabs up to 64 KiB, one byte less and one byte more, all alive at once.
pub(super) fn sizes_around_every_slab<M: Mallocer>() {
    let heap = open::<M>(1 << 30);
    let mut ledger = Ledger::new(&heap);
    for slab in small_slabs(&heap) {
        for size in [slab - 1, slab, slab + 1] {
            granted(format_args!("{size} bytes"), ledger.alloc(layout(size, 1)));
        }
    }
    for size in 0..=1100 {
        granted(format_args!("{size} bytes"), ledger.alloc(layout(size, 1)));
    }
    ledger.full_audit();
    ledger.free_all_shuffled(&mut Random::new(1));
}

/// Sizes around the places where allocators change their ways, up to 48 MiB.
pub(super) fn large_sizes<M: Mallocer>() {
    let heap = open::<M>(1 << 30);
    let mut ledger = Ledger::new(&heap);
    for shift in 12..=25 {
        let size = 1 << shift;
        for size in [size - 1, size, size + 1, size + size / 2] {
            granted(format_args!("{size} bytes"), ledger.alloc(layout(size, 8)));
            if size > 1 << 20 {
                ledger.free(ledger.len() - 1);
            }
        }
    }
    ledger.free_all_shuffled(&mut Random::new(2));
}

/// Every alignment up to 4096, with sizes below, at and above it.
pub(super) fn alignments<M: Mallocer>() {
    let heap = open::<M>(1 << 30);
    let mut ledger = Ledger::new(&heap);
    for align in (0..=12).map(|shift| 1 << shift) {
        for size in [0, 1, 24, align - 1, align, align + 1, 3 * align, 100_000] {
            for _ in 0..3 {
                let answer = ledger.alloc(layout(size, align));
                granted(format_args!("{size} bytes aligned to {align}"), answer);
            }
            let answer = ledger.alloc_zeroed(layout(size, align));
            granted(format_args!("{size} zero bytes aligned to {align}"), answer);
        }
    }
    ledger.full_audit();
    while !ledger.is_empty() {
        ledger.free_sized(ledger.len() / 2, ledger.len());
    }
    ledger.full_audit();
}

/// Alignments above 4096 are served, or refused by name.
pub(super) fn large_alignments<M: Mallocer>() {
    let heap = open::<M>(1 << 30);
    let mut ledger = Ledger::new(&heap);
    for align in (13..=24).map(|shift| 1 << shift) {
        for size in [1, align, align + 1] {
            match ledger.alloc(layout(size, align)) {
                Ok(()) | Err(AllocError::Alignment { .. }) => {}
                Err(error) => panic!("{size} bytes aligned to {align}: {error}"),
            }
        }
    }
    ledger.free_all();
}

/// A chunk of no bytes is one of at least one byte, and nobody else's.
pub(super) fn zero_sizes<M: Mallocer>() {
    let heap = open::<M>(1 << 24);
    let mut ledger = Ledger::new(&heap);
    for align in [1, 8, 64] {
        for _ in 0..100 {
            granted(format_args!("no bytes"), ledger.alloc(layout(0, align)));
        }
        granted(format_args!("no zero bytes"), ledger.alloc_zeroed(layout(0, align)));
    }
    ledger.free_all();
}

/// Zeroed chunks are zero over their whole length, also where memory was used before.
pub(super) fn zeroed_memory<M: Mallocer>() {
    let heap = open::<M>(1 << 28);
    let mut ledger = Ledger::new(&heap);
    for size in [1, 16, 100, 1000, 4096, 20_000, 300_000, 3 << 20] {
        let count = (1 << 20) / (size + 1) % 500 + 3;
        for round in 0..3 {
            for _ in 0..count {
                let answer = match round {
                    // The ledger writes all over these, and the next round gets them.
                    0 => ledger.alloc(layout(size, 8)),
                    _ => ledger.alloc_zeroed(layout(size, 8)),
                };
                granted(format_args!("{size} bytes"), answer);
            }
            ledger.free_all();
        }
    }
}

/// The slabs ascend, and each gives chunks of its size. Libraries add the odd
/// remainder to a chunk, and OS pages are whole: a quarter more is still that slab.
pub(super) fn slabs_serve<M: Mallocer>() {
    let heap = open::<M>(1 << 28);
    let slabs = heap.slabs();
    assert!(!slabs.is_empty(), "there are no slabs");
    assert!(slabs[0] > 0, "there is a slab of 0 bytes");
    for pair in slabs.windows(2) {
        assert!(pair[0] < pair[1], "slab {} is followed by slab {}", pair[0], pair[1]);
    }
    let mut ledger = Ledger::new(&heap);
    for slab in small_slabs(&heap) {
        for _ in 0..3 {
            granted(format_args!("slab {slab}"), ledger.alloc_slab(slab));
            let claim = ledger.claims().last().expect("a chunk just came");
            assert!(
                claim.slab() >= slab && claim.slab() <= slab + 32.max(slab / 4),
                "a chunk from slab {slab} is of slab {}",
                claim.slab()
            );
            let align = 8.min(1 << slab.trailing_zeros());
            assert!(
                claim.address().is_multiple_of(align),
                "chunk {:#x} from slab {slab} is not aligned to {align}",
                claim.address()
            );
        }
    }
    ledger.free_all_shuffled(&mut Random::new(3));
}

/// Asking for a slab that is not there names its neighbours.
pub(super) fn missing_slabs_are_named<M: Mallocer>() {
    let heap = open::<M>(1 << 24);
    let mut ledger = Ledger::new(&heap);
    for pair in heap.slabs().windows(2).filter(|pair| pair[0] + 1 < pair[1]) {
        let (requested, below, above) = (pair[0] + 1, pair[0], pair[1]);
        assert_eq!(
            ledger.alloc_slab(requested),
            Err(AllocError::NoSuchSlab { requested, below, above }),
        );
    }
}

/// What the heap says a chunk's slab is, is in its list of slabs.
pub(super) fn slab_sizes_are_slabs<M: Mallocer>() {
    let heap = open::<M>(1 << 24);
    let mut ledger = Ledger::new(&heap);
    for size in 0..2000 {
        granted(format_args!("{size} bytes"), ledger.alloc(layout(size, 1)));
        let slab = ledger.claims()[0].slab();
        assert!(
            heap.slabs().binary_search(&slab).is_ok(),
            "{size} bytes are served from slab {slab}, which slabs() does not list"
        );
        ledger.free(0);
    }
}

/// Twenty thousand chunks of all small sizes side by side, some replaced.
pub(super) fn many_small_chunks<M: Mallocer>() {
    let heap = open::<M>(1 << 28);
    let mut ledger = Ledger::new(&heap);
    let mut random = Random::new(4);
    for _ in 0..20_000 {
        let size = random.within(1, 256);
        granted(format_args!("{size} bytes"), ledger.alloc(layout(size, 1)));
    }
    for _ in 0..10_000 {
        ledger.free(random.below(ledger.len()));
        let size = random.within(1, 256);
        granted(format_args!("{size} bytes"), ledger.alloc(layout(size, 1)));
    }
    ledger.free_all_shuffled(&mut random);
}

/// Chunks stay where they are, and can be freed, when the heap value moves.
pub(super) fn moving_the_heap<M: Mallocer>() {
    let heap = open::<M>(1 << 24);
    let mut claims = Vec::new();
    {
        let mut ledger = Ledger::new(&heap);
        for size in 0..500 {
            granted(format_args!("{size} bytes"), ledger.alloc(layout(size, 8)));
        }
        claims.extend(std::iter::from_fn(|| ledger.hand_over()));
    }
    let alloc = heap.info().alloc;
    let heap = Box::new(heap);
    assert_eq!(heap.info().alloc, alloc, "alloc changes when the heap moves");
    let mut ledger = Ledger::partial(&*heap, 0);
    for claim in claims {
        ledger.receive(claim);
    }
    ledger.free_all();
    assert_eq!(heap.info().alloc, 0, "alloc is not 0 after everything is freed");
}

/// Purging takes nothing from the chunks that are handed out.
pub(super) fn purge_keeps_contents<M: Mallocer>() {
    let heap = open::<M>(1 << 28);
    let mut ledger = Ledger::new(&heap);
    let mut random = Random::new(5);
    for _ in 0..4 {
        for _ in 0..2000 {
            let size = random.pick(&[16, 100, 1000, 10_000]);
            granted(format_args!("{size} bytes"), ledger.alloc(layout(size, 8)));
        }
        while ledger.len() > 1000 {
            ledger.free(random.below(ledger.len()));
        }
        ledger.purge();
    }
    ledger.free_all();
    ledger.purge();
    granted(format_args!("16 bytes after purge"), ledger.alloc(layout(16, 8)));
}
