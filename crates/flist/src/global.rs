//! flist as the allocator of a whole process.

use core::alloc::{GlobalAlloc, Layout};
use core::fmt::{self, Write};
use core::ptr::{self, NonNull};

use mallocer_core::{Budget, Config, Info, Mallocer, Misuse};

use crate::Flist;
use crate::lock::Lock;

/// The one heap of the process, opened by the first allocation. It draws on no budget,
/// since a budget would have to be allocated.
static PROCESS: Lock<Process> = Lock::new(Process(None));

struct Process(Option<Flist>);

// SAFETY: a heap holds pointers to memory that only it uses, wherever it is; its cells
// are reached by one thread at a time.
unsafe impl Send for Process {}

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
        with_heap(Mallocer::info).unwrap_or_default()
    }

    /// Gives empty memory back to the system; returns how many bytes.
    pub fn purge() -> usize {
        with_heap(Mallocer::purge).unwrap_or_default()
    }
}

/// Runs `work` on the process's heap; `None` if it cannot be opened.
#[inline]
fn with_heap<T>(work: impl FnOnce(&Flist) -> T) -> Option<T> {
    let mut process = PROCESS.lock();
    if process.0.is_none() {
        process.0 = Flist::with_budget(&Config::default(), Budget::UNLIMITED).ok();
    }
    process.0.as_ref().map(work)
}

/// Runs `work` on a live chunk; misuse ends the process once the heap is unlocked.
#[inline]
fn checked<T>(work: impl FnOnce(&Flist) -> Result<T, Misuse>) -> Option<T> {
    match with_heap(work)? {
        Ok(value) => Some(value),
        Err(misuse) => abort(misuse),
    }
}

fn start(chunk: Option<NonNull<[u8]>>) -> *mut u8 {
    chunk.map_or(ptr::null_mut(), |chunk| chunk.cast().as_ptr())
}

// SAFETY: chunks are as a `Mallocer` promises; nothing unwinds.
unsafe impl GlobalAlloc for Global {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        start(with_heap(|heap| heap.try_alloc(layout).ok()).flatten())
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        start(with_heap(|heap| heap.try_alloc_zeroed(layout).ok()).flatten())
    }

    #[inline]
    unsafe fn dealloc(&self, chunk: *mut u8, layout: Layout) {
        let address = chunk.addr();
        checked(|heap| match heap.put_sized(address, layout) {
            true => Ok(()),
            false => Err(heap.diagnose("dealloc", address, Some(layout))),
        });
    }

    #[inline]
    unsafe fn realloc(&self, chunk: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let address = chunk.addr();
        let Ok(new) = Layout::from_size_align(new_size, layout.align()) else {
            return ptr::null_mut();
        };
        let moved = checked(|heap| {
            heap.realloc(address, new).map_err(|_| heap.diagnose("realloc", address, Some(layout)))
        });
        start(moved.and_then(Result::ok))
    }
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
