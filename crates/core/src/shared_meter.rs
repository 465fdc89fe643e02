//! Counting single chunks against a budget, from many threads.
//!
//! Charging every chunk on the one counter of a [`Budget`] makes all threads write
//! one cache line. A [`SharedMeter`] spreads the counting over *lanes*, each on a
//! line of its own. A lane draws bytes ahead and counts its chunks against them:
//!
//! ```text
//! lane         used             drawn              credit = drawn − used
//!              bytes charged    charged to the
//!              − refunded       budget − given back
//!
//! charged(budget) = Σ drawn       Σ used = bytes in use       used ≤ drawn (1)
//! ```
//!
//! A chunk may be refunded on another lane than the one that charged it, so both
//! counters of a lane may stray far above and below zero; their sums do not.
//!
//! # Protocol
//!
//! * **Charge**: add to `used`, then read `drawn`. If (1) holds, done: one atomic
//!   addition. If not, charge the budget for what was added, and raise `drawn` by it.
//! * **Refund**: subtract from `used`. If much credit has come together, give it
//!   back.
//! * **Give back**: lower `drawn`, then read `used`. If (1) still holds the bytes are
//!   nobody's and go back to the budget. If not, a charge has come in between: raise
//!   `drawn` again and leave it.
//!
//! Charge and give-back each write one counter and then read the other. All four
//! steps are sequentially consistent, so at least one of the two sees the other's
//! write: no credit is both spent and given back. Both may see it; then the charge
//! draws anew and the give-back leaves the credit where it is, which is harmless.
//!
//! Before a charge is refused, every lane gives back what it has drawn ahead, so the
//! last byte of a capacity can be had, and a refusal is exact unless another thread
//! draws at the same moment.

use core::sync::atomic::AtomicIsize;
use core::sync::atomic::Ordering::{Relaxed, SeqCst};

use crate::budget::Budget;
use crate::config::MAX_CAPACITY;
use crate::error::AllocError;

/// How many lanes there are: a power of two. Threads beyond that share lanes.
const LANES: usize = 32;
const _: () = assert!(LANES.is_power_of_two());

/// The most bytes that one lane draws ahead.
const MOST_AHEAD: usize = 64 << 10;

/// Counts the bytes and the number of single chunks against a [`Budget`], for any
/// number of threads. The counterpart of [`Meter`](crate::Meter).
///
/// Each thread names a lane: any number that is its own most of the time, such as a
/// thread counter. A charge may be refunded on any lane.
///
/// # Examples
///
/// ```
/// use mallocer_core::{Budget, SharedMeter};
///
/// let meter = SharedMeter::new(Budget::new(1 << 20));
/// meter.charge(0, 1 << 20)?;
/// assert!(meter.charge(1, 1).is_err());
/// meter.refund(1, 1 << 20);
/// assert_eq!(meter.used(), 0);
/// # Ok::<(), mallocer_core::AllocError>(())
/// ```
pub struct SharedMeter {
    lanes: [Lane; LANES],
    budget: Budget,
    /// How many bytes a lane draws ahead.
    ahead: isize,
}

/// One lane, on a cache line of its own (two, for processors that fetch pairs).
#[derive(Default)]
#[repr(align(128))]
struct Lane {
    /// Bytes charged minus bytes refunded here.
    used: AtomicIsize,
    /// Bytes that this lane has charged to the budget.
    drawn: AtomicIsize,
    /// Chunks counted here: taken minus freed.
    chunks: AtomicIsize,
}

impl SharedMeter {
    /// A meter on `budget`, with nothing in use.
    pub fn new(budget: Budget) -> SharedMeter {
        let ahead = (budget.capacity() / (64 * LANES)).min(MOST_AHEAD) as isize;
        SharedMeter { lanes: Default::default(), budget, ahead }
    }

