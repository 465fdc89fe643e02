//! Many values of one type, made and dropped one by one in any order.
//!
//! ```text
//! group: a chunk of the heap, segment after segment
//!
//!   segment, a multiple of its own size              next segment
//!   │ ▼ home │ slot │ slot │ slot │ …                │ ▼ home │ slot │ …
//!     │          ▲      │ next free
//!     ▼          └──────┘
//!   control: first free slot, slots never used, groups
//! ```
//!
//! A value's handle is its address. Rounding that down to a segment leads to the control
//! block, so a handle needs no second word, and what it takes to free a slot is a mask,
//! a load, and a push on the list of free slots. The last slot freed is the next one used.
//! Slots that were never used are taken in address order.
//!
//! Groups grow with the pool, from one segment to 2 MiB, which is a huge page where the
//! system gives them.
//!
//! That is a pool whose rule is [`Anywhere`]. In one whose rule is [`Near`], what is taken and
//! freed is a block of a few slots, and a slot is taken in its neighbour's block: see `near`.

mod handle;
mod keyed;
mod live;
mod near;

use core::alloc::Layout;
use core::cell::Cell;
use core::fmt;
use core::marker::PhantomData;
use core::ptr::{self, NonNull};

use mallocer_core::{AllocError, Ambient, Chunks, MAX_CAPACITY};

use self::near::Regions;
use crate::source::Source;

pub use handle::Pooled;
pub use keyed::{Key, KeyedPool};
pub use near::{Anywhere, Near, Placing};

/// The most bytes that a group has, unless one segment, or what the pool was made for,
/// needs more.
const LARGEST_GROUP: usize = 2 << 20;
/// The fewest bytes of a segment.
const LEAST_SEGMENT: usize = 16 << 10;

/// A pool of values of one type, each freed by itself.
///
/// [`insert`](Pool::insert) gives a handle that is used like a `Box`, and that cannot
/// outlive the pool: the compiler sees to it. Handles may be kept in values of the same
/// pool, so trees and lists of them work as with boxes.
///
/// A pool is used by one thread. Dropping it gives back its memory at once; a value that
/// was leaked, so that it has no handle any more, is not dropped.
///
/// # Examples
///
/// ```
/// use mallocer_array::{In, Pool, Pooled};
/// use mallocer_core::{Config, Mallocer};
/// use mallocer_flist::Flist;
///
/// struct Node<'p, S: mallocer_array::Source> {
///     value: u32,
///     next: Option<Pooled<'p, Node<'p, S>, S>>,
/// }
///
/// let heap = Flist::open(&Config::default())?;
/// let nodes = Pool::new_in(In::new(&heap));
/// let mut list = None;
/// for value in 0..3 {
///     list = Some(nodes.insert(Node { value, next: list }));
/// }
/// let first = list.unwrap();
/// assert_eq!((first.value, first.next.as_ref().unwrap().value), (2, 1));
/// assert_eq!(size_of_val(&first), size_of::<usize>());
/// # Ok::<(), mallocer_core::ConfigError>(())
/// ```
///
/// A handle does not outlive its pool:
///
/// ```compile_fail,E0597
/// # use mallocer_array::Pool;
/// # use mallocer_flist::Global;
/// let handle;
/// {
///     let pool = Pool::new_in(Global);
///     handle = pool.insert(7);
/// }
/// assert_eq!(*handle, 7);
/// ```
pub struct Pool<T, S: Source, R: Placing = Anywhere> {
    memory: Memory<S>,
    /// Values are not dropped by the pool, so it may be borrowed by its own values.
    holds: PhantomData<(*mut T, R)>,
}

/// The groups of a pool. It does not know of what type its slots are, and so does not touch
/// them when it is dropped.
struct Memory<S: Source> {
    control: Cell<NonNull<Control>>,
    source: S,
}

/// What segments lead to. In a chunk of its own: it stays where it is if the pool moves.
struct Control {
    /// The slot that was freed last; null if none is free. Of blocks, one that is all free.
    free: Cell<*mut Free>,
    /// The first slot or block that was never used, and the end of its segment.
    fresh: Cell<*mut u8>,
    fresh_end: Cell<*mut u8>,
    /// The end of the newest group: its segments behind `fresh_end` were never used.
    group_end: Cell<*mut u8>,
    /// The newest group; null if there is none.
    group: Cell<*mut Group>,
    /// Values in slots.
    live: Cell<usize>,
    /// Of a pool of blocks: where [`Pool::insert`] began a block last, or null.
    recent: Cell<*mut u8>,
    /// Of a pool of blocks: where its groups lie.
    regions: Regions,
}

