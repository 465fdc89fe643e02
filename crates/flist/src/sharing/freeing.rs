//! What a shared arena does to free a chunk.
//!
//! ```text
//! free ──▶ at hand ──another thread's, an extent──▶ elsewhere ──full──▶ slower: the heap's lock
//!             └────────nothing found of it────────▶ slow ────────────────▲ misuse
//! ```

use core::alloc::Layout;
use core::ptr;

use super::{Sharing, diagnose};
use crate::cache::ThreadCache;
use crate::front::Elsewhere;
use crate::local::Lane;
use crate::mark::set_mark;
use crate::misuse;
use crate::pool::Bare;

impl Sharing {
    /// Frees the chunk at `address`. Misuse is told as one of `operation`.
    #[inline(always)]
    pub(crate) fn free(&self, lane: Lane, operation: &'static str, address: usize) {
        match self.front.free_ready(lane, address) {
            Ok(()) => {}
            Err(Some(elsewhere)) => self.free_elsewhere(elsewhere, operation, address, 0, 0),
            Err(None) => self.free_slow(operation, address, 0, 0),
        }
    }

    /// The same, of a chunk that must have been allocated for `layout`.
    #[inline(always)]
    pub(crate) fn free_sized(
        &self,
        lane: Lane,
        operation: &'static str,
        address: usize,
        layout: Layout,
    ) {
        let (size, align) = (layout.size(), layout.align());
        match self.front.free_ready_sized(lane, address, layout) {
            Ok(()) => {}
            Err(Some(elsewhere)) => self.free_elsewhere(elsewhere, operation, address, size, align),
            Err(None) => self.free_slow(operation, address, size, align),
        }
    }

    /// Frees a chunk of another thread's pool, or an extent, of which it was found where it is; or tells
    /// what is wrong with it. An `align` of 0 says that the layout is not known.
    #[inline(never)]
    pub(crate) fn free_elsewhere(
        &self,
        elsewhere: Elsewhere,
        operation: &'static str,
        address: usize,
        size: usize,
        align: usize,
    ) {
        if !self.front.free_found(elsewhere, address, size, align) {
            self.free_slower(operation, address, size, align);
        }
    }

    /// Frees a chunk that is not at hand, and of which nothing was found; or tells what is
    /// wrong with it. An `align` of 0 says that the layout is not known.
    #[inline(never)]
    pub(crate) fn free_slow(
        &self,
        operation: &'static str,
        address: usize,
        size: usize,
        align: usize,
    ) {
        if let Some(cache) = self.front.cache(self.lane)
            && self.front.free(cache, address, size, align)
        {
            return;
        }
        self.free_slower(operation, address, size, align);
    }

    /// The same, once no shelf of the cache at hand, if there is one, has room.
    #[cold]
    #[inline(never)]
    pub(crate) fn free_slower(
        &self,
        operation: &'static str,
        address: usize,
        size: usize,
        align: usize,
    ) {
        let at_hand = self.front.cache(self.lane).is_some();
        if let Some(cache) = self.front.cache(self.lane)
            && self.front.send(cache, address)
            && self.front.free(cache, address, size, align)
        {
            return;
        }
        let thread = self.thread();
        if !at_hand
            && let Some(cache) = self.front.cache(self.lane)
            && self.front.free(cache, address, size, align)
        {
            // The thread had used another arena in between.
            return;
        }
        let mut heap = self.heap.lock();
        let found = self.find(address);
        // SAFETY: a live chunk of this arena, as long as the lock is held.
        let fits = found.is_ok_and(|found| unsafe {
            align == 0 || misuse::fits(&heap, &*found.descriptor, address, size, align)
        });
        let found = match found {
            Ok(found) if fits => found,
            other => {
                let layout = Layout::from_size_align(size, align).ok();
                let freed = other.err().unwrap_or(false);
                let misuse = diagnose(&heap, operation, address, layout, freed);
                drop(heap);
                (self.tell)(misuse)
            }
        };
        let chunk = Bare(found.chunk);
        // SAFETY: the chunk is live and this arena's; the cache is this thread's, or used under
        // the lock.
        unsafe {
            let index = (*found.descriptor).slab as usize;
            // Whoever begins with a free goes on with what the thread had that allocated the chunk: it
            // probably has more of it.
            let owner = (*found.descriptor).pool.as_ref().map(|pool| pool.owner);
            let wanted = owner.unwrap_or(ptr::null_mut());
            let cache = self.cache_like(&mut heap, thread, wanted);
            if (*found.descriptor).pool.is_null() {
                let bytes = (*found.descriptor).extent_bytes();
                if !cache.is_null() {
                    heap.make_room_to_keep(cache, index, bytes);
                }
                if cache.is_null() || !self.front.keep(cache, address, size, align) {
                    heap.free_extent(found.descriptor);
                }
                return self.unlock(heap);
            }
            if index < heap.exact || cache.is_null() {
                heap.put_chunk(chunk, index);
                return self.unlock(heap);
            }
            let shelf = ThreadCache::shelves(cache).at(index);
            let own = self.front.is_own(found, cache);
            let owner = (*found.descriptor).shelf();
            let push = || {
                if own {
                    (*shelf).magazine.push(chunk)
                } else {
                    (*shelf).push_foreign(chunk, owner)
                }
            };
            // A thread that never had such a chunk for itself needs none at hand: a pure consumer
            // would hold back some of each slab that all share.
            let only_frees = index >= heap.common && (*shelf).magazine.cap() == 0;
            let mut pushed = push();
            if !pushed && !only_frees {
                if own {
                    heap.flush(cache, index);
                } else {
                    let waited = heap.waited;
                    heap.flush_foreign(cache, index, waited);
                }
                pushed = push();
            }
            set_mark(found.chunk, self.front.finder.key);
            if !pushed {
                heap.put_chunk(chunk, index);
            }
        }
        self.unlock(heap);
    }
}
