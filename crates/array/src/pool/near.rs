//! Values beside their neighbours.
//!
//! ```text
//! segment
//! │ home │ map: a byte for each block │ block              │ block              │ …
//!          │ 0000 │ 0110 │ 1111 │ …     │ A  │ B  │ C  │ D  │ E  │    │    │ F  │
//!            full   two    all            ◀─ at most 128 bytes ─▶
//!                   free   free
//! ```
//!
//! A walk along links takes its time where a step misses the cache. Where a value lies in the
//! lines of the one that leads to it, that step is free. So whoever inserts says what the value
//! will be reached from; it takes a free slot of that value's block, the nearest one, and where
//! there is none it begins a block of its own, which has room for those that will be reached from
//! it. This is `ccmalloc` with its rule `new-block`, of Chilimbi, Hill and Larus,
//! "Cache-conscious structure layout" (PLDI 1999).
//!
//! Invariants, for every block:
//!
//! - a bit of its byte is set if and only if its slot is free;
//! - the block is on the list of free ones, by a link in its first slot, if and only if all of
//!   its bits are set;
//! - a block that was never used is at `fresh` or behind it, in the newest group, and its byte
//!   is not yet written.
//!
//! So of the blocks that were used, `slots = live + bits set`. A slot is used again by a neighbour, or when its block is
//! free altogether: the memory of a pool is at most that of as many blocks as it had values.
//!
//! What is said to be near may be any address. The regions of 2 MiB that have a group of the pool
//! are in a hash table of two probes on average, so an address of somebody else, or of a slot
//! that is free, is told from one that helps before anything is read there.

use core::alloc::Layout;
use core::cell::Cell;
use core::marker::PhantomData;
use core::ptr::{self, NonNull};

use mallocer_core::{AllocError, Ambient, Chunks};

use super::{Control, Free, Group, Pool, Pooled, Slots, refuse};
use crate::source::Source;

/// The most bytes of a block: a pair of cache lines, which several processors fetch together.
const LARGEST_BLOCK: usize = 128;
/// The most slots of a block: with five, in 128 bytes, a tree of nodes of 24 bytes takes the same
/// time and more memory.
const MOST_SLOTS: usize = 4;
/// Where a segment has its map.
const MAP: usize = size_of::<Group>();
/// The byte of a block without a free slot.
const FULL: u8 = 0;

/// How many slots of `stride` bytes a block has.
pub(super) const fn slots_of_block(stride: usize) -> usize {
    match LARGEST_BLOCK / stride {
        0 => 1,
        many if many > MOST_SLOTS => MOST_SLOTS,
        many => many,
    }
}

/// What the first block is aligned to, so that blocks are in as few lines as they can be.
pub(super) const fn block_align(block: usize) -> usize {
    let align = 1 << block.trailing_zeros();
    if align > LARGEST_BLOCK { LARGEST_BLOCK } else { align }
}

/// The rule by which a [`Pool`] places its values: [`Anywhere`] or [`Near`].
pub trait Placing: sealed::Rule {}

/// A slot is as good as any other: the one that was freed last is used first.
#[derive(Clone, Copy, Debug)]
pub enum Anywhere {}

/// A value goes beside another one if it can: [`Pool::insert_near`].
#[derive(Clone, Copy, Debug)]
pub enum Near {}

impl Placing for Anywhere {}
impl Placing for Near {}

pub(super) mod sealed {
    /// What a rule decides.
    pub trait Rule {
        /// Whether there are blocks and maps.
        const NEAR: bool;
    }

    impl Rule for super::Anywhere {
        const NEAR: bool = false;
    }

    impl Rule for super::Near {
        const NEAR: bool = true;
    }
}

impl<T, P: Ambient> Pool<T, P, Near> {
    /// An empty pool on the heap of a process, in which values are placed beside others.
    pub fn near() -> Self {
        Pool::empty(P::default())
    }
}

