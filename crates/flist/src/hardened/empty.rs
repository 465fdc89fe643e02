//! Chunks of no bytes.
//!
//! They are addresses in a range of which no byte can be read or written, 16 apart, so each
//! is unique and a use of it is a fault. A map beside the range has a bit for each:
//!
//! ```text
//! map     │ 1 0 1 1 0 …                       one bit: is it handed out?
//! range   │    │    │    │    │ …             16 bytes each, no access
//! ```
//!
//! They are handed out in a circle, so an address that was freed comes back late.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use mallocer_core::MisuseKind;

use super::map_zeroed;
use crate::os;

/// The alignment of an empty chunk.
pub(super) const ALIGN: usize = 16;
/// How many there may be at once.
const COUNT: usize = 1 << 20;
const WORD: usize = u64::BITS as usize;

pub(super) struct Empty {
    range: NonNull<u8>,
    map: &'static Map,
    /// The one to try next.
    next: AtomicUsize,
}

struct Map([AtomicU64; COUNT / WORD]);

// SAFETY: the range is never touched, and the map is atomic.
unsafe impl Sync for Empty {}
// SAFETY: as above.
unsafe impl Send for Empty {}

impl Empty {
    pub(super) fn new() -> Option<Empty> {
        let map = map_zeroed::<Map>()?;
        let range = os::reserve_inaccessible(COUNT * ALIGN)?;
        // SAFETY: mapped for good, and all zero is a valid map.
        let map = unsafe { map.as_ref() };
        Some(Empty { range, map, next: AtomicUsize::new(os::random() as usize % COUNT) })
    }

    /// A chunk of no bytes; `None` if a million of them are handed out.
    pub(super) fn take(&self) -> Option<NonNull<[u8]>> {
        for _ in 0..COUNT {
            let at = self.next.fetch_add(1, Relaxed) % COUNT;
            let bit = 1 << (at % WORD);
            if self.map.0[at / WORD].fetch_or(bit, Relaxed) & bit == 0 {
                // SAFETY: within the range.
                let start = unsafe { self.range.add(at * ALIGN) };
                return Some(NonNull::slice_from_raw_parts(start, 0));
            }
        }
        None
    }

    pub(super) fn may_hold(&self, address: usize) -> bool {
        address.wrapping_sub(self.range.addr().get()) < COUNT * ALIGN
    }

    /// Whether the chunk at `address`, which is in the range, is handed out.
    pub(super) fn check(&self, address: usize) -> Result<(), MisuseKind> {
        let (word, bit) = self.place(address)?;
        let live = word.load(Relaxed) & bit != 0;
        live.then_some(()).ok_or(MisuseKind::DoubleFree)
    }

    /// Takes the chunk at `address`, which is in the range, back. `layout` is what a sized
    /// free was given.
    pub(super) fn give(
        &self,
        address: usize,
        layout: Option<(usize, usize)>,
    ) -> Result<(), MisuseKind> {
        let (word, bit) = self.place(address)?;
        if layout.is_some_and(|(size, _)| size != 0) {
            return Err(MisuseKind::WrongSize);
        }
        let was_live = word.fetch_and(!bit, Relaxed) & bit != 0;
        was_live.then_some(()).ok_or(MisuseKind::DoubleFree)
    }

    fn place(&self, address: usize) -> Result<(&AtomicU64, u64), MisuseKind> {
        let offset = address - self.range.addr().get();
        if !offset.is_multiple_of(ALIGN) {
            return Err(MisuseKind::Interior);
        }
        let at = offset / ALIGN;
        Ok((&self.map.0[at / WORD], 1 << (at % WORD)))
    }
}
