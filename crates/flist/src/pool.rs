//! Pools: contiguous memory cut into chunks of one slab.
//!
//! A pool has no header in front of its chunks and no list through them. One *state
//! byte* for each chunk, kept apart, is its whole free map:
//!
//! ```text
//! start                                 ready                      count
//!   │ chunk 0 │ chunk 1 │ chunk 2 │ …     │ charged later …          │
//! states
//!   │ LIVE    │ FREE    │ CACHED  │ …     │ FREE …                   │
//!                ▲ hint: no chunk below is FREE
//!
//! free = number of FREE chunks below ready = ready − out
//! ```
//!
//! so chunks come out in address order, cold chunks are not touched, and a stray
//! write to a chunk reaches no pointer of ours. A new pool is charged (and touched)
//! step by step: `ready` moves up as the slab needs more.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicPtr, Ordering::Relaxed};

use crate::cache::ThreadCache;
use crate::descriptor::RUN;
use crate::locate::Home;
use crate::place::CHECKED;

/// The state byte of a chunk that is in its pool, free; also of a chunk that was
/// never handed out, since fresh bookkeeping is zero.
pub(crate) const FREE: u8 = 0;
/// Handed out to a caller.
pub(crate) const LIVE: u8 = 1;
/// Freed, and kept in a magazine.
pub(crate) const CACHED: u8 = 2;

/// The unit in which pools and extents are charged.
pub(crate) const OS_PAGE: usize = 4096;

/// A step of a growing pool charges this part of what its slab has,
const STEP_SHARE: usize = 128;
/// and so much at most.
const LARGEST_STEP: usize = 256 << 10;

/// What a magazine knows of a chunk: where it is, at least.
pub(crate) trait Slot: Copy {
    /// Whether the arena has one thread alone: then what that holds leads to a shelf, also an extent.
    const ALONE: bool;

    /// The slot of a chunk with its state byte.
    fn new(chunk: *mut u8, state: *mut u8) -> Self;

    fn chunk(self) -> *mut u8;

    /// Writes the slot, so that another thread that looks at its chunk for statistics sees
    /// the old one or the new one.
    ///
    /// # Safety
    ///
    /// `at` is valid for writes, and only this thread writes there.
    unsafe fn store(self, at: *mut Self);

    /// Whether the chunk's state byte may be at `state`, as far as the slot knows.
    fn may_have(self, state: *mut u8) -> bool;
}

/// A chunk with its state byte, so that an allocation marks it without looking anything
/// up: in the one-thread arena.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Marked {
    pub(crate) chunk: *mut u8,
    pub(crate) state: *mut u8,
}

impl Slot for Marked {
    const ALONE: bool = true;

    fn new(chunk: *mut u8, state: *mut u8) -> Marked {
        Marked { chunk, state }
    }

    fn chunk(self) -> *mut u8 {
        self.chunk
    }

    /// The one-thread arena has no other thread.
    #[inline(always)]
    unsafe fn store(self, at: *mut Marked) {
        // SAFETY: the caller's promise.
        unsafe { at.write(self) };
    }

    fn may_have(self, state: *mut u8) -> bool {
        self.state == state || !CHECKED
    }
}

/// A chunk alone: in the shared arena, which marks the chunk itself.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Bare(pub(crate) *mut u8);

impl Slot for Bare {
    const ALONE: bool = false;

    fn new(chunk: *mut u8, _: *mut u8) -> Bare {
        Bare(chunk)
    }

    fn chunk(self) -> *mut u8 {
        self.0
    }

    #[inline(always)]
    unsafe fn store(self, at: *mut Bare) {
        // SAFETY: the caller's promise; a slot is a pointer, and aligned as one.
        unsafe { AtomicPtr::from_ptr(at.cast::<*mut u8>()).store(self.0, Relaxed) };
    }

    fn may_have(self, _: *mut u8) -> bool {
        true
    }
}

