//! The four things asked of the operating system: reserve, commit, decommit, and
//! the time.
//!
//! Where the system overcommits (the default on Linux), reserved memory may be read and
//! written without anything being counted, and is backed by a page when it is first touched,
//! so commit only opens what was closed, and decommit closes nothing. Where it does not
//! (`vm.overcommit_memory = 2`, or a limit on data), such a mapping is refused; then addresses
//! are reserved without access, and commit and decommit change that: the *strict* mode.

use core::ffi::CStr;
use core::ptr::{self, NonNull};

/// A reserved range of addresses.
pub(crate) struct Reserved {
    pub(crate) start: NonNull<u8>,
    /// Whether memory must be committed before it is touched.
    pub(crate) strict: bool,
}

/// Reserves `bytes` of address space, or nothing if the system refuses.
pub(crate) fn reserve(bytes: usize) -> Option<Reserved> {
    if let Some(start) = map(bytes, libc::PROT_READ | libc::PROT_WRITE) {
        return Some(Reserved { start, strict: false });
    }
    let start = map(bytes, libc::PROT_NONE)?;
    Some(Reserved { start, strict: true })
}

fn map(bytes: usize, protection: i32) -> Option<NonNull<u8>> {
    if refused() {
        return None;
    }
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a fresh anonymous mapping at an address of the system's choice touches
    // no memory that exists.
    let start = unsafe { libc::mmap(ptr::null_mut(), bytes, protection, flags, -1, 0) };
    if start == libc::MAP_FAILED { None } else { NonNull::new(start.cast()) }
}

/// Gives a reserved range back altogether.
///
/// # Safety
///
/// The range was reserved here, and nothing refers to it any more.
pub(crate) unsafe fn unreserve(start: *mut u8, bytes: usize) {
    // SAFETY: the caller gives up the range. A failure leaves addresses reserved,
    // which costs nothing else.
    unsafe { libc::munmap(start.cast(), bytes) };
}

/// Makes a reserved range usable, which was closed or not yet committed; `false` if the system
/// refuses.
///
/// # Safety
///
/// The range lies within a reservation.
pub(crate) unsafe fn commit(start: *mut u8, bytes: usize) -> bool {
    if refused() {
        return false;
    }
    // SAFETY: the range is ours, and gains access only.
    unsafe { libc::mprotect(start.cast(), bytes, libc::PROT_READ | libc::PROT_WRITE) == 0 }
}

/// Takes all access to a part of a lazy reservation away, until it is committed; `false` if the
/// system refuses.
///
/// # Safety
///
/// The part lies within a reservation and is not used.
pub(crate) unsafe fn close(start: *mut u8, bytes: usize) -> bool {
    // SAFETY: the caller's promise.
    !refused() && unsafe { libc::mprotect(start.cast(), bytes, libc::PROT_NONE) == 0 }
}

/// Gives the contents of a range back and keeps its addresses. Afterwards it reads
/// as zero (in strict mode, once it is committed again). `false` if the system
/// refuses; then contents and pages are as they were.
///
/// # Safety
///
/// The range lies within a reservation and holds nothing that is in use.
pub(crate) unsafe fn decommit(start: *mut u8, bytes: usize, strict: bool) -> bool {
    if refused() {
        return false;
    }
    if strict {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED;
        // SAFETY: the new mapping replaces pages of our reservation that hold nothing.
        let mapped = unsafe { libc::mmap(start.cast(), bytes, libc::PROT_NONE, flags, -1, 0) };
        return mapped != libc::MAP_FAILED;
    }
    // SAFETY: the range is ours and holds nothing that is in use.
    unsafe { libc::madvise(start.cast(), bytes, libc::MADV_DONTNEED) == 0 }
}

