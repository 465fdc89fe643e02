//! A chunk that gets another size.
//!
//! A small chunk stays where it is as long as its slab is the right one for the new size, too:
//! then its tail moves.
//!
//! ```text
//! │ header │ … bytes … │ tail │ zero …           │
//! │ header │ … bytes …    zero │ tail │ zero …   │     larger
//! │ header │ … bytes │ tail │ zero …             │     smaller
//! ```
//!
//! All others are copied, so that what is stale about the old one is noticed.

use core::alloc::Layout;
use core::ptr::NonNull;

use mallocer_core::MisuseKind;

use super::Hardened;
use super::canary::{HEADER, TAIL};
use super::small::{self, Usual};
use crate::sharing::Sharing;

impl Hardened {
    /// Reallocates the chunk at `address`.
    #[inline(never)]
    pub(crate) fn realloc(
        &self,
        heap: &Sharing,
        operation: &'static str,
        address: usize,
        layout: Layout,
    ) -> Option<NonNull<[u8]>> {
        if let Some(own) = small::own(heap)
            && let Some(usual) = self.find_usual(&heap.front, own.cache, address)
        {
            if let Some(chunk) = resize_usual(heap, usual, layout) {
                return Some(chunk);
            }
            let user = usual.chunk.wrapping_add(HEADER);
            let new = self.copy(heap, user, usual.size, layout)?;
            if !self.free_usual(heap, usual, own) {
                self.tell(heap, MisuseKind::DoubleFree, operation, user);
            }
            return Some(new);
        }
        if self.empty.may_hold(address) {
            let new = self.alloc(heap, layout, false)?;
            self.free(heap, operation, address, None);
            return Some(new);
        }
        let live = self.find(heap, operation, address);
        let new = self.copy(heap, live.zones.user, live.header.size, layout)?;
        self.end(heap, operation, live);
        Some(new)
    }

    /// A new chunk with what is in a live one of `size` bytes, as far as there is room.
    fn copy(
        &self,
        heap: &Sharing,
        live: *mut u8,
        size: usize,
        layout: Layout,
    ) -> Option<NonNull<[u8]>> {
        let new = self.alloc(heap, layout, false)?;
        // SAFETY: both are live, and apart; neither is shorter than what is copied.
        unsafe {
            let bytes = size.min(layout.size());
            new.cast::<u8>().as_ptr().copy_from_nonoverlapping(live, bytes);
        }
        Some(new)
    }
}

/// Makes a chunk hold another layout where it is, if its slab is the right one for that.
#[inline(always)]
fn resize_usual(heap: &Sharing, usual: Usual, layout: Layout) -> Option<NonNull<[u8]>> {
    let whole = small::usual(layout)?;
    let slab = heap.front.first_at_least(whole.size());
    if heap.ladder.slabs()[slab] != usual.bytes {
        return None;
    }
    let (old, new) = (usual.size, layout.size());
    let low = old.min(new);
    // SAFETY: the chunk was found live, and its slab has room for both sizes and their tails.
    unsafe {
        let user = usual.chunk.add(HEADER);
        // What was tail, or is no more the program's, is zero.
        user.add(low).write_bytes(0, old + TAIL - low);
        usual.canary.write_usual(usual.chunk, new);
        Some(NonNull::slice_from_raw_parts(NonNull::new_unchecked(user), new))
    }
}
