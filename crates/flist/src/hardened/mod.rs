//! Hardened mode: a layer in front of a heap, which goes on to what costs more.
//!
//! The heap below hands out chunks as ever. This layer asks it for larger ones, puts zones
//! around what the program gets, and keeps chunks back when they are freed:
//!
//! ```text
//! small    c         u = c + gap              u + size            end of the chunk
//!          │ header  │ … the program's bytes … │ tail: canaries │ zero │
//!            32 bytes                            40 bytes
//!
//! large    e              guard       u                  u + size   guard
//!          │ header page │ no access │ canaries │ … bytes … │ tail │ no access │
//!
//! empty    no memory at all: an address of 16 bytes in a range without access
//! ```
//!
//! | module | what it is |
//! |---|---|
//! | `canary` | headers and canaries: what only this process can have written |
//! | `zones` | where they are around a chunk, and marks that are left in memory |
//! | `find` | from an address to the live chunk there, with its zones looked at |
//! | `small` | the life of a small chunk, and the short way through it |
//! | `resize` | a chunk that gets another size: where it is, if its slab allows, or elsewhere |
//! | `contents` | making chunks zero, and looking whether they are |
//! | `quarantine` | freed chunks, kept back for a while |
//! | `guarded` | large chunks: OS pages without access on both sides |
//! | `empty` | chunks of no bytes, which fault when they are touched |
//! | `ending` | the last look at freed chunks, when the program ends |
//! | `random` | numbers that an attacker should not know |
//!
//! # The life of a small chunk
//!
//! ```text
//!        alloc                    free                    later
//! heap ────────▶ live, with zones ────▶ zeroed, in quarantine ────▶ heap
//!   ▲ is it still zero?             are the zones whole?                       │
//!   └──────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! So at rest a chunk is zero, but for one word of its header, which says that it was
//! freed, and for marks of the heap's own. It is looked at once, when it is handed out
//! again: a write to it after it was freed is found then, whenever it was made; nothing that
//! a program wrote is ever seen by who gets the memory next; and chunks of `calloc` are zero
//! already. What leaves the quarantine is not touched. Such words and marks that are left
//! in memory which goes to another slab, or to a large chunk, prove by their own address what
//! they are, and are taken off when the memory is handed out.
//!
//! Whether a chunk is live is said by its header: a second free is caught also when the
//! program wrote over the chunk in between, and between two threads that free a chunk at the same
//! moment an atomic exchange of that word decides.
//!
//! # Where it is switched on
//!
//! Nothing of this is on a path of a heap that is not hardened. A hardened [`Process`]
//! does not publish its tag, so no thread ever takes a fast path, and every slow path asks
//! first whether this layer is there.
//!
//! [`Process`]: crate::Process

mod canary;
mod contents;
mod empty;
mod ending;
mod find;
mod guarded;
mod quarantine;
mod random;
mod resize;
mod small;
mod zones;

use core::alloc::Layout;
use core::ptr::{self, NonNull};

use mallocer_core::MisuseKind;

use crate::local::Lane;
use crate::os;
use crate::pool::OS_PAGE;
use crate::sharing::Sharing;
use canary::{HEADER, Keys, MARKED, TAIL};
use contents::zero;
use empty::Empty;
use find::Live;
use guarded::Guarded;
pub(crate) use quarantine::Shard;
use quarantine::{Kept, Quarantine, Target};
pub(crate) use random::shuffle;

/// Chunks that take more than this with their zones are large. A slab above may serve what
/// is not, so that it is an extent.
const LARGEST_SMALL: usize = crate::heap::LARGEST_POOLED;

/// The hardened layer of one heap.
pub(crate) struct Hardened {
    keys: Keys,
    quarantine: Quarantine,
    guarded: Guarded,
    empty: Empty,
}

impl Hardened {
    /// The layer; `None` if the system refuses memory for it.
    pub(crate) fn new() -> Option<Hardened> {
        Some(Hardened {
            keys: Keys::random(),
            quarantine: Quarantine::new()?,
            guarded: Guarded::new(),
            empty: Empty::new()?,
        })
    }

    /// Allocates a chunk, whose length is what was asked for. A small one is always zero.
    #[inline(always)]
    pub(crate) fn alloc(
        &self,
        heap: &Sharing,
        layout: Layout,
        zeroed: bool,
    ) -> Option<NonNull<[u8]>> {
        if let Some(whole) = small::usual(layout)
            && let Some(chunk) = small::pop(heap, whole)
        {
            return Some(self.hand_out(heap, chunk, layout.size()));
        }
        self.alloc_slow(heap, layout, zeroed)
    }

