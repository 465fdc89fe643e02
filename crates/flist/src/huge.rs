//! Huge pages for the largest extents.
//!
//! Most of the time of filling fresh memory goes into page faults, one for every 4 KiB. Where
//! the system gives huge pages to those who ask, an extent of more than [`LARGEST_KEPT`]
//! bytes asks, for every whole huge page within what it is charged for, as it grows. So no
//! more than its charge becomes resident.
//!
//! ```text
//! start                                                   charged
//!   │    ┊ huge page ┊ huge page ┊ … ┊ huge page ┊         │
//!        └──────────────── advised ──────────────┘
//! ```
//!
//! Such extents go back to the system when they end, and with them the advice: what the
//! addresses serve next may be a small arena's.

use crate::extent::LARGEST_KEPT;
use crate::os;

const HUGE_PAGE: usize = 2 << 20;

/// Asks for huge pages from byte `from` on, up to byte `to`, of an extent at `start`, or
/// withdraws it; nothing for an extent whose `to` bytes are too few.
///
/// # Safety
///
/// The extent is the caller's.
pub(crate) unsafe fn advise(start: *mut u8, from: usize, to: usize, huge: bool) {
    if to > LARGEST_KEPT {
        // SAFETY: passed on.
        unsafe { advise_within(start, from, to, huge) };
    }
}

/// The same for an extent of any size: who asks uses all of it.
///
/// # Safety
///
/// As [`advise`].
pub(crate) unsafe fn advise_within(start: *mut u8, from: usize, to: usize, huge: bool) {
    let first = start.addr().next_multiple_of(HUGE_PAGE);
    let begin = first.max((start.addr() + from) & !(HUGE_PAGE - 1));
    let end = (start.addr() + to) & !(HUGE_PAGE - 1);
    if begin < end {
        // SAFETY: within the extent.
        unsafe { os::advise_huge(start.with_addr(begin), end - begin, huge) };
    }
}
