//! What threads are told apart by: atomics, cells, statics, sleeping and waking.
//!
//! Everything that the protocols of the shared arena stand on comes from here. Built with
//! `--cfg mallocer_loom` it is loom's instead of core's and Linux's, and loom runs the very
//! code that is shipped through every order of events (the habit is crossbeam's):
//!
//! ```sh
//! .ci/loom.sh
//! ```
//!
//! The models are in `models`. What loom does not see are plain reads and writes of chunks
//! and of bookkeeping: of those it knows only that the lock's value is one thread's at a
//! time. A model checks by contents that a chunk is.

#[cfg(mallocer_loom)]
pub(crate) use modelled::*;
#[cfg(not(mallocer_loom))]
pub(crate) use real::*;

#[cfg(not(mallocer_loom))]
mod real {
    use core::cell::UnsafeCell;

    pub(crate) use core::hint::spin_loop;
    pub(crate) use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64};

    /// How often a waiting thread looks again before it sleeps: about as long as waking it
    /// takes, some ten microseconds. What is done under a lock takes one or two.
    pub(crate) const SPINS: u32 = 1000;

    /// A value behind a lock.
    pub(crate) struct Locked<T>(UnsafeCell<T>);

    impl<T> Locked<T> {
        pub(crate) const fn new(value: T) -> Locked<T> {
            Locked(UnsafeCell::new(value))
        }

        /// Access to the value, for who holds the lock.
        #[inline(always)]
        pub(crate) fn access(&self) -> Access<T> {
            Access(self.0.get())
        }
    }

    /// Access to a locked value, until dropped.
    pub(crate) struct Access<T>(*mut T);

    impl<T> Access<T> {
        #[inline(always)]
        pub(crate) fn get(&self) -> *mut T {
            self.0
        }
    }

    /// What a model is to be told when something is made that another thread finds by a pointer
    /// which loom does not see, and when it was found.
    #[inline(always)]
    pub(crate) fn made() {}
    #[inline(always)]
    pub(crate) fn found() {}

    /// Sleeps while the word holds `value`.
    #[cold]
    pub(crate) fn wait(word: &AtomicU32, value: u32) {
        futex(word, libc::FUTEX_WAIT, value);
    }

    /// Wakes one thread that sleeps on the word.
    #[cold]
    pub(crate) fn wake(word: &AtomicU32) {
        futex(word, libc::FUTEX_WAKE, 1);
    }

    fn futex(word: &AtomicU32, operation: i32, value: u32) {
        let operation = operation | libc::FUTEX_PRIVATE_FLAG;
        let no_timeout = core::ptr::null::<libc::timespec>();
        // SAFETY: the kernel reads the word, which lives as long as the reference. Any
        // return, also by a signal, only leads to another look at the word.
        unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, value, no_timeout) };
    }

    /// A static of the process.
    macro_rules! process_wide {
        ($(#[$attribute:meta])* static $name:ident: $type:ty = $value:expr;) => {
            $(#[$attribute])* static $name: $type = $value;
        };
    }
    pub(crate) use process_wide;

    /// A function that is `const`, but for loom, whose types cannot be made by one.
    macro_rules! const_but_for_loom {
        ($(#[$attribute:meta])* $visibility:vis fn $($rest:tt)*) => {
            $(#[$attribute])* $visibility const fn $($rest)*
        };
    }
    pub(crate) use const_but_for_loom;
}

#[cfg(mallocer_loom)]
mod modelled {
    use core::sync::atomic::Ordering::{Acquire, Release};

    use loom::cell::{MutPtr, UnsafeCell};
    use loom::sync::{Condvar, Mutex};

    pub(crate) use loom::hint::spin_loop;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64};

    /// One look is enough: more are the same orders of events again.
    pub(crate) const SPINS: u32 = 1;

    /// A value behind a lock: loom complains if two threads have it at once.
    pub(crate) struct Locked<T>(UnsafeCell<T>);

    impl<T> Locked<T> {
        pub(crate) fn new(value: T) -> Locked<T> {
            Locked(UnsafeCell::new(value))
        }

        pub(crate) fn access(&self) -> Access<T> {
            Access(self.0.get_mut())
        }
    }

    /// Access to a locked value, until dropped.
    pub(crate) struct Access<T>(MutPtr<T>);

    impl<T> Access<T> {
        pub(crate) fn get(&self) -> *mut T {
            self.0.with(|value| value)
        }
    }

    loom::lazy_static! {
        /// Who sleeps, on whatever word.
        static ref SLEEPERS: (Mutex<()>, Condvar) = (Mutex::new(()), Condvar::new());
    }

    loom::lazy_static! {
        /// What was made so far, whatever it is. It is exchanged, so that who found something
        /// sees that it was made, and all that came before that, but nothing after it.
        static ref MADE: AtomicU32 = AtomicU32::new(0);
    }

    pub(crate) fn made() {
        MADE.fetch_add(1, Release);
    }

    pub(crate) fn found() {
        MADE.fetch_add(0, Acquire);
    }

    /// As the kernel does it: looking at the word and going to sleep are one step, as seen
    /// by who wakes. Waking too many is allowed.
    pub(crate) fn wait(word: &AtomicU32, value: u32) {
        let sleepers = SLEEPERS.0.lock().expect("nobody panics here");
        if word.load(core::sync::atomic::Ordering::Relaxed) == value {
            drop(SLEEPERS.1.wait(sleepers));
        }
    }

    pub(crate) fn wake(_: &AtomicU32) {
        let _sleepers = SLEEPERS.0.lock().expect("nobody panics here");
        SLEEPERS.1.notify_all();
    }

    /// A static of one run of a model.
    macro_rules! process_wide {
        ($(#[$attribute:meta])* static $name:ident: $type:ty = $value:expr;) => {
            loom::lazy_static! { $(#[$attribute])* static ref $name: $type = $value; }
        };
    }
    pub(crate) use process_wide;

    macro_rules! const_but_for_loom {
        ($($function:tt)*) => { $($function)* };
    }
    pub(crate) use const_but_for_loom;
}