/// One pool. Lives in the arena's bookkeeping.
#[repr(C)]
pub(crate) struct Pool {
    /// The cache that refills from it first.
    pub(crate) owner: *mut ThreadCache,
    pub(crate) start: *mut u8,
    pub(crate) states: *mut u8,
    /// Bytes from one chunk to the next.
    pub(crate) stride: usize,
    /// Bytes charged to the budget, at most `runs` runs.
    pub(crate) charged: usize,
    pub(crate) first_run: u32,
    pub(crate) runs: u32,
    /// Chunks in all.
    pub(crate) count: u32,
    /// Chunks that are charged.
    pub(crate) ready: u32,
    /// After how many chunks more that come back there is something to do: the pool is empty,
    /// or one that is not listed must be. See [`free`](Pool::free).
    left: u32,
    /// The state below which none is `FREE`.
    hint: *mut u8,
    /// No chunk from here on was ever handed out.
    pub(crate) handed: u32,
    pub(crate) slab: u16,
    /// Whether the pool is in its shelf's list of pools to refill from.
    pub(crate) listed: bool,
    /// Whether its memory was never touched before.
    pub(crate) fresh: bool,
    /// How many chunks were free when OS pages of theirs were given back the last time; 0 if none ever were.
    pub(crate) holes: u32,
    /// How many were when that was last thought of.
    pub(crate) idle: u32,
    /// Where the arena says where it is.
    pub(crate) home: *const Home,
    /// Whether the pool is a cluster's, and stays when it is empty.
    pub(crate) kept: bool,
    /// That list of pools to refill from.
    pub(crate) prev_listed: *mut Pool,
    pub(crate) next_listed: *mut Pool,
    /// All pools of the arena.
    pub(crate) prev: *mut Pool,
    pub(crate) next: *mut Pool,
}

impl Pool {
    /// A pool of `count` chunks, with nothing charged and all states `FREE`.
    pub(crate) fn new(
        start: NonNull<u8>,
        states: NonNull<u8>,
        stride: usize,
        slab: u16,
        (first_run, runs): (u32, u32),
        count: u32,
        owner: *mut ThreadCache,
    ) -> Pool {
        let null = core::ptr::null_mut;
        Pool {
            owner,
            start: start.as_ptr(),
            states: states.as_ptr(),
            stride,
            charged: 0,
            first_run,
            runs,
            count,
            ready: 0,
            left: 0,
            hint: states.as_ptr(),
            handed: 0,
            slab,
            listed: false,
            fresh: false,
            holes: 0,
            idle: 0,
            kept: false,
            home: core::ptr::null(),
            prev_listed: null(),
            next_listed: null(),
            prev: null(),
            next: null(),
        }
    }

    /// Bytes of address space.
    pub(crate) fn span_bytes(&self) -> usize {
        self.runs as usize * RUN
    }

    /// No chunk below is free in the pool: after [`take`](Pool::take), the one behind the
    /// last that was taken.
    pub(crate) fn hint(&self) -> u32 {
        (self.hint.addr() - self.states.addr()) as u32
    }

    /// How many of the chunks that are ready are `FREE`.
    ///
    /// It is not kept, so that a chunk that comes back changes one number alone: `left`, the
    /// chunks that are out. A pool that is not listed has none `FREE`, and waits for one.
    #[inline(always)]
    pub(crate) fn free(&self) -> u32 {
        if self.listed { self.ready - self.left } else { 0 }
    }

    /// Says that the pool, which has no chunk left and is not listed, waits for one.
    pub(crate) fn wait(&mut self) {
        debug_assert!(!self.listed && self.left == self.count);
        self.left = 1;
    }

    /// Says that the first chunk came back to a pool that is listed for it.
    pub(crate) fn waited(&mut self) {
        debug_assert!(self.listed && self.left == 0 && self.ready == self.count);
        self.left = self.ready - 1;
    }

    /// Whether every chunk is free, here and not in a magazine.
    pub(crate) fn is_empty(&self) -> bool {
        self.free() == self.ready
    }

    /// Whether there is anything to take, now or after growing.
    pub(crate) fn has_room(&self) -> bool {
        self.free() > 0 || self.ready < self.count
    }

    /// Bytes that the next step charges: [a part](STEP_SHARE) of `slab_heap`, so that what is
    /// charged and not used stays a small part of the slab, but at least `least` bytes
    /// and one chunk; up to the end of the pool.
    pub(crate) fn next_step(&self, slab_heap: usize, least: usize) -> usize {
        let end = (self.count as usize * self.stride).next_multiple_of(OS_PAGE);
        let one = ((self.ready as usize + 1) * self.stride).next_multiple_of(OS_PAGE);
        let share = (slab_heap / STEP_SHARE) & !(OS_PAGE - 1);
        let wanted = self.charged + share.min(LARGEST_STEP).max(least);
        wanted.clamp(one, end) - self.charged
    }

