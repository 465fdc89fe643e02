//! The heap behind every symbol.
//!
//! It lies in a static and is opened by the first call, whichever that is: calls come
//! before any initialiser has run, from inside the loader, and after the last destructor.

use core::alloc::{GlobalAlloc, Layout};
use core::fmt;
use core::ptr;
use core::time::Duration;

use mallocer_core::{Config, Ladder};
use mallocer_flist::{Process, abort};

/// The alignment that `malloc` gives: that of the largest plain C type.
pub(crate) const ALIGN: usize = 16;

/// How long empty memory stays with the process unless `MALLOCER` says otherwise.
const DECAY: Duration = Duration::from_millis(500);

/// The heap of the process.
pub(crate) static HEAP: Process = Process::new(config, abort);

fn config() -> Config {
    let mut config = Config::default();
    config.ladder = Ladder::ALIGNED_16;
    config.decay = Some(DECAY);
    config
}

/// The layout of `size` bytes at `align`, a power of two; `None` if no memory is as large.
#[inline(always)]
pub(crate) fn layout(size: usize, align: usize) -> Option<Layout> {
    Layout::from_size_align(size, align).ok()
}

/// Writes to standard error, without allocating and in as few calls as there are pieces.
pub(crate) fn say(words: fmt::Arguments<'_>) {
    let _ = fmt::write(&mut Stderr, words);
}

struct Stderr;

impl fmt::Write for Stderr {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // SAFETY: the text is valid for its length.
        unsafe { libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len()) };
        Ok(())
    }
}

/// The heap for Rust code of this library.
pub(crate) struct Rust;

// SAFETY: chunks are as flist promises; nothing unwinds.
unsafe impl GlobalAlloc for Rust {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HEAP.alloc(layout).map_or(ptr::null_mut(), |chunk| chunk.cast().as_ptr())
    }

    unsafe fn dealloc(&self, chunk: *mut u8, layout: Layout) {
        // SAFETY: passed on.
        unsafe { HEAP.free_sized("dealloc", chunk, layout) }
    }
}
