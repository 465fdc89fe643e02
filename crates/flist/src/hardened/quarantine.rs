//! Freed chunks, kept back for a while.
//!
//! A chunk that is freed takes the place of a random one among [`RANDOM`]; that one goes to
//! the end of a queue of [`QUEUED`]; and the one at the head of the queue leaves:
//!
//! ```text
//! free ──▶ │ random places │ ──▶ │ queue … │ ──▶ checked, to the heap
//! ```
//!
//! So a chunk stays for at least as many frees as the queue is long, and nobody can tell for
//! how many (the scheme is hardened_malloc's). There are several such places, which threads
//! spread over, each with a bound in bytes.

use core::ptr;

use super::random::Random;
use super::{lane, map_zeroed};
use crate::lock::Lock;

/// How many chunks are kept in random places, and in the queue.
const RANDOM: usize = 64;
const QUEUED: usize = 64;
/// The most bytes that one shard keeps.
const MOST_BYTES: usize = 512 << 10;
const SHARDS: usize = 16;

pub(super) struct Quarantine {
    shards: &'static [Lock<Shard>; SHARDS],
}

/// One place. All zero bytes is an empty one.
#[repr(align(64))]
struct Shard {
    random: [Kept; RANDOM],
    queue: [Kept; QUEUED],
    /// The oldest in the queue.
    head: usize,
    bytes: usize,
    numbers: Random,
}

/// A chunk that is kept, or null.
#[derive(Clone, Copy)]
struct Kept {
    chunk: *mut u8,
    bytes: usize,
}

impl Kept {
    const NONE: Kept = Kept { chunk: ptr::null_mut(), bytes: 0 };
}

// SAFETY: a freed chunk belongs to whoever has it out of the shard.
unsafe impl Send for Shard {}

impl Quarantine {
    pub(super) fn new() -> Option<Quarantine> {
        // SAFETY: mapped for good; all zero bytes are free locks of empty shards.
        let shards = unsafe { map_zeroed::<[Lock<Shard>; SHARDS]>()?.as_ref() };
        Some(Quarantine { shards })
    }

    /// Keeps a chunk; returns one that leaves, or null, and whether more should, since
    /// there are too many bytes.
    #[inline]
    pub(super) fn put(&self, chunk: *mut u8, bytes: usize) -> (*mut u8, bool) {
        let mut shard = self.shards[lane() % SHARDS].lock();
        let place = shard.numbers.below(RANDOM);
        let moved = core::mem::replace(&mut shard.random[place], Kept { chunk, bytes });
        shard.bytes += bytes;
        let left = if moved.chunk.is_null() { ptr::null_mut() } else { shard.turn(moved) };
        (left, shard.bytes > MOST_BYTES)
    }

    /// One that leaves because there are too many bytes, or null.
    #[cold]
    pub(super) fn surplus(&self) -> *mut u8 {
        let mut shard = self.shards[lane() % SHARDS].lock();
        for _ in 0..QUEUED {
            if shard.bytes <= MOST_BYTES {
                break;
            }
            let left = shard.turn(Kept::NONE);
            if !left.is_null() {
                return left;
            }
        }
        ptr::null_mut()
    }

    /// Empties all of it.
    pub(super) fn drain(&self, visit: &mut dyn FnMut(*mut u8)) {
        for shard in self.shards {
            for at in 0..RANDOM + QUEUED {
                let mut shard = shard.lock();
                let place =
                    if at < RANDOM { &mut shard.random[at] } else { &mut shard.queue[at - RANDOM] };
                let kept = core::mem::replace(place, Kept::NONE);
                shard.bytes -= kept.bytes;
                drop(shard);
                if !kept.chunk.is_null() {
                    visit(kept.chunk);
                }
            }
        }
    }

    pub(super) fn hold(&self) {
        self.shards.iter().for_each(Lock::hold);
    }

    /// # Safety
    ///
    /// This thread holds it.
    pub(super) unsafe fn let_go(&self) {
        // SAFETY: passed on.
        self.shards.iter().for_each(|shard| unsafe { shard.let_go() });
    }
}

impl Shard {
    /// Puts something at the end of the queue; returns what was at its head.
    fn turn(&mut self, last: Kept) -> *mut u8 {
        let left = core::mem::replace(&mut self.queue[self.head], last);
        self.head = (self.head + 1) % QUEUED;
        self.bytes -= left.bytes;
        left.chunk
    }
}
