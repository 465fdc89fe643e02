//! What a program may ask and tell the allocator beside memory.

use libc::{c_int, size_t};

use crate::heap::HEAP;
use crate::report;

/// Statistics as glibc's `mallinfo2` has them, with what they mean here.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct MallInfo<T> {
    /// Bytes taken for pools and extents: heap.
    arena: T,
    /// Chunks that are free, of pools.
    ordblks: T,
    /// Always 0.
    smblks: T,
    /// Extents in use.
    hblks: T,
    /// Bytes in them; also counted in `arena`.
    hblkhd: T,
    /// Always 0.
    usmblks: T,
    /// Always 0.
    fsmblks: T,
    /// Bytes that the program holds: alloc.
    uordblks: T,
    /// Bytes that it does not: heap − alloc.
    fordblks: T,
    /// Always 0.
    keepcost: T,
}

/// What the heap is and has, as [`MallInfo`].
#[unsafe(no_mangle)]
extern "C" fn mallinfo2() -> MallInfo<size_t> {
    let info = HEAP.info();
    MallInfo {
        arena: info.heap,
        uordblks: info.alloc,
        fordblks: info.heap.saturating_sub(info.alloc),
        ..MallInfo::default()
    }
}

/// The same in too few bits, each figure as large as fits.
#[unsafe(no_mangle)]
extern "C" fn mallinfo() -> MallInfo<c_int> {
    let info = mallinfo2();
    let fit = |figure| c_int::try_from(figure).unwrap_or(c_int::MAX);
    MallInfo {
        arena: fit(info.arena),
        ordblks: fit(info.ordblks),
        hblks: fit(info.hblks),
        hblkhd: fit(info.hblkhd),
        uordblks: fit(info.uordblks),
        fordblks: fit(info.fordblks),
        ..MallInfo::default()
    }
}

/// Writes to standard error what the heap is and has, and how each slab is used.
#[unsafe(no_mangle)]
extern "C" fn malloc_stats() {
    report::write(libc::STDERR_FILENO, false);
}

/// Gives empty memory back to the system; 1 if there was any. What is kept on top is not
/// for the program to say, so `pad` is not looked at.
#[unsafe(no_mangle)]
extern "C" fn malloc_trim(_pad: size_t) -> c_int {
    c_int::from(HEAP.purge() > 0)
}

/// Declines: none of glibc's settings has a meaning here.
#[unsafe(no_mangle)]
extern "C" fn mallopt(_parameter: c_int, _value: c_int) -> c_int {
    0
}
