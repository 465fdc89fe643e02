//! From an address to the live chunk there, with its zones looked at; and who is told if there
//! is none, or if they are not whole.

use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

use mallocer_core::MisuseKind;

use super::canary::{Canary, HEADER, Header, Said};
use super::small::Usual;
use super::zones::{self, Zones};
use super::{Hardened, address_only};
use crate::descriptor::{Kind, RUN_SHIFT, Tag};
use crate::local::Lane;
use crate::mark::has_mark;
use crate::misuse::extent_around;
use crate::pool::{LIVE, locate};
use crate::reservation::Reservation;
use crate::sharing::Sharing;

/// A chunk of this layer's that was found live.
#[derive(Clone, Copy)]
pub(super) struct Live {
    pub(super) zones: Zones,
    pub(super) header: Header,
    pub(super) canary: Canary,
    pub(super) bytes: usize,
}

/// A chunk of the heap's own that is out of its pool.
struct Below {
    chunk: *mut u8,
    bytes: usize,
}

impl Hardened {
    /// Finds the live chunk at `address` and checks its zones; tells if there is none, or
    /// if they are not whole.
    #[inline]
    pub(super) fn find(&self, heap: &Sharing, operation: &'static str, address: usize) -> Live {
        let cache = heap.front.cache(Lane::Process);
        if let Some(usual) = cache.and_then(|cache| self.find_usual(&heap.front, cache, address)) {
            let Usual { chunk, bytes, size, canary, .. } = usual;
            let header = Header { size, gap: HEADER, large: false };
            return Live { zones: header.zones(chunk, bytes), header, canary, bytes };
        }
        let Some(Below { chunk, bytes }) = below(heap, address) else {
            self.tell_foreign(heap, operation, address);
        };
        let user = address_only(address);
        let canary = self.keys.of(chunk);
        // SAFETY: a chunk that is out of its pool is at least as long as a header.
        let header = unsafe {
            match canary.read_header(chunk) {
                Said::Live(header) => header,
                Said::Freed => self.tell(heap, MisuseKind::DoubleFree, operation, user),
                Said::Nothing if zones::is_untouched(chunk, bytes, heap.front.finder.key) => {
                    self.tell(heap, MisuseKind::DoubleFree, operation, user)
                }
                Said::Nothing => self.tell(heap, MisuseKind::Underflow, operation, user),
            }
        };
        let zones = header.zones(chunk, bytes);
        if zones.user.addr() != address {
            self.tell(heap, MisuseKind::Interior, operation, user);
        }
        // SAFETY: out of its pool, with a header that is whole.
        let broken = unsafe {
            if !zones.is_gap_whole(self.keys) {
                Some(MisuseKind::Underflow)
            } else if !zones.is_tail_whole(self.keys) {
                Some(MisuseKind::Overflow)
            } else {
                None
            }
        };
        if let Some(kind) = broken {
            // Perhaps another thread is freeing the chunk at this moment, and has said so.
            // SAFETY: as above.
            let freed = unsafe { matches!(canary.read_header(chunk), Said::Freed) };
            let kind = if freed { MisuseKind::DoubleFree } else { kind };
            self.tell(heap, kind, operation, user);
        }
        Live { zones, header, canary, bytes }
    }

    /// Tells of misuse of what the heap has as the chunk around `user`.
    #[cold]
    pub(super) fn tell(
        &self,
        heap: &Sharing,
        kind: MisuseKind,
        operation: &'static str,
        user: *mut u8,
    ) -> ! {
        let mut misuse = heap.diagnose(operation, user.addr());
        misuse.kind = kind;
        if kind != MisuseKind::Interior {
            misuse.chunk = None;
        }
        (heap.tell)(misuse)
    }

    /// Tells of an address at which the heap has nothing live.
    #[cold]
    fn tell_foreign(&self, heap: &Sharing, operation: &'static str, address: usize) -> ! {
        let mut misuse = heap.diagnose(operation, address);
        // What it has there, but not live, begins before what the program knows.
        if misuse.kind == MisuseKind::Interior {
            misuse.kind = MisuseKind::DoubleFree;
            misuse.chunk = None;
        }
        (heap.tell)(misuse)
    }
}

/// The heap's own chunk around `address` that is out of its pool.
#[inline]
fn below(heap: &Sharing, address: usize) -> Option<Below> {
    let place = heap.front.finder.place;
    let offset = address.wrapping_sub(place.base.addr());
    if offset >= place.bytes {
        return None;
    }
    // SAFETY: the offset is within the reservation, so the run has a descriptor. A tag that
    // equals the heap's proves that a pool or extent of it fills the run; only this layer
    // uses the heap, so it stays while the program has the chunk.
    unsafe {
        let mut descriptor = place.descriptors.add(offset >> RUN_SHIFT);
        if (*descriptor).tag() != Tag::from_number(heap.front.tag()) {
            if (*descriptor).tag().kind() != Kind::Inner {
                return None;
            }
            // Aligned so far that the header is in another run.
            let head = extent_around(Reservation::made()?, (offset >> RUN_SHIFT) as u32)?;
            descriptor = place.descriptors.add(head as usize);
            if (*descriptor).tag() != Tag::from_number(heap.front.tag()) {
                return None;
            }
        }
        let one = &*descriptor;
        let start = one.start.addr();
        if one.pool.is_null() {
            return Some(Below { chunk: one.start, bytes: one.extent_bytes() });
        }
        let (index, _) = locate(address - start, one.reciprocal);
        let stride = heap.ladder.slabs()[one.slab as usize];
        let chunk = one.start.add(index * stride);
        let state = AtomicU8::from_ptr(one.states.add(index)).load(Relaxed);
        let live = state == LIVE && !has_mark(chunk, heap.front.finder.key);
        live.then_some(Below { chunk, bytes: stride })
    }
}
