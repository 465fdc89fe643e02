//! A tiny heap that is right, and what becomes of it with one flaw at a time.
//!
//! [`Reference`] keeps every chunk in a map, gets it from the system allocator
//! and charges it to its budget: the least that a backend can be. It is `Sync`
//! behind one lock. `Reference<Right>` passes the suite. Every other type
//! parameter puts one [`Flaw`] in, and the suite must find it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard};

use mallocer_core::{AllocError, Budget, Config, ConfigError, Info, Mallocer, SlabUse};

/// What is wrong with a heap.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    /// Hands out memory twice.
    Overlaps,
    /// Ignores large alignments.
    Misaligns,
    /// Says chunks are longer than they are.
    Exaggerates,
    /// Gives memory without charging for it.
    IgnoresCapacity,
    /// Charges, and does not refund what is freed.
    LeaksBudget,
    /// Does not refund its parent when it is dropped.
    LeaksBudgetAtDrop,
    /// Takes from the budget although it refuses.
    LeaksBudgetAtRefusal,
    /// Refuses with figures that are made up.
    LiesAboutFigures,
    /// Refuses for good, once it has refused.
    GivesUp,
    /// Moves chunks without their contents.
    ForgetsOnRealloc,
    /// Moves the first eight bytes only.
    ForgetsTheTail,
    /// Frees the old chunk before it knows that there is a new one.
    FreesOnFailedRealloc,
    /// Zeroes what was asked, not the whole chunk.
    ZeroesTooLittle,
    /// Counts what callers hold, and forgets large chunks.
    Miscounts,
    /// Lists slabs that do not ascend.
    UnsortedSlabs,
    /// Serves a slab that is not there from the next one.
    GuessesSlabs,
    /// Keeps something at release.
    KeepsAtRelease,
    /// Releases, and does not give the budget back.
    KeepsBudgetAtRelease,
    /// Counts its children as released with itself.
    ForgetsChildren,
    /// Writes into what is handed out, when it is purged.
    PurgesTooMuch,
    /// Opens with any capacity.
    TakesAnyCapacity,
    /// Rounds sizes up without looking for overflow.
    Overflows,
    /// Grows chunks in place over their end.
    GrowsOverTheEnd,
    /// Does not count what another thread frees.
    MiscountsRemoteFrees,
    /// Keeps chunks that another thread frees.
    LosesRemoteFrees,
}

/// A type that stands for a flaw.
pub(crate) trait Kind: Send + Sync {
    const FLAW: Flaw;
}

macro_rules! kinds {
    ($($kind:ident = $flaw:ident),+ $(,)?) => {$(
        pub(crate) struct $kind;
        impl Kind for $kind {
            const FLAW: Flaw = Flaw::$flaw;
        }
    )+};
}

kinds! {
    Right = None,
    Overlapping = Overlaps,
    Misaligned = Misaligns,
    Exaggerating = Exaggerates,
    Unlimited = IgnoresCapacity,
    Leaking = LeaksBudget,
    LeakingAtDrop = LeaksBudgetAtDrop,
    LeakingAtRefusal = LeaksBudgetAtRefusal,
    Lying = LiesAboutFigures,
    GivingUp = GivesUp,
    Forgetful = ForgetsOnRealloc,
    Tailless = ForgetsTheTail,
    Hasty = FreesOnFailedRealloc,
    Dirty = ZeroesTooLittle,
    Miscounting = Miscounts,
    Unsorted = UnsortedSlabs,
    Guessing = GuessesSlabs,
    Clinging = KeepsAtRelease,
    Greedy = KeepsBudgetAtRelease,
    Sweeping = ForgetsChildren,
    Purging = PurgesTooMuch,
    Careless = TakesAnyCapacity,
    Overflowing = Overflows,
    Stretching = GrowsOverTheEnd,
    Aloof = MiscountsRemoteFrees,
    Losing = LosesRemoteFrees,
}

