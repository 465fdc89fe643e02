//! A value that is made once, by whoever needs it first.

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::lock::Lock;
use crate::primitive::{AtomicBool, const_but_for_loom};

/// A place for a value that is made at first use and then stays for good.
pub(crate) struct Once<T> {
    made: AtomicBool,
    making: Lock<()>,
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: the value is written once, under `making`, before `made` is set; afterwards
// it is shared.
unsafe impl<T: Send + Sync> Sync for Once<T> {}

impl<T> Once<T> {
    const_but_for_loom! {
        pub(crate) fn new() -> Once<T> {
            Once {
                made: AtomicBool::new(false),
                making: Lock::new(()),
                value: UnsafeCell::new(MaybeUninit::uninit()),
            }
        }
    }

    /// The value, if it was made.
    #[inline]
    pub(crate) fn get(&self) -> Option<&T> {
        // SAFETY: once `made` is set, the value is initialised and never written again.
        self.made.load(Acquire).then(|| unsafe { (*self.value.get()).assume_init_ref() })
    }

    /// The value, which was made.
    ///
    /// # Safety
    ///
    /// It was: an earlier `get` or `get_or_make` in this thread said so.
    #[inline(always)]
    pub(crate) unsafe fn get_unchecked(&self) -> &T {
        // SAFETY: the caller's promise; once it is made, it is never written again.
        unsafe { (*self.value.get()).assume_init_ref() }
    }

    /// The value, made by `make` if this is the first call; `None` if that fails (a
    /// later call tries again).
    #[inline]
    pub(crate) fn get_or_make(&self, make: impl FnOnce() -> Option<T>) -> Option<&T> {
        if !self.made.load(Acquire) {
            self.make_once(make)?;
        }
        self.get()
    }

    #[cold]
    fn make_once(&self, make: impl FnOnce() -> Option<T>) -> Option<()> {
        let _making = self.making.lock();
        if !self.made.load(Relaxed) {
            let value = make()?;
            // SAFETY: nobody reads the value before `made` is set, and the lock keeps
            // other makers out.
            unsafe { (*self.value.get()).write(value) };
            self.made.store(true, Release);
        }
        Some(())
    }
}

/// In a model a static ends with each of thousands of runs.
#[cfg(mallocer_loom)]
impl<T> Drop for Once<T> {
    fn drop(&mut self) {
        // SAFETY: nobody uses it any more; if it was made, it is there.
        unsafe {
            if self.made.unsync_load() {
                self.value.get_mut().assume_init_drop();
            }
        }
    }
}
