//! A lock of one word, which spins a little and then sleeps.
//!
//! ```text
//! FREE ──lock──▶ HELD ──another waits──▶ CONTENDED
//!   ▲             │                          │
//!   └───unlock────┴────unlock, wake one──────┘
//! ```
//!
//! A thread that has slept takes the lock as `CONTENDED`, since it cannot know
//! whether others still sleep: at worst that is one wake-up too many. The scheme is
//! the third mutex of Ulrich Drepper, "Futexes Are Tricky" (2011).

use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::primitive::{
    Access, AtomicU32, Locked, SPINS, const_but_for_loom, spin_loop, wait, wake,
};

const FREE: u32 = 0;
const HELD: u32 = 1;
const CONTENDED: u32 = 2;

/// A value that one thread at a time may use.
pub(crate) struct Lock<T> {
    word: AtomicU32,
    value: Locked<T>,
}

// SAFETY: the lock hands the value to one thread at a time, as a move would.
unsafe impl<T: Send> Sync for Lock<T> {}

impl<T> Lock<T> {
    const_but_for_loom! {
        pub(crate) fn new(value: T) -> Lock<T> {
            Lock { word: AtomicU32::new(FREE), value: Locked::new(value) }
        }
    }

    /// Waits until no other thread has the value.
    #[inline]
    pub(crate) fn lock(&self) -> Guard<'_, T> {
        let waited = self.word.compare_exchange(FREE, HELD, Acquire, Relaxed).is_err();
        if waited {
            self.wait();
        }
        let mut guard = self.guard();
        guard.waited = waited;
        guard
    }

    /// Takes the value if no thread has it.
    pub(crate) fn try_lock(&self) -> Option<Guard<'_, T>> {
        let free = self.word.compare_exchange(FREE, HELD, Acquire, Relaxed).is_ok();
        free.then(|| self.guard())
    }

    /// Takes the lock without a guard, for what outlives the function: a fork.
    pub(crate) fn hold(&self) {
        core::mem::forget(self.lock());
    }

    /// Gives back what [`hold`](Lock::hold) took.
    ///
    /// # Safety
    ///
    /// This thread holds the lock, and uses the value no more.
    pub(crate) unsafe fn let_go(&self) {
        self.unlock();
    }

    /// The guard of a lock that [`hold`](Lock::hold) took.
    ///
    /// # Safety
    ///
    /// This thread holds the lock, and has no other guard of it.
    pub(crate) unsafe fn held(&self) -> Guard<'_, T> {
        self.guard()
    }

    /// The guard of a lock that this thread has taken.
    #[inline(always)]
    fn guard(&self) -> Guard<'_, T> {
        Guard { lock: self, waited: false, value: ManuallyDrop::new(self.value.access()) }
    }

    #[cold]
    fn wait(&self) {
        for _ in 0..SPINS {
            if self.word.load(Relaxed) == FREE
                && self.word.compare_exchange(FREE, HELD, Acquire, Relaxed).is_ok()
            {
                return;
            }
            spin_loop();
        }
        while self.word.swap(CONTENDED, Acquire) != FREE {
            wait(&self.word, CONTENDED);
        }
    }

    #[inline]
    fn unlock(&self) {
        if self.word.swap(FREE, Release) == CONTENDED {
            wake(&self.word);
        }
    }
}

/// Access to the value of a [`Lock`], until dropped.
pub(crate) struct Guard<'a, T> {
    lock: &'a Lock<T>,
    /// Whether another thread had the value when this one asked for it.
    pub(crate) waited: bool,
    value: ManuallyDrop<Access<T>>,
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard's thread holds the lock.
        unsafe { &*self.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard's thread holds the lock, and the guard is borrowed mutably.
        unsafe { &mut *self.value.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: dropped once, here, before another thread can have the value.
        unsafe { ManuallyDrop::drop(&mut self.value) };
        self.lock.unlock();
    }
}

#[cfg(all(test, not(mallocer_loom)))]
mod tests {
    extern crate std;
    use super::*;

    #[test]
    fn no_increment_is_lost() {
        let counter = Lock::new(0u64);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50_000 {
                        *counter.lock() += 1;
                    }
                });
            }
        });
        assert_eq!(*counter.lock(), 200_000);
    }
}
