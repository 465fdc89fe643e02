//! Retained memory that is so much that it does not wait for the decay time.
//!
//! Whether the decay time is over is looked at by slow paths, and a program that has freed most of what
//! it had often finds all that it needs at hand afterwards: then nobody looks any more. So where retained
//! memory is at least [`LEAST`] bytes and half of the heap, most of it goes back to the system at once.
//!
//! ```text
//! retained ≥ max(LEAST, heap / 2) ──▶ system, but for (heap − retained) / KEPT_SHARE
//!    ▲                                  │
//!    └── not for 1, 2, 4, … 64 s ◀── taken again within 1 s
//! ```
//!
//! A program that takes as much again at once pays a page fault for every OS page, once, and is left alone
//! for twice as long each time that it happens. One whose heap has come to a mebibyte less
//! than a second ago is left alone, too: it does not live long, or comes to it later.

use crate::descriptor::RUN;
use crate::heap::Heap;
use crate::leaving::Leaving;
use crate::os;
use crate::pool::Slot;

/// Less does not matter.
const LEAST: usize = 32 << 20;

/// The part of what is not retained that stays retained.
const KEPT_SHARE: usize = 4;

/// Memory that is taken so long after it was given up is not for the same work.
const SOON_MS: u64 = 1_000;

/// A smaller heap does not ask for the time: a small program never does so.
const LEAST_HEAP: usize = 1 << 20;

/// The longest time that nothing is given up for.
const MOST_WAIT_MS: u64 = 64_000;

/// When a heap has given up much at once, and when it may do so again.
pub(crate) struct Excess {
    /// Not before; [`NEVER`](Excess::NEVER) until the heap is large enough.
    next_ms: u64,
    /// When memory was given up last.
    gave_ms: u64,
    /// How long it was waited for the last time.
    wait_ms: u64,
    /// Whether it is still to be seen what is taken after that.
    open: bool,
}

impl Excess {
    const NEVER: u64 = u64::MAX;

    /// That of a heap that is opened now.
    pub(crate) const NONE: Excess =
        Excess { next_ms: Excess::NEVER, gave_ms: 0, wait_ms: 0, open: false };

    /// Notes that the heap is large enough now.
    fn begin(&mut self, now_ms: u64) {
        self.next_ms = now_ms + SOON_MS;
    }

    fn may_give(&self, now_ms: u64) -> bool {
        now_ms >= self.next_ms
    }

    /// Notes that memory is given up.
    fn give(&mut self, now_ms: u64) {
        if now_ms.saturating_sub(self.gave_ms) > self.wait_ms * 2 + SOON_MS {
            self.wait_ms = 0;
        }
        (self.gave_ms, self.open) = (now_ms, true);
    }

    /// Notes that memory is taken.
    fn take(&mut self, now_ms: u64) {
        if now_ms.saturating_sub(self.gave_ms) < SOON_MS {
            self.wait_ms = (self.wait_ms * 2).clamp(SOON_MS, MOST_WAIT_MS);
            self.next_ms = self.gave_ms + self.wait_ms;
        }
        self.open = false;
    }
}

impl<S: Slot> Heap<S> {
    /// Gives most of the retained memory back to the system if that is much.
    pub(crate) fn give_up_excess(&mut self, now_ms: u64) {
        let bytes = self.retained.runs() * RUN;
        if bytes < LEAST || bytes < self.heap / 2 || !self.excess.may_give(now_ms) {
            return;
        }
        let kept = (self.heap - bytes) / KEPT_SHARE;
        self.excess.give(now_ms);
        self.give_up_retained(Leaving::System, (kept / RUN).max(self.kept_runs));
    }

    /// Notes that memory is taken from the process, perhaps what was given up just now.
    pub(crate) fn note_taken(&mut self) {
        let begins = self.excess.next_ms == Excess::NEVER && self.decay.is_some();
        if self.excess.open {
            self.excess.take(os::now_ms());
        } else if begins && self.heap >= LEAST_HEAP {
            self.excess.begin(os::now_ms());
        }
    }
}

#[cfg(all(test, not(mallocer_loom)))]
mod tests {
    extern crate std;
    use core::alloc::Layout;
    use core::time::Duration;
    use std::vec::Vec;

    use mallocer_core::{Config, Mallocer};

    use super::*;
    use crate::SharedFlist;

    #[test]
    fn what_is_taken_again_at_once_is_waited_for_twice_as_long() {
        let mut excess = Excess::NONE;
        assert!(!excess.may_give(1 << 60));
        excess.begin(5_000);
        assert!(!excess.may_give(5_999) && excess.may_give(6_000));
        let mut now = 6_000;
        for wait in [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 64_000] {
            excess.give(now);
            assert!(excess.may_give(now), "nothing was taken yet");
            excess.take(now + 999);
            assert!(!excess.may_give(now + wait - 1) && excess.may_give(now + wait));
            now += wait;
        }
        // After a while without, it begins anew.
        now += 200_000;
        excess.give(now);
        excess.take(now + 10);
        assert!(!excess.may_give(now + 999) && excess.may_give(now + 1_000));
        // What is taken later is other work.
        excess.give(now + 300_000);
        excess.take(now + 301_000);
        assert!(excess.may_give(now + 301_000));
    }

    #[test]
    fn most_of_a_heap_goes_back_when_most_of_it_is_free() {
        let left = |decay, first_ms| {
            let mut config = Config::default();
            config.decay = decay;
            let heap = SharedFlist::open(&config).unwrap();
            heap.sharing().heap.lock().excess.next_ms = first_ms;
            let layout = Layout::from_size_align(2 << 20, 8).unwrap();
            let chunks: Vec<_> = (0..100).map(|_| heap.try_alloc(layout).unwrap()).collect();
            for chunk in chunks {
                // SAFETY: allocated above, and freed once.
                unsafe { heap.free(chunk.cast()) };
            }
            let left = heap.info().heap;
            heap.check_invariants();
            left
        };
        let long = Some(Duration::from_secs(100_000));
        assert!(left(long, 0) < LEAST + (4 << 20));
        assert!(left(long, u64::MAX) >= 200 << 20, "not yet");
        assert!(left(None, 0) >= 200 << 20, "memory stays without a decay time");
    }
}
