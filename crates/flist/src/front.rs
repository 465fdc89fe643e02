//! What a thread does in a shared arena without a lock: the fast paths.
//!
//! A thread allocates from its own magazine of a slab, and frees to its own shelf of it,
//! whichever thread allocated the chunk: to the magazine if the chunk's pool is its own (or
//! everybody's), else to the chunks that it gathers for other threads. What a free reads of
//! the arena is one cache line, which nobody writes after the arena was made, except for its
//! tag, at a release. What tells that a chunk was freed already is in `mark`.
//!
//! ```text
//! size ──▶ small[(size + 7) / 8] ──▶ cache + distance: its magazine         an allocation
//! address ──▶ descriptor ──▶ shelf: is it within this thread's cache?       a free
//! ```
//!
//! # Shape
//!
//! A fast path either does all of its work or none of it: it says so by its result, and
//! the caller goes to a slow path that begins anew. So nothing is kept across the call,
//! and the fast path needs no stack frame. What a free has found of a chunk that is not its
//! thread's is handed on, in registers.

use core::alloc::Layout;
use core::mem::offset_of;
use core::ptr::{NonNull, null_mut, with_exposed_provenance_mut, without_provenance_mut};
use core::sync::atomic::Ordering::Relaxed;

use mallocer_core::{Ladder, MAX_SLABS, SMALL_BYTES, Table};

use crate::cache::ThreadCache;
use crate::descriptor::{Descriptor, RUN_SHIFT, Tag};
use crate::heap::{Heap, LARGEST_POOLED, LARGEST_SHELVED, rounded, serves_aligned};
use crate::local::{Lane, Used, used_last};
use crate::magazine::Magazine;
use crate::mark::{clear_mark, may_have_mark, set_mark};
use crate::place::{CHECKED, Place};
use crate::pool::Bare;
use crate::primitive::AtomicU64;
use crate::shelf::{SHELF_BYTES, Shelf};

/// Slabs of this many bytes and more have pools that all threads share: their chunks are
/// so large that neighbours hardly share a cache line, and that a pool for each thread costs much.
pub(crate) const COMMON_BYTES: usize = 16 << 10;

/// What the fast paths of a shared arena read: what a free reads is in the first cache line.
#[repr(C, align(64))]
pub(crate) struct Front {
    pub(crate) finder: Finder,
    /// The first slab whose pools all threads share.
    pub(crate) common: u32,
    /// Alignment that every slab has.
    alignment: u32,
    pub(crate) lookup: *const Table,
    /// For a size of up to [`SMALL_BYTES`], at `(size + 7) / 8`: how far behind the head of a
    /// cache the magazine is that serves it. Sizes that share an entry and no slab are led to
    /// the last shelf, which never has a chunk.
    small: [u16; SMALL_ENTRIES],
}

const SMALL_ENTRIES: usize = SMALL_BYTES / 8 + 1;

const _: () = assert!(cfg!(mallocer_loom) || offset_of!(Front, lookup) == 64);

/// The most bytes of a cache, from its head to behind its last shelf.
const MOST_CACHE_BYTES: usize = (MAX_SLABS + 2) * SHELF_BYTES;
const _: () = assert!(MOST_CACHE_BYTES <= u16::MAX as usize);

/// What finding a chunk of an arena takes.
#[repr(C)]
pub(crate) struct Finder {
    /// The arena's tag, as a number. A release changes it, so that every thread notices.
    tag: AtomicU64,
    pub(crate) place: Place,
    pub(crate) key: u64,
    /// Bytes of a cache, from its head to behind its last shelf.
    cache_bytes: usize,
    /// Which bits of an address's distance from the base, shifted, are that of its descriptor
    /// from the first one: of some descriptor, whatever the address.
    mask: usize,
}

/// By how much the distance of an address is shifted for that of its descriptor.
const DESCRIPTOR_SHIFT: u32 = RUN_SHIFT - size_of::<Descriptor>().ilog2();

impl Place {
    /// See [`Finder::mask`]. Where the number of runs is not a power of two, those above the
    /// largest one are found by the slow paths alone.
    fn mask(&self) -> usize {
        let runs = (self.bytes >> RUN_SHIFT).checked_ilog2().map_or(0, |log| (1 << log) - 1);
        runs * size_of::<Descriptor>()
    }
}

// SAFETY: the tag is atomic, and the rest is never written.
unsafe impl Sync for Finder {}
// SAFETY: as above.
unsafe impl Send for Finder {}

