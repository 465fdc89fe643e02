//! An independent book of what a heap has handed out.
//!
//! For a heap `h` whose chunks are all in one ledger, after every operation:
//!
//! ```text
//! claims are disjoint, aligned, at least as long as asked, contents as written
//! alloc(h) = Σ slab size of the claims
//! alloc(h) + nested(h) ≤ heap(h) ≤ used(budget(h)) ≤ capacity(h)
//! ```

use core::alloc::Layout;
use core::ptr::NonNull;
use std::collections::BTreeMap;

use mallocer_core::{AllocError, Mallocer};

use crate::pattern;
use crate::random::Random;

/// Where the counters are compared with every claim, not only in total.
const OPERATIONS_BETWEEN_FULL_AUDITS: usize = 256;

/// A chunk that a heap has handed out and not taken back.
#[derive(Debug)]
pub struct Claim {
    start: NonNull<u8>,
    len: usize,
    slab: usize,
    layout: Layout,
    seed: u64,
}

// SAFETY: a claim owns its chunk; whether the heap allows that chunk to be freed on
// another thread is for those to know who send it.
unsafe impl Send for Claim {}

impl Claim {
    /// The address of the chunk.
    pub fn address(&self) -> usize {
        self.start.addr().get()
    }

    /// The start of the chunk.
    pub fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// The chunk length, in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the chunk has no byte, which no backend may hand out.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The slab of the chunk, in bytes.
    pub fn slab(&self) -> usize {
        self.slab
    }

    /// What was asked for, last.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Checks that the first `len` bytes are still as written.
    ///
    /// # Panics
    ///
    /// If not, naming the first byte that is different.
    pub fn verify_first(&self, len: usize) {
        // SAFETY: the chunk is live, and its whole length was written on arrival.
        let difference = unsafe { pattern::difference(self.start, len, self.seed) };
        if let Some((at, found, written)) = difference {
            panic!(
                "contents changed: chunk {:#x} of {} bytes ({:?} asked) has byte {found:#04x} at \
                 offset {at}, where {written:#04x} was written",
                self.address(),
                self.len,
                self.layout,
            );
        }
    }

    /// Checks that the whole chunk is still as written.
    ///
    /// # Panics
    ///
    /// As [`verify_first`](Claim::verify_first).
    pub fn verify(&self) {
        self.verify_first(self.len);
    }
}

/// A book of the chunks of one heap, that drives the heap and checks each answer.
///
/// Every method panics when the heap breaks a promise, with the figures.
#[derive(Debug)]
pub struct Ledger<'h, M> {
    heap: &'h M,
    claims: Vec<Claim>,
    /// Start and end of each claim.
    ranges: BTreeMap<usize, usize>,
    /// The slabs of all claims together, in bytes.
    alloc: usize,
    seeds: Random,
    /// Whether all chunks of the heap are in this ledger.
    whole: bool,
    /// Capacities that may be named by a refusal.
    limits: Vec<usize>,
    until_full_audit: usize,
}

