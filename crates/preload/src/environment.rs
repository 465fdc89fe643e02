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

/// Calls `read` with what the variable holds; with nothing if there is none, or if the
/// program runs with more rights than whoever started it, who must not steer it then.
pub(crate) fn with_variable<T>(read: impl FnOnce(&[u8]) -> T) -> T {
    // SAFETY: the call has no conditions.
    if unsafe { libc::getauxval(libc::AT_SECURE) } != 0 {
        return read(b"");
    }
    // SAFETY: a word of the C library's, null as long as it has no environment.
    if unsafe { ptr::addr_of!(environ).read().is_null() } {
        let mut room = [0; MOST];
        let text = from_kernel(&mut room);
        return read(text);
    }
    // SAFETY: there is an environment, and nobody changes it this early; a variable in it
    // ends with a zero byte.
    unsafe {
        let value = libc::getenv(c"MALLOCER".as_ptr());
        read(if value.is_null() { b"" } else { CStr::from_ptr(value).to_bytes() })
    }
}

/// What the variable held when the process started, as far as `room` reaches.
fn from_kernel(room: &mut [u8; MOST]) -> &[u8] {
    // Bytes at the front that are still of interest: the beginning of a variable.
    let mut len = 0;
    // SAFETY: the name ends with a zero byte, the room is as long as said, and the
    // descriptor is this function's.
    unsafe {
        let file = libc::open(c"/proc/self/environ".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        if file < 0 {
            return b"";
        }
        loop {
            let rest = &mut room[len..];
            let got = libc::read(file, rest.as_mut_ptr().cast(), rest.len());
            let end = len + usize::try_from(got).unwrap_or(0);
            if let Some(value) = find(&room[..end]) {
                libc::close(file);
                return &room[value.0..value.1];
            }
            // Variables that are whole have been looked at.
            let start = room[..end].iter().rposition(|&byte| byte == 0).map_or(0, |zero| zero + 1);
            room.copy_within(start..end, 0);
            len = end - start;
            // One that fills the room is not of interest.
            if len == MOST {
                len = 0;
            }
            if got <= 0 {
                libc::close(file);
                return b"";
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