impl Finder {
    /// Finds nothing: no thread has used an arena with this tag.
    #[cfg(not(mallocer_loom))]
    pub(crate) const fn nowhere(tag: Tag) -> Finder {
        let place = Place { base: null_mut(), bytes: 0, descriptors: null_mut() };
        Finder { tag: AtomicU64::new(tag.as_number()), place, key: 0, cache_bytes: 0, mask: 0 }
    }

    #[inline(always)]
    pub(crate) fn tag(&self) -> u64 {
        self.tag.load(Relaxed)
    }

    /// The cache of a thread that used this arena last.
    #[inline(always)]
    pub(crate) fn cache(&self, used: Used) -> Option<*mut ThreadCache> {
        // A tag that equals the arena's proves that the cache is one of it.
        (used.tag == self.tag()).then_some(used.cache)
    }

    /// Whether that is a shelf of this cache, of the arena.
    #[inline(always)]
    pub(crate) fn is_of(&self, shelf: *mut (), cache: *mut ThreadCache) -> bool {
        shelf.addr().wrapping_sub(cache.addr()) < self.cache_bytes
    }

    /// Finds the live chunk at `address` and its shelf, for the thread that has `cache`, which is one of
    /// this arena's: if it is of a pool of the thread's own, or of one that all threads share. If the chunk
    /// is perhaps one that another thread's shelf is for, or an extent, what was found of it is the error.
    ///
    /// That a descriptor leads to a shelf of this thread says what its tag would: the pool is
    /// alive and of this arena. So the tag is looked at only where it leads to one of each
    /// cache.
    ///
    /// An address from elsewhere finds some descriptor, too, and is not within its pool: one
    /// comparison says that, and whether the chunk was ever handed out.
    #[inline(always)]
    pub(crate) fn find_or(
        &self,
        cache: *mut ThreadCache,
        address: usize,
    ) -> Result<Ready, Option<Elsewhere>> {
        // SAFETY: 1. If the descriptor leads to a shelf of this thread, it is that of a pool of
        // this arena, which nobody dissolves meanwhile. 2. Then it says which chunks of the
        // pool were handed out: those may be read. 3. Both ways lead to a shelf of the cache.
        unsafe {
            let descriptor = self.some_descriptor(address).ok_or(None)?;
            let shelf = (*descriptor).shelf();
            let shelf: *mut Shelf<Bare> = if self.is_of(shelf, cache) {
                shelf.cast()
            } else {
                let elsewhere = Elsewhere { cache, descriptor };
                let distance = common_distance(shelf).ok_or(Some(elsewhere))?;
                if (*descriptor).tag().as_number() != self.tag() {
                    return Err(None);
                }
                cache.byte_add(distance).cast()
            };
            let chunk = self.live_chunk(descriptor, address).ok_or(None)?;
            Ok(Ready { shelf, chunk, key: self.key })
        }
    }

    /// The descriptor of the run that `address` is in, if it is in the reservation; else that
    /// of some other run.
    #[inline(always)]
    pub(crate) fn some_descriptor(&self, address: usize) -> Option<*mut Descriptor> {
        let Place { base, bytes, descriptors } = self.place;
        let offset = address.wrapping_sub(base.addr());
        if !CHECKED && offset >= bytes {
            return None;
        }
        // SAFETY: the mask makes it the distance of a descriptor.
        Some(unsafe { descriptors.byte_add((offset >> DESCRIPTOR_SHIFT) & self.mask) })
    }

    /// The chunk at `address`, if one begins there that is live.
    ///
    /// # Safety
    ///
    /// The descriptor is that of a run of this arena's pools.
    #[inline(always)]
    unsafe fn live_chunk(&self, descriptor: *mut Descriptor, address: usize) -> Option<*mut u8> {
        // SAFETY: the caller's promise: so it says which chunks of the pool were handed out, and
        // those may be read.
        unsafe {
            if CHECKED && !(*descriptor).begins_handed(address) {
                return None;
            }
            // As `base.with_addr(address)`, which costs a register and a sum here: the
            // reservation has exposed its provenance.
            let chunk = with_exposed_provenance_mut(address);
            (!may_have_mark(chunk, self.key)).then_some(chunk)
        }
    }
}

/// How a descriptor leads to the shelf of the slab at `index` in each cache: by its distance
/// from the head.
pub(crate) fn common_shelf(index: usize) -> *mut () {
    without_provenance_mut((index + 1) * SHELF_BYTES)
}