    /// Makes the chunks in the next `bytes` bytes ready, which are charged.
    pub(crate) fn grow(&mut self, bytes: usize) {
        self.charged += bytes;
        let ready = ((self.charged / self.stride) as u32).min(self.count);
        debug_assert!(ready > self.ready);
        self.ready = ready;
    }

    /// Moves up to `wanted` free chunks to `slots`, the lowest last, so that a stack
    /// hands them out in address order, and marks them `out`; returns how many.
    ///
    /// # Safety
    ///
    /// `slots` has room for `wanted`.
    pub(crate) unsafe fn take<S: Slot>(&mut self, slots: *mut S, wanted: u32, out: u8) -> u32 {
        let wanted = wanted.min(self.free());
        let (mut left, mut at) = (wanted, self.hint() & !7);
        // SAFETY: 1. At least `left` of the states from `at` below `ready` are FREE, since `free()`
        // counts them, and none is below `hint`. So where one is looked for, eight may be read,
        // and where all of eight are FREE and wanted, all are below `ready`. 2. `slots` has room
        // for those that are wanted.
        unsafe {
            while left > 0 {
                let states = self.states.add(at as usize);
                let mut free = free_of_eight(states);
                if free == ALL_OF_EIGHT && left >= 8 {
                    left -= 8;
                    for place in 0..8 {
                        let chunk = self.start.add((at as usize + place) * self.stride);
                        let slot = S::new(chunk, states.add(place));
                        slots.add(left as usize + 7 - place).write(slot);
                    }
                    states.write_bytes(out, 8);
                    self.hint = states.add(8);
                    free = 0;
                }
                while free != 0 && left > 0 {
                    let place = free.trailing_zeros() as usize / 8;
                    debug_assert!(at + (place as u32) < self.ready);
                    let state = states.add(place);
                    state.write(out);
                    left -= 1;
                    let chunk = self.start.add((at as usize + place) * self.stride);
                    slots.add(left as usize).write(S::new(chunk, state));
                    self.hint = state.add(1);
                    free &= free - 1;
                }
                at += 8;
            }
        }
        self.left += wanted;
        wanted
    }

    /// Takes back the chunk with this state byte; `true` if the pool must be listed now, or is
    /// empty.
    ///
    /// # Safety
    ///
    /// The state is that of a chunk of the pool, which is not in it.
    #[inline(always)]
    pub(crate) unsafe fn put(&mut self, state: *mut u8) -> bool {
        // SAFETY: the caller's promise.
        unsafe { state.write(FREE) };
        // Chunks in a row are all above the first, or each below the one before: a branch
        // knows, and does not wait for the hint that was written last.
        if state < self.hint {
            self.hint = state;
        }
        debug_assert!(self.left > 0);
        self.left -= 1;
        self.left == 0
    }

    /// Takes back chunks of this pool from the beginning of `slots`, up to `count`, one after the other,
    /// as long as they are out, and there is nothing to do about the pool: returns how many.
    ///
    /// # Safety
    ///
    /// `slots` has `count` chunks, and `reciprocal` is that of the pool's stride.
    pub(crate) unsafe fn put_row<S: Slot>(
        &mut self,
        slots: *const S,
        count: u32,
        reciprocal: u64,
    ) -> u32 {
        let (start, bytes) = (self.start.addr(), self.span_bytes());
        let (mut hint, mut put) = (self.hint, 0);
        // The last one would make it empty, or listed.
        let most = count.min(self.left.saturating_sub(1));
        // SAFETY: a chunk of the pool has a state byte, and one more is behind the last of them.
        unsafe {
            while put < most {
                let slot = slots.add(put as usize).read();
                let offset = slot.chunk().addr().wrapping_sub(start);
                let (place, exact) = locate(offset, reciprocal);
                let state = self.states.wrapping_add(place);
                if offset >= bytes || !exact || !slot.may_have(state) || *state == FREE {
                    break;
                }
                state.write(FREE);
                hint = hint.min(state);
                put += 1;
            }
        }
        self.hint = hint;
        self.left -= put;
        put
    }

