//! Heaps do not interfere.

use mallocer_core::Mallocer;

use super::{granted, layout, open};
use crate::ledger::Ledger;
use crate::random::Random;

/// Two heaps in turn: their chunks are apart, and releasing one leaves the other.
pub(super) fn two_heaps<M: Mallocer>() {
    let (one, other) = (open::<M>(1 << 26), open::<M>(1 << 26));
    let mut ones = Ledger::partial(&one, 1);
    let mut others = Ledger::partial(&other, 2);
    let mut random = Random::new(15);
    for round in 0..4 {
        for _ in 0..1000 {
            let limit = random.pick(&[64, 64, 1000, 20_000]);
            let size = random.within(1, limit);
            granted(format_args!("{size} bytes"), ones.alloc(layout(size, 8)));
            granted(format_args!("{size} bytes"), others.alloc(layout(size, 8)));
        }
        apart(&ones, &others);
        for _ in 0..500 {
            ones.free(random.below(ones.len()));
            others.free(random.below(others.len()));
        }
        if round == 1 {
            // SAFETY: the ledger is the only book of this heap, on the only thread.
            unsafe { ones.release() };
            others.verify_all();
        }
    }
    drop(one);
    others.verify_all();
    others.free_all();
    assert_eq!(other.info().alloc, 0, "alloc is not 0 after everything is freed");
}

/// Checks that no chunk of one book overlaps a chunk of another.
fn apart<M: Mallocer>(one: &Ledger<'_, M>, other: &Ledger<'_, M>) {
    let mut ranges: Vec<(usize, usize)> = [one, other]
        .iter()
        .flat_map(|ledger| ledger.claims())
        .map(|claim| (claim.address(), claim.address() + claim.len()))
        .collect();
    ranges.sort_unstable();
    for pair in ranges.windows(2) {
        let [(start, end), (next, _)] = [pair[0], pair[1]];
        assert!(end <= next, "chunk {start:#x}..{end:#x} overlaps {next:#x} of another heap");
    }
}

/// Hundreds of heaps at once, each with some chunks, dropped in another order.
pub(super) fn hundreds_of_heaps<M: Mallocer>() {
    let mut random = Random::new(16);
    let mut heaps = Vec::new();
    for number in 0..200 {
        let heap = Box::new(open::<M>(1 << 22));
        let mut ledger = Ledger::partial(&*heap, number);
        for _ in 0..20 {
            let size = random.within(1, 2000);
            granted(format_args!("{size} bytes"), ledger.alloc(layout(size, 8)));
        }
        let claims: Vec<_> = std::iter::from_fn(|| ledger.hand_over()).collect();
        heaps.push((heap, claims));
    }
    while !heaps.is_empty() {
        let (heap, claims) = heaps.swap_remove(random.below(heaps.len()));
        let mut ledger = Ledger::partial(&*heap, 0);
        for claim in claims {
            ledger.receive(claim);
        }
        if random.below(2) == 0 {
            ledger.free_all();
            assert_eq!(heap.info().alloc, 0, "alloc is not 0 after everything is freed");
        }
    }
}
