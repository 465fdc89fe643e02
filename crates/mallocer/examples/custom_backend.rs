//! Somebody else's heap as a backend: here the one of Rust's standard library, with a
//! table of what is handed out.
//!
//! Everything an arena does works on it: capacity, nested arenas, collections,
//! statistics, release. The test at the end runs the conformance suite on it, which
//! tells whether it keeps all the promises:
//!
//! ```text
//! cargo test -p mallocer --example custom_backend
//! ```

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::ptr::NonNull;

use mallocer::collections::Vec;
use mallocer::{
    AllocError, Arena, Budget, BuildError, Config, ConfigError, Info, Ladder, Mallocer, Misuse,
    MisuseKind, SlabUse,
};

/// A heap on [`System`] that knows its chunks by their addresses.
struct Tabled {
    budget: Budget,
    ladder: Ladder,
    /// The chunks that are handed out: where, and what the system was asked for.
    chunks: RefCell<HashMap<NonNull<u8>, Layout>>,
    /// The bytes of them; all are charged to the budget.
    held: Cell<usize>,
}

impl Tabled {
    /// The layout of a chunk that is handed out.
    fn layout(&self, chunk: NonNull<u8>, operation: &'static str) -> Layout {
        match self.chunks.borrow().get(&chunk) {
            Some(&layout) => layout,
            None => Misuse::new(MisuseKind::Foreign, operation, chunk.addr().get()).raise(),
        }
    }

    /// Gives a chunk that has left the table back to the system.
    ///
    /// # Safety
    ///
    /// It was in the table with this layout, and is not used afterwards.
    unsafe fn give_back(&self, chunk: NonNull<u8>, layout: Layout) {
        // SAFETY: the system handed it out for this layout.
        unsafe { System.dealloc(chunk.as_ptr(), layout) };
        self.held.set(self.held.get() - layout.size());
        self.budget.refund(layout.size());
    }
}

// SAFETY: chunks are blocks of the system's allocator: valid, aligned and disjoint, and
// given back only when they are freed, released or the heap is dropped. Each is charged
// to the budget before it is taken.
unsafe impl Mallocer for Tabled {
    fn open(config: &Config) -> Result<Tabled, ConfigError> {
        config.check("tabled", config.ladder.slabs()[0])?;
        let ladder = config.ladder.clone();
        let (chunks, held) = (RefCell::default(), Cell::new(0));
        Ok(Tabled { budget: config.budget(), ladder, chunks, held })
    }

    fn name(&self) -> &'static str {
        "tabled"
    }

    fn try_alloc(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let (requested, largest) = (layout.size(), self.ladder.largest());
        // An alignment above the ladder's is the system's business.
        let slab = self.ladder.find(requested, 1);
        let slab = slab.ok_or(AllocError::AboveLargestSlab { requested, largest })?;
        let size = self.ladder.slab_size(slab);
        let layout = Layout::from_size_align(size, layout.align())
            .map_err(|_| AllocError::AboveLargestSlab { requested, largest })?;

        self.budget.charge(size)?;
        // SAFETY: no slab has a size of 0.
        let Some(chunk) = NonNull::new(unsafe { System.alloc(layout) }) else {
            self.budget.refund(size);
            let (used, limit) = (self.budget.used(), self.budget.capacity());
            return Err(AllocError::System { requested: size, used, limit });
        };
        self.held.set(self.held.get() + size);
        self.chunks.borrow_mut().insert(chunk, layout);
        Ok(NonNull::slice_from_raw_parts(chunk, size))
    }

    unsafe fn free(&self, chunk: NonNull<u8>) {
        let layout = self.layout(chunk, "free");
        self.chunks.borrow_mut().remove(&chunk);
        // SAFETY: the table says that the chunk is held, and with which layout.
        unsafe { self.give_back(chunk, layout) };
    }

    unsafe fn chunk_len(&self, chunk: NonNull<u8>) -> usize {
        self.layout(chunk, "chunk_len").size()
    }

    fn slabs(&self) -> &[usize] {
        self.ladder.slabs()
    }

    fn info(&self) -> Info {
        let (used, held) = (self.budget.used(), self.held.get());
        let entry = size_of::<(NonNull<u8>, Layout)>();
        let overhead = self.chunks.borrow().capacity() * entry;
        Info::new(self.budget.capacity(), used, held, overhead).with_nested(used - held)
    }

    fn each_slab_use(&self, visit: &mut dyn FnMut(SlabUse)) {
        let mut counts = BTreeMap::new();
        for layout in self.chunks.borrow().values() {
            *counts.entry(layout.size()).or_insert(0) += 1;
        }
        for (slab, chunks) in counts {
            visit(SlabUse::new(slab, chunks, chunks, slab * chunks, slab * chunks));
        }
    }

    unsafe fn release(&self) {
        for (chunk, layout) in self.chunks.take() {
            // SAFETY: as in `free`; the caller uses none of them afterwards.
            unsafe { self.give_back(chunk, layout) };
        }
    }

    fn budget(&self) -> &Budget {
        &self.budget
    }
}

impl Drop for Tabled {
    fn drop(&mut self) {
        // SAFETY: who drops a heap uses its chunks no more.
        unsafe { self.release() };
    }
}

fn main() -> Result<(), BuildError> {
    let arena = Arena::<Tabled>::builder()
        .capacity(1 << 20)
        .ladder(Ladder::between(16, 1 << 18)?)
        .build()?;
    let mut numbers = Vec::new_in(&arena);
    numbers.extend(0..10_000u64);
    println!("{}: {}", arena.backend_name(), arena.info());
    for slab in arena.utilization() {
        println!("  {slab}");
    }

    let child = arena.child().build()?;
    let refusal = loop {
        if let Err(refusal) = child.try_alloc(Layout::new::<[u8; 100_000]>()) {
            break refusal;
        }
    };
    println!("a child of it: {}", child.info());
    println!("               {refusal}");
    child.release();
    println!("the child is released: {}", arena.info());
    drop(numbers);

    let outside = Box::new(7u8);
    let outside = NonNull::from(&*outside);
    // SAFETY: this heap looks every pointer up, and panics for one it does not know.
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| unsafe {
        arena.free(outside);
    }));
    println!("a foreign pointer is caught: {}", caught.is_err());
    Ok(())
}

#[test]
fn conforms() {
    mallocer_conformance::check::<Tabled>();
}