/// The distance again; `None` of a shelf of one cache, and of null.
#[inline(always)]
pub(crate) fn common_distance(shelf: *mut ()) -> Option<usize> {
    let distance = shelf.addr();
    (distance.wrapping_sub(1) < MOST_CACHE_BYTES).then_some(distance)
}

/// The descriptor of the run that a chunk is in, whose shelf is none of this thread's, and the thread's
/// cache; nothing else is known of it.
#[derive(Clone, Copy, Debug)]
pub struct Elsewhere {
    pub(crate) cache: *mut ThreadCache,
    pub(crate) descriptor: *mut Descriptor,
}

/// A live chunk, and the shelf of this thread that it goes to when it is freed.
#[derive(Clone, Copy)]
pub(crate) struct Ready {
    shelf: *mut Shelf<Bare>,
    chunk: *mut u8,
    key: u64,
}

impl Ready {
    /// Frees the chunk; `false` if there is no room for it at hand.
    ///
    /// # Safety
    ///
    /// The shelf is the calling thread's.
    #[inline(always)]
    pub(crate) unsafe fn free(self) -> bool {
        // SAFETY: the caller's promise; the chunk is the arena's to write then.
        unsafe {
            let pushed = (*self.shelf).magazine.push(Bare(self.chunk));
            if pushed {
                set_mark(self.chunk, self.key);
            }
            pushed
        }
    }

    /// Whether it can have been allocated for `size` bytes at the alignment of its slab.
    ///
    /// # Safety
    ///
    /// As [`free`](Ready::free).
    #[inline(always)]
    pub(crate) unsafe fn serves(self, size: usize) -> bool {
        // SAFETY: passed on.
        unsafe { (*self.shelf).magazine.serves(size) }
    }

    /// Whether it can have been allocated for a layout that is aligned further.
    ///
    /// # Safety
    ///
    /// As [`free`](Ready::free).
    #[inline(always)]
    unsafe fn serves_aligned(self, layout: Layout) -> bool {
        // SAFETY: passed on.
        unsafe { (*self.shelf).magazine.serves_aligned(layout) }
    }
}

impl Front {
    pub(crate) fn new(
        tag: Tag,
        place: Place,
        ladder: &Ladder,
        heap: &Heap<Bare>,
        key: u64,
    ) -> Front {
        let lookup = ladder.lookup();
        let small = core::array::from_fn(|at| {
            let (least, most) = ((at * 8).saturating_sub(7), at * 8);
            let index = lookup.first_at_least(most);
            let shelf = if lookup.first_at_least(least) == index { index } else { heap.shelved };
            ((shelf + 1) * SHELF_BYTES) as u16
        });
        let cache_bytes = (heap.shelved + 2) * SHELF_BYTES;
        let (tag, mask) = (AtomicU64::new(tag.as_number()), place.mask());
        Front {
            finder: Finder { tag, place, key, cache_bytes, mask },
            common: heap.common as u32,
            // A chunk is at most 1 TiB, but nobody aligns by the ladder beyond this.
            alignment: u32::try_from(ladder.alignment()).unwrap_or(1 << 31),
            lookup,
            small,
        }
    }

    /// Gives the arena another tag: it was released.
    pub(crate) fn set_tag(&self, tag: Tag) {
        self.finder.tag.store(tag.as_number(), Relaxed);
    }

    #[inline(always)]
    fn table(&self) -> &Table {
        // SAFETY: the lookup table lives as long as the arena's ladder.
        unsafe { &*self.lookup }
    }

    /// The slab that serves `size` bytes at the ladder's own alignment.
    pub(crate) fn first_at_least(&self, size: usize) -> usize {
        self.table().first_at_least(size)
    }

    /// Whether every slab is a multiple of `align`.
    #[inline(always)]
    pub(crate) fn is_aligned(&self, align: usize) -> bool {
        align <= self.alignment as usize
    }

    #[inline(always)]
    pub(crate) fn tag(&self) -> u64 {
        self.finder.tag()
    }

    /// The calling thread's cache in this arena, if it used the arena last. Only this may be
    /// passed to the other methods.
    #[inline(always)]
    pub(crate) fn cache(&self, lane: Lane) -> Option<*mut ThreadCache> {
        self.finder.cache(used_last(lane))
    }

