//! What the heap has seen, for programs that ask: the functions of `mallocer.h`.

use core::ffi::c_int;
use core::mem::size_of;
use core::ptr;

use libc::size_t;
use mallocer_flist::{Block, BlockKind};

use crate::heap::HEAP;
use crate::report;

/// `struct mallocer_statistics`.
#[repr(C)]
pub(crate) struct Statistics {
    max_heap: size_t,
    peak_heap: size_t,
    heap: size_t,
    in_use: size_t,
    overhead: size_t,
    misses: u64,
    most_misses: u64,
    all_misses: u64,
    blocks: size_t,
}

/// `struct mallocer_block`.
#[repr(C)]
pub(crate) struct CBlock {
    start: size_t,
    bytes: size_t,
    slab: size_t,
    used: size_t,
    kind: c_int,
}

/// Writes the first `bytes` bytes of what the heap has seen to `place`; returns how many
/// there are in all, so that old programs and new libraries understand each other.
///
/// # Safety
///
/// `place` is valid for writes of `bytes` bytes, or null.
#[unsafe(no_mangle)]
unsafe extern "C" fn mallocer_statistics(place: *mut Statistics, bytes: size_t) -> size_t {
    let seen = HEAP.statistics();
    let seen = Statistics {
        max_heap: seen.max_heap,
        peak_heap: seen.peak_heap,
        heap: seen.heap,
        in_use: seen.in_use,
        overhead: seen.overhead,
        misses: seen.misses,
        most_misses: seen.most_misses,
        all_misses: seen.all_misses,
        blocks: seen.blocks,
    };
    let len = size_of::<Statistics>();
    if !place.is_null() {
        // SAFETY: the caller's promise.
        unsafe {
            ptr::from_ref(&seen).cast::<u8>().copy_to_nonoverlapping(place.cast(), len.min(bytes));
        }
    }
    len
}

/// Writes the heap's blocks from number `skip` on to `place`, at most `room` of them;
/// returns how many.
///
/// # Safety
///
/// `place` is valid for writes of `room` blocks.
#[unsafe(no_mangle)]
unsafe extern "C" fn mallocer_blocks(skip: size_t, place: *mut CBlock, room: size_t) -> size_t {
    let mut blocks = [Block::default(); 16];
    let mut done = 0;
    while done < room {
        let some = blocks.len().min(room - done);
        let count = HEAP.blocks(skip + done, &mut blocks[..some]);
        for block in &blocks[..count] {
            let kind = match block.kind {
                BlockKind::Pool => 1,
                BlockKind::Extent => 2,
                _ => 3,
            };
            let Block { start, bytes, slab, used, .. } = *block;
            // SAFETY: the caller's promise; `done` is below `room`.
            unsafe { place.add(done).write(CBlock { start, bytes, slab, used, kind }) };
            done += 1;
        }
        if count < some {
            break;
        }
    }
    done
}

/// Writes a report to a descriptor, as text or as JSON.
#[unsafe(no_mangle)]
extern "C" fn mallocer_report(descriptor: c_int, json: c_int) {
    report::write(descriptor, json != 0);
}
