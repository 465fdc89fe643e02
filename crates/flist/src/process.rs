//! A heap for a whole process: in a static, opened by the first call, never closed.
//!
//! The two libraries that stand at the bottom of a process use it: [`Global`](crate::Global)
//! under Rust programs, and libmallocer.so under all others. Each says once, by two
//! functions, what its heap is to be and how the program is told of misuse.
//!
//! ```text
//! static HEAP: Process = Process::new(config, tell);
//!                           │
//! first call ───────────────┴──▶ Sharing, in the static itself: it never moves, and
//!                                nothing has to be allocated to have it
//! ```
//!
//! It draws on no budget, since a budget would have to be allocated.

mod freeing;

use core::alloc::Layout;
use core::fmt::{self, Write};
use core::ptr::{self, NonNull};
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64};

use mallocer_core::{AllocError, Budget, Config, Info, MAX_CAPACITY, Misuse, SlabUse};

use crate::cache::ThreadCache;
use crate::descriptor::{Kind, Tag};
use crate::front::{Elsewhere, Finder, Front, Ready};
use crate::hardened::Hardened;
use crate::local::{Lane, sole, used_last};
use crate::once::Once;
use crate::os;
use crate::registry;
use crate::reservation::Reservation;
use crate::sharing::{Sharing, zero_if};
use crate::statistics::{Block, Statistics};

/// A number that is no arena's tag, and not that of a thread that used none.
const NOT_OPEN: Tag = Tag::new(0, Kind::Live);

/// By what a heap is found that is not open. Models have no such heap, and loom's atomics no
/// place in a static.
const NOWHERE: *mut Finder = {
    #[cfg(not(mallocer_loom))]
    {
        static NOWHERE: Finder = Finder::nowhere(NOT_OPEN);
        (&raw const NOWHERE).cast_mut()
    }
    #[cfg(mallocer_loom)]
    ptr::null_mut()
};

/// One heap of flist's for the whole process, for a `static`.
///
/// `SOLE` says that the program has no other heap that says so: see [`Process::sole`].
///
/// Nothing here unwinds: misuse goes to the function that [`Process::new`] was given,
/// which does not return. Pointers may be null, which is misuse like any other.
///
/// # Examples
///
/// ```
/// use core::alloc::Layout;
/// use mallocer_core::Config;
/// use mallocer_flist::{Process, abort};
///
/// static HEAP: Process = Process::new(Config::default, abort);
///
/// let chunk = HEAP.alloc(Layout::new::<[u64; 9]>()).unwrap();
/// assert_eq!(chunk.len(), 72);
/// // SAFETY: allocated above, and not used afterwards.
/// unsafe { HEAP.free("free", chunk.cast().as_ptr()) };
/// ```
pub struct Process<const SOLE: bool = false> {
    /// The heap's tag, as a number, once it is open.
    tag: AtomicU64,
    /// What frees read of it, for who cannot know whether it is open: as long as it is not,
    /// and as long as it is hardened, [`NOWHERE`].
    finder: AtomicPtr<Finder>,
    heap: Once<Sharing>,
    entered: AtomicBool,
    config: fn() -> Config,
    tell: fn(Misuse) -> !,
    opened: fn(&'static Process<SOLE>),
    pass_on: fn(*mut u8) -> bool,
    harden: fn() -> bool,
    hardened: Once<Hardened>,
}

impl Process<false> {
    /// A heap that is opened by the first call to it, with what `config` returns then,
    /// but without a capacity. `config` must not use the heap. Misuse is passed to `tell`.
    pub const fn new(config: fn() -> Config, tell: fn(Misuse) -> !) -> Process<false> {
        Process::closed(config, tell)
    }
}

impl Process<true> {
    /// The same, as the sole heap of its kind in the program, or in a library that has a copy
    /// of this crate to itself. Its threads find what they have of it by one load, without a
    /// word that says whose it is: that saves two instructions of an allocation and more of a
    /// free.
    ///
    /// # Safety
    ///
    /// Nothing else in the program uses such a heap. [`Global`](crate::Global) is one.
    pub const unsafe fn sole(config: fn() -> Config, tell: fn(Misuse) -> !) -> Process<true> {
        Process::closed(config, tell)
    }
}

impl<const SOLE: bool> Process<SOLE> {
    const fn closed(config: fn() -> Config, tell: fn(Misuse) -> !) -> Process<SOLE> {
        Process {
            tag: AtomicU64::new(NOT_OPEN.as_number()),
            finder: AtomicPtr::new(NOWHERE),
            heap: Once::new(),
            entered: AtomicBool::new(false),
            config,
            tell,
            opened: |_| {},
            pass_on: |_| false,
            harden: || false,
            hardened: Once::new(),
        }
    }