    /// Takes a chunk off one of this cache's magazines.
    #[inline(always)]
    pub(crate) fn alloc(&self, cache: *mut ThreadCache, layout: Layout) -> Option<NonNull<[u8]>> {
        if self.is_aligned(layout.align()) {
            return self.alloc_size(cache, layout.size());
        }
        // A multiple of the alignment mostly leads to a slab that is one, too.
        let size = rounded(layout);
        if size > SMALL_BYTES {
            return None;
        }
        // SAFETY: there is such an entry, which leads to a shelf of this thread's.
        unsafe {
            let offset = *self.small.get_unchecked((size + 7) >> 3) as usize;
            let slab = *(*self.lookup).slabs.get_unchecked(offset / SHELF_BYTES - 1);
            serves_aligned(slab, layout).then(|| self.alloc_size(cache, size))?
        }
    }

    /// The same, at the alignment that every slab has.
    #[inline(always)]
    pub(crate) fn alloc_size(&self, cache: *mut ThreadCache, size: usize) -> Option<NonNull<[u8]>> {
        let chunk = self.pop_size(cache, size)?;
        // SAFETY: the chunk is the caller's, and long enough.
        unsafe { clear_mark(chunk.cast().as_ptr()) };
        Some(chunk)
    }

    /// The same, with its mark if it has one.
    #[inline(always)]
    pub(crate) fn pop_size(&self, cache: *mut ThreadCache, size: usize) -> Option<NonNull<[u8]>> {
        let offset = if size <= SMALL_BYTES {
            // SAFETY: so there is such an entry.
            unsafe { *self.small.get_unchecked((size + 7) >> 3) as usize }
        } else if let Some(index) = self.table().medium(size) {
            (index + 1) * SHELF_BYTES
        } else if size <= LARGEST_SHELVED {
            (self.first_at_least(size) + 1) * SHELF_BYTES
        } else {
            return None;
        };
        // SAFETY: the cache is this thread's, and every such size leads to a magazine of it.
        unsafe {
            let magazine = cache.byte_add(offset).cast::<Magazine<Bare>>();
            let Bare(chunk) = (*magazine).pop()?;
            let len = *(*self.lookup).slabs.get_unchecked(offset / SHELF_BYTES - 1);
            Some(NonNull::slice_from_raw_parts(NonNull::new_unchecked(chunk), len))
        }
    }

    /// Frees the chunk at `address`, if the calling thread used the arena last, the chunk is
    /// live, its thread's own or everybody's, and there is room for it at hand. Else nothing was done, and
    /// what was found of a chunk that is another thread's, or large, is returned.
    #[inline(always)]
    pub(crate) fn free_ready(&self, lane: Lane, address: usize) -> Result<(), Option<Elsewhere>> {
        let ready = self.finder.find_or(self.cache(lane).ok_or(None)?, address)?;
        // SAFETY: the shelf is this thread's.
        unsafe { ready.free() }.then_some(()).ok_or(None)
    }

    /// The same, if the chunk can have been allocated for `layout`.
    #[inline(always)]
    pub(crate) fn free_ready_sized(
        &self,
        lane: Lane,
        address: usize,
        layout: Layout,
    ) -> Result<(), Option<Elsewhere>> {
        let ready = self.finder.find_or(self.cache(lane).ok_or(None)?, address)?;
        self.free_sized(ready, layout).then_some(()).ok_or(None)
    }

    /// Allocates from the depot behind the magazine of this cache that serves `size` bytes, or an
    /// extent at hand.
    #[inline(always)]
    pub(crate) fn alloc_near(&self, cache: *mut ThreadCache, size: usize) -> Option<NonNull<[u8]>> {
        if size > LARGEST_POOLED {
            return self.take_kept(cache, size, 1);
        }
        // SAFETY: the cache is this thread's, and has a shelf for every such size.
        unsafe { self.fetch(cache, self.first_at_least(size)) }
    }

    /// The same, of the slab at `index`.
    ///
    /// # Safety
    ///
    /// The cache is this thread's, and has a shelf for the slab.
    #[inline(always)]
    pub(crate) unsafe fn fetch(
        &self,
        cache: *mut ThreadCache,
        index: usize,
    ) -> Option<NonNull<[u8]>> {
        // SAFETY: the caller's promise; a chunk off a magazine is the caller's.
        unsafe {
            let shelf = ThreadCache::shelves::<Bare>(cache).at(index);
            if !(*shelf).fetch() {
                return None;
            }
            let Bare(chunk) = (*shelf).magazine.pop()?;
            Some(self.hand_out(chunk, index))
        }
    }