/// Moves the pages of a range to another one, whose own go away; the old one reads as
/// zero then. `false` if the system cannot (Linux before 5.7); then nothing has changed.
///
/// # Safety
///
/// Both ranges are whole OS pages within one reservation, committed, and do not overlap;
/// what the new one holds is not in use.
pub(crate) unsafe fn remap(from: *mut u8, bytes: usize, to: *mut u8) -> bool {
    if refused() {
        return false;
    }
    let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED | libc::MREMAP_DONTUNMAP;
    // SAFETY: the caller's promise: the range that is replaced is ours.
    let moved =
        unsafe { libc::mremap(from.cast(), bytes, bytes, flags, to.cast::<libc::c_void>()) };
    moved != libc::MAP_FAILED
}

/// Backs a range with pages now, in one call instead of a fault for each page. Where
/// the system cannot (Linux before 5.14), they come with the first touch, as ever.
///
/// # Safety
///
/// The range lies within a reservation and is committed.
pub(crate) unsafe fn populate(start: *mut u8, bytes: usize) {
    if refused() {
        return;
    }
    // SAFETY: the range is ours; contents do not change.
    unsafe { libc::madvise(start.cast(), bytes, libc::MADV_POPULATE_WRITE) };
}

/// Asks for huge pages in a range, wherever it is touched, or forbids them.
///
/// # Safety
///
/// The range lies within a reservation.
pub(crate) unsafe fn advise_huge(start: *mut u8, bytes: usize, huge: bool) {
    if refused() {
        return;
    }
    let advice = if huge { libc::MADV_HUGEPAGE } else { libc::MADV_NOHUGEPAGE };
    // SAFETY: the range is ours; contents do not change.
    unsafe { libc::madvise(start.cast(), bytes, advice) };
}

/// Whether the system gives huge pages to those who ask for them. It may change its mind: then
/// what was asked for is backed by OS pages.
pub(crate) fn gives_huge_pages() -> bool {
    const CHOICE: &CStr = c"/sys/kernel/mm/transparent_hugepage/enabled";
    const NOBODY: &[u8] = b"[never]";
    let mut text = [0_u8; 64];
    // SAFETY: the calls read a name that ends in a zero byte, and write to `text` only.
    let got = unsafe {
        if refused() || libc::prctl(libc::PR_GET_THP_DISABLE, 0, 0, 0, 0) != 0 {
            return false;
        }
        let file = libc::open(CHOICE.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        if file < 0 {
            return false;
        }
        let got = libc::read(file, text.as_mut_ptr().cast(), text.len());
        libc::close(file);
        got
    };
    got > 0 && !text.windows(NOBODY.len()).any(|word| word == NOBODY)
}

/// Bytes of address space that the process may have.
pub(crate) fn address_limit() -> usize {
    let mut limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: 0 };
    // SAFETY: the call writes to `limit` only.
    unsafe { libc::getrlimit(libc::RLIMIT_AS, &mut limit) };
    usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX)
}

/// Bytes of memory that the machine has.
pub(crate) fn memory() -> usize {
    // SAFETY: the calls have no conditions.
    let (pages, bytes) =
        unsafe { (libc::sysconf(libc::_SC_PHYS_PAGES), libc::sysconf(libc::_SC_PAGESIZE)) };
    usize::try_from(pages).unwrap_or(0).saturating_mul(usize::try_from(bytes).unwrap_or(0))
}

/// Reserves `bytes` of address space that cannot be accessed.
pub(crate) fn reserve_inaccessible(bytes: usize) -> Option<NonNull<u8>> {
    map(bytes, libc::PROT_NONE)
}

/// Takes all access to a range away; where the system refuses, it stays.
///
/// # Safety
///
/// The range is whole OS pages within a reservation, and is not used.
pub(crate) unsafe fn forbid(start: *mut u8, bytes: usize) {
    // SAFETY: the caller's promise.
    unsafe { libc::mprotect(start.cast(), bytes, libc::PROT_NONE) };
}

/// Gives access to a range again; `false` if the system refuses, as it may under a limit on
/// data, which does not count what cannot be accessed.
///
/// # Safety
///
/// The range is whole OS pages within a reservation, and committed.
pub(crate) unsafe fn permit(start: *mut u8, bytes: usize) -> bool {
    // SAFETY: the caller's promise.
    unsafe { libc::mprotect(start.cast(), bytes, libc::PROT_READ | libc::PROT_WRITE) == 0 }
}