/// The slabs: powers of two, and halfway between them.
fn slabs() -> Vec<usize> {
    let mut slabs = vec![8];
    for shift in 4..40 {
        slabs.extend([1 << shift, 3 << (shift - 1)]);
    }
    slabs
}

pub(crate) struct Reference<K: Kind> {
    budget: Budget,
    slabs: Vec<usize>,
    state: Mutex<State>,
    kind: PhantomData<K>,
}

#[derive(Default)]
struct State {
    /// Every live chunk: its address, what the system was asked, and the slab.
    chunks: BTreeMap<usize, Chunk>,
    /// What it says callers hold, and what they do hold, in bytes.
    alloc: usize,
    held: usize,
    refused: bool,
    released: bool,
}

#[derive(Clone, Copy)]
struct Chunk {
    start: NonNull<u8>,
    layout: Layout,
    slab: usize,
    thread: std::thread::ThreadId,
    /// Whether it came from the system by itself: only the overlapping heap has others.
    owned: bool,
}

// SAFETY: the pointer is an owned chunk of the system allocator, which any thread
// may free.
unsafe impl Send for Chunk {}

impl<K: Kind> Reference<K> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn chunk(&self, chunk: NonNull<u8>) -> Chunk {
        *self.state().chunks.get(&chunk.addr().get()).expect("a live chunk of this heap")
    }

    /// The slab for a request, and the layout to ask of the system.
    fn rounded(&self, layout: Layout) -> Result<Layout, AllocError> {
        let size = match K::FLAW {
            // A layout of nearly 2^63 bytes becomes a small one.
            Flaw::Overflows => layout.size() << 2 >> 2,
            _ => layout.size(),
        };
        let size = self.slabs.partition_point(|&slab| slab < size);
        let (align, largest) = (layout.align(), self.slabs[self.slabs.len() - 1]);
        let above = AllocError::AboveLargestSlab { requested: layout.size(), largest };
        let slab = *self.slabs[size..].first().ok_or(above)?;
        if align > 1 << 30 {
            return Err(AllocError::Alignment { alignment: align, largest: 1 << 30 });
        }
        let align = if K::FLAW == Flaw::Misaligns { align.min(16) } else { align };
        Ok(Layout::from_size_align(slab, align.max(8)).expect("slabs are far from overflow"))
    }

    fn charge(&self, bytes: usize) -> Result<(), AllocError> {
        let mut state = self.state();
        if K::FLAW == Flaw::IgnoresCapacity {
            return Ok(());
        }
        if state.refused && K::FLAW == Flaw::GivesUp {
            let (used, limit) = (self.budget.used(), self.budget.capacity());
            return Err(AllocError::Capacity { requested: limit + 1, used, limit });
        }
        self.budget.charge(bytes).map_err(|error| {
            state.refused = true;
            if K::FLAW == Flaw::LeaksBudgetAtRefusal {
                let _ = self.budget.charge(8);
            }
            match error {
                AllocError::Capacity { limit, .. } if K::FLAW == Flaw::LiesAboutFigures => {
                    AllocError::Capacity { requested: 0, used: limit, limit }
                }
                error => error,
            }
        })
    }

    fn enter(&self, start: NonNull<u8>, layout: Layout, owned: bool) {
        let thread = std::thread::current().id();
        let (mut state, slab) = (self.state(), layout.size());
        state.chunks.insert(start.addr().get(), Chunk { start, layout, slab, thread, owned });
        state.held += slab;
        if K::FLAW != Flaw::Miscounts || slab < 100_000 {
            state.alloc += slab;
        }
    }
}

// SAFETY: with `Right`, chunks come from the system allocator with the size and
// alignment asked for, are owned until they are freed, and are charged before.
// The other kinds break one promise each: they are for tests that find it out.
unsafe impl<K: Kind> Mallocer for Reference<K> {
    fn open(config: &Config) -> Result<Self, ConfigError> {
        if K::FLAW != Flaw::TakesAnyCapacity {
            config.check("reference", 8)?;
        }
        let mut slabs = slabs();
        if K::FLAW == Flaw::UnsortedSlabs {
            slabs.swap(10, 11);
        }
        let state = Mutex::default();
        Ok(Reference { budget: config.budget(), slabs, state, kind: PhantomData })
    }