    /// A chunk that came off a magazine of the slab at `index`, without its mark.
    ///
    /// # Safety
    ///
    /// It is the caller's.
    #[inline(always)]
    pub(crate) unsafe fn hand_out(&self, chunk: *mut u8, index: usize) -> NonNull<[u8]> {
        // SAFETY: the caller's promise; it is as long as its slab, and not null.
        unsafe {
            clear_mark(chunk);
            let len = *(*self.lookup).slabs.get_unchecked(index);
            NonNull::slice_from_raw_parts(NonNull::new_unchecked(chunk), len)
        }
    }

    /// Frees the chunk at `address` if it is live, of a pool of this arena's, and there is room for
    /// it behind the magazines of `cache`, the calling thread's: in its depot if the pool is its own,
    /// or everybody's, else among its foreign chunks; or if it is an extent, among those at hand. A
    /// `size` says that it
    /// must have been allocated for as many bytes at the alignment that every slab has.
    #[inline(always)]
    pub(crate) fn free_near(
        &self,
        cache: *mut ThreadCache,
        address: usize,
        size: Option<usize>,
    ) -> bool {
        let Some(descriptor) = self.finder.some_descriptor(address) else { return false };
        self.free_elsewhere(Elsewhere { cache, descriptor }, address, size)
    }

    /// The same, of a chunk in the run that was found.
    #[inline(always)]
    pub(crate) fn free_elsewhere(
        &self,
        Elsewhere { cache, descriptor }: Elsewhere,
        address: usize,
        size: Option<usize>,
    ) -> bool {
        let finder = &self.finder;
        // SAFETY: 1. A descriptor with the arena's tag is that of a pool or an extent of it, and
        // where it leads to a shelf, of a pool, else of an extent. The chunk is live, if the
        // program is right, so that nobody dissolves it. 2. Its slab has a shelf in each cache. 3. A live chunk is the
        // arena's to write once it is freed.
        unsafe {
            let owner = (*descriptor).shelf();
            if (*descriptor).tag().as_number() != finder.tag() {
                return false;
            }
            if owner.is_null() {
                return self.keep(cache, address, size.unwrap_or(0), size.map_or(0, |_| 1));
            }
            let Some(chunk) = finder.live_chunk(descriptor, address) else { return false };
            let slab = (*descriptor).slab as usize;
            let shelf = ThreadCache::shelves::<Bare>(cache).at(slab);
            // The magazine of a shelf that has had no chunk yet does not know, nor of one with very many sizes.
            let fits = |size| (*shelf).magazine.serves(size) || self.first_at_least(size) == slab;
            if !size.is_none_or(fits) {
                return false;
            }
            let pushed = if finder.is_of(owner, cache) || common_distance(owner).is_some() {
                // Mostly full, or else the chunk would be there.
                let magazine = &raw const (*shelf).magazine;
                (*magazine).push(Bare(chunk)) || (*shelf).store() && (*magazine).push(Bare(chunk))
            } else if (*shelf).keeps_foreign() {
                (*shelf).magazine.push(Bare(chunk))
            } else {
                (*shelf).push_foreign(Bare(chunk), owner)
            };
            if pushed {
                set_mark(chunk, finder.key);
            }
            pushed
        }
    }

    /// How long the chunk at `address` is, and whether it is of the slab that serves `size` bytes; `None` if
    /// it is not live, or not of a pool of this arena's whose chunks have magazines.
    #[inline(always)]
    pub(crate) fn look(&self, address: usize, size: usize) -> Option<(usize, bool)> {
        let finder = &self.finder;
        // SAFETY: as in `free_near`: the descriptor is that of a pool of this arena, and the chunk is
        // live, if the program is right, so that nobody dissolves it.
        unsafe {
            let descriptor = finder.some_descriptor(address)?;
            if (*descriptor).tag().as_number() != finder.tag() || (*descriptor).shelf().is_null() {
                return None;
            }
            let same = self.first_at_least(size) == (*descriptor).slab as usize;
            finder.live_chunk(descriptor, address)?;
            Some(((*descriptor).chunk_len(), same))
        }
    }

    /// Frees a chunk that was found for this thread, if it can have been allocated for
    /// `layout` and there is room.
    #[inline(always)]
    pub(crate) fn free_sized(&self, ready: Ready, layout: Layout) -> bool {
        // SAFETY: the shelf is this thread's.
        unsafe {
            let fits = if self.is_aligned(layout.align()) {
                ready.serves(layout.size())
            } else {
                ready.serves_aligned(layout)
            };
            fits && ready.free()
        }
    }
}