impl<T, S: Source> Pool<T, S, Near> {
    /// An empty pool in `source`, in which values are placed beside others. It takes no memory
    /// until it has a value.
    ///
    /// It is for structures that are walked through by links, and are larger than the cache.
    /// What a walk saves costs memory: up to twice as much, for trees that are filled at random.
    /// Where values are visited in the order in which they were made, [`Pool::new_in`] is better.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocer_array::{Near, Pool, Pooled, Source};
    /// use mallocer_flist::Global;
    ///
    /// struct Node<'p, S: Source> {
    ///     key: u32,
    ///     children: [Option<Pooled<'p, Node<'p, S>, S, Near>>; 2],
    /// }
    ///
    /// let pool = Pool::near_in(Global);
    /// let mut root: Option<Pooled<Node<_>, _, Near>> = None;
    /// for key in [5, 2, 8, 1, 9] {
    ///     let mut link = &mut root;
    ///     while let Some(node) = link {
    ///         let child = usize::from(key > node.key);
    ///         link = &mut node.children[child];
    ///     }
    ///     // The link lies in the node that leads here, if there is one.
    ///     let near = std::ptr::from_ref(link);
    ///     *link = Some(pool.insert_near(near, Node { key, children: [None, None] }));
    /// }
    /// let root = root.unwrap();
    /// let distance = |node: &Node<_>, child: usize| {
    ///     node.children[child].as_ref().unwrap().as_ptr().addr().get() - root.as_ptr().addr().get()
    /// };
    /// assert!(distance(&root, 0) < 128 && distance(&root, 1) < 128);
    /// ```
    pub fn near_in(source: S) -> Self {
        Pool::empty(source)
    }

    /// A pool in which values are placed beside others, with memory for `capacity` values if
    /// they are so placed that they fill their blocks.
    ///
    /// # Errors
    ///
    /// Why there is no memory for so many.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocer_array::Pool;
    /// use mallocer_flist::Global;
    ///
    /// let pool = Pool::near_with_capacity_in(1_000, Global).unwrap();
    /// let first = pool.insert(1);
    /// let second = pool.insert_near(first.as_ptr().as_ptr(), 2);
    /// assert_eq!(*first + *second, 3);
    /// ```
    pub fn near_with_capacity_in(capacity: usize, source: S) -> Result<Self, AllocError> {
        Pool::made_for(capacity, source)
    }

    /// Puts `value` into the slot that is nearest to `neighbour`, if there is a free one in its
    /// block, and else into a block that has room for what is going to be near to `value`.
    ///
    /// `neighbour` is any address in a value of this pool, best in the one that leads to the
    /// new one. It is a hint, and nothing is read there: any other address, a dangling one too,
    /// is none. [`insert`](Pool::insert) places values beside those that it inserted before.
    ///
    /// Where fewer than two values have room in 128 bytes, it makes no difference.
    ///
    /// # Panics
    ///
    /// Where [`try_insert_near`](Pool::try_insert_near) has an error, with its message.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocer_array::Pool;
    /// use mallocer_flist::Global;
    ///
    /// let pool = Pool::near_in(Global);
    /// let (one, two) = (pool.insert([1u64; 3]), pool.insert_near(std::ptr::null::<u8>(), [2; 3]));
    /// let beside = pool.insert_near(&raw const one[1], [3; 3]);
    /// assert_eq!(beside.as_ptr().addr().get(), one.as_ptr().addr().get() + 24);
    /// assert!(beside.as_ptr().addr().get().abs_diff(two.as_ptr().addr().get()) >= 48);
    /// ```
    #[inline]
    #[track_caller]
    pub fn insert_near<U: ?Sized>(&self, neighbour: *const U, value: T) -> Pooled<'_, T, S, Near> {
        match self.slot_near(neighbour.addr()) {
            Ok(slot) => Pooled::fill(slot, value),
            Err(refusal) => refuse(refusal),
        }
    }

    /// Puts `value` near to `neighbour`, as [`insert_near`](Pool::insert_near) does.
    ///
    /// # Errors
    ///
    /// The value and why there is no memory for it.
    #[inline]
    pub fn try_insert_near<U: ?Sized>(
        &self,
        neighbour: *const U,
        value: T,
    ) -> Result<Pooled<'_, T, S, Near>, (T, AllocError)> {
        match self.slot_near(neighbour.addr()) {
            Ok(slot) => Ok(Pooled::fill(slot, value)),
            Err(refusal) => Err((value, refusal)),
        }
    }

    #[inline(always)]
    fn slot_near(&self, neighbour: usize) -> Result<NonNull<T>, AllocError> {
        let control = self.control();
        let beside =
            Block::<T, Near>::find(control, neighbour).and_then(|(block, index)| block.take(index));
        let slot = match beside {
            Some(slot) => slot,
            None => self.founded()?,
        };
        self.one_more();
        Ok(slot)
    }
}

impl<T, S: Source, R: Placing> Pool<T, S, R> {
    /// The first slot of a block whose others are free.
    #[inline(always)]
    fn founded(&self) -> Result<NonNull<T>, AllocError> {
        let first = self.free_or_fresh()?;
        // SAFETY: it is a block, and nobody uses it.
        unsafe { Block::<T, R>::of(first).0.map.write(Block::<T, R>::ALL & !1) };
        Ok(first)
    }

