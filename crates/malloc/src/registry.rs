//! Which addresses are handed out: one bit for every possible chunk start.
//!
//! Chunks of the C library start at multiples of 16 bytes, and those of one heap lie
//! close together. So the registry is a sparse bitmap of the address space, in
//! *leaves* of 64 KiB each, found through a hash table:
//!
//! ```text
//! address  = │      key       │ word (6) │ bit (6) │ 4 │
//!                    │             │          └ bit of the word
//!                    │             └ word of the leaf
//!                    └ hash → slot → leaf: { live, ever } × 64 words
//! ```
//!
//! `live` says that a chunk starts there and is handed out, `ever` that one was: it
//! tells a chunk that is freed twice from a pointer that came from elsewhere.
//!
//! Compared with a hash set of addresses it is an order of magnitude denser (1 KiB
//! for 64 KiB of chunks, whatever their number), mostly stays in the nearest caches,
//! and enumerates in address order.
//!
//! # Invariants
//!
//! 1. A leaf, once in the table, stays until [`Registry::clear`].
//! 2. A table is at most half full, or the last attempt to grow it has failed; an
//!    empty slot always remains, so every probe ends.
//! 3. A larger table is published complete; the smaller ones are kept until `clear`,
//!    since another thread may still be probing them. What it does not find there it
//!    looks for again under the lock.
//!
//! # Looking at live chunks while other threads free them
//!
//! [`Registry::each_live`] reads chunk headers, which must not be freed meanwhile. It
//! sets `walking`, then reads the bits; a thread that frees clears its bit, then reads
//! `walking`, and waits if it is set. All four are sequentially consistent: either the
//! walk does not see the bit, or the freeing thread sees the walk and waits.

use std::alloc::Layout;
use std::ptr;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::classes::GRAIN;
use crate::sharing::private::Sealed;

/// Bytes of address space under one leaf, as a power of two.
const LEAF_SHIFT: u32 = 16;
const WORDS: usize = (1 << LEAF_SHIFT) / GRAIN / 64;
const _: () = assert!(WORDS.is_power_of_two());

/// Slots of the first table.
const FIRST_SLOTS: usize = 16;

/// The state of 64 neighbouring chunk starts.
struct Word {
    /// A chunk starts here and is handed out.
    live: AtomicU64,
    /// A chunk that started here was handed out since the last `clear`.
    ever: AtomicU64,
}

/// The state of all chunk starts in 64 KiB of address space.
struct Leaf {
    words: [Word; WORDS],
}

impl Leaf {
    /// A leaf with no bit set, or `None` if there is no memory for it.
    fn try_new() -> Option<Box<Leaf>> {
        // SAFETY: the layout is not empty; all zeroes is a valid leaf, and the memory
        // comes from the allocator that a `Box` gives it back to.
        unsafe {
            let leaf = std::alloc::alloc_zeroed(Layout::new::<Leaf>()).cast::<Leaf>();
            (!leaf.is_null()).then(|| Box::from_raw(leaf))
        }
    }
}

/// An entry of the hash table: valid once `leaf` is not null.
struct Slot {
    key: AtomicUsize,
    leaf: AtomicPtr<Leaf>,
}

/// A hash table of leaves, open addressing with linear probing.
struct Table {
    /// Brings the upper bits of a hash down to a slot number.
    shift: u32,
    /// A power of two of them.
    slots: Box<[Slot]>,
}

impl Table {
    fn try_new(count: usize) -> Option<Box<Table>> {
        let mut slots = Vec::new();
        slots.try_reserve_exact(count).ok()?;
        slots.resize_with(count, || Slot {
            key: AtomicUsize::new(0),
            leaf: AtomicPtr::new(ptr::null_mut()),
        });
        let shift = usize::BITS - count.ilog2();
        Some(Box::new(Table { shift, slots: slots.into_boxed_slice() }))
    }

    /// The slot of `key`, or the empty one where it belongs.
    #[inline]
    fn probe(&self, key: usize) -> (&Slot, *mut Leaf) {
        // Fibonacci hashing: consecutive keys fall far apart.
        let mut at = key.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as usize) >> self.shift;
        loop {
            let slot = &self.slots[at & (self.slots.len() - 1)];
            let leaf = slot.leaf.load(Acquire);
            if leaf.is_null() || slot.key.load(Relaxed) == key {
                return (slot, leaf);
            }
            at += 1;
        }
    }
}

/// What changes when leaves are added, under one lock.
#[derive(Default)]
struct Growth {
    /// All tables, smallest first; the last one is published.
    #[expect(clippy::vec_box, reason = "tables are published by address")]
    tables: Vec<Box<Table>>,
    leaves: usize,
    /// A leaf in reserve: see [`Registry::spare`].
    spare: Option<Spare>,
}

