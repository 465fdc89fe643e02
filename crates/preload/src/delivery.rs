//! Where a report goes when its time has come.
//!
//! A file is opened for each report, so that a process that has forked writes to one of
//! its own. Standard error may be closed by then (programs do so on their way out), so a
//! copy of it is kept, if it is what reports go to.

use core::cell::UnsafeCell;
use core::ffi::{c_char, c_int};
use core::sync::atomic::{AtomicI32, Ordering::Relaxed};

use crate::output::say;

/// The longest name of a file, with the process's number in it.
const MOST: usize = 512;
/// The least number of the kept copy: programs count on the low ones.
const LEAST_COPY: c_int = 200;

/// Where standard error is, or a copy of it.
static STDERR: AtomicI32 = AtomicI32::new(libc::STDERR_FILENO);

/// The name of the file, as the options say it.
static PATH: Path = Path(UnsafeCell::new(([0; MOST], 0)));

struct Path(UnsafeCell<([u8; MOST], usize)>);

// SAFETY: written once, before any report is asked for.
unsafe impl Sync for Path {}

/// Says where reports go: the file at `path`, or standard error if that is empty.
///
/// # Safety
///
/// Called once, and no report is delivered meanwhile.
pub(crate) unsafe fn aim(path: &[u8]) {
    // SAFETY: the caller's promise.
    let (name, len) = unsafe { &mut *PATH.0.get() };
    *len = path.len().min(MOST);
    name[..*len].copy_from_slice(&path[..*len]);
    if path.is_empty() {
        // SAFETY: the call has no conditions.
        let copy = unsafe { libc::fcntl(libc::STDERR_FILENO, libc::F_DUPFD_CLOEXEC, LEAST_COPY) };
        if copy >= 0 {
            STDERR.store(copy, Relaxed);
        }
    }
}

/// Calls `write` with a descriptor of where reports go.
pub(crate) fn to_aim(write: impl FnOnce(c_int)) {
    // SAFETY: written before any report was asked for.
    let (path, len) = unsafe { &*PATH.0.get() };
    let path = &path[..*len];
    if path.is_empty() {
        return write(STDERR.load(Relaxed));
    }
    let name = expanded(path);
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND | libc::O_CLOEXEC;
    // SAFETY: the name ends with a zero byte, and the descriptor is this function's.
    unsafe {
        let file = libc::open(name.as_ptr().cast::<c_char>(), flags, 0o644);
        if file < 0 {
            let path = core::str::from_utf8(path).unwrap_or("?");
            say(format_args!("mallocer: MALLOCER: file={path} cannot be written\n"));
            return;
        }
        write(file);
        libc::close(file);
    }
}

/// The path with the process's number in place of each `%p`, and a zero byte at its end.
fn expanded(path: &[u8]) -> [u8; MOST] {
    // SAFETY: the call has no conditions.
    let process = unsafe { libc::getpid() };
    let mut name = [0; MOST];
    let mut room = name[..MOST - 1].iter_mut();
    let mut rest = path;
    while let Some((&byte, after)) = rest.split_first() {
        if rest.starts_with(b"%p") {
            let digits = process.max(1).ilog10();
            for digit in (0..=digits).rev() {
                if let Some(place) = room.next() {
                    *place = b'0' + (process / 10_i32.pow(digit) % 10) as u8;
                }
            }
            rest = &rest[2..];
        } else {
            if let Some(place) = room.next() {
                *place = byte;
            }
            rest = after;
        }
    }
    name
}
