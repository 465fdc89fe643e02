//! The environment variable `MALLOCER`, read early.
//!
//! The first allocation of a process may come from the loader, before the C library has
//! put the environment where `getenv` looks for it. Then the kernel is asked.

use core::ffi::{CStr, c_char};
use core::ptr;

/// The longest text that is read from the kernel.
const MOST: usize = 8192;

unsafe extern "C" {
    static environ: *const *const c_char;
}

/// Calls `read` with what the variable holds, if that is anything; not if the program runs with
/// more rights than whoever started it, who must not steer it then.
pub(crate) fn with_variable(read: &mut dyn FnMut(&[u8])) {
    // SAFETY: the call has no conditions.
    if unsafe { libc::getauxval(libc::AT_SECURE) } != 0 {
        return;
    }
    // SAFETY: a word of the C library's, null as long as it has no environment.
    if unsafe { ptr::addr_of!(environ).read().is_null() } {
        return with_kernels(read);
    }
    // SAFETY: there is an environment, and nobody changes it this early; a variable in it
    // ends with a zero byte.
    unsafe {
        let value = libc::getenv(c"MALLOCER".as_ptr());
        if !value.is_null() && *value != 0 {
            read(CStr::from_ptr(value).to_bytes());
        }
    }
}

/// The same with what the kernel has. Two OS pages of the stack are for this alone.
#[cold]
#[inline(never)]
fn with_kernels(read: &mut dyn FnMut(&[u8])) {
    let mut room = [0; MOST];
    if let Some((start, end)) = from_kernel(&mut room) {
        read(&room[start..end]);
    }
}

/// Where the room has what the variable held when the process started, as far as it reaches.
fn from_kernel(room: &mut [u8; MOST]) -> Option<(usize, usize)> {
    // Bytes at the front that are still of interest: the beginning of a variable.
    let mut len = 0;
    // SAFETY: the name ends with a zero byte, the room is as long as said, and the
    // descriptor is this function's.
    unsafe {
        let file = libc::open(c"/proc/self/environ".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        if file < 0 {
            return None;
        }
        loop {
            let rest = &mut room[len..];
            let got = libc::read(file, rest.as_mut_ptr().cast(), rest.len());
            let end = len + usize::try_from(got).unwrap_or(0);
            let found = find(&room[..end]);
            if found.is_some() || got <= 0 {
                libc::close(file);
                return found;
            }
            // Variables that are whole have been looked at.
            let start = room[..end].iter().rposition(|&byte| byte == 0).map_or(0, |zero| zero + 1);
            room.copy_within(start..end, 0);
            len = end - start;
            // One that fills the room is not of interest.
            if len == MOST {
                len = 0;
            }
        }
    }
}

/// Where the value of the variable is among whole variables.
fn find(environment: &[u8]) -> Option<(usize, usize)> {
    let mut at = 0;
    while let Some(length) = environment[at..].iter().position(|&byte| byte == 0) {
        if let Some(value) = environment[at..at + length].strip_prefix(b"MALLOCER=") {
            return Some((at + length - value.len(), at + length));
        }
        at += length + 1;
    }
    None
}