/// A leaf in reserve, with which [`Registry::insert_with`] cannot fail.
pub(crate) struct Spare(Box<Leaf>);

/// The chunks of a heap.
pub(crate) struct Registry {
    table: AtomicPtr<Table>,
    /// Somebody is in [`Registry::each_live`].
    walking: AtomicBool,
    /// Held by whoever walks.
    walk: Mutex<()>,
    growth: Mutex<Growth>,
}

impl Registry {
    pub(crate) fn new() -> Registry {
        Registry {
            table: AtomicPtr::new(ptr::null_mut()),
            walking: AtomicBool::new(false),
            walk: Mutex::new(()),
            growth: Mutex::new(Growth::default()),
        }
    }

    /// Notes that the chunk at `address` is handed out. `false` if there is no memory
    /// to note it in.
    #[inline]
    pub(crate) fn insert<S: Sealed>(&self, address: usize) -> bool {
        let leaf = match self.find(address) {
            Some(leaf) => leaf,
            None => match self.add_leaf(address, None) {
                Some(leaf) => leaf,
                None => return false,
            },
        };
        mark::<S>(leaf, address);
        true
    }

    /// As `insert`, with a leaf in reserve: cannot fail.
    pub(crate) fn insert_with<S: Sealed>(&self, address: usize, spare: Spare) {
        match self.find(address) {
            Some(leaf) => {
                mark::<S>(leaf, address);
                self.lock().spare = Some(spare);
            }
            None => {
                let leaf = self.add_leaf(address, Some(spare));
                mark::<S>(leaf.expect("the last quarter of a table is for spares"), address);
            }
        }
    }

    /// A leaf for [`insert_with`](Registry::insert_with), or `None` if there is no
    /// memory for one.
    pub(crate) fn spare(&self) -> Option<Spare> {
        let kept = self.lock().spare.take();
        kept.or_else(|| Leaf::try_new().map(Spare))
    }

    /// Notes that the chunk at `address` is not handed out any more. `false` if it was
    /// not.
    #[inline]
    pub(crate) fn remove<S: Sealed>(&self, address: usize) -> bool {
        let Some(leaf) = self.find(address) else { return false };
        let (word, mask) = place(leaf, address);
        if !address.is_multiple_of(GRAIN) || S::unset(&word.live, mask) & mask == 0 {
            return false;
        }
        if S::CONCURRENT && self.walking.load(SeqCst) {
            self.wait_for_walk();
        }
        true
    }

    /// Notes again what `remove` has just taken away: needs no memory.
    pub(crate) fn restore<S: Sealed>(&self, address: usize) {
        if let Some(leaf) = self.find(address) {
            mark::<S>(leaf, address);
        }
    }

    /// Whether a chunk at `address` is handed out.
    #[inline]
    pub(crate) fn contains(&self, address: usize) -> bool {
        address.is_multiple_of(GRAIN) && self.test(address, |word| &word.live)
    }

    /// Whether a chunk at `address` has been handed out since the last `clear`.
    pub(crate) fn has_been(&self, address: usize) -> bool {
        address.is_multiple_of(GRAIN) && self.test(address, |word| &word.ever)
    }

    /// Calls `visit` with the address of every chunk handed out, ascending. None of
    /// them is freed meanwhile.
    pub(crate) fn each_live(&self, mut visit: impl FnMut(usize)) {
        let _walk = self.walk.lock().unwrap_or_else(PoisonError::into_inner);
        self.walking.store(true, SeqCst);
        for (key, leaf) in self.leaves() {
            for (index, word) in leaf.words.iter().enumerate() {
                let mut live = word.live.load(SeqCst);
                while live != 0 {
                    let grain = index * 64 + live.trailing_zeros() as usize;
                    visit((key << LEAF_SHIFT) + grain * GRAIN);
                    live &= live - 1;
                }
            }
        }
        self.walking.store(false, SeqCst);
    }

    /// Bytes of the registry itself.
    pub(crate) fn overhead(&self) -> usize {
        let growth = self.lock();
        let slots: usize = growth.tables.iter().map(|table| table.slots.len()).sum();
        let leaves = growth.leaves + usize::from(growth.spare.is_some());
        leaves * size_of::<Leaf>()
            + slots * size_of::<Slot>()
            + growth.tables.len() * size_of::<Table>()
    }

    /// Forgets everything and gives the memory of the registry back.
    ///
    /// # Safety
    ///
    /// No other thread uses the registry meanwhile.
    pub(crate) unsafe fn clear(&self) {
        let mut growth = self.lock();
        self.table.store(ptr::null_mut(), SeqCst);
        // The last table has all leaves; the others have some of the same.
        if let Some(table) = growth.tables.last() {
            for slot in &table.slots {
                let leaf = slot.leaf.load(Relaxed);
                if !leaf.is_null() {
                    // SAFETY: it comes from `Box::into_raw`, nobody else refers to it
                    // (the caller's promise), and the tables go away next.
                    drop(unsafe { Box::from_raw(leaf) });
                }
            }
        }
        *growth = Growth::default();
    }

