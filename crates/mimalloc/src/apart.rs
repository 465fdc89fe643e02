//! The chunks outside of the size classes, by address.
//!
//! `mi_heap_destroy` of mimalloc 3.3.2 walks the pages that lie in its arenas. A chunk that
//! is larger than those hold, or aligned further than their slices, is mapped on its own,
//! and would stay mapped. So chunks above the largest class, and all that are aligned
//! beyond a slice, are listed here, to be freed one by one before a heap is destroyed. The
//! list costs a lock and a look-up for chunks of half a megabyte and more.
//!
//! Chunks that have an odd size because of their alignment are listed too, for the
//! statistics.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Chunks aligned further than this, in bytes, may be mapped on their own.
pub(crate) const SLICE: usize = 64 << 10;

/// The chunks outside of the size classes.
#[derive(Default)]
pub(crate) struct Apart(Mutex<BTreeMap<usize, usize>>);

impl Apart {
    #[cold]
    pub(crate) fn insert(&self, address: usize, bytes: usize) {
        self.lock().insert(address, bytes);
    }

    /// Whether the chunk was listed; then it is no more.
    #[cold]
    pub(crate) fn remove(&self, address: usize) -> bool {
        self.lock().remove(&address).is_some()
    }

    /// Empties the list, and returns the addresses that were in it.
    pub(crate) fn take(&self) -> impl Iterator<Item = usize> {
        std::mem::take(&mut *self.lock()).into_keys()
    }

    /// How many chunks there are of each size.
    pub(crate) fn counts(&self) -> BTreeMap<usize, usize> {
        let mut counts = BTreeMap::new();
        for &bytes in self.lock().values() {
            *counts.entry(bytes).or_insert(0) += 1;
        }
        counts
    }

    /// Bytes of the list, about.
    pub(crate) fn overhead(&self) -> usize {
        self.lock().len() * 2 * size_of::<(usize, usize)>()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<usize, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