    /// The same, when this thread's magazine is empty, or there is none for such a chunk.
    #[cold]
    #[inline(never)]
    fn alloc_slow(&self, heap: &Sharing, layout: Layout, zeroed: bool) -> Option<NonNull<[u8]>> {
        let (size, align) = (layout.size(), layout.align());
        if let Some(whole) = small::usual(layout) {
            let chunk = small::pop_behind(heap, whole);
            let chunk = chunk.or_else(|| heap.alloc_slow(whole, false).ok())?;
            return Some(self.hand_out(heap, chunk, size));
        }
        if size == 0 && align <= empty::ALIGN {
            return self.empty.take();
        }
        let gap = align.max(HEADER);
        let whole = size.checked_add(gap + TAIL)?;
        let chunk = if whole <= LARGEST_SMALL && align <= OS_PAGE {
            let whole = Layout::from_size_align(whole, align).ok()?;
            self.alloc_aligned(heap, whole, gap, size)?
        } else {
            self.guarded.alloc(self, heap, size, align, zeroed)?
        };
        Some(NonNull::slice_from_raw_parts(chunk, size))
    }

    /// Frees the chunk at `address`; `size` and `align` are what a sized free was given.
    pub(crate) fn free(
        &self,
        heap: &Sharing,
        operation: &'static str,
        address: usize,
        layout: Option<(usize, usize)>,
    ) {
        if self.empty.may_hold(address) {
            return match self.empty.give(address, layout) {
                Ok(()) => {}
                Err(kind) => self.tell(heap, kind, operation, address_only(address)),
            };
        }
        let live = self.find(heap, operation, address);
        if let Some((size, align)) = layout {
            if size != live.header.size {
                self.tell(heap, MisuseKind::WrongSize, operation, live.zones.user);
            }
            if !address.is_multiple_of(align) {
                self.tell(heap, MisuseKind::WrongAlignment, operation, live.zones.user);
            }
        }
        self.end(heap, operation, live);
    }

    /// Frees a chunk that was found live.
    fn end(&self, heap: &Sharing, operation: &'static str, live: Live) {
        let Live { zones, canary, bytes, .. } = live;
        let chunk = zones.chunk;
        // SAFETY: found live. What leaves the quarantine is nobody else's.
        unsafe {
            if !canary.mark_freed(chunk) {
                self.tell(heap, MisuseKind::DoubleFree, operation, zones.user);
            }
            if live.header.large {
                return self.guarded.free(heap, zones);
            }
            if let Some(own) = small::own(heap) {
                let kept = Kept::new(chunk, small::target_of(heap, own, chunk));
                return self.free_long(heap, kept, bytes, own);
            }
            zero(chunk.add(MARKED), bytes - MARKED);
            let slab = heap.front.first_at_least(bytes);
            let kept = Kept::new(chunk, Target::foreign(slab));
            // Not locked while the heap is used.
            let left = self.quarantine.shared().exchange(kept, bytes, canary.number());
            if let Some(left) = left {
                heap.free(Lane::Process, "free", left.address());
            }
        }
    }

    /// The bytes that the program may use of the chunk at `address`: what it asked for.
    pub(crate) fn len_of(&self, heap: &Sharing, operation: &'static str, address: usize) -> usize {
        if self.empty.may_hold(address) {
            return match self.empty.check(address) {
                Ok(()) => 0,
                Err(kind) => self.tell(heap, kind, operation, address_only(address)),
            };
        }
        self.find(heap, operation, address).header.size
    }

    /// Keeps other threads out, or lets them in again: around a fork.
    pub(crate) fn hold(&self) {
        self.quarantine.hold();
        self.guarded.hold();
    }

    /// # Safety
    ///
    /// This thread holds it.
    pub(crate) unsafe fn let_go(&self) {
        // SAFETY: passed on.
        unsafe {
            self.guarded.let_go();
            self.quarantine.let_go();
        }
    }
}

/// A chunk that is kept, in the heap's memory.
#[inline(always)]
fn chunk_of(heap: &Sharing, kept: Kept) -> *mut u8 {
    heap.front.finder.place.base.with_addr(kept.address())
}

/// An address as a pointer that is only looked at.
fn address_only(address: usize) -> *mut u8 {
    ptr::without_provenance_mut(address)
}

/// Memory that is zero, for good; `None` if the system refuses.
fn map_zeroed<T>() -> Option<NonNull<T>> {
    let bytes = size_of::<T>().next_multiple_of(OS_PAGE);
    let reserved = os::reserve(bytes)?;
    // SAFETY: reserved just now.
    let usable = !reserved.strict || unsafe { os::commit(reserved.start.as_ptr(), bytes) };
    usable.then_some(reserved.start.cast())
}
