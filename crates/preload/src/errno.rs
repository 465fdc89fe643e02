//! How a call says why there is no memory.

use core::ptr;

/// Sets `errno`.
#[cold]
pub(crate) fn set(code: i32) {
    // SAFETY: the address is that of the calling thread's own variable.
    unsafe { *libc::__errno_location() = code };
}

/// What an allocation that failed returns: null, with `errno` set to `code`.
#[cold]
pub(crate) fn fail<T>(code: i32) -> *mut T {
    set(code);
    ptr::null_mut()
}
