//! Capacity as a promise: budgets that draw on budgets.
//!
//! A [`Budget`] counts the bytes that an arena has taken. A child's bytes count
//! in the child and in every ancestor, so with `C(b)` the children of budget `b`
//!
//! ```text
//! used(b) = own(b) + Σ used(c) for c in C(b)      and      used(b) ≤ capacity(b)
//! ```
//!
//! holds for every budget at every time: a charge is admitted by each level in
//! turn, from the arena up to the root, and taken back from all of them if one
//! refuses.

use alloc::sync::Arc;
use core::cell::Cell;
use core::fmt;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::callbacks::Callbacks;
use crate::error::AllocError;

/// A share of memory, in bytes, that never gives out more than its capacity.
///
/// Clones are handles of the same budget. Counting is atomic, so arenas on
/// several threads may draw on one budget; it happens when pools and extents are
/// taken, not for every chunk.
///
/// # Examples
///
/// ```
/// use mallocer_core::Budget;
///
/// let parent = Budget::new(1 << 20);
/// let child = parent.child(1 << 30);      // more than there is: the parent decides
/// child.charge(1 << 20)?;
/// assert!(child.charge(1).is_err());
/// child.refund(1 << 20);
/// assert_eq!(parent.used(), 0);
/// # Ok::<(), mallocer_core::AllocError>(())
/// ```
#[derive(Clone)]
pub struct Budget(Option<Arc<Node>>);

struct Node {
    /// Bytes this budget may give out.
    capacity: usize,
    /// Bytes given out, here and to children; at most `capacity`.
    used: AtomicUsize,
    /// The budget this one draws on.
    parent: Budget,
    /// Who is told of all that.
    callbacks: Callbacks,
}

impl Budget {
    /// A budget that admits everything and counts nothing: the parent of roots,
    /// and what a process-wide allocator uses, which must not allocate to begin.
    pub const UNLIMITED: Budget = Budget(None);

    /// A budget of its own with `capacity` bytes.
    pub fn new(capacity: usize) -> Budget {
        Budget::UNLIMITED.child(capacity)
    }

    /// A budget of `capacity` bytes whose every byte is drawn from this one too.
    ///
    /// The capacity may exceed the parent's: then the parent refuses first.
    pub fn child(&self, capacity: usize) -> Budget {
        self.child_with(capacity, Callbacks::none())
    }

    /// As [`child`](Budget::child), with somebody who is told of what it takes and gives back.
    pub fn child_with(&self, capacity: usize, callbacks: Callbacks) -> Budget {
        let node = Node { capacity, used: AtomicUsize::new(0), parent: self.clone(), callbacks };
        Budget(Some(Arc::new(node)))
    }

    /// Takes `bytes` from this budget and from all it draws on.
    ///
    /// # Errors
    ///
    /// [`AllocError::Capacity`] with the figures of the budget that refused; then
    /// nothing is taken anywhere.
    pub fn charge(&self, bytes: usize) -> Result<(), AllocError> {
        let mut budget = self;
        while let Some(node) = &budget.0 {
            let admitted = node.used.fetch_update(Relaxed, Relaxed, |used| {
                used.checked_add(bytes).filter(|&sum| sum <= node.capacity)
            });
            if let Err(used) = admitted {
                self.refund_until(bytes, node);
                return Err(AllocError::Capacity { requested: bytes, used, limit: node.capacity });
            }
            budget = &node.parent;
        }
        self.each(|node| node.callbacks.commit(bytes));
        Ok(())
    }

    /// Calls `take` until it succeeds, or nobody says that something was freed since.
    ///
    /// For heaps, at a point where they hold no lock, and no borrow that their own methods
    /// need: what is called may use them.
    ///
    /// # Errors
    ///
    /// The last that `take` had.
    #[inline]
    pub fn retry<T>(
        &self,
        mut take: impl FnMut() -> Result<T, AllocError>,
    ) -> Result<T, AllocError> {
        loop {
            match take() {
                Err(refusal) if self.exhausted(&refusal) => {}
                result => return result,
            }
        }
    }