    /// Calls `visit` for every row of chunks, as long as can be, that are FREE.
    pub(crate) fn each_row(&self, mut visit: impl FnMut(core::ops::Range<u32>)) {
        // SAFETY: a pool has a state byte for every chunk, and those that are free change under the lock.
        let states = unsafe { core::slice::from_raw_parts(self.states, self.ready as usize) };
        let mut start = self.hint() as usize;
        while let Some(free) = states[start..].iter().position(|&state| state == FREE) {
            let first = start + free;
            let row = states[first..].iter().position(|&state| state != FREE);
            start = row.map_or(states.len(), |row| first + row);
            visit(first as u32..start as u32);
        }
    }

    /// Checks the equations of the module against the state bytes.
    #[cfg(any(test, debug_assertions))]
    pub(crate) fn check_invariants(&self) {
        // SAFETY: a pool has `count` state bytes.
        let states = unsafe { core::slice::from_raw_parts(self.states, self.count as usize) };
        let (ready, later) = states.split_at(self.ready as usize);
        assert_eq!(ready.iter().filter(|&&state| state == FREE).count(), self.free() as usize);
        assert!(self.listed || self.left == 1 && self.ready == self.count);
        assert!(later.iter().all(|&state| state == FREE));
        assert!(states[..self.hint() as usize].iter().all(|&state| state != FREE));
        assert!(self.charged <= self.span_bytes());
        assert!(self.ready as usize * self.stride <= self.charged);
    }
}

/// The reciprocal of `stride` for [`locate`]: `floor(2^64 / stride) + 1`.
pub(crate) fn reciprocal(stride: usize) -> u64 {
    debug_assert!(stride > 1);
    // Of a power of two, 2^64 is a multiple.
    u64::MAX / stride as u64 + 1 + u64::from(stride.is_power_of_two())
}

/// Index and remainder in one multiplication.
///
/// With `c = floor(2^64 / d) + 1` and `n, d < 2^32`, the upper half of `n × c` is `n / d`,
/// and the lower half is below `c` exactly if `d` divides `n` (after Lemire, Kaser and Kurz,
/// "Faster remainder by direct computation", 2019, whose `c` is one less for powers of two).
/// Returns the index, and whether the offset is the start of a chunk.
#[inline(always)]
pub(crate) fn locate(offset: usize, reciprocal: u64) -> (usize, bool) {
    let product = offset as u128 * reciprocal as u128;
    ((product >> 64) as usize, (product as u64) < reciprocal)
}

/// What [`free_of_eight`] says of eight states that are FREE.
const ALL_OF_EIGHT: u64 = 0x8080_8080_8080_8080;

