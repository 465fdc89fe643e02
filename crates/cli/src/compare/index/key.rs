//! Keys: bytes in a chunk of their own, with their length in front.
//!
//! ```text
//! chunk   │ len: u32 │ bytes … │
//! ```
//!
//! Beside the pointer to a key, nodes keep its first eight bytes as a number, so
//! that most comparisons touch no key at all. Big-endian order makes the order of
//! the numbers that of the bytes.

use std::alloc::Layout;
use std::ptr::NonNull;

use mallocer_core::AllocError;

use super::memory::Memory;

/// A key in the arena. A handle: copying it copies no bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key(NonNull<u8>);

/// The bytes in front of a key.
const HEADER: usize = size_of::<u32>();

impl Key {
    /// Copies `bytes` into a chunk.
    pub(super) fn copy_of(bytes: &[u8], memory: &impl Memory) -> Result<Key, AllocError> {
        let chunk = memory.alloc(Key::layout(bytes.len()))?;
        // SAFETY: the chunk is aligned to 4 and has room for the length and the bytes.
        unsafe {
            chunk.cast::<u32>().write(bytes.len() as u32);
            chunk.add(HEADER).copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len());
        }
        Ok(Key(chunk))
    }

    /// The bytes of the key.
    ///
    /// # Safety
    ///
    /// The key is not freed before the last use of the slice.
    pub(super) unsafe fn bytes<'k>(self) -> &'k [u8] {
        // SAFETY: the chunk is live by the caller's promise, written whole by
        // `copy_of`, and never written again.
        unsafe {
            let len = self.0.cast::<u32>().read() as usize;
            NonNull::slice_from_raw_parts(self.0.add(HEADER), len).as_ref()
        }
    }

    /// Frees the key.
    ///
    /// # Safety
    ///
    /// The key comes from `memory` and is not used afterwards.
    pub(super) unsafe fn free(self, memory: &impl Memory) {
        // SAFETY: the caller's promise; the layout is that of `copy_of`.
        unsafe { memory.free_sized(self.0, Key::layout(self.bytes().len())) }
    }

    fn layout(len: usize) -> Layout {
        Layout::from_size_align(HEADER + len, align_of::<u32>()).expect("keys are short")
    }
}

/// The first eight bytes of a key, as a number that compares as they do.
pub(super) fn prefix(bytes: &[u8]) -> u64 {
    let mut first = [0; 8];
    let len = bytes.len().min(8);
    first[..len].copy_from_slice(&bytes[..len]);
    u64::from_be_bytes(first)
}