    fn name(&self) -> &'static str {
        "reference"
    }

    fn try_alloc(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let layout = self.rounded(layout)?;
        self.charge(layout.size())?;
        if K::FLAW == Flaw::Overlaps {
            let state = self.state();
            // Every hundredth chunk is the second half of another one.
            if state.chunks.len() % 100 == 99
                && let Some(victim) = state.chunks.values().find(|c| c.slab == 2 * layout.size())
            {
                // SAFETY: the victim is twice as long.
                let start = unsafe { victim.start.add(layout.size()) };
                drop(state);
                self.enter(start, layout, false);
                return Ok(NonNull::slice_from_raw_parts(start, layout.size()));
            }
        }
        let extra = if K::FLAW == Flaw::GrowsOverTheEnd { 4096 } else { 64 };
        let real = Layout::from_size_align(layout.size() + extra, layout.align())
            .expect("slabs are far from overflow");
        // SAFETY: the size is not 0.
        let start = NonNull::new(unsafe { System.alloc(real) });
        let Some(start) = start else {
            self.budget.refund(layout.size());
            let (used, limit) = (self.budget.used(), self.budget.capacity());
            return Err(AllocError::System { requested: layout.size(), used, limit });
        };
        self.enter(start, layout, true);
        let lie = if K::FLAW == Flaw::Exaggerates { 64 } else { 0 };
        Ok(NonNull::slice_from_raw_parts(start, layout.size() + lie))
    }

    unsafe fn free(&self, chunk: NonNull<u8>) {
        let mut state = self.state();
        let chunk = state.chunks.remove(&chunk.addr().get()).expect("a live chunk of this heap");
        if K::FLAW == Flaw::LosesRemoteFrees && chunk.thread != std::thread::current().id() {
            state.chunks.insert(chunk.start.addr().get(), chunk);
            return;
        }
        state.held -= chunk.slab;
        let remote = chunk.thread != std::thread::current().id();
        let counted = match K::FLAW {
            Flaw::Miscounts => chunk.slab < 100_000,
            Flaw::MiscountsRemoteFrees => !remote,
            _ => true,
        };
        if counted {
            state.alloc = state.alloc.saturating_sub(chunk.slab);
        }
        self.give_back(chunk);
        if !matches!(K::FLAW, Flaw::LeaksBudget | Flaw::IgnoresCapacity) {
            self.budget.refund(chunk.slab);
        }
    }

    unsafe fn chunk_len(&self, chunk: NonNull<u8>) -> usize {
        self.chunk(chunk).slab
    }

    fn slabs(&self) -> &[usize] {
        &self.slabs
    }

    fn info(&self) -> Info {
        let state = self.state();
        let own = state.held;
        let used = self.budget.used();
        let heap = match K::FLAW {
            Flaw::IgnoresCapacity => own,
            Flaw::ForgetsChildren if state.released => own,
            _ => used,
        };
        let overhead = state.chunks.len() * size_of::<Chunk>();
        Info::new(self.budget.capacity(), heap, state.alloc, overhead)
            .with_nested(heap.saturating_sub(own))
    }

    fn each_slab_use(&self, visit: &mut dyn FnMut(SlabUse)) {
        let mut uses = BTreeMap::<usize, usize>::new();
        for chunk in self.state().chunks.values() {
            *uses.entry(chunk.slab).or_default() += 1;
        }
        for (slab, chunks) in uses {
            visit(SlabUse::new(slab, chunks, chunks, chunks * slab, chunks * slab));
        }
    }

    unsafe fn release(&self) {
        let mut state = self.state();
        let kept = match K::FLAW {
            Flaw::KeepsAtRelease => state.chunks.pop_first(),
            _ => None,
        };
        let chunks = std::mem::take(&mut state.chunks);
        for chunk in chunks.into_values() {
            self.give_back(chunk);
            if !matches!(K::FLAW, Flaw::KeepsBudgetAtRelease | Flaw::IgnoresCapacity) {
                self.budget.refund(chunk.slab);
            }
        }
        state.released = true;
        state.chunks.extend(kept);
        state.held = state.chunks.values().map(|chunk| chunk.slab).sum();
        state.alloc = state.held;
    }

    fn budget(&self) -> &Budget {
        &self.budget
    }

    fn try_alloc_zeroed(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let chunk = self.try_alloc(layout)?;
        let len = match K::FLAW {
            Flaw::ZeroesTooLittle => layout.size(),
            _ => chunk.len(),
        };
        // SAFETY: both lengths are within the chunk.
        unsafe { chunk.cast::<u8>().write_bytes(0, len) };
        Ok(chunk)
    }

    fn try_alloc_slab(&self, slab: usize) -> Result<NonNull<[u8]>, AllocError> {
        let slabs = &self.slabs;
        let at = slabs.partition_point(|&other| other < slab);
        if slabs.get(at) != Some(&slab) && K::FLAW != Flaw::GuessesSlabs {
            return Err(AllocError::NoSuchSlab {
                requested: slab,
                below: at.checked_sub(1).map_or(0, |below| slabs[below]),
                above: slabs[at.min(slabs.len() - 1)],
            });
        }
        self.try_alloc(Layout::from_size_align(slab, 1).expect("a slab is a size"))
    }

    unsafe fn try_realloc(
        &self,
        chunk: NonNull<u8>,
        layout: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: as the default method does, except for what a flaw leaves out.
        unsafe {
            let old_len = self.chunk(chunk).slab;
            if K::FLAW == Flaw::FreesOnFailedRealloc {
                chunk.write_bytes(0, old_len);
            }
            let new = self.try_alloc(layout)?;
            let kept = match K::FLAW {
                Flaw::ForgetsOnRealloc => 0,
                Flaw::ForgetsTheTail => old_len.min(layout.size()).min(8),
                _ => old_len.min(layout.size()),
            };
            new.cast::<u8>().copy_from_nonoverlapping(chunk, kept);
            self.free(chunk);
            Ok(new)
        }
    }

    unsafe fn resize_in_place(&self, chunk: NonNull<u8>, size: usize) -> Option<usize> {
        let len = self.chunk(chunk).slab;
        if K::FLAW == Flaw::GrowsOverTheEnd && size > len && size <= len + 1000 {
            return Some(size);
        }
        (size <= len && size >= len / 2).then_some(len)
    }

    fn purge(&self) -> usize {
        if K::FLAW == Flaw::PurgesTooMuch
            && let Some(chunk) = self.state().chunks.values().next()
        {
            // SAFETY: a chunk has at least 8 bytes.
            unsafe { chunk.start.write(!chunk.start.read()) };
        }
        0
    }
}

impl<K: Kind> Reference<K> {
    fn give_back(&self, chunk: Chunk) {
        if !chunk.owned {
            return;
        }
        let extra = if K::FLAW == Flaw::GrowsOverTheEnd { 4096 } else { 64 };
        let real = Layout::from_size_align(chunk.layout.size() + extra, chunk.layout.align())
            .expect("it was a layout before");
        // SAFETY: the chunk came from the system with this layout, and left the map.
        unsafe { System.dealloc(chunk.start.as_ptr(), real) };
    }
}

impl<K: Kind> Drop for Reference<K> {
    fn drop(&mut self) {
        let bytes: usize = self.state().chunks.values().map(|chunk| chunk.slab).sum();
        // SAFETY: nobody can use the heap any more.
        unsafe { self.release() };
        // What a flaw kept in the map goes now.
        for chunk in std::mem::take(&mut self.state().chunks).into_values() {
            self.give_back(chunk);
        }
        if K::FLAW == Flaw::LeaksBudgetAtDrop {
            let _ = self.budget.charge(bytes);
        }
    }
}