    /// A slot of the block that was begun last here, or of a new one.
    #[inline(always)]
    pub(super) fn slot_of_recent(&self) -> Result<NonNull<T>, AllocError> {
        if let Some(recent) = NonNull::new(self.control().recent.get()) {
            // SAFETY: it is a block of this pool.
            let block = unsafe { Block::<T, R>::of(recent.cast()).0 };
            if let Some(slot) = block.take(0) {
                return Ok(slot);
            }
        }
        let first = self.founded()?;
        self.control().recent.set(first.as_ptr().cast());
        Ok(first)
    }
}

/// Makes a slot free in its block, and its block if it was the last one.
///
/// # Safety
///
/// It is a slot of the pool of `control`, and nobody uses it any more.
#[inline(always)]
pub(super) unsafe fn free<T, R: Placing>(control: &Control, slot: NonNull<T>) {
    // SAFETY: the slot is the pool's. A block that is all free is nobody's, and its first slot
    // has room for a link.
    unsafe {
        let (block, index) = Block::<T, R>::of(slot);
        let free = block.map.read() | 1 << index;
        block.map.write(free);
        if free == Block::<T, R>::ALL {
            block.first.cast::<Free>().write(Free { next: control.free.get() });
            control.free.set(block.first.as_ptr().cast());
        }
    }
}

/// A block that was used.
pub(super) struct Block<T, R> {
    first: NonNull<T>,
    /// Its byte of its segment's map.
    map: NonNull<u8>,
    rule: PhantomData<R>,
}

impl<T, R: Placing> Block<T, R> {
    /// All slots are free.
    const ALL: u8 = u8::MAX >> (u8::BITS as usize - Slots::<T, R>::PER_BLOCK);

    /// The block of an address, and which of its slots it is in.
    ///
    /// # Safety
    ///
    /// The address is in a slot.
    #[inline(always)]
    pub(super) unsafe fn of(slot: NonNull<T>) -> (Self, usize) {
        let segment = Slots::<T, R>::segment(slot).cast::<u8>();
        let offset = slot.addr().get() - segment.addr().get() - Slots::<T, R>::FIRST;
        let block = offset / Slots::<T, R>::BLOCK;
        let index = offset % Slots::<T, R>::BLOCK / Slots::<T, R>::STRIDE;
        // SAFETY: within the segment.
        unsafe { (Self::at(segment, block), index) }
    }

    /// # Safety
    ///
    /// The segment is a pool's, and has so many blocks.
    #[inline(always)]
    pub(super) unsafe fn at(segment: NonNull<u8>, block: usize) -> Self {
        // SAFETY: within the segment.
        unsafe {
            let first = segment.add(Slots::<T, R>::FIRST + block * Slots::<T, R>::BLOCK).cast();
            Block { first, map: segment.add(MAP + block), rule: PhantomData }
        }
    }

    /// The block that `address` is in, and which of its slots, if it is one of the pool's that
    /// was used.
    #[inline(always)]
    fn find(control: &Control, address: usize) -> Option<(Self, usize)> {
        if Slots::<T, R>::PER_BLOCK == 1 {
            return None;
        }
        // What was never used is the end of the newest group, and has no map yet.
        let (fresh, end) = (control.fresh.get().addr(), control.group_end.get().addr());
        let group = control.regions.find(address)?;
        let offset = address % Slots::<T, R>::SEGMENT;
        let slots = Slots::<T, R>::FIRST
            ..Slots::<T, R>::FIRST + Slots::<T, R>::BLOCKS * Slots::<T, R>::BLOCK;
        if !slots.contains(&offset) || (fresh..end).contains(&address) {
            return None;
        }
        // SAFETY: the address is in a slot of a group of the pool, which is not at address 0.
        Some(unsafe { Self::of(NonNull::new_unchecked(group.with_addr(address).cast())) })
    }

    /// A free slot, the nearest at or behind that of `index` if there is one, unless the block
    /// is all free: then it is on the list of those.
    #[inline(always)]
    fn take(&self, index: usize) -> Option<NonNull<T>> {
        // SAFETY: the block was used, so its segment has a map.
        let free = unsafe { self.map.read() };
        if free == FULL || free == Self::ALL {
            return None;
        }
        let behind = free >> index << index;
        let slot = match behind {
            0 => u8::BITS - 1 - free.leading_zeros(),
            _ => behind.trailing_zeros(),
        };
        // SAFETY: a bit of the byte is that of a slot of the block.
        unsafe {
            self.map.write(free & !(1 << slot));
            Some(self.first.byte_add(slot as usize * Slots::<T, R>::STRIDE))
        }
    }