    /// Takes `bytes` for a chunk, on the lane of the calling thread.
    ///
    /// # Errors
    ///
    /// [`AllocError::Capacity`] as [`Budget::charge`] does; nothing is taken.
    #[inline]
    pub fn charge(&self, lane: usize, bytes: usize) -> Result<(), AllocError> {
        if bytes > MAX_CAPACITY {
            return Err(self.refusal(bytes));
        }
        let bytes = bytes as isize;
        let lane = self.lane(lane);
        let used = lane.used.fetch_add(bytes, SeqCst) + bytes;
        if used <= lane.drawn.load(SeqCst) {
            return Ok(());
        }
        self.draw(lane, bytes)
    }

    /// Gives back `bytes` of a chunk, on the lane of the calling thread.
    #[inline]
    pub fn refund(&self, lane: usize, bytes: usize) {
        let bytes = bytes as isize;
        let lane = self.lane(lane);
        let used = lane.used.fetch_sub(bytes, SeqCst) - bytes;
        if lane.drawn.load(SeqCst) - used > 2 * self.ahead {
            self.give_back(lane, self.ahead);
        }
    }

    /// Counts one chunk more.
    #[inline]
    pub fn count_alloc(&self, lane: usize) {
        self.lane(lane).chunks.fetch_add(1, Relaxed);
    }

    /// Counts one chunk less.
    #[inline]
    pub fn count_free(&self, lane: usize) {
        self.lane(lane).chunks.fetch_sub(1, Relaxed);
    }

    /// Gives back all that is in use, as a release does. No other thread uses the
    /// meter meanwhile.
    pub fn clear(&self) {
        let mut drawn = 0;
        for lane in &self.lanes {
            lane.used.store(0, SeqCst);
            lane.chunks.store(0, Relaxed);
            drawn += lane.drawn.swap(0, SeqCst);
        }
        self.budget.refund(drawn as usize);
    }

    /// Bytes in use by chunks; exact when no other thread is charging, and never
    /// more than the budget has given out.
    pub fn used(&self) -> usize {
        self.sum(|lane| lane.used.load(SeqCst)).min(self.budget.used())
    }

    /// Chunks counted; exact when no other thread is counting.
    pub fn chunks(&self) -> usize {
        self.sum(|lane| lane.chunks.load(Relaxed))
    }

    /// Bytes that child budgets have drawn; exact when no other thread is charging.
    pub fn nested(&self) -> usize {
        self.budget.used().saturating_sub(self.sum(|lane| lane.drawn.load(SeqCst)))
    }

    /// The budget that this meter draws on.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    #[inline]
    fn lane(&self, lane: usize) -> &Lane {
        &self.lanes[lane % LANES]
    }

    fn sum(&self, counter: impl Fn(&Lane) -> isize) -> usize {
        self.lanes.iter().map(counter).sum::<isize>().max(0) as usize
    }

    /// Charges the budget for `bytes` that are in `used` already.
    #[cold]
    fn draw(&self, lane: &Lane, bytes: isize) -> Result<(), AllocError> {
        loop {
            match self.try_draw(lane, bytes) {
                Err(refusal) if self.budget.exhausted(&refusal) => {
                    let used = lane.used.fetch_add(bytes, SeqCst) + bytes;
                    if used <= lane.drawn.load(SeqCst) {
                        return Ok(());
                    }
                }
                result => return result,
            }
        }
    }

    /// The same, once; where it is refused, the bytes are not in `used` any more.
    fn try_draw(&self, lane: &Lane, bytes: isize) -> Result<(), AllocError> {
        if self.budget.charge((bytes + self.ahead) as usize).is_ok() {
            lane.drawn.fetch_add(bytes + self.ahead, SeqCst);
            return Ok(());
        }
        // Not in use while the credit of this lane, too, is given back.
        lane.used.fetch_sub(bytes, SeqCst);
        for each in &self.lanes {
            self.give_back(each, 0);
        }
        lane.used.fetch_add(bytes, SeqCst);
        match self.budget.charge(bytes as usize) {
            Ok(()) => {
                lane.drawn.fetch_add(bytes, SeqCst);
                Ok(())
            }
            Err(refusal) => {
                lane.used.fetch_sub(bytes, SeqCst);
                Err(refusal)
            }
        }
    }

