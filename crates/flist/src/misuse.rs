//! What was wrong with a pointer: the slow path behind every refused free.
//!
//! The fast path only knows that a pointer is not one it may take. Here the
//! descriptors tell why:
//!
//! | tag of the run | verdict |
//! |---|---|
//! | outside of the reservation, or never used | foreign |
//! | live, of this arena | interior, freed twice, or a wrong layout |
//! | live, of another arena | another arena's |
//! | bookkeeping | foreign |
//! | inner run of an extent | interior, or another arena's |
//! | free, retained by this arena | freed twice |
//! | free otherwise | released |

use core::alloc::Layout;

use mallocer_core::{Misuse, MisuseKind};

use crate::descriptor::{Descriptor, Kind};
use crate::heap::{Heap, Route};
use crate::pool::{LIVE, OS_PAGE, Slot, locate};
use crate::reservation::Reservation;

/// Says what is wrong with passing `address` to `operation`. `layout` is what a sized
/// free was given.
///
/// Other arenas' descriptors may change while they are looked at; then the words may
/// be off, but not the fact.
#[cold]
pub(crate) fn diagnose(
    heap: &Heap<impl Slot>,
    operation: &'static str,
    address: usize,
    layout: Option<Layout>,
) -> Misuse {
    let mut misuse = Misuse::new(MisuseKind::Foreign, operation, address);
    misuse.layout = layout.map(|layout| (layout.size(), layout.align()));
    if address == 0 {
        misuse.kind = MisuseKind::Null;
        return misuse;
    }
    let Some(reservation) = Reservation::made() else { return misuse };
    let frontier = reservation.frontier();
    let Some(run) = reservation.run_of(address).filter(|&run| run > 0 && run < frontier) else {
        return misuse;
    };
    let table = reservation.descriptors();
    // SAFETY: every run below the frontier has a descriptor.
    let tag = unsafe { table.tag(run) };
    let head = match tag.kind() {
        Kind::Live | Kind::Exact => run,
        Kind::Meta => return misuse,
        Kind::Inner => match extent_around(reservation, run) {
            Some(head) => head,
            None => {
                misuse.kind = MisuseKind::Released;
                return misuse;
            }
        },
        // What an arena retains were its own chunks.
        _ if tag.owner() == heap.id => {
            misuse.kind = MisuseKind::DoubleFree;
            return misuse;
        }
        _ => {
            misuse.kind = MisuseKind::Released;
            return misuse;
        }
    };
    // SAFETY: as above; a copy is taken, since the owner may be at work.
    let (owner, one) = unsafe {
        let descriptor = table.at(head);
        ((*descriptor).tag().owner(), core::ptr::read_volatile(descriptor))
    };
    let index = describe(&mut misuse, heap, &one, owner == heap.id);
    misuse.kind = if owner != heap.id {
        MisuseKind::OtherArena
    } else if misuse.chunk != Some(address) {
        MisuseKind::Interior
    // SAFETY: `describe` found the chunk, so it has a state byte; this arena owns it.
    } else if unsafe { one.states.add(index).read() } != LIVE {
        MisuseKind::DoubleFree
    } else {
        wrong_layout(heap, &one, address, layout)
    };
    misuse
}

/// Notes chunk, slab and pool; returns the chunk's index.
fn describe(misuse: &mut Misuse, heap: &Heap<impl Slot>, one: &Descriptor, own: bool) -> usize {
    let start = one.start.addr();
    if one.pool.is_null() {
        misuse.chunk = Some(start);
        misuse.slab = Some(one.extent_bytes());
        misuse.pool = Some((start, one.extent_bytes()));
        return 0;
    }
    if !own {
        // Another arena's pool may be gone by now: only the descriptor is looked at.
        return 0;
    }
    let (index, _) = locate(misuse.pointer - start, one.reciprocal);
    // SAFETY: a live pool of this arena.
    let (count, stride, bytes) =
        unsafe { ((*one.pool).count as usize, (*one.pool).stride, (*one.pool).span_bytes()) };
    misuse.slab = heap.ladder.slabs().get(one.slab as usize).copied();
    misuse.pool = Some((start, bytes));
    if index < count {
        misuse.chunk = Some(start + index * stride);
    }
    index
}

/// Why a layout does not fit the live chunk at `address`.
fn wrong_layout(
    heap: &Heap<impl Slot>,
    one: &Descriptor,
    address: usize,
    layout: Option<Layout>,
) -> MisuseKind {
    match layout {
        Some(layout)
            if !address.is_multiple_of(layout.align())
                || fits(heap, one, address, layout.size(), 1) =>
        {
            MisuseKind::WrongAlignment
        }
        _ => MisuseKind::WrongSize,
    }
}

/// Whether the chunk at `address` can have been allocated for `size` and `align`.
pub(crate) fn fits(
    heap: &Heap<impl Slot>,
    one: &Descriptor,
    address: usize,
    size: usize,
    align: usize,
) -> bool {
    if !address.is_multiple_of(align) {
        return false;
    }
    if one.pool.is_null() {
        let bytes = size.max(1).next_multiple_of(OS_PAGE);
        return bytes == one.extent_bytes() || may_be_longer(heap, one, bytes);
    }
    heap.route(size, align) == Route::Pool(one.slab as usize)
}

/// Whether an extent can have served a request for `bytes` bytes that it is longer than.
fn may_be_longer<S: Slot>(heap: &Heap<S>, one: &Descriptor, bytes: usize) -> bool {
    let slab = heap.extent_slab(bytes);
    !S::ALONE && slab < heap.shelved && slab == one.slab.into() && bytes < one.extent_bytes()
}

/// The first run of the extent that inner run `run` belongs to. Walks back, since an
/// extent fills in the descriptor of its first run only.
pub(crate) fn extent_around(reservation: &Reservation, run: u32) -> Option<u32> {
    let table = reservation.descriptors();
    // SAFETY: runs from 1 to `run` have descriptors.
    unsafe {
        let head = (1..run).rev().find(|&at| table.tag(at).kind() != Kind::Inner)?;
        let inside = table.tag(head).kind() == Kind::Live
            && (*table.at(head)).pool.is_null()
            && run - head < (*table.at(head)).runs;
        inside.then_some(head)
    }
}