/// A slot that is free.
struct Free {
    next: *mut Free,
}

/// What a segment begins with.
#[repr(C)]
struct Segment {
    home: NonNull<Control>,
}

/// What a group's first segment begins with.
#[repr(C)]
struct Group {
    segment: Segment,
    /// The group before it.
    older: *mut Group,
    bytes: usize,
}

/// The control block of a pool without memory: nothing is free. Never written.
struct Nothing(Control);

// SAFETY: nobody writes it.
unsafe impl Sync for Nothing {}

static NOTHING: Nothing = Nothing(Control::empty());

impl Control {
    /// Of a pool without memory.
    const fn empty() -> Control {
        Control {
            free: Cell::new(ptr::null_mut()),
            fresh: Cell::new(ptr::null_mut()),
            fresh_end: Cell::new(ptr::null_mut()),
            group_end: Cell::new(ptr::null_mut()),
            group: Cell::new(ptr::null_mut()),
            live: Cell::new(0),
            recent: Cell::new(ptr::null_mut()),
            regions: Regions::empty(),
        }
    }
}

/// Where slots of `T` lie, in blocks as the rule `R` has them.
struct Slots<T, R>(PhantomData<(T, R)>);

impl<T, R: Placing> Slots<T, R> {
    const ALIGN: usize = max(align_of::<T>(), align_of::<Free>());
    /// Bytes from one slot to the next.
    const STRIDE: usize = max(size_of::<T>(), size_of::<Free>()).next_multiple_of(Self::ALIGN);
    /// Slots of a block: one where it is all the same, and where a block has no room for two.
    const PER_BLOCK: usize = if R::NEAR { near::slots_of_block(Self::STRIDE) } else { 1 };
    /// Bytes from one block to the next.
    const BLOCK: usize = Self::PER_BLOCK * Self::STRIDE;
    /// Bytes of a segment, a power of two: at least eight slots.
    const SEGMENT: usize = {
        let head = size_of::<Group>().next_multiple_of(Self::ALIGN);
        max(LEAST_SEGMENT, (8 * Self::STRIDE + head).next_power_of_two())
    };
    /// Blocks of a segment. Where there is a map, each has a byte in front of the first.
    const BLOCKS: usize = {
        let head = size_of::<Group>().next_multiple_of(Self::ALIGN);
        match R::NEAR {
            false => (Self::SEGMENT - head) / Self::BLOCK,
            true => (Self::SEGMENT - head - Self::FIRST_ALIGN) / (Self::BLOCK + 1),
        }
    };
    const FIRST_ALIGN: usize = match R::NEAR {
        false => Self::ALIGN,
        true => max(Self::ALIGN, near::block_align(Self::BLOCK)),
    };
    /// The first slot of a segment.
    const FIRST: usize = {
        let map = if R::NEAR { Self::BLOCKS } else { 0 };
        (size_of::<Group>() + map).next_multiple_of(Self::FIRST_ALIGN)
    };
    const PER_SEGMENT: usize = Self::BLOCKS * Self::PER_BLOCK;
    const FITS: () = assert!(
        Self::BLOCKS > 0 && Self::FIRST + Self::BLOCKS * Self::BLOCK <= Self::SEGMENT,
        "a segment holds its head and its blocks"
    );

    /// The segment that a slot is in.
    #[inline(always)]
    fn segment(slot: NonNull<T>) -> NonNull<Segment> {
        slot.map_addr(|address| {
            // SAFETY: a slot is not in the first segment of the address space.
            unsafe { core::num::NonZero::new_unchecked(address.get() & !(Self::SEGMENT - 1)) }
        })
        .cast()
    }
}

const fn max(one: usize, other: usize) -> usize {
    if one > other { one } else { other }
}

impl<T, P: Ambient> Pool<T, P> {
    /// An empty pool on the heap of a process.
    pub fn new() -> Pool<T, P> {
        Pool::new_in(P::default())
    }
}

impl<T, P: Ambient> Default for Pool<T, P> {
    fn default() -> Pool<T, P> {
        Pool::new()
    }
}

impl<T, S: Source> Pool<T, S> {
    /// An empty pool in `source`. It takes no memory until it has a value.
    pub fn new_in(source: S) -> Pool<T, S> {
        Pool::empty(source)
    }

