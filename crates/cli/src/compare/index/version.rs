//! Versions: values that are replaced while somebody may still read the old one.
//!
//! In a store with multi-version concurrency a replaced value cannot be freed at
//! once: readers that began earlier hold it. Here a superseded version goes
//!
//! ```text
//! record ──▶ batch of 64 ──▶ mailbox of the next worker ──▶ its ring ──▶ freed
//! ```
//!
//! and leaves the ring when as many younger ones have come after it as the ring has
//! places. So a version outlives its replacement by thousands of operations, and
//! with several workers it is freed by another thread than the one that allocated
//! it. With one worker, the next one is that worker itself.
//!
//! The links of a batch are in the versions, the ring is a chunk, and a mailbox is
//! one word: a stack that is pushed a batch at a time and taken whole, so it has no
//! ABA problem and never blocks.

use std::alloc::Layout;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

use mallocer_core::AllocError;

use super::memory::Memory;

/// How many superseded versions are handed over at a time.
const BATCH: u32 = 64;

/// The first part of a version; its text follows.
#[repr(C)]
struct Header {
    /// The version superseded before this one, in the same batch or mailbox.
    next: Option<Version>,
    /// Bytes of text.
    len: u32,
}

/// A value in the arena. A handle: copying it copies no bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version(NonNull<Header>);

/// Where the text of a version begins.
const TEXT: usize = size_of::<Header>();

impl Version {
    /// Copies `text` into a chunk.
    pub(super) fn copy_of(text: &[u8], memory: &impl Memory) -> Result<Version, AllocError> {
        let chunk = memory.alloc(Version::layout(text.len()))?;
        // SAFETY: the chunk is aligned for the header and has room for it and the text.
        unsafe {
            chunk.cast().write(Header { next: None, len: text.len() as u32 });
            chunk.add(TEXT).copy_from_nonoverlapping(NonNull::from(text).cast(), text.len());
        }
        Ok(Version(chunk.cast()))
    }

    /// The text of the version.
    ///
    /// # Safety
    ///
    /// The version is not freed before the last use of the slice.
    pub(super) unsafe fn text<'v>(self) -> &'v [u8] {
        // SAFETY: live by the caller's promise, and written whole by `copy_of`.
        unsafe {
            let len = self.0.as_ref().len as usize;
            NonNull::slice_from_raw_parts(self.0.cast::<u8>().add(TEXT), len).as_ref()
        }
    }

    /// Frees the version, whose size the arena is not told: it may come from anywhere.
    ///
    /// # Safety
    ///
    /// The version comes from the arena of `memory` and is not used afterwards.
    unsafe fn free(self, memory: &impl Memory) {
        // SAFETY: the caller's promise; the layout is that of `copy_of`.
        unsafe { memory.free(self.0.cast(), Version::layout(self.0.as_ref().len as usize)) }
    }

    fn layout(len: usize) -> Layout {
        Layout::from_size_align(TEXT + len, align_of::<Header>()).expect("texts are short")
    }
}

/// Superseded versions on their way, linked through their headers.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// The youngest and the oldest.
    ends: Option<(Version, Version)>,
    count: u32,
}

impl Batch {
    /// Puts a version in front.
    pub(super) fn push(&mut self, mut version: Version) {
        // SAFETY: a superseded version is live and nobody else's.
        unsafe { version.0.as_mut().next = self.ends.map(|(youngest, _)| youngest) };
        self.ends = Some((version, self.ends.map_or(version, |(_, oldest)| oldest)));
        self.count += 1;
    }

    /// Whether it is time to hand the batch over.
    pub(super) fn is_due(&self) -> bool {
        self.count >= BATCH
    }
}

/// Where a worker finds the versions that another has superseded.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    youngest: AtomicPtr<Header>,
}

impl Mailbox {
    /// Puts a batch in and leaves it empty.
    pub(super) fn post(&self, batch: &mut Batch) {
        batch.count = 0;
        let Some((youngest, mut oldest)) = batch.ends.take() else { return };
        let mut before = self.youngest.load(Relaxed);
        loop {
            // SAFETY: until the exchange succeeds, the batch is the caller's alone.
            unsafe { oldest.0.as_mut().next = NonNull::new(before).map(Version) };
            // Release: whoever takes the batch sees its links and texts.
            let posted =
                self.youngest.compare_exchange_weak(before, youngest.0.as_ptr(), Release, Relaxed);
            match posted {
                Ok(_) => return,
                Err(now) => before = now,
            }
        }
    }

    /// Takes all that is in.
    fn take(&self) -> Option<Version> {
        if self.youngest.load(Relaxed).is_null() {
            return None;
        }
        // Acquire: pairs with the release in `post`.
        NonNull::new(self.youngest.swap(ptr::null_mut(), Acquire)).map(Version)
    }
}

/// Versions that are still held: a ring in a chunk of the arena.
#[derive(Debug)]
pub(super) struct Held {
    ring: NonNull<Option<Version>>,
    places: usize,
    /// The place that is filled next, and if it is taken holds the oldest.
    next: usize,
}

impl Held {
    /// An empty ring of `places`.
    pub(super) fn new(places: usize, memory: &impl Memory) -> Result<Held, AllocError> {
        assert!(places > 0, "a ring has places");
        let layout = Layout::array::<Option<Version>>(places).expect("a small ring");
        let ring = memory.alloc(layout)?.cast::<Option<Version>>();
        for place in 0..places {
            // SAFETY: the chunk has room for `places` elements.
            unsafe { ring.add(place).write(None) };
        }
        Ok(Held { ring, places, next: 0 })
    }

    /// Takes what is in the mailbox, and frees as many of the oldest as it takes the
    /// places of.
    pub(super) fn collect(&mut self, mailbox: &Mailbox, memory: &impl Memory) {
        let mut taken = mailbox.take();
        while let Some(version) = taken {
            // SAFETY: what was taken is this worker's alone; a version that leaves the
            // ring is reached no more.
            unsafe {
                taken = version.0.as_ref().next;
                let place = self.ring.add(self.next);
                if let Some(oldest) = place.replace(Some(version)) {
                    oldest.free(memory);
                }
            }
            self.next = if self.next + 1 == self.places { 0 } else { self.next + 1 };
        }
    }

    /// How many versions the ring holds.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        // SAFETY: every place is written by `new`.
        (0..self.places).filter(|&place| unsafe { self.ring.add(place).read() }.is_some()).count()
    }
}