/// Gives the contents of a range back: it reads as zero.
///
/// # Safety
///
/// The range is whole OS pages within a reservation, and is not used.
pub(crate) unsafe fn discard(start: *mut u8, bytes: usize) {
    // SAFETY: the caller's promise.
    unsafe { libc::madvise(start.cast(), bytes, libc::MADV_DONTNEED) };
}

/// Makes a range zero, without backing what was never touched.
///
/// # Safety
///
/// The range lies within a reservation, is committed, and is the caller's.
pub(crate) unsafe fn zero_touched(start: *mut u8, bytes: usize) {
    const PAGE: usize = 4096;
    const AT_ONCE: usize = 256;
    let mut pages = [0u8; AT_ONCE];
    let end = start.addr() + bytes;
    let mut at = start.addr() & !(PAGE - 1);
    while at < end {
        let some = (end - at).div_ceil(PAGE).min(AT_ONCE);
        // SAFETY: the call looks at pages of the reservation, of which there are `some`;
        // what is written is within the range.
        unsafe {
            let page = start.with_addr(at);
            if libc::mincore(page.cast(), some * PAGE, pages.as_mut_ptr()) != 0 {
                pages[..some].fill(1);
            }
            for (nth, _) in pages[..some].iter().enumerate().filter(|(_, page)| **page & 1 != 0) {
                let low = (at + nth * PAGE).max(start.addr());
                let high = (at + (nth + 1) * PAGE).min(end);
                start.with_addr(low).write_bytes(0, high - low);
            }
        }
        at += some * PAGE;
    }
}

/// The calling thread's `errno`.
pub(crate) fn errno() -> i32 {
    // SAFETY: the address is that of the thread's own variable.
    unsafe { *libc::__errno_location() }
}

/// Sets the calling thread's `errno`.
pub(crate) fn set_errno(code: i32) {
    // SAFETY: as in `errno`.
    unsafe { *libc::__errno_location() = code };
}

/// Lets another thread run.
pub(crate) fn give_way() {
    // SAFETY: the call has no conditions.
    unsafe { libc::sched_yield() };
}

/// Milliseconds of a clock that never goes back, precise to a few.
pub(crate) fn now_ms() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes to `time` only. The clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &mut time) };
    time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000
}

/// A number that nobody outside of the process can know.
pub(crate) fn random() -> u64 {
    let mut number = 0u64;
    // SAFETY: the call writes at most the eight bytes of `number`.
    let got = unsafe {
        let bytes = ptr::from_mut(&mut number).cast();
        libc::getrandom(bytes, size_of::<u64>(), libc::GRND_NONBLOCK)
    };
    if got == size_of::<u64>() as isize {
        return number;
    }
    // An old kernel, or one that just booted: where the stack is and when this is.
    (ptr::from_ref(&number).addr() as u64 ^ now_ms()).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(not(test))]
#[inline(always)]
fn refused() -> bool {
    false
}

#[cfg(test)]
use faults::refused;

/// Tests let the system refuse the n-th call of their thread.
#[cfg(test)]
pub(crate) mod faults {
    extern crate std;
    use std::cell::Cell;
    use std::thread_local;

    thread_local! {
        static CALLS_LEFT: Cell<Option<u32>> = const { Cell::new(None) };
        static REFUSED: Cell<u32> = const { Cell::new(0) };
    }

    /// Counts a call, and says whether it is to fail.
    pub(crate) fn refused() -> bool {
        match CALLS_LEFT.get() {
            None => false,
            Some(0) => {
                REFUSED.set(REFUSED.get() + 1);
                true
            }
            Some(left) => {
                CALLS_LEFT.set(Some(left - 1));
                false
            }
        }
    }

    /// Runs `work` with every call refused after the first `calls`; returns what it
    /// returns, and how many calls were refused.
    pub(crate) fn refusing_after<T>(calls: u32, work: impl FnOnce() -> T) -> (T, u32) {
        CALLS_LEFT.set(Some(calls));
        REFUSED.set(0);
        let result = work();
        CALLS_LEFT.set(None);
        (result, REFUSED.get())
    }
}