    /// A pool in `source` with memory for `capacity` values, which is one group.
    ///
    /// It is taken now; whether it is resident now is the heap's matter. From 2 MiB on it is
    /// backed by huge pages, where the system gives them.
    ///
    /// # Errors
    ///
    /// Why there is no memory for so many.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocer_array::{In, Pool};
    /// use mallocer_core::{Config, Mallocer};
    /// use mallocer_flist::Flist;
    ///
    /// let heap = Flist::open(&Config::default())?;
    /// let pool = Pool::with_capacity_in(1_000, In::new(&heap)).unwrap();
    /// let taken = heap.info().alloc;
    /// let handles: Vec<_> = (0..1_000u64).map(|number| pool.insert(number)).collect();
    /// assert_eq!(heap.info().alloc, taken);
    /// # drop(handles);
    /// # Ok::<(), mallocer_core::ConfigError>(())
    /// ```
    pub fn with_capacity_in(capacity: usize, source: S) -> Result<Pool<T, S>, AllocError> {
        Pool::made_for(capacity, source)
    }
}

impl<T, S: Source, R: Placing> Pool<T, S, R> {
    /// A pool without memory.
    fn empty(source: S) -> Self {
        const { Slots::<T, R>::FITS };
        let control = Cell::new(NonNull::from(&NOTHING.0));
        Pool { memory: Memory { control, source }, holds: PhantomData }
    }

    /// A pool with one group, which has room for `capacity` values.
    fn made_for(capacity: usize, source: S) -> Result<Self, AllocError> {
        let pool = Pool::empty(source);
        if capacity > 0 {
            let segments = capacity.div_ceil(Slots::<T, R>::PER_SEGMENT);
            let least = segments
                .checked_mul(Slots::<T, R>::SEGMENT)
                .filter(|&least| least <= MAX_CAPACITY)
                .ok_or(AllocError::AboveLargestSlab {
                    requested: usize::MAX,
                    largest: MAX_CAPACITY,
                })?;
            pool.memory.first()?;
            pool.memory.grow(Slots::<T, R>::SEGMENT, least, Slots::<T, R>::PER_BLOCK > 1)?;
            pool.begin(pool.control().group.get().cast());
        }
        Ok(pool)
    }

    /// Puts `value` into a slot.
    ///
    /// # Panics
    ///
    /// Where [`try_insert`](Pool::try_insert) has an error, with its message.
    #[inline]
    #[track_caller]
    pub fn insert(&self, value: T) -> Pooled<'_, T, S, R> {
        match self.slot() {
            Ok(slot) => Pooled::fill(slot, value),
            Err(refusal) => refuse(refusal),
        }
    }

    /// Puts `value` into a slot, as [`insert`](Pool::insert) does.
    ///
    /// # Errors
    ///
    /// The value and why there is no memory for it.
    #[inline]
    pub fn try_insert(&self, value: T) -> Result<Pooled<'_, T, S, R>, (T, AllocError)> {
        match self.slot() {
            Ok(slot) => Ok(Pooled::fill(slot, value)),
            Err(refusal) => Err((value, refusal)),
        }
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.control().live.get()
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline(always)]
    fn control(&self) -> &Control {
        // SAFETY: the control block lives as long as the pool has memory.
        unsafe { self.memory.control.get().as_ref() }
    }

    /// A slot that is nobody's.
    #[inline(always)]
    fn slot(&self) -> Result<NonNull<T>, AllocError> {
        let slot = if R::NEAR { self.slot_of_recent()? } else { self.free_or_fresh()? };
        self.one_more();
        Ok(slot)
    }

    /// There is one value more.
    #[inline(always)]
    fn one_more(&self) {
        let live = &self.control().live;
        live.set(live.get() + 1);
    }

    /// The slot or block that was freed last, or one that was never used.
    #[inline(always)]
    fn free_or_fresh(&self) -> Result<NonNull<T>, AllocError> {
        let control = self.control();
        match NonNull::new(control.free.get()) {
            Some(free) => {
                // SAFETY: a free slot says which is the next one.
                control.free.set(unsafe { free.read() }.next);
                Ok(free.cast())
            }
            None if control.fresh.get() != control.fresh_end.get() => Ok(self.take_fresh(control)),
            None => self.fresh_slow(),
        }
    }

    #[inline(always)]
    fn take_fresh(&self, control: &Control) -> NonNull<T> {
        let slot = control.fresh.get();
        // SAFETY: there is a slot or block that was never used.
        unsafe {
            control.fresh.set(slot.add(Slots::<T, R>::BLOCK));
            NonNull::new_unchecked(slot).cast()
        }
    }

    /// Makes the segment at `start` the one that fresh slots come from.
    fn begin(&self, start: *mut u8) {
        let bytes = Slots::<T, R>::BLOCKS * Slots::<T, R>::BLOCK;
        self.memory.begin(start, Slots::<T, R>::FIRST, bytes);
    }

    /// A slot or block of a segment that was never used, perhaps of a new group.
    #[cold]
    #[inline(never)]
    fn fresh_slow(&self) -> Result<NonNull<T>, AllocError> {
        self.memory.first()?;
        let control = self.control();
        let segment = Slots::<T, R>::SEGMENT;
        let used = control.fresh_end.get().addr().next_multiple_of(segment);
        if used == control.group_end.get().addr() {
            self.memory.grow(segment, 0, Slots::<T, R>::PER_BLOCK > 1)?;
            self.begin(control.group.get().cast());
        } else {
            self.begin(control.group_end.get().with_addr(used));
        }
        Ok(self.take_fresh(control))
    }
}

