//! The chunks above the last size class, counted.
//!
//! Up to 32 KiB, jemalloc 5.3.1 rounds to its size classes; above, to whole OS pages,
//! though its statistics still count such chunks by class. What they really have is
//! counted here. That costs a lock and a look-up for chunks that jemalloc itself takes
//! from the arena under its locks, and not from a tcache.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many chunks of each size above the last class are handed out.
#[derive(Default)]
pub(crate) struct Outsize(Mutex<BTreeMap<usize, usize>>);

impl Outsize {
    #[cold]
    pub(crate) fn add(&self, bytes: usize) {
        *self.lock().entry(bytes).or_insert(0) += 1;
    }

    #[cold]
    pub(crate) fn remove(&self, bytes: usize) {
        let mut counts = self.lock();
        if let Some(count) = counts.get_mut(&bytes) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&bytes);
            }
        }
    }

    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    /// Every size with its count, ascending.
    pub(crate) fn counts(&self) -> Vec<(usize, usize)> {
        self.lock().iter().map(|(&bytes, &count)| (bytes, count)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<usize, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