/// Which of the eight states from `states` on are FREE: the highest bit of their bytes.
///
/// A byte's lower bits carry into its highest one unless all are zero, and never further
/// (Warren, "Hacker's Delight", 2nd edition, 2012, section 6-1).
///
/// # Safety
///
/// Eight states may be read there, and `states` is a multiple of eight.
#[inline(always)]
unsafe fn free_of_eight(states: *const u8) -> u64 {
    const LOWER: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    const _: () = assert!(FREE == 0);
    // SAFETY: the caller's promise.
    let word = u64::from_le(unsafe { states.cast::<u64>().read() });
    !(((word & LOWER) + LOWER) | word | LOWER)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use core::ptr;
    use std::vec;

    #[test]
    fn locate_is_exact_for_every_stride_and_offset() {
        let strides = (2..2000).chain([4096, 32_768, 32_760, 65_535, (1 << 20) + 1]);
        for stride in strides {
            let c = reciprocal(stride);
            let near = |offset: usize| [offset.saturating_sub(1), offset, offset + 1];
            for k in [0, 1, 2, 3, 7, 1000, 20_479, 20_480] {
                for offset in near(k * stride) {
                    let expected = (offset / stride, offset % stride == 0);
                    assert_eq!(locate(offset, c), expected, "{offset} / {stride}");
                }
            }
        }
        // An extent: only its first byte, whatever the number.
        for number in [1, 2, 0x7fff_dead_bee0, (1 << 48) - 1] {
            assert_eq!(locate(0, number), (0, true));
            for offset in [1, 2, 64, 4096, RUN / 2, RUN - 1] {
                assert_eq!(locate(offset, number), (0, false), "{offset} × {number}");
            }
        }
    }

    #[test]
    fn free_of_eight_tells_each() {
        for bits in 0..=255_u64 {
            for other in [LIVE, CACHED, 1, 0x7f, 0x80, 0xff] {
                let mut states = [0_u64];
                // SAFETY: eight bytes, aligned as a word.
                let free = unsafe {
                    let bytes = states.as_mut_ptr().cast::<u8>();
                    for at in 0..8 {
                        bytes.add(at).write(if bits >> at & 1 == 1 { FREE } else { other });
                    }
                    free_of_eight(bytes)
                };
                let expected: u64 =
                    (0..8).filter(|at| bits >> at & 1 == 1).map(|at| 0x80 << (8 * at)).sum();
                assert_eq!(free, expected, "{bits:#b} among {other}");
            }
        }
    }

    /// A pool of a run, of 682 chunks of 96 bytes, that is listed and has nothing charged.
    fn pool_in(memory: &mut [u64], states: &mut [u64]) -> Pool {
        let start = NonNull::new(memory.as_mut_ptr().cast()).unwrap();
        let map = NonNull::new(states.as_mut_ptr().cast()).unwrap();
        let mut pool = Pool::new(start, map, 96, 3, (1, 1), 682, ptr::null_mut());
        pool.listed = true;
        pool
    }

    #[test]
    fn take_and_put_keep_the_equations() {
        let (mut memory, mut states) = (vec![0u64; 1 << 13], vec![0u64; 128]);
        let mut pool = pool_in(&mut memory, &mut states);
        let mut slots = [Marked::new(ptr::null_mut(), ptr::null_mut()); 64];
        let mut all = vec![];
        loop {
            pool.check_invariants();
            if pool.free() == 0 {
                if pool.ready == pool.count {
                    break;
                }
                let step = pool.next_step(pool.charged, OS_PAGE);
                pool.grow(step);
            }
            // SAFETY: 64 slots.
            let taken = unsafe { pool.take(slots.as_mut_ptr(), 64, CACHED) } as usize;
            assert!(taken > 0);
            assert!(slots[..taken].windows(2).all(|two| two[0].chunk > two[1].chunk));
            all.extend_from_slice(&slots[..taken]);
        }
        assert_eq!(all.len(), 682);
        assert_eq!(pool.charged, RUN);
        let mut lowest = usize::MAX;
        for slot in all.iter().step_by(3).chain(all.iter().skip(1).step_by(3)) {
            // SAFETY: taken above.
            assert!(!unsafe { pool.put(slot.state) });
            lowest = lowest.min(slot.chunk.addr());
            pool.check_invariants();
        }
        // SAFETY: 64 slots.
        assert_eq!(unsafe { pool.take(slots.as_mut_ptr(), 64, CACHED) }, 64);
        assert_eq!(slots[63].chunk.addr(), lowest);
        pool.check_invariants();
    }

    #[test]
    fn a_row_ends_where_a_chunk_is_not_out_of_the_pool() {
        let (mut memory, mut states) = (vec![0u64; 1 << 13], vec![0u64; 128]);
        let mut pool = pool_in(&mut memory, &mut states);
        pool.grow(RUN);
        let c = reciprocal(96);
        let mut slots = [Bare(ptr::null_mut()); 100];
        // SAFETY: 100 slots; what is put back was taken, or is looked at and not touched.
        unsafe {
            assert_eq!(pool.take(slots.as_mut_ptr(), 100, CACHED), 100);
            // Any order, and the last one that is out is left to who can do what is then to be done.
            slots.reverse();
            slots.swap(3, 70);
            assert_eq!(pool.put_row(slots.as_ptr(), 100, c), 99);
            pool.check_invariants();
            assert_eq!(pool.put_row(slots.as_ptr().add(99), 1, c), 0);
            assert!(pool.put(pool.states.add(99)) && pool.is_empty());
            assert_eq!(pool.put_row(slots.as_ptr(), 1, c), 0, "all are free");

            assert_eq!(pool.take(slots.as_mut_ptr(), 100, CACHED), 100);
            for (at, wrong) in [
                (10, slots[5].0),                        // twice
                (20, slots[20].0.wrapping_add(8)),       // inside a chunk
                (30, pool.start.wrapping_sub(96)),       // in front of the pool
                (40, pool.start.wrapping_add(96 * 700)), // behind it
                (50, pool.start.wrapping_add(96 * 200)), // never taken
            ] {
                let right = core::mem::replace(&mut slots[at], Bare(wrong));
                let from = if at == 10 { 0 } else { at - 9 };
                assert_eq!(pool.put_row(slots.as_ptr().add(from), 60, c) as usize, at - from);
                pool.check_invariants();
                slots[at] = right;
            }
        }
    }
}