#[cold]
#[inline(never)]
#[track_caller]
fn refuse(refusal: AllocError) -> ! {
    panic!("{refusal}")
}

impl<S: Source> Memory<S> {
    /// Takes a control block, if there is none yet.
    fn first(&self) -> Result<(), AllocError> {
        if self.control.get() == NonNull::from(&NOTHING.0) {
            let block = self.source.heap().try_alloc(Layout::new::<Control>())?.cast();
            // SAFETY: the chunk was taken for it.
            unsafe { block.write(Control::empty()) };
            self.control.set(block);
        }
        Ok(())
    }

    /// Takes a group of at least `least` bytes, whole segments: twice as large as the one
    /// before it, or a single segment if there is no memory for more. If it is to be found by
    /// its addresses, the control block's regions know it.
    fn grow(&self, segment: usize, least: usize, found: bool) -> Result<(), AllocError> {
        // SAFETY: there is a control block, and its groups are this pool's.
        unsafe {
            let control = self.control.get().as_ref();
            let before = control.group.get();
            let twice = before.as_ref().map_or(segment, |group| 2 * group.bytes);
            let wanted = twice.min(LARGEST_GROUP).max(segment).max(least);
            // A group of 2 MiB begins where a huge page may.
            let align = if wanted < LARGEST_GROUP { segment } else { max(segment, LARGEST_GROUP) };
            let heap = self.source.heap();
            let layout = |bytes, align| Layout::from_size_align_unchecked(bytes, align);
            if found {
                control.regions.reserve(heap, wanted)?;
            }
            let (chunk, bytes) = match heap.try_alloc(layout(wanted, align)) {
                Ok(chunk) => (chunk, wanted),
                Err(refusal) if least > segment => return Err(refusal),
                Err(_) => (heap.try_alloc(layout(segment, segment))?, segment),
            };
            if bytes >= LARGEST_GROUP {
                self.source.want_huge_pages(chunk.cast(), true);
            }
            if found {
                control.regions.add(chunk.cast().as_ptr(), bytes);
            }
            let group = chunk.cast::<Group>();
            let segment = Segment { home: self.control.get() };
            group.write(Group { segment, older: before, bytes });
            control.group.set(group.as_ptr());
            control.group_end.set(chunk.cast::<u8>().as_ptr().add(bytes));
            Ok(())
        }
    }

    /// Makes the segment at `start` the one that fresh slots come from: `bytes` bytes from
    /// `first` on.
    fn begin(&self, start: *mut u8, first: usize, bytes: usize) {
        // SAFETY: the segment is the pool's, and nobody uses it.
        unsafe {
            let control = self.control.get();
            ptr::addr_of_mut!((*start.cast::<Segment>()).home).write(control);
            control.as_ref().fresh.set(start.add(first));
            control.as_ref().fresh_end.set(start.add(first + bytes));
        }
    }
}

impl<S: Source> Drop for Memory<S> {
    fn drop(&mut self) {
        let control = self.control.get();
        if control == NonNull::from(&NOTHING.0) {
            return;
        }
        // SAFETY: the groups and the control block are this pool's, and end with it.
        unsafe {
            let mut group = control.as_ref().group.get();
            while let Some(chunk) = NonNull::new(group) {
                group = chunk.as_ref().older;
                if chunk.as_ref().bytes >= LARGEST_GROUP {
                    self.source.want_huge_pages(chunk.cast(), false);
                }
                self.source.heap().free(chunk.cast());
            }
            control.as_ref().regions.give_back(self.source.heap());
            self.source.heap().free(control.cast());
        }
    }
}

impl<T, S: Source, R: Placing> fmt::Debug for Pool<T, S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool({} values)", self.len())
    }
}