impl<'h, M: Mallocer> Ledger<'h, M> {
    /// The book of all chunks of `heap`, which has handed out none yet.
    pub fn new(heap: &'h M) -> Ledger<'h, M> {
        let ledger = Ledger {
            heap,
            claims: Vec::new(),
            ranges: BTreeMap::new(),
            alloc: 0,
            seeds: Random::new(0x1ed9e5),
            whole: true,
            limits: vec![heap.budget().capacity()],
            until_full_audit: OPERATIONS_BETWEEN_FULL_AUDITS,
        };
        ledger.audit();
        ledger
    }

    /// A book of some chunks of `heap`, others being in the books of other threads;
    /// each with a `seed` of its own, so that their patterns differ.
    pub fn partial(heap: &'h M, seed: u64) -> Ledger<'h, M> {
        Ledger {
            heap,
            claims: Vec::new(),
            ranges: BTreeMap::new(),
            alloc: 0,
            seeds: Random::new(seed),
            whole: false,
            limits: vec![heap.budget().capacity()],
            until_full_audit: OPERATIONS_BETWEEN_FULL_AUDITS,
        }
    }

    /// Lets refusals also name `limit`: the capacity of an arena the heap draws on.
    pub fn with_limit(mut self, limit: usize) -> Self {
        self.limits.push(limit);
        self
    }

    /// The chunks that are handed out.
    pub fn claims(&self) -> &[Claim] {
        &self.claims
    }

    /// How many chunks are handed out.
    pub fn len(&self) -> usize {
        self.claims.len()
    }

    /// Whether no chunk is handed out.
    pub fn is_empty(&self) -> bool {
        self.claims.is_empty()
    }

    /// Allocates, and takes the chunk into the book as its last.
    ///
    /// # Errors
    ///
    /// What the heap says, after a look at its figures.
    pub fn alloc(&mut self, layout: Layout) -> Result<(), AllocError> {
        let answer = self.heap.try_alloc(layout);
        self.take(answer, layout)
    }

    /// As [`alloc`](Ledger::alloc); the chunk must be zero over its whole length.
    ///
    /// # Errors
    ///
    /// As [`alloc`](Ledger::alloc).
    pub fn alloc_zeroed(&mut self, layout: Layout) -> Result<(), AllocError> {
        let answer = self.heap.try_alloc_zeroed(layout);
        if let Ok(chunk) = answer {
            // SAFETY: a zeroed chunk is initialised over its whole length.
            if let Some((at, found)) = unsafe { pattern::nonzero(chunk.cast(), chunk.len()) } {
                panic!(
                    "zeroed chunk {:#x} of {} bytes has byte {found:#04x} at offset {at}",
                    chunk.addr(),
                    chunk.len()
                );
            }
        }
        self.take(answer, layout)
    }

    /// As [`alloc`](Ledger::alloc), from the slab of `slab` bytes.
    ///
    /// # Errors
    ///
    /// As [`alloc`](Ledger::alloc).
    pub fn alloc_slab(&mut self, slab: usize) -> Result<(), AllocError> {
        let answer = self.heap.try_alloc_slab(slab);
        let len = answer.map_or(slab, |chunk| chunk.len());
        let layout = Layout::from_size_align(len.min(slab), 1).expect("a slab is a valid size");
        self.take(answer, layout)
    }

    /// Reallocates the claim at `index`, which stays there.
    ///
    /// # Errors
    ///
    /// As [`alloc`](Ledger::alloc); the old chunk is checked to be as it was.
    pub fn realloc(&mut self, index: usize, layout: Layout) -> Result<(), AllocError> {
        let old = self.remove(index);
        old.verify();
        // SAFETY: the claim is live, and out of the book if this succeeds.
        match unsafe { self.heap.try_realloc(old.start, layout) } {
            Ok(chunk) => {
                let kept = old.len.min(layout.size());
                Claim { start: chunk.cast(), ..old }.verify_first(kept);
                self.admit(chunk, layout);
            }
            Err(error) => {
                self.refused(error, layout);
                old.verify();
                self.enter(old);
                self.swap_back(index);
                self.audit();
                return Err(error);
            }
        }
        self.swap_back(index);
        self.step();
        Ok(())
    }

    /// Resizes the claim at `index` where it is; whether the heap did so.
    pub fn resize_in_place(&mut self, index: usize, size: usize) -> bool {
        let old = self.remove(index);
        old.verify();
        // SAFETY: the claim is live.
        let resized = unsafe { self.heap.resize_in_place(old.start, size) };
        match resized {
            Some(len) => {
                old.verify_first(old.len.min(len));
                let layout = Layout::from_size_align(size, old.layout.align())
                    .expect("sizes of tests are small");
                self.admit(NonNull::slice_from_raw_parts(old.start, len), layout);
            }
            None => {
                old.verify();
                self.enter(old);
            }
        }
        self.swap_back(index);
        self.step();
        resized.is_some()
    }

    /// Frees the claim at `index`; the last claim takes its place.
    pub fn free(&mut self, index: usize) {
        let claim = self.remove(index);
        claim.verify();
        // SAFETY: the claim was live, and is out of the book now.
        unsafe { self.heap.free(claim.start) };
        self.step();
    }

    /// Frees the claim at `index` with a size from what was asked (`part` = 0) to
    /// the chunk length (`part` = `usize::MAX`).
    pub fn free_sized(&mut self, index: usize, part: usize) {
        let claim = self.remove(index);
        claim.verify();
        let (least, most) = (claim.layout.size(), claim.len);
        let size = match part {
            usize::MAX => most,
            _ => least + part % (most - least + 1),
        };
        let layout = Layout::from_size_align(size, claim.layout.align())
            .expect("a live chunk is a valid layout");
        // SAFETY: as for `free`; the layout is within what the claim allows.
        unsafe { self.heap.free_sized(claim.start, layout) };
        self.step();
    }

    /// Frees all claims, the last first.
    pub fn free_all(&mut self) {
        while !self.claims.is_empty() {
            self.free(self.claims.len() - 1);
        }
        self.full_audit();
    }

    /// Frees all claims in random order.
    pub fn free_all_shuffled(&mut self, random: &mut Random) {
        while !self.claims.is_empty() {
            self.free(random.below(self.claims.len()));
        }
        self.full_audit();
    }

    /// Releases the heap: the book is empty, and the heap must be.
    ///
    /// # Safety
    ///
    /// No other book of this heap has claims, and no other thread uses it.
    pub unsafe fn release(&mut self) {
        self.verify_all();
        self.claims.clear();
        self.ranges.clear();
        self.alloc = 0;
        // SAFETY: nothing uses a chunk any more: this book was the only one.
        unsafe { self.heap.release() };
        let info = self.heap.info();
        assert_eq!(info.alloc, 0, "alloc is not 0 after release: {info}");
        assert_eq!(info.heap, info.nested, "release keeps heap that is not nested: {info}");
        self.full_audit();
    }

    /// Purges the heap: nothing that is handed out may change.
    pub fn purge(&mut self) {
        let before = self.heap.info();
        self.heap.purge();
        let after = self.heap.info();
        if self.whole {
            assert_eq!(before.alloc, after.alloc, "purge changes alloc: {before} to {after}");
            assert!(after.heap <= before.heap, "purge adds to the heap: {before} to {after}");
        }
        self.verify_all();
        self.audit();
    }

    /// Takes the last claim out of the book without freeing it: somebody else does.
    pub fn hand_over(&mut self) -> Option<Claim> {
        let last = self.claims.len().checked_sub(1)?;
        Some(self.remove(last))
    }

    /// Takes a claim of another book into this one, after a look at its contents.
    pub fn receive(&mut self, claim: Claim) {
        claim.verify();
        self.enter(claim);
    }

    /// Checks the contents of every claim.
    pub fn verify_all(&self) {
        for claim in &self.claims {
            claim.verify();
        }
    }

    /// Compares the heap's totals with the book's.
    pub fn audit(&self) {
        let (info, budget) = (self.heap.info(), self.heap.budget());
        let (used, capacity) = (budget.used(), budget.capacity());
        assert_eq!(info.capacity, capacity, "info and budget differ about the capacity");
        assert!(used <= capacity, "{used} bytes are charged, above the capacity of {capacity}");
        assert!(
            info.heap <= capacity,
            "heap is {} bytes, above the capacity of {capacity}",
            info.heap
        );
        if !self.whole {
            // Other threads move these counters while they are read.
            return;
        }
        assert_eq!(
            info.alloc,
            self.alloc,
            "alloc is not the sum of the slabs of the {} live chunks",
            self.claims.len()
        );
        assert!(info.alloc + info.nested <= info.heap, "alloc and nested exceed heap: {info}");
        assert!(
            info.heap <= used,
            "heap is {} bytes, but only {used} are charged to the budget",
            info.heap
        );
    }

    /// Compares also each slab's use, and the contents of all claims.
    pub fn full_audit(&mut self) {
        // With many claims less often, so that the cost of an operation stays bounded.
        self.until_full_audit = OPERATIONS_BETWEEN_FULL_AUDITS.max(self.claims.len());
        self.verify_all();
        self.audit();
        if self.whole {
            self.audit_slabs();
        }
    }

    fn audit_slabs(&self) {
        let (mut previous, mut chunks, mut heap, mut alloc) = (0, 0, 0, 0);
        self.heap.each_slab_use(&mut |slab| {
            assert!(slab.slab > previous, "slab {} follows slab {previous}", slab.slab);
            assert!(slab.alloc <= slab.heap, "alloc exceeds heap in {slab}");
            previous = slab.slab;
            chunks += slab.chunks;
            heap += slab.heap;
            alloc += slab.alloc;
        });
        let info = self.heap.info();
        let own = info.heap - info.nested;
        assert_eq!(chunks, self.claims.len(), "chunks by slab do not add up to the live chunks");
        assert_eq!(alloc, info.alloc, "alloc by slab does not add up to the heap's alloc");
        // A library that is charged by the chunk (so that heap is what is handed out)
        // may keep more in its pools than it is charged for.
        assert!(
            heap <= own || own == info.alloc,
            "heap by slab adds up to {heap} bytes, above the heap's {own}"
        );
    }

    /// Checks what a refusal says.
    fn refused(&self, error: AllocError, layout: Layout) {
        match error {
            AllocError::Capacity { requested, used, limit } => {
                assert!(requested > 0, "a refusal of nothing: {error:?}");
                assert!(used <= limit, "a refusal with more used than the limit: {error:?}");
                assert!(
                    self.limits.contains(&limit),
                    "a refusal names limit {limit}, but the capacities are {:?}",
                    self.limits
                );
                assert!(
                    !self.whole || requested > limit - used,
                    "a refusal of what would fit: {error:?}"
                );
            }
            AllocError::Alignment { alignment, largest } => {
                assert_eq!(alignment, layout.align(), "{error:?} for {layout:?}");
                assert!(alignment > largest && alignment > 4096, "{error:?} for {layout:?}");
            }
            AllocError::AboveLargestSlab { requested, largest } => {
                assert!(requested > largest, "a refusal of what would fit: {error:?}");
            }
            AllocError::System { requested, used, limit } => {
                assert!(requested > 0 && used <= limit, "implausible figures: {error:?}");
            }
            AllocError::NoSuchSlab { requested, below, above } => {
                assert!(below < requested, "{error:?} names no slab below");
                assert!(above > requested || above == below, "{error:?} names no slab above");
            }
            _ => {}
        }
    }

    fn take(
        &mut self,
        answer: Result<NonNull<[u8]>, AllocError>,
        layout: Layout,
    ) -> Result<(), AllocError> {
        match answer {
            Ok(chunk) => self.admit(chunk, layout),
            Err(error) => self.refused(error, layout),
        }
        self.step();
        answer.map(drop)
    }

    /// Checks a chunk on its arrival, writes its pattern and enters it.
    fn admit(&mut self, chunk: NonNull<[u8]>, layout: Layout) {
        let (start, len) = (chunk.cast::<u8>(), chunk.len());
        let address = start.addr().get();
        assert!(
            address.is_multiple_of(layout.align()),
            "chunk {address:#x} is not aligned as asked: {layout:?}"
        );
        assert!(
            len >= layout.size().max(1),
            "chunk {address:#x} has {len} bytes, fewer than asked: {layout:?}"
        );
        // SAFETY: the chunk was just handed out.
        let (said, slab) = unsafe { (self.heap.chunk_len(start), self.heap.slab_size(start)) };
        assert_eq!(len, said, "chunk {address:#x}: length on arrival and chunk_len differ");
        assert!(slab >= len, "chunk {address:#x} of {len} bytes is in a slab of {slab}");
        let seed = self.seeds.word();
        self.enter(Claim { start, len, slab, layout, seed });
        // SAFETY: the chunk is live, belongs to us, and overlaps no other claim.
        unsafe { pattern::fill(start, len, seed) };
    }

    fn enter(&mut self, claim: Claim) {
        let (start, end) = (claim.address(), claim.address() + claim.len);
        if let Some((&other, &other_end)) = self.ranges.range(..end).next_back() {
            assert!(
                other_end <= start,
                "chunk {start:#x}..{end:#x} overlaps the live chunk {other:#x}..{other_end:#x}"
            );
        }
        self.ranges.insert(start, end);
        self.alloc += claim.slab;
        self.claims.push(claim);
    }

    fn remove(&mut self, index: usize) -> Claim {
        let claim = self.claims.swap_remove(index);
        self.ranges.remove(&claim.address());
        self.alloc -= claim.slab;
        claim
    }

    /// Puts the last claim, just entered again, back to where it was.
    fn swap_back(&mut self, index: usize) {
        let last = self.claims.len() - 1;
        self.claims.swap(index, last);
    }

    fn step(&mut self) {
        self.until_full_audit -= 1;
        if self.until_full_audit == 0 {
            self.full_audit();
        } else {
            self.audit();
        }
    }
}
