//! The chunk and the array: the same thing, under one bookkeeping.
//!
//! ```text
//! heap.try_alloc ──▶ chunk ──from_chunk──▶ Array<u8>
//! heap.free     ◀── chunk ◀──into_chunk── Array<u8>
//! ```
//!
//! Neither way copies a byte or writes a header: what an array adds to a chunk is the meaning
//! of its first word.

use core::mem::ManuallyDrop;
use core::ptr::{self, NonNull};

use mallocer_core::Chunks;

use crate::array::Array;
use crate::raw::{LEN_BYTES, Raw};
use crate::source::Source;

impl<S: Source> Array<u8, S> {
    /// Bytes of a chunk that come before the elements: the length, and nothing else.
    pub const HEADER_BYTES: usize = LEN_BYTES;

    /// The array's chunk, as the heap gave it: the length, the bytes, and what is free
    /// behind them. It is to be freed by the heap, or made an array again.
    ///
    /// `None` if the array has none, as one that never had an element.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocer_array::{Array, In};
    /// use mallocer_core::{Config, Mallocer};
    /// use mallocer_flist::Flist;
    ///
    /// let heap = Flist::open(&Config::default())?;
    /// let mut bytes = Array::new_in(In::new(&heap));
    /// bytes.extend_from_slice(b"the same chunk");
    /// let chunk = bytes.into_chunk().unwrap();
    /// assert_eq!(heap.info().alloc, chunk.len());
    /// // SAFETY: the chunk is of this heap, and freed once.
    /// unsafe { heap.free(chunk.cast()) };
    /// # Ok::<(), mallocer_core::ConfigError>(())
    /// ```
    pub fn into_chunk(self) -> Option<NonNull<[u8]>> {
        let source = self.source();
        let chunk = ManuallyDrop::new(self);
        // SAFETY: the array is not used any more; its words are moved out once.
        let chunk = unsafe { ptr::read(&chunk.raw) }.into_chunk()?;
        // SAFETY: the chunk is that source's.
        let len = unsafe { Chunks::chunk_len(source.heap(), chunk) };
        Some(NonNull::slice_from_raw_parts(chunk, len))
    }

    /// Makes a chunk an array of `len` bytes: those behind its first [`HEADER_BYTES`]
    /// (`Array::HEADER_BYTES`), in which the length is written. Nothing is copied.
    ///
    /// # Errors
    ///
    /// The chunk, if `len` bytes do not fit into it.
    ///
    /// # Safety
    ///
    /// The chunk is from `source`'s heap, aligned to 8, and not used by anybody else any
    /// more. `len` bytes behind its first word are initialised.
    ///
    /// [`HEADER_BYTES`]: Array::HEADER_BYTES
    pub unsafe fn from_chunk(
        chunk: NonNull<u8>,
        len: usize,
        source: S,
    ) -> Result<Array<u8, S>, NonNull<u8>> {
        // SAFETY: the caller's promise.
        unsafe {
            let bytes = Chunks::chunk_len(source.heap(), chunk);
            if bytes < LEN_BYTES || Raw::<u8, S>::fitting(bytes) < len {
                return Err(chunk);
            }
            chunk.cast::<usize>().write(len);
            Ok(Array { raw: Raw::from_chunk(chunk, source) })
        }
    }
}
