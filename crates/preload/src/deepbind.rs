//! `dlopen` without `RTLD_DEEPBIND`.
//!
//! A library that is opened with that flag looks for its symbols in what it is linked with before
//! it looks in here, and finds the C library's `free`. Chunks of this heap that it is given to
//! free then end in the C library, which knows nothing of them: php opens its extensions so, and
//! crashes under whatever allocator is preloaded. So the flag is taken off, unless
//! `MALLOCER=deepbind=1` says that it stays.
//!
//! ```text
//! dlopen(file, flags) ──▶ flags ∧ kept ──jump──▶ the C library's dlopen
//! ```
//!
//! It jumps and does not call, since `dlopen` looks at its return address: it searches the
//! folders of whoever calls it.

use core::arch::naked_asm;
use core::ffi::{c_char, c_int, c_void};
use core::ptr;
use core::sync::atomic::{AtomicI32, AtomicPtr, Ordering::Relaxed};

use crate::foreign::next;

/// The flags that are passed on.
static KEPT: AtomicI32 = AtomicI32::new(!libc::RTLD_DEEPBIND);

/// The C library's own; null until it was looked for.
static NEXT: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

/// Leaves the flag where it is.
pub(crate) fn keep() {
    KEPT.store(!0, Relaxed);
}

/// Opens a library as the C library does, without `RTLD_DEEPBIND`.
///
/// # Safety
///
/// As the C library's `dlopen`.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn dlopen(file: *const c_char, flags: c_int) -> *mut c_void {
    // Both arguments are kept across the one call, with the stack at a multiple of 16 bytes.
    naked_asm!(
        "mov rax, [rip + {next}]",
        "test rax, rax",
        "jne 2f",
        "push rdi",
        "push rsi",
        "sub rsp, 8",
        "call {find}",
        "add rsp, 8",
        "pop rsi",
        "pop rdi",
        "2:",
        "and esi, [rip + {kept}]",
        "jmp rax",
        next = sym NEXT,
        find = sym find,
        kept = sym KEPT,
    )
}

/// Looks for the C library's own.
#[cold]
extern "C" fn find() -> *const c_void {
    match next(c"dlopen") {
        Some(found) => {
            NEXT.store(found.cast_mut(), Relaxed);
            found
        }
        None => (nothing as extern "C" fn(*const c_char, c_int) -> *mut c_void) as *const c_void,
    }
}

/// Where there is none, nothing can be opened.
extern "C" fn nothing(_: *const c_char, _: c_int) -> *mut c_void {
    ptr::null_mut()
}
