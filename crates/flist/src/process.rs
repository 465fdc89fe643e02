//! A heap for a whole process: in a static, opened by the first call, never closed.
//!
//! The two libraries that stand at the bottom of a process use it: [`Global`](crate::Global)
//! under Rust programs, and libmallocer.so under all others. Each says once, by two
//! functions, what its heap is to be and how the program is told of misuse.
//!
//! ```text
//! static HEAP: Process = Process::new(config, tell);
//!                           │
//! first call ───────────────┴──▶ Sharing, in the static itself: it never moves, and
//!                                nothing has to be allocated to have it
//! ```
//!
//! It draws on no budget, since a budget would have to be allocated.

use core::alloc::Layout;
use core::fmt::{self, Write};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use mallocer_core::{Budget, Config, Info, Misuse, SlabUse};

use crate::once::Once;
use crate::registry;
use crate::sharing::Sharing;

/// One heap of flist's for the whole process, for a `static`.
///
/// Nothing here unwinds: misuse goes to the function that [`Process::new`] was given,
/// which does not return. Pointers may be null, which is misuse like any other.
///
/// # Examples
///
/// ```
/// use core::alloc::Layout;
/// use mallocer_core::Config;
/// use mallocer_flist::{Process, abort};
///
/// static HEAP: Process = Process::new(Config::default, abort);
///
/// let chunk = HEAP.alloc(Layout::new::<[u64; 9]>()).unwrap();
/// assert_eq!(chunk.len(), 72);
/// // SAFETY: allocated above, and not used afterwards.
/// unsafe { HEAP.free("free", chunk.cast().as_ptr()) };
/// ```
pub struct Process {
    heap: Once<Sharing>,
    entered: AtomicBool,
    config: fn() -> Config,
    tell: fn(Misuse) -> !,
}

impl Process {
    /// A heap that is opened by the first call to it, with what `config` returns then,
    /// but without a capacity. `config` must not use the heap. Misuse is passed to `tell`.
    pub const fn new(config: fn() -> Config, tell: fn(Misuse) -> !) -> Process {
        Process { heap: Once::new(), entered: AtomicBool::new(false), config, tell }
    }

    /// The heap; `None` if it cannot be opened.
    #[inline(always)]
    pub(crate) fn heap(&'static self) -> Option<&'static Sharing> {
        match self.heap.get() {
            Some(heap) => Some(heap),
            None => self.open(),
        }
    }

    #[cold]
    #[inline(never)]
    fn open(&'static self) -> Option<&'static Sharing> {
        let heap = self
            .heap
            .get_or_make(|| Sharing::new(&(self.config)(), Budget::UNLIMITED, self.tell).ok())?;
        if !self.entered.swap(true, Relaxed) {
            // SAFETY: a static stays where it is.
            unsafe { registry::enter(heap) };
        }
        Some(heap)
    }

    /// Allocates a chunk; `None` if there is no memory, or no slab is large enough.
    #[inline(always)]
    pub fn alloc(&'static self, layout: Layout) -> Option<NonNull<[u8]>> {
        self.heap()?.alloc(layout).ok()
    }

    /// The same, all of it zero.
    #[inline(always)]
    pub fn alloc_zeroed(&'static self, layout: Layout) -> Option<NonNull<[u8]>> {
        self.heap()?.alloc_zeroed(layout).ok()
    }

    /// Whether `address` lies where this process's flist heaps have their chunks: if not,
    /// it is surely foreign.
    pub fn may_hold(&'static self, address: usize) -> bool {
        self.heap.get().is_some_and(|heap| heap.may_hold(address))
    }

    /// Frees a chunk. Misuse is told as one of `operation`.
    ///
    /// # Safety
    ///
    /// As [`Mallocer::free`](mallocer_core::Mallocer::free).
    #[inline(always)]
    pub unsafe fn free(&'static self, operation: &'static str, chunk: *mut u8) {
        let address = chunk.addr();
        match self.heap() {
            Some(heap) => {
                if let Err(freed) = heap.put(address) {
                    misused(heap, operation, address, None, freed);
                }
            }
            None => self.foreign(operation, address),
        }
    }

    /// Frees a chunk of which the layout is known. A wrong one is misuse.
    ///
    /// # Safety
    ///
    /// As [`Mallocer::free_sized`](mallocer_core::Mallocer::free_sized).
    #[inline(always)]
    pub unsafe fn free_sized(
        &'static self,
        operation: &'static str,
        chunk: *mut u8,
        layout: Layout,
    ) {
        let address = chunk.addr();
        match self.heap() {
            Some(heap) => {
                if let Err(freed) = heap.put_sized(address, layout) {
                    misused(heap, operation, address, Some(layout), freed);
                }
            }
            None => self.foreign(operation, address),
        }
    }

    /// Makes a chunk hold `layout`, where it is or elsewhere; `None` if there is no memory,
    /// and then the chunk is as it was.
    ///
    /// # Safety
    ///
    /// As [`Mallocer::try_realloc`](mallocer_core::Mallocer::try_realloc).
    pub unsafe fn realloc(
        &'static self,
        operation: &'static str,
        chunk: *mut u8,
        layout: Layout,
    ) -> Option<NonNull<[u8]>> {
        match self.heap()?.realloc(operation, chunk.addr(), layout) {
            Ok(moved) => moved.ok(),
            Err(misuse) => (self.tell)(misuse),
        }
    }

    /// The bytes of a chunk that the caller may use.
    ///
    /// # Safety
    ///
    /// As [`Mallocer::chunk_len`](mallocer_core::Mallocer::chunk_len).
    pub unsafe fn chunk_len(&'static self, operation: &'static str, chunk: *mut u8) -> usize {
        let address = chunk.addr();
        match self.heap().map(|heap| heap.len_of(operation, address)) {
            Some(Ok(len)) => len,
            Some(Err(misuse)) => (self.tell)(misuse),
            None => self.foreign(operation, address),
        }
    }

    /// A pointer that came when there was no heap to have it from.
    #[cold]
    fn foreign(&self, operation: &'static str, address: usize) -> ! {
        (self.tell)(Misuse::new(mallocer_core::MisuseKind::Foreign, operation, address))
    }

    /// Capacity, heap, alloc and overhead, in bytes.
    pub fn info(&'static self) -> Info {
        self.heap().map(|heap| heap.heap.lock().info()).unwrap_or_default()
    }

    /// Calls `visit` for every slab that has memory, ascending.
    pub fn each_slab_use(&'static self, visit: &mut dyn FnMut(SlabUse)) {
        let Some(heap) = self.heap() else { return };
        for index in 0..=heap.ladder.slabs().len() {
            // Not locked while `visit` runs.
            let slab_use = heap.heap.lock().slab_use(index);
            if let Some(slab_use) = slab_use {
                visit(slab_use);
            }
        }
    }

    /// Gives empty memory back to the system; returns how many bytes.
    pub fn purge(&'static self) -> usize {
        self.heap().map(Sharing::purge).unwrap_or_default()
    }
}

/// Ends the program over `address`.
#[cold]
#[inline(never)]
fn misused(
    heap: &Sharing,
    operation: &'static str,
    address: usize,
    layout: Option<Layout>,
    freed: bool,
) -> ! {
    (heap.tell)(heap.diagnose(operation, address, layout, freed))
}

/// Writes the misuse to standard error, without allocating, and ends the process.
#[cold]
pub fn abort(misuse: Misuse) -> ! {
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