    /// Whether somebody has freed something, so that what was refused is worth another try:
    /// asks this budget's callback, and those of the budgets it draws on.
    #[cold]
    pub(crate) fn exhausted(&self, refusal: &AllocError) -> bool {
        let mut again = false;
        if matches!(refusal, AllocError::Capacity { .. }) {
            self.each(|node| again = again || node.callbacks.exhausted(refusal));
        }
        again
    }

    /// Visits this budget and those it draws on, up to the root.
    fn each(&self, mut visit: impl FnMut(&Node)) {
        let mut budget = self;
        while let Some(node) = &budget.0 {
            visit(node);
            budget = &node.parent;
        }
    }

    /// Gives back `bytes` that were charged before, here and at all levels above.
    ///
    /// # Panics
    ///
    /// With debug assertions, if more is given back than was charged.
    pub fn refund(&self, bytes: usize) {
        self.each(|node| {
            let before = node.used.fetch_sub(bytes, Relaxed);
            debug_assert!(before >= bytes, "refund of {bytes} bytes, but only {before} are used");
            node.callbacks.decommit(bytes);
        });
    }

    /// Takes back a charge from every level below `stop`.
    fn refund_until(&self, bytes: usize, stop: &Arc<Node>) {
        let mut budget = self;
        while let Some(node) = &budget.0 {
            if Arc::ptr_eq(node, stop) {
                break;
            }
            node.used.fetch_sub(bytes, Relaxed);
            budget = &node.parent;
        }
    }

    /// Bytes this budget may give out (`usize::MAX` where it is unlimited).
    pub fn capacity(&self) -> usize {
        self.0.as_ref().map_or(usize::MAX, |node| node.capacity)
    }

    /// Bytes given out, to the arena and to its children (0 where unlimited).
    pub fn used(&self) -> usize {
        self.0.as_ref().map_or(0, |node| node.used.load(Relaxed))
    }
}

impl AsRef<Budget> for Budget {
    fn as_ref(&self) -> &Budget {
        self
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => f.write_str("Budget(unlimited)"),
            Some(node) => write!(f, "Budget({} of {} bytes)", self.used(), node.capacity),
        }
    }
}

/// Counts the bytes of single chunks against a [`Budget`], for one thread.
///
/// A backend that has no pools must charge every chunk. Doing that on the shared
/// counters of a budget costs an atomic operation for each level; a meter draws
/// some bytes ahead and counts them down in plain memory. The bytes drawn ahead
/// are given back before an allocation is refused, so the promise is exact:
///
/// ```text
/// charged(budget) = used + credit,   credit ≤ 2 × ahead
/// ```
///
/// # Examples
///
/// ```
/// use mallocer_core::{Budget, Meter};
///
/// let meter = Meter::new(Budget::new(1 << 20));
/// meter.charge(1 << 20)?;
/// assert!(meter.charge(1).is_err());
/// meter.refund(1 << 20);
/// assert_eq!((meter.used(), meter.nested()), (0, 0));
/// # Ok::<(), mallocer_core::AllocError>(())
/// ```
pub struct Meter {
    budget: Budget,
    /// Bytes in use by chunks.
    used: Cell<usize>,
    /// Bytes charged and not in use.
    credit: Cell<usize>,
    /// How many bytes are drawn ahead, and how many are kept once twice as many have gathered.
    ahead: usize,
}

impl Meter {
    /// A meter on `budget`, with nothing in use.
    pub fn new(budget: Budget) -> Meter {
        let ahead = (budget.capacity() / 64).min(64 << 10);
        Meter { budget, used: Cell::new(0), credit: Cell::new(0), ahead }
    }

    /// Takes `bytes` for a chunk.
    ///
    /// # Errors
    ///
    /// [`AllocError::Capacity`] as [`Budget::charge`] does; nothing is taken.
    #[inline]
    pub fn charge(&self, bytes: usize) -> Result<(), AllocError> {
        match self.credit.get().checked_sub(bytes) {
            Some(rest) => self.credit.set(rest),
            None => self.draw(bytes)?,
        }
        self.used.set(self.used.get() + bytes);
        Ok(())
    }

