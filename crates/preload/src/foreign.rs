//! Pointers that the C library's own `malloc` has handed out.
//!
//! Whoever asks the C library itself for its `malloc` (by `dlsym`, or as a library that was loaded
//! with `RTLD_DEEPBIND`, see `deepbind`) may pass its chunks to parts of the program that find this
//! one. They are told by where they are: the C library's heap is what `brk` has grown, and this
//! library never uses that.
//!
//! ```text
//! │ program │ … │ brk at start ──── the C library's heap ──── brk now │ …
//! ```
//!
//! Chunks that it has mapped elsewhere look like any other memory, and are misuse.

use core::ffi::{CStr, c_void};
use core::mem::transmute;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use libc::size_t;

/// Where `brk` was when the heap was opened.
static START: AtomicUsize = AtomicUsize::new(usize::MAX);

fn brk() -> usize {
    // SAFETY: asks only.
    unsafe { libc::sbrk(0) }.addr()
}

/// Notes where the C library's heap will begin.
pub(crate) fn begin() {
    START.store(brk(), Relaxed);
}

/// Whether the C library may have handed out the chunk at `address`.
#[cold]
pub(crate) fn is_of_libc(address: usize) -> bool {
    address >= START.load(Relaxed) && address < brk()
}

/// Frees a chunk of the C library's; `false` if it is not one.
#[cold]
pub(crate) fn free(chunk: *mut u8) -> bool {
    type Free = unsafe extern "C" fn(*mut c_void);
    if !is_of_libc(chunk.addr()) {
        return false;
    }
    let Some(free) = next(c"free") else { return false };
    // SAFETY: the C library's function has the type that its name says; what is wrong with
    // the chunk, it finds itself.
    unsafe { transmute::<*const c_void, Free>(free)(chunk.cast()) };
    true
}

/// Reallocates a chunk of the C library's.
#[cold]
pub(crate) fn realloc(chunk: *mut c_void, size: size_t) -> Option<*mut c_void> {
    type Realloc = unsafe extern "C" fn(*mut c_void, size_t) -> *mut c_void;
    // SAFETY: as in `free`.
    next(c"realloc")
        .map(|realloc| unsafe { transmute::<*const c_void, Realloc>(realloc)(chunk, size) })
}

/// The bytes that a program may use of a chunk of the C library's.
#[cold]
pub(crate) fn usable_size(chunk: *mut c_void) -> Option<size_t> {
    type UsableSize = unsafe extern "C" fn(*mut c_void) -> size_t;
    // SAFETY: as in `free`.
    next(c"malloc_usable_size")
        .map(|size| unsafe { transmute::<*const c_void, UsableSize>(size)(chunk) })
}

/// The definition of a symbol behind the one in here.
pub(crate) fn next(name: &CStr) -> Option<*const c_void> {
    // SAFETY: the name ends with a zero byte.
    let found = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) };
    (!found.is_null()).then_some(found.cast_const())
}
