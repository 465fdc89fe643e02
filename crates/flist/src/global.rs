//! flist as the allocator of a Rust program.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{self, NonNull};
use core::time::Duration;

use mallocer_core::{AllocError, Ambient, Chunks, Config, Info, MAX_CAPACITY};

use crate::locate;
use crate::process::{Process, abort};

/// The one heap of the process.
// SAFETY: who uses another one has promised that this one is not used.
static PROCESS: Process<true> = unsafe { Process::sole(config, abort) };

/// How long it keeps empty memory.
const DECAY: Duration = Duration::from_millis(500);

fn config() -> Config {
    let mut config = Config::default();
    config.decay = Some(DECAY);
    config
}

/// flist as the `#[global_allocator]`.
///
/// Misuse writes one line to standard error and aborts the process: an allocator must
/// not unwind. Memory that is empty for half a second goes back to the system.
///
/// # Examples
///
/// ```
/// #[global_allocator]
/// static GLOBAL: mallocer_flist::Global = mallocer_flist::Global;
///
/// let words: Vec<String> = "on flist".split(' ').map(String::from).collect();
/// assert!(mallocer_flist::Global::info().alloc > 0);
/// # drop(words);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Global;

impl Global {
    /// Capacity, heap, alloc and overhead of the process-wide heap, in bytes.
    pub fn info() -> Info {
        PROCESS.info()
    }

    /// Gives empty memory back to the system; returns how many bytes.
    pub fn purge() -> usize {
        PROCESS.purge()
    }
}

#[inline(always)]
fn start(chunk: Option<NonNull<[u8]>>) -> *mut u8 {
    chunk.map_or(ptr::null_mut(), |chunk| chunk.cast().as_ptr())
}

// SAFETY: chunks are as a `Mallocer` promises; nothing unwinds.
unsafe impl GlobalAlloc for Global {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        start(PROCESS.alloc(layout))
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        start(PROCESS.alloc_zeroed(layout))
    }

    #[inline]
    unsafe fn dealloc(&self, chunk: *mut u8, layout: Layout) {
        // SAFETY: passed on.
        unsafe { PROCESS.free_sized("dealloc", chunk, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, chunk: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let Ok(new) = Layout::from_size_align(new_size, layout.align()) else {
            return ptr::null_mut();
        };
        // SAFETY: passed on.
        unsafe { start(PROCESS.realloc("realloc", chunk, new)) }
    }
}

// SAFETY: chunks are as a `Mallocer` promises.
unsafe impl Chunks for Global {
    #[inline]
    fn try_alloc(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        PROCESS.alloc(layout).ok_or_else(|| refused(layout))
    }

    #[inline]
    unsafe fn free(&self, chunk: NonNull<u8>) {
        // SAFETY: passed on.
        unsafe { PROCESS.free("free", chunk.as_ptr()) }
    }

    unsafe fn chunk_len(&self, chunk: NonNull<u8>) -> usize {
        // SAFETY: passed on.
        unsafe { PROCESS.chunk_len("chunk_len", chunk.as_ptr()) }
    }

    #[inline(always)]
    unsafe fn known_len(&self, chunk: NonNull<u8>) -> usize {
        // SAFETY: passed on.
        unsafe { locate::known_len(chunk) }
    }

    unsafe fn want_huge_pages(&self, chunk: NonNull<u8>, want: bool) {
        // SAFETY: passed on.
        unsafe { locate::want_huge_pages(chunk, want) };
    }

    unsafe fn resize_in_place(&self, chunk: NonNull<u8>, size: usize) -> Option<usize> {
        PROCESS.heap()?.resize("resize_in_place", chunk.addr().get(), size, 1)
    }

    unsafe fn try_realloc(
        &self,
        chunk: NonNull<u8>,
        layout: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: passed on.
        let moved = unsafe { PROCESS.realloc("realloc", chunk.as_ptr(), layout) };
        moved.ok_or_else(|| refused(layout))
    }
}

/// The error where there is no memory.
#[cold]
fn refused(layout: Layout) -> AllocError {
    AllocError::System { requested: layout.size(), used: 0, limit: MAX_CAPACITY }
}

// SAFETY: there is one heap, and any thread may use it.
unsafe impl Ambient for Global {}
