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

use core::cell::UnsafeCell;
use core::hint::spin_loop;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

const FREE: u32 = 0;
const HELD: u32 = 1;
const CONTENDED: u32 = 2;

/// How often a waiting thread looks again before it sleeps: about as long as a
/// short critical section takes.
const SPINS: u32 = 60;

/// A value that one thread at a time may use.
pub(crate) struct Lock<T> {
    word: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: the lock hands the value to one thread at a time, as a move would.
unsafe impl<T: Send> Sync for Lock<T> {}

impl<T> Lock<T> {
    pub(crate) const fn new(value: T) -> Lock<T> {
        Lock { word: AtomicU32::new(FREE), value: UnsafeCell::new(value) }
    }

    /// Waits until no other thread has the value.
    #[inline]
    pub(crate) fn lock(&self) -> Guard<'_, T> {
        if self.word.compare_exchange(FREE, HELD, Acquire, Relaxed).is_err() {
            self.wait();
        }
        Guard { lock: self }
    }

    /// Takes the value if no thread has it.
    pub(crate) fn try_lock(&self) -> Option<Guard<'_, T>> {
        let free = self.word.compare_exchange(FREE, HELD, Acquire, Relaxed).is_ok();
        free.then(|| Guard { lock: self })
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
        Guard { lock: self }
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
            futex(&self.word, libc::FUTEX_WAIT, CONTENDED);
        }
    }

    #[inline]
    fn unlock(&self) {
        if self.word.swap(FREE, Release) == CONTENDED {
            futex(&self.word, libc::FUTEX_WAKE, 1);
        }
    }
}

/// Sleeps while the word holds `value`, or wakes `value` sleepers.
#[cold]
fn futex(word: &AtomicU32, operation: i32, value: u32) {
    let operation = operation | libc::FUTEX_PRIVATE_FLAG;
    let no_timeout = core::ptr::null::<libc::timespec>();
    // SAFETY: the kernel reads the word, which lives as long as the reference. Any
    // return, also by a signal, only leads to another look at the word.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, value, no_timeout) };
}

/// Access to the value of a [`Lock`], until dropped.
pub(crate) struct Guard<'a, T> {
    lock: &'a Lock<T>,
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard's thread holds the lock.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard's thread holds the lock, and the guard is borrowed mutably.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.unlock();
    }
}

#[cfg(test)]
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