    /// Gives back `bytes` of a chunk.
    ///
    /// # Panics
    ///
    /// With debug assertions, if more is given back than was charged.
    #[inline]
    pub fn refund(&self, bytes: usize) {
        debug_assert!(self.used.get() >= bytes);
        self.used.set(self.used.get() - bytes);
        let credit = self.credit.get() + bytes;
        self.credit.set(credit);
        if credit > 2 * self.ahead {
            self.keep(self.ahead);
        }
    }

    /// Gives back all that is in use, as a release does.
    pub fn clear(&self) {
        self.credit.set(self.credit.get() + self.used.replace(0));
        self.keep(0);
    }

    /// Bytes in use by chunks.
    pub fn used(&self) -> usize {
        self.used.get()
    }

    /// Bytes that child budgets have drawn.
    pub fn nested(&self) -> usize {
        self.budget.used().saturating_sub(self.used.get() + self.credit.get())
    }

    /// The budget that this meter draws on.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    #[cold]
    fn draw(&self, bytes: usize) -> Result<(), AllocError> {
        self.budget.retry(|| self.try_draw(bytes))
    }

    fn try_draw(&self, bytes: usize) -> Result<(), AllocError> {
        if let Some(rest) = self.credit.get().checked_sub(bytes) {
            self.credit.set(rest);
            return Ok(());
        }
        let missing = bytes - self.credit.get();
        if self.budget.charge(missing + self.ahead).is_ok() {
            self.credit.set(self.ahead);
            return Ok(());
        }
        let credit = self.credit.get();
        self.budget.charge(missing).map_err(|refusal| match refusal {
            // What is drawn ahead is not in use: the caller is told of the whole
            // request, and of what chunks really hold.
            AllocError::Capacity { used, limit, .. } => {
                AllocError::Capacity { requested: bytes, used: used.saturating_sub(credit), limit }
            }
            other => other,
        })?;
        self.credit.set(0);
        Ok(())
    }

    #[cold]
    fn keep(&self, bytes: usize) {
        let surplus = self.credit.get().saturating_sub(bytes);
        self.credit.set(self.credit.get() - surplus);
        self.budget.refund(surplus);
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_takes_nothing_at_any_level() {
        let root = Budget::new(100);
        let middle = root.child(1000);
        let leaf = middle.child(1000);
        leaf.charge(60).unwrap();
        let refusal = leaf.charge(41).unwrap_err();
        assert_eq!(refusal, AllocError::Capacity { requested: 41, used: 60, limit: 100 });
        assert_eq!((leaf.used(), middle.used(), root.used()), (60, 60, 60));
        leaf.charge(40).unwrap();
        leaf.refund(100);
        assert_eq!((leaf.used(), middle.used(), root.used()), (0, 0, 0));
    }

    #[test]
    fn a_charge_that_overflows_is_refused() {
        let budget = Budget::new(100);
        budget.charge(1).unwrap();
        assert!(budget.charge(usize::MAX).is_err());
        assert_eq!(budget.used(), 1);
    }

    #[test]
    fn a_meter_gives_out_the_last_byte_and_no_more() {
        let budget = Budget::new(1 << 20);
        let meter = Meter::new(budget.clone());
        for _ in 0..1 << 10 {
            meter.charge(1 << 10).unwrap();
            assert!(budget.used() <= budget.capacity());
        }
        assert_eq!(meter.used(), 1 << 20);
        let refusal = meter.charge(1).unwrap_err();
        assert_eq!(refusal, AllocError::Capacity { requested: 1, used: 1 << 20, limit: 1 << 20 });
        meter.refund(1 << 10);
        meter.charge(1 << 10).unwrap();
        drop(meter);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn meters_on_one_budget_share_it() {
        let parent = Budget::new(10_000);
        let one = Meter::new(parent.child(10_000));
        let other = Meter::new(parent.child(10_000));
        one.charge(6_000).unwrap();
        assert!(other.charge(6_000).is_err());
        one.refund(6_000);
        drop(one);
        other.charge(6_000).unwrap();
    }
}