    #[inline]
    fn find(&self, address: usize) -> Option<&Leaf> {
        let table = self.table.load(Acquire);
        // SAFETY: null or a published table; it and its leaves live until `clear`,
        // which nobody else is in (invariants 1 and 3).
        unsafe { table.as_ref()?.probe(address >> LEAF_SHIFT).1.as_ref() }
    }

    #[inline]
    fn test(&self, address: usize, bits: impl Fn(&Word) -> &AtomicU64) -> bool {
        self.find(address).is_some_and(|leaf| {
            let (word, mask) = place(leaf, address);
            bits(word).load(SeqCst) & mask != 0
        })
    }

    /// Adds the leaf of `address`, unless another thread has done so. With a `spare`,
    /// nothing needs to be allocated.
    #[cold]
    fn add_leaf(&self, address: usize, spare: Option<Spare>) -> Option<&Leaf> {
        let mut growth = self.lock();
        let key = address >> LEAF_SHIFT;
        let size = growth.tables.last().map_or(0, |table| table.slots.len());
        if growth.leaves * 2 >= size {
            let grown = self.grow(&mut growth, (size * 2).max(FIRST_SLOTS));
            // The last quarter is kept for those who come with a spare.
            let limit = if spare.is_some() { size.saturating_sub(1) } else { size / 4 * 3 };
            if grown.is_none() && growth.leaves >= limit {
                return None;
            }
        }
        let table = growth.tables.last()?;
        let (slot, leaf) = table.probe(key);
        if !leaf.is_null() {
            growth.spare = spare.or(growth.spare.take());
            // SAFETY: leaves live until `clear` (invariant 1).
            return Some(unsafe { &*leaf });
        }
        let leaf = Box::into_raw(match spare {
            Some(Spare(leaf)) => leaf,
            None => Leaf::try_new()?,
        });
        slot.key.store(key, Relaxed);
        slot.leaf.store(leaf, Release);
        growth.leaves += 1;
        // SAFETY: as above.
        Some(unsafe { &*leaf })
    }

    /// Publishes a table of `count` slots with all leaves in it.
    fn grow(&self, growth: &mut Growth, count: usize) -> Option<()> {
        growth.tables.try_reserve(1).ok()?;
        let table = Table::try_new(count)?;
        if let Some(old) = growth.tables.last() {
            for from in &old.slots {
                let leaf = from.leaf.load(Relaxed);
                if !leaf.is_null() {
                    let key = from.key.load(Relaxed);
                    let (to, _) = table.probe(key);
                    to.key.store(key, Relaxed);
                    to.leaf.store(leaf, Relaxed);
                }
            }
        }
        let published = ptr::from_ref(&*table).cast_mut();
        growth.tables.push(table);
        self.table.store(published, Release);
        Some(())
    }

    /// All leaves with their keys, ascending.
    fn leaves(&self) -> Vec<(usize, &Leaf)> {
        let growth = self.lock();
        let mut leaves: Vec<_> = growth
            .tables
            .last()
            .into_iter()
            .flat_map(|table| &table.slots)
            .filter_map(|slot| {
                // SAFETY: null or a leaf, which lives until `clear` (invariant 1).
                let leaf = unsafe { slot.leaf.load(Acquire).as_ref() }?;
                Some((slot.key.load(Relaxed), leaf))
            })
            .collect();
        leaves.sort_unstable_by_key(|&(key, _)| key);
        leaves
    }

    #[cold]
    fn wait_for_walk(&self) {
        drop(self.walk.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn lock(&self) -> MutexGuard<'_, Growth> {
        self.growth.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // SAFETY: `&mut self`: nobody else uses it.
        unsafe { self.clear() }
    }
}

/// The word and the bit of an address in its leaf.
#[inline]
fn place(leaf: &Leaf, address: usize) -> (&Word, u64) {
    let grain = address / GRAIN;
    (&leaf.words[grain / 64 % WORDS], 1 << (grain % 64))
}

/// Sets both bits of an address.
#[inline]
fn mark<S: Sealed>(leaf: &Leaf, address: usize) {
    let (word, mask) = place(leaf, address);
    let was = S::set(&word.live, mask);
    debug_assert!(was & mask == 0, "{address:#x} is handed out twice");
    // Read first: most chunk starts have been used before.
    if word.ever.load(Relaxed) & mask == 0 {
        S::set(&word.ever, mask);
    }
}