    /// The error for a request that no capacity can hold.
    #[cold]
    fn refusal(&self, requested: usize) -> AllocError {
        AllocError::Capacity { requested, used: self.budget.used(), limit: self.budget.capacity() }
    }

    /// Returns the credit of `lane` beyond `keep` bytes to the budget.
    #[cold]
    fn give_back(&self, lane: &Lane, keep: isize) {
        let surplus = lane.drawn.load(SeqCst) - lane.used.load(SeqCst) - keep;
        if surplus <= 0 {
            return;
        }
        let lowered = lane.drawn.fetch_sub(surplus, SeqCst) - surplus;
        if lane.used.load(SeqCst) <= lowered {
            self.budget.refund(surplus as usize);
        } else {
            lane.drawn.fetch_add(surplus, SeqCst);
        }
    }
}

impl Drop for SharedMeter {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::thread;

    #[test]
    fn the_last_byte_can_be_had_on_any_lane_and_no_more() {
        let meter = SharedMeter::new(Budget::new(1 << 20));
        for n in 0..1 << 10 {
            meter.charge(n, 1 << 10).unwrap();
            assert!(meter.budget().used() <= 1 << 20);
        }
        assert_eq!(meter.used(), 1 << 20);
        let refusal = meter.charge(7, 1).unwrap_err();
        assert_eq!(refusal, AllocError::Capacity { requested: 1, used: 1 << 20, limit: 1 << 20 });
        meter.refund(9, 1 << 10);
        meter.charge(3, 1000).unwrap();
        meter.charge(4, 24).unwrap();
        assert!(meter.charge(5, 1).is_err());
        meter.clear();
        assert_eq!((meter.used(), meter.budget().used()), (0, 0));
    }

    #[test]
    fn a_request_beyond_any_capacity_is_refused() {
        let meter = SharedMeter::new(Budget::new(1 << 20));
        for bytes in [usize::MAX, isize::MAX as usize, MAX_CAPACITY + 1, MAX_CAPACITY] {
            assert!(meter.charge(0, bytes).is_err());
            assert_eq!(meter.used(), 0);
        }
        meter.charge(0, 1 << 20).unwrap();
    }

    #[test]
    fn what_children_draw_counts_apart() {
        let meter = SharedMeter::new(Budget::new(1 << 20));
        let child = meter.budget().child(1 << 20);
        child.charge(5000).unwrap();
        meter.charge(0, 3000).unwrap();
        assert_eq!((meter.used(), meter.nested()), (3000, 5000));
        child.refund(5000);
    }

    /// Threads that charge and refund on each other's lanes, near the limit all the
    /// time: what they hold never exceeds the capacity, and in the end nothing is
    /// charged that nobody holds.
    #[test]
    fn threads_never_exceed_the_capacity_together() {
        const CAPACITY: usize = 100_000;
        let meter = SharedMeter::new(Budget::new(CAPACITY));
        let held = AtomicIsize::new(0);
        thread::scope(|scope| {
            for me in 0..4_usize {
                let (meter, held) = (&meter, &held);
                scope.spawn(move || {
                    let mut mine = std::vec::Vec::new();
                    for n in 0..30_000_usize {
                        let bytes = 1 + (n * 7919 + me * 104_729) % 5000;
                        if meter.charge(me, bytes).is_ok() {
                            let now = held.fetch_add(bytes as isize, SeqCst) + bytes as isize;
                            assert!(now <= CAPACITY as isize, "{now} bytes held");
                            mine.push(bytes);
                        }
                        if mine.len() > 5 + n % 7 {
                            let bytes = mine.swap_remove(n % mine.len());
                            held.fetch_sub(bytes as isize, SeqCst);
                            meter.refund(me + n % 3, bytes);
                        }
                    }
                    for bytes in mine {
                        held.fetch_sub(bytes as isize, SeqCst);
                        meter.refund(me + 1, bytes);
                    }
                });
            }
        });
        assert_eq!(meter.used(), 0);
        // All of it can be had again: no byte is lost in a lane.
        meter.charge(0, CAPACITY).unwrap();
    }
}
