//! flist as the allocator of a whole process.

use core::alloc::{GlobalAlloc, Layout};
use core::fmt::{self, Write};
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use mallocer_core::{Budget, Config, Info, Misuse};

use crate::once::Once;
use crate::registry;
use crate::sharing::Sharing;

/// The one heap of the process, opened by the first allocation. It draws on no budget,
/// since a budget would have to be allocated.
static PROCESS: Once<Sharing> = Once::new();

/// flist as the `#[global_allocator]`.
///
/// Misuse writes one line to standard error and aborts the process: an allocator must
/// not unwind.
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
        heap().map(|heap| heap.heap.lock().info()).unwrap_or_default()
    }

    /// Gives empty memory back to the system; returns how many bytes.
    pub fn purge() -> usize {
        heap().map(Sharing::purge).unwrap_or_default()
    }
}

/// The process's heap; `None` if it cannot be opened.
#[inline(always)]
fn heap() -> Option<&'static Sharing> {
    PROCESS.get().or_else(open)
}

#[cold]
fn open() -> Option<&'static Sharing> {
    static ENTERED: AtomicBool = AtomicBool::new(false);
    let heap =
        PROCESS.get_or_make(|| Sharing::new(&Config::default(), Budget::UNLIMITED, abort).ok())?;
    if !ENTERED.swap(true, Relaxed) {
        // SAFETY: a static stays where it is.
        unsafe { registry::enter(heap) };
    }
    Some(heap)
}

fn start(chunk: Option<NonNull<[u8]>>) -> *mut u8 {
    chunk.map_or(ptr::null_mut(), |chunk| chunk.cast().as_ptr())
}

// SAFETY: chunks are as a `Mallocer` promises; nothing unwinds.
unsafe impl GlobalAlloc for Global {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        start(heap().and_then(|heap| heap.alloc(layout).ok()))
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        start(heap().and_then(|heap| heap.alloc_zeroed(layout).ok()))
    }

    #[inline]
    unsafe fn dealloc(&self, chunk: *mut u8, layout: Layout) {
        if let Some(heap) = heap()
            && let Err(freed) = heap.put_sized(chunk.addr(), layout)
        {
            misused(heap, chunk.addr(), layout, freed);
        }
    }

    #[inline]
    unsafe fn realloc(&self, chunk: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let Ok(new) = Layout::from_size_align(new_size, layout.align()) else {
            return ptr::null_mut();
        };
        match heap().map(|heap| heap.realloc("realloc", chunk.addr(), new)) {
            Some(Ok(moved)) => start(moved.ok()),
            Some(Err(misuse)) => abort(misuse),
            None => ptr::null_mut(),
        }
    }
}

/// Ends the program over a `dealloc`.
#[cold]
#[inline(never)]
fn misused(heap: &Sharing, address: usize, layout: Layout, freed: bool) -> ! {
    abort(heap.diagnose("dealloc", address, Some(layout), freed))
}

/// Writes the misuse to standard error, without allocating, and ends the process.
#[cold]
fn abort(misuse: Misuse) -> ! {
    let mut line = Line { bytes: [0; 512], len: 0 };
    // A line that is too long is cut off.
    let _ = writeln!(line, "{misuse}");
    // SAFETY: the line has `len` bytes; `abort` has no conditions.
    unsafe {
        libc::write(libc::STDERR_FILENO, line.bytes.as_ptr().cast(), line.len);
        libc::abort()
    }
}

struct Line {
    bytes: [u8; 512],
    len: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = &mut self.bytes[self.len..];
        let count = text.len().min(room.len());
        room[..count].copy_from_slice(&text.as_bytes()[..count]);
        self.len += count;
        if count < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}