    /// The same heap, which passes pointers that are surely not its own to `pass_on` before
    /// it calls a free of them misuse; `true` says that it has freed them.
    pub const fn passing_on(mut self, pass_on: fn(*mut u8) -> bool) -> Process<SOLE> {
        self.pass_on = pass_on;
        self
    }

    /// The same heap, hardened if `harden` says so when it is opened.
    pub const fn hardened_if(mut self, harden: fn() -> bool) -> Process<SOLE> {
        self.harden = harden;
        self
    }

    /// The same heap, of which `opened` is told when it is open; it may use it.
    pub const fn when_opened(mut self, opened: fn(&'static Process<SOLE>)) -> Process<SOLE> {
        self.opened = opened;
        self
    }

    /// The heap; `None` if it cannot be opened.
    #[inline(always)]
    pub(crate) fn heap(&'static self) -> Option<&'static Sharing> {
        match self.heap.get() {
            Some(heap) => Some(heap),
            None => self.open(),
        }
    }

    #[cold]
    #[inline(never)]
    fn open(&'static self) -> Option<&'static Sharing> {
        let heap = self.heap.get_or_make(|| {
            if (self.harden)() {
                // Before there is a heap, so that nobody gets round it.
                self.hardened.get_or_make(Hardened::new)?;
            }
            // A hardened heap has no fast path.
            let sole = SOLE && self.hardened.get().is_none();
            let made =
                Sharing::new(&(self.config)(), Budget::UNLIMITED, (Lane::Process, sole), self.tell);
            made.ok()
        })?;
        if self.hardened.get().is_none() {
            self.finder.store(ptr::from_ref(&heap.front.finder).cast_mut(), Release);
            self.tag.store(heap.front.tag(), Relaxed);
        }
        if !self.entered.swap(true, Relaxed) {
            if let Some(hardened) = self.hardened.get() {
                heap.heap.lock().disorder = os::random() | 1;
                registry::enter_hardened(hardened);
            }
            // SAFETY: a static stays where it is.
            unsafe { registry::enter(heap) };
            (self.opened)(self);
        }
        Some(heap)
    }

    /// The heap and the calling thread's cache in it, if it has one yet.
    #[inline(always)]
    fn fast(&'static self) -> Option<(&'static Front, *mut ThreadCache)> {
        if SOLE {
            let cache = sole();
            // SAFETY: a thread that has a cache in the sole heap got it by using this one, so
            // it was made.
            return (!cache.is_null())
                .then(|| unsafe { (&self.heap.get_unchecked().front, cache) });
        }
        let last = used_last(Lane::Process);
        // SAFETY: a thread that has this heap's tag got it by using the heap, so it was made.
        // The cache belongs to the tag.
        (last.tag == self.tag.load(Relaxed))
            .then(|| unsafe { (&self.heap.get_unchecked().front, last.cache) })
    }

    /// Finds a chunk that this thread can free in a few instructions.
    #[inline(always)]
    fn find(&'static self, address: usize) -> Option<Ready> {
        self.find_or(address).ok()
    }

    /// The same, or what was found of another one.
    #[inline(always)]
    fn find_or(&'static self, address: usize) -> Result<Ready, Option<Elsewhere>> {
        if SOLE {
            let (front, cache) = self.fast().ok_or(None)?;
            return front.finder.find_or(cache, address);
        }
        // SAFETY: it leads to a static, or into the heap, which was made and stays.
        let finder = unsafe { &*self.finder.load(Acquire) };
        finder.find_or(finder.cache(used_last(Lane::Process)).ok_or(None)?, address)
    }

    /// Allocates a chunk; `None` if there is no memory, or no slab is large enough.
    #[inline(always)]
    pub fn alloc(&'static self, layout: Layout) -> Option<NonNull<[u8]>> {
        match self.fast().and_then(|(front, cache)| front.alloc(cache, layout)) {
            Some(chunk) => Some(chunk),
            None => self.alloc_slow(layout, false),
        }
    }

    /// A chunk of at least `size` bytes, at the alignment that every slab has, if this thread
    /// has one at hand: in a few instructions. Who gets none asks
    /// [`alloc_beyond`](Process::alloc_beyond).
    ///
    /// # Examples
    ///
    /// ```
    /// use core::alloc::Layout;
    /// use mallocer_core::Config;
    /// use mallocer_flist::{Process, abort};
    ///
    /// static HEAP: Process = Process::new(Config::default, abort);
    ///
    /// assert!(HEAP.alloc_at_hand(72).is_none());
    /// let chunk = HEAP.alloc(Layout::new::<[u64; 9]>()).unwrap();
    /// // SAFETY: allocated above, and not used afterwards.
    /// assert!(unsafe { HEAP.free_at_hand(chunk.cast().as_ptr()) });
    /// assert_eq!(HEAP.alloc_at_hand(72), Some(chunk));
    /// ```
    #[inline(always)]
    pub fn alloc_at_hand(&'static self, size: usize) -> Option<NonNull<[u8]>> {
        let (front, cache) = self.fast()?;
        front.alloc_size(cache, size)
    }

    /// The same, if this thread has one behind what is at hand, and it takes no lock.
    #[inline(always)]
    pub fn alloc_near(&'static self, size: usize) -> Option<NonNull<[u8]>> {
        let (front, cache) = self.fast()?;
        front.alloc_near(cache, size)
    }

    /// As [`alloc`](Process::alloc), all of it zero.
    #[inline(always)]
    pub fn alloc_zeroed(&'static self, layout: Layout) -> Option<NonNull<[u8]>> {
        match self.fast().and_then(|(front, cache)| front.alloc(cache, layout)) {
            Some(chunk) => Some(zero_if(true, chunk)),
            None => self.alloc_slow(layout, true),
        }
    }

    /// What [`alloc`](Process::alloc) does once there is nothing at hand.
    #[cold]
    #[inline(never)]
    pub fn alloc_beyond(&'static self, layout: Layout) -> Option<NonNull<[u8]>> {
        match (self.hardened.get(), self.heap.get()) {
            (Some(hardened), Some(heap)) => hardened.alloc(heap, layout, false),
            _ => self.alloc_slow(layout, false),
        }
    }

    #[cold]
    #[inline(never)]
    fn alloc_slow(&'static self, layout: Layout, zeroed: bool) -> Option<NonNull<[u8]>> {
        let behind = self.fast().and_then(|(front, cache)| front.alloc_behind(cache, layout));
        match (behind, self.hardened.get(), self.heap.get()) {
            (Some(chunk), ..) => Some(zero_if(zeroed, chunk)),
            (_, Some(hardened), Some(heap)) => hardened.alloc(heap, layout, zeroed),
            _ => self.alloc_slower(layout, zeroed),
        }
    }

    #[cold]
    #[inline(never)]
    fn alloc_slower(&'static self, layout: Layout, zeroed: bool) -> Option<NonNull<[u8]>> {
        let heap = self.heap()?;
        match self.hardened.get() {
            None => heap.alloc_slower(layout, zeroed).ok(),
            Some(hardened) => hardened.alloc(heap, layout, zeroed),
        }
    }

    /// Whether the heap is open; opens it if it is not.
    pub fn is_open(&'static self) -> bool {
        self.heap().is_some()
    }

    /// Whether no thread is at work behind the magazines just now: what a signal handler
    /// asks before it uses what needs the heap's lock, which its own thread may hold.
    /// Waits a little for other threads.
    pub fn is_at_rest(&'static self) -> bool {
        self.heap.get().is_some_and(|heap| {
            (0..100).any(|_| {
                let free = heap.heap.try_lock().is_some();
                if !free {
                    os::give_way();
                }
                free
            })
        })
    }

    /// Whether `address` lies where this process's flist heaps have their chunks: if not,
    /// it is surely foreign.
    pub fn may_hold(&'static self, address: usize) -> bool {
        self.heap.get().is_some_and(|heap| heap.may_hold(address))
    }

    /// Makes a chunk hold `layout`, where it is or elsewhere; `None` if there is no memory,
    /// and then the chunk is as it was.
    ///
    /// # Safety
    ///
    /// As [`Mallocer::try_realloc`](mallocer_core::Mallocer::try_realloc).
    pub unsafe fn realloc(
        &'static self,
        operation: &'static str,
        chunk: *mut u8,
        layout: Layout,
    ) -> Option<NonNull<[u8]>> {
        let (heap, address) = (self.heap()?, chunk.addr());
        match self.hardened.get() {
            None => heap.realloc(operation, address, layout).ok(),
            Some(hardened) => hardened.realloc(heap, operation, address, layout),
        }
    }

    /// How many bytes a chunk has, and whether it can stay where it is if it is to hold `size`, as far as a
    /// few instructions tell. Who gets `None` asks [`realloc`](Process::realloc).
    ///
    /// # Safety
    ///
    /// As [`realloc`](Process::realloc).
    #[inline(always)]
    pub unsafe fn look(&'static self, chunk: *mut u8, size: usize) -> Option<(usize, bool)> {
        self.fast().and_then(|(front, _)| front.look(chunk.addr(), size))
    }

    /// The bytes of a chunk that the caller may use.
    ///
    /// # Safety
    ///
    /// As [`Mallocer::chunk_len`](mallocer_core::Mallocer::chunk_len).
    pub unsafe fn chunk_len(&'static self, operation: &'static str, chunk: *mut u8) -> usize {
        let address = chunk.addr();
        let Some(heap) = self.heap() else { self.foreign(operation, address) };
        match self.hardened.get() {
            None => heap.len_of(operation, address),
            Some(hardened) => hardened.len_of(heap, operation, address),
        }
    }

    /// Checks the freed chunks that a hardened heap keeps back, as at the end of a program.
    pub fn check(&'static self) {
        if let (Some(heap), Some(hardened)) = (self.heap.get(), self.hardened.get()) {
            hardened.check(heap);
        }
    }

    /// A pointer that came when there was no heap to have it from.
    #[cold]
    fn foreign(&self, operation: &'static str, address: usize) -> ! {
        (self.tell)(Misuse::new(mallocer_core::MisuseKind::Foreign, operation, address))
    }

    /// Capacity, heap, alloc and overhead, in bytes.
    pub fn info(&'static self) -> Info {
        self.heap().map(|heap| heap.heap.lock().info()).unwrap_or_default()
    }

    /// Calls `visit` for every slab that has memory, ascending.
    pub fn each_slab_use(&'static self, visit: &mut dyn FnMut(SlabUse)) {
        let Some(heap) = self.heap() else { return };
        for index in 0..=heap.ladder.slabs().len() {
            // Not locked while `visit` runs.
            let slab_use = heap.heap.lock().slab_use(index);
            if let Some(slab_use) = slab_use {
                visit(slab_use);
            }
        }
    }

    /// Has `chunks` chunks ready that hold `size` bytes each; see
    /// [`SharedFlist::prepare`](crate::SharedFlist::prepare).
    ///
    /// # Errors
    ///
    /// As an allocation of so much; what is ready by then stays.
    pub fn prepare(&'static self, size: usize, chunks: usize) -> Result<(), AllocError> {
        let Some(heap) = self.heap() else {
            return Err(AllocError::System { requested: size, used: 0, limit: MAX_CAPACITY });
        };
        heap.prepare(size, chunks)
    }

    /// Asks the system to use huge pages for all flist heaps of the process, or not to.
    pub fn advise_huge(&'static self, huge: bool) {
        if let Some(reservation) = Reservation::get() {
            reservation.settle_huge(huge);
        }
    }

    /// What the heap has seen.
    pub fn statistics(&'static self) -> Statistics {
        self.heap().map(|heap| heap.heap.lock().statistics()).unwrap_or_default()
    }

    /// Writes the heap's blocks from number `skip` on to `into`, as many as fit; returns
    /// how many. While other calls use the heap, numbers change.
    pub fn blocks(&'static self, skip: usize, into: &mut [Block]) -> usize {
        self.heap().map_or(0, |heap| heap.heap.lock().blocks(skip, into))
    }

    /// Gives empty memory back to the system; returns how many bytes.
    pub fn purge(&'static self) -> usize {
        self.heap().map(Sharing::purge).unwrap_or_default()
    }
}

/// Writes the misuse to standard error, without allocating, and ends the process.
#[cold]
pub fn abort(misuse: Misuse) -> ! {
    let mut line = Line { bytes: [0; 512], len: 0 };
    // A line that is too long is cut off.
    let _ = writeln!(line, "{misuse}");
    // SAFETY: the line has `len` bytes; `abort` has no conditions.
    unsafe {
        libc::write(libc::STDERR_FILENO, line.bytes.as_ptr().cast(), line.len);
        libc::abort()
    }
}

struct Line {
    bytes: [u8; 512],
    len: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = &mut self.bytes[self.len..];
        let count = text.len().min(room.len());
        room[..count].copy_from_slice(&text.as_bytes()[..count]);
        self.len += count;
        if count < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}