    /// The slots that have values.
    pub(super) fn live(self) -> impl Iterator<Item = NonNull<T>> {
        // SAFETY: as above.
        let free = unsafe { self.map.read() };
        let first = self.first;
        (0..Slots::<T, R>::PER_BLOCK)
            .filter(move |slot| free & (1 << slot) == 0)
            // SAFETY: within the block.
            .map(move |slot| unsafe { first.byte_add(slot * Slots::<T, R>::STRIDE) })
    }
}

/// Bytes of a region: as large as the groups of a large pool, which are aligned to it.
const REGION: usize = super::LARGEST_GROUP;

/// Which addresses are a pool's: an open-addressing hash table of its groups, in which each is
/// once for every region that it lies in.
pub(super) struct Regions {
    /// A chunk of entries, of which at most half are in use; null if there is none.
    entries: Cell<*mut Entry>,
    /// One less than the number of entries, which is a power of two.
    mask: Cell<usize>,
    used: Cell<usize>,
}

/// A group, or nothing.
#[derive(Clone, Copy)]
struct Entry {
    start: *mut u8,
    bytes: usize,
}

impl Regions {
    /// Of a pool without memory.
    pub(super) const fn empty() -> Regions {
        Regions { entries: Cell::new(ptr::null_mut()), mask: Cell::new(0), used: Cell::new(0) }
    }

    /// The group that an address is in, by its start.
    #[inline(always)]
    fn find(&self, address: usize) -> Option<*mut u8> {
        let entries = NonNull::new(self.entries.get())?;
        let mut at = address / REGION;
        loop {
            // SAFETY: within the table, in which there is always an entry that is not in use.
            let Entry { start, bytes } = unsafe { entries.add(at & self.mask.get()).read() };
            if address.wrapping_sub(start.addr()) < bytes {
                return Some(start);
            }
            if bytes == 0 {
                return None;
            }
            at += 1;
        }
    }

    /// Makes room for a group of `bytes` bytes.
    pub(super) fn reserve<H: Chunks>(&self, heap: &H, bytes: usize) -> Result<(), AllocError> {
        // One that is not aligned lies in a region more.
        let wanted = 2 * (self.used.get() + bytes.div_ceil(REGION) + 1);
        let old = NonNull::new(self.entries.get());
        let had = old.map_or(0, |_| self.mask.get() + 1);
        if wanted <= had {
            return Ok(());
        }
        let count = wanted.next_power_of_two().max(16);
        let layout = Layout::array::<Entry>(count).expect("as many as fit into the address space");
        let entries = heap.try_alloc(layout)?.cast::<Entry>();
        // SAFETY: the chunk is large enough, and the old one is the pool's, which ends here.
        unsafe {
            for index in 0..count {
                entries.add(index).write(Entry { start: ptr::null_mut(), bytes: 0 });
            }
            self.entries.set(entries.as_ptr());
            self.mask.set(count - 1);
            if let Some(old) = old {
                for index in 0..had {
                    let Entry { start, bytes } = old.add(index).read();
                    // A group of several regions has as many entries: the first adds them all.
                    if bytes != 0 && self.find(start.addr()).is_none() {
                        self.add_anew(start, bytes);
                    }
                }
                heap.free(old.cast());
            }
        }
        Ok(())
    }

    /// Adds a group, for which there is room.
    pub(super) fn add(&self, start: *mut u8, bytes: usize) {
        let regions = (start.addr() + bytes - 1) / REGION - start.addr() / REGION + 1;
        self.used.set(self.used.get() + regions);
        self.add_anew(start, bytes);
    }

    fn add_anew(&self, start: *mut u8, bytes: usize) {
        for region in start.addr() / REGION..=(start.addr() + bytes - 1) / REGION {
            let mut at = region;
            // SAFETY: within the table, in which there is an entry that is not in use.
            unsafe {
                while (*self.entries.get().add(at & self.mask.get())).bytes != 0 {
                    at += 1;
                }
                self.entries.get().add(at & self.mask.get()).write(Entry { start, bytes });
            }
        }
    }

    /// Gives back the table.
    ///
    /// # Safety
    ///
    /// It was taken from `heap`.
    pub(super) unsafe fn give_back<H: Chunks>(&self, heap: &H) {
        if let Some(entries) = NonNull::new(self.entries.get()) {
            // SAFETY: the table is the pool's, which ends here.
            unsafe { heap.free(entries.cast()) };
        }
    }
}
