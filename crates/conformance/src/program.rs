//! Random programs as data: a list of operations that any heap can be made to run.
//!
//! An [`Op`] means something on every heap in every state: it names a chunk by a
//! number that is taken modulo the number of live chunks, and does nothing if
//! there is none. So any list of operations is a program, and so is any part of
//! one, which is what shrinking needs. [`Op::from_word`] makes an operation of any
//! 64 bits, for seeded programs and for fuzzing.
//!
//! ```
//! use mallocer_conformance::program::Op;
//!
//! assert_eq!(Op::from_word(0), Op::Alloc { size: 0, align: 1 });
//! ```

use core::alloc::Layout;
use std::sync::Mutex;

use mallocer_core::{AllocError, Config, ConfigError, Mallocer};

use crate::checks::in_threads;
use crate::ledger::{Claim, Ledger};
use crate::random::Random;

/// One thing a program asks of a heap. Sizes and alignments are bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields say no more than their names")]
pub enum Op {
    /// Allocate.
    Alloc { size: usize, align: usize },
    /// Allocate memory that is zero.
    AllocZeroed { size: usize, align: usize },
    /// Allocate from the slab of this index, modulo the slabs up to 64 KiB.
    AllocSlab { index: usize },
    /// Reallocate a chunk with its own alignment.
    Realloc { chunk: usize, size: usize },
    /// Reallocate a chunk with another alignment.
    Realign { chunk: usize, size: usize, align: usize },
    /// Resize a chunk where it is, or leave it.
    Resize { chunk: usize, size: usize },
    /// Free a chunk.
    Free { chunk: usize },
    /// Free a chunk with a size from what was asked to its length.
    FreeSized { chunk: usize, part: usize },
    /// Give back empty memory.
    Purge,
    /// Give back everything. Does nothing where other threads use the heap.
    Release,
}

/// The largest size that [`Op::from_word`] asks for, in bytes.
pub const LARGEST: usize = 2 << 20;

impl Op {
    /// The operation that any 64 bits stand for.
    ///
    /// Of 256 operations, 128 allocate, 66 free, 60 change a size, one purges and
    /// one releases. Half of the sizes are up to 64 bytes; one of 64 reaches
    /// [`LARGEST`].
    pub fn from_word(word: u64) -> Op {
        let [kind, scale, shift, rest @ ..] = word.to_le_bytes();
        let rest = rest.into_iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(byte));
        let (low, chunk) = (rest & 0x3f_ffff, rest >> 16);
        let size = match scale {
            0..128 => low % 65,
            128..216 => low % 1025,
            216..240 => low % (16 << 10),
            240..252 => low % (256 << 10),
            _ => low % (LARGEST + 1),
        };
        // Half of the chunks ask for no alignment, the others for up to 4096.
        let align = if shift < 128 { 1 } else { 1 << (shift % 13) };
        match kind {
            0..90 => Op::Alloc { size, align },
            90..114 => Op::AllocZeroed { size, align },
            114..128 => Op::AllocSlab { index: low },
            128..158 => Op::Realloc { chunk, size },
            158..164 => Op::Realign { chunk, size, align },
            164..188 => Op::Resize { chunk, size },
            188..224 => Op::Free { chunk },
            224..254 => Op::FreeSized { chunk, part: low },
            254 => Op::Purge,
            255 => Op::Release,
        }
    }

    /// A program of `count` operations: that of `seed`.
    pub fn program(seed: u64, count: usize) -> impl Iterator<Item = Op> {
        let mut random = Random::new(seed);
        (0..count).map(move |_| Op::from_word(random.word()))
    }
}

/// Opens a heap of `capacity` bytes, or of as little above as the backend can do.
///
/// # Errors
///
/// Those of [`Mallocer::open`], except that the capacity is too small.
pub fn open_at_least<M: Mallocer>(capacity: usize) -> Result<M, ConfigError> {
    let mut config = Config::default();
    config.capacity = capacity;
    M::open(&config).or_else(|error| match error {
        ConfigError::CapacityTooSmall { minimum, .. } if minimum > capacity => {
            config.capacity = minimum;
            M::open(&config)
        }
        error => Err(error),
    })
}

/// Runs a program on a new heap of `capacity` bytes, checking every answer, and
/// frees everything at its end.
///
/// # Panics
///
/// When the heap breaks a promise.
pub fn run<M: Mallocer>(capacity: usize, program: impl IntoIterator<Item = Op>) {
    let heap = open_at_least::<M>(capacity).expect("the heap opens");
    let mut ledger = Ledger::new(&heap);
    for op in program {
        step(&heap, &mut ledger, op, true);
    }
    ledger.full_audit();
    ledger.free_all();
}

/// Runs each program on a thread of its own, all on one new heap of `capacity`
/// bytes. Each thread leaves its chunks for another one to look at and to free.
///
/// # Panics
///
/// When the heap breaks a promise.
pub fn run_shared<M: Mallocer + Send + Sync>(capacity: usize, programs: &[Vec<Op>]) {
    let heap = open_at_least::<M>(capacity).expect("the heap opens");
    let left = Mutex::new(Vec::<Claim>::new());
    in_threads(programs.len(), |thread| {
        let mut ledger = Ledger::partial(&heap, thread as u64);
        for &op in &programs[thread] {
            step(&heap, &mut ledger, op, false);
        }
        ledger.full_audit();
        let mut left = left.lock().expect("no thread panics while it holds the lock");
        left.extend(std::iter::from_fn(|| ledger.hand_over()));
    });
    let mut ledger = Ledger::partial(&heap, 0);
    for claim in left.into_inner().expect("no thread panicked") {
        ledger.receive(claim);
    }
    ledger.free_all();
    assert_eq!(heap.info().alloc, 0, "alloc is not 0 after everything is freed");
}

/// Does one operation. A refusal is no failure if it is one by capacity.
fn step<M: Mallocer>(heap: &M, ledger: &mut Ledger<'_, M>, op: Op, alone: bool) {
    let layout =
        |size, align| Layout::from_size_align(size, align).expect("sizes of programs are small");
    let live = ledger.len();
    let answer = match op {
        Op::Alloc { size, align } => ledger.alloc(layout(size, align)),
        Op::AllocZeroed { size, align } => ledger.alloc_zeroed(layout(size, align)),
        Op::AllocSlab { index } => {
            let slabs = heap.slabs();
            let small = slabs.partition_point(|&slab| slab <= 64 << 10).max(1);
            ledger.alloc_slab(slabs[index % small])
        }
        Op::Purge => {
            ledger.purge();
            Ok(())
        }
        Op::Release => {
            if alone {
                // SAFETY: this ledger holds all chunks, on the only thread.
                unsafe { ledger.release() };
            }
            Ok(())
        }
        _ if live == 0 => Ok(()),
        Op::Realloc { chunk, size } => {
            let chunk = chunk % live;
            let align = ledger.claims()[chunk].layout().align();
            ledger.realloc(chunk, layout(size, align))
        }
        Op::Realign { chunk, size, align } => ledger.realloc(chunk % live, layout(size, align)),
        Op::Resize { chunk, size } => {
            ledger.resize_in_place(chunk % live, size);
            Ok(())
        }
        Op::Free { chunk } => {
            ledger.free(chunk % live);
            Ok(())
        }
        Op::FreeSized { chunk, part } => {
            ledger.free_sized(chunk % live, part);
            Ok(())
        }
    };
    match answer {
        Ok(()) | Err(AllocError::Capacity { .. }) => {}
        Err(error) => panic!("{op:?} is refused for another reason than capacity: {error:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_for_every_operation_in_the_stated_shares() {
        let mut counts = [0; 4];
        for kind in 0..=255 {
            counts[match Op::from_word(kind) {
                Op::Alloc { .. } | Op::AllocZeroed { .. } | Op::AllocSlab { .. } => 0,
                Op::Free { .. } | Op::FreeSized { .. } => 1,
                Op::Realloc { .. } | Op::Realign { .. } | Op::Resize { .. } => 2,
                Op::Purge | Op::Release => 3,
            }] += 1;
        }
        assert_eq!(counts, [128, 66, 60, 2]);
    }

    #[test]
    fn sizes_reach_from_zero_to_the_largest() {
        let sizes: Vec<usize> = Op::program(1, 100_000)
            .filter_map(|op| match op {
                Op::Alloc { size, align } => {
                    assert!(align.is_power_of_two() && align <= 4096);
                    Some(size)
                }
                _ => None,
            })
            .collect();
        assert!(sizes.contains(&0));
        assert!(sizes.iter().any(|&size| size > LARGEST / 2));
        assert!(sizes.iter().all(|&size| size <= LARGEST));
    }
}
