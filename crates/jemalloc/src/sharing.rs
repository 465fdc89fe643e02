//! How a heap counts and caches: for one thread, or for many.
//!
//! An explicit tcache makes an allocation ten times faster than going to the arena
//! does, but only one thread at a time may use it. The shared form has one for every
//! processor, each behind a flag that is tried and never waited for:
//!
//! ```text
//! thread n ─ tries ─► slot n ── busy? ──► slot n + 1 ── busy? ──► no tcache
//! ```
//!
//! As many slots as processors means that a slot is busy only if its user was
//! interrupted in the midst of an operation, or if two threads have met by number.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, TryLockError};

use libc::c_int;
use mallocer_core::{AllocError, Budget, ConfigError, Meter, SharedMeter};
use tikv_jemalloc_sys::MALLOCX_TCACHE_NONE;

use crate::arena::Tcache;

/// How a heap is shared: [`Alone`] or [`Shared`]. Not to be implemented elsewhere.
pub trait Sharing: private::Sealed {}

impl Sharing for Alone {}
impl Sharing for Shared {}

pub(crate) mod private {
    use super::*;

    /// What the two forms do differently.
    pub trait Sealed: Sized {
        fn new(budget: Budget) -> Result<Self, ConfigError>;
        fn charge(&self, bytes: usize) -> Result<(), AllocError>;
        fn refund(&self, bytes: usize);
        fn clear(&self);
        fn used(&self) -> usize;
        fn nested(&self) -> usize;
        fn budget(&self) -> &Budget;

        /// Calls `operation` with the flags of a tcache that nobody else uses
        /// meanwhile.
        fn with_tcache<R>(&self, operation: impl FnOnce(c_int) -> R) -> R;

        /// Gives the chunks in all tcaches back to the arena.
        fn flush(&self);
    }
}

/// A heap that one thread uses at a time: one tcache, no atomic operation, no lock.
pub struct Alone {
    meter: Meter,
    tcache: Tcache,
    /// The flags of `tcache`.
    flags: c_int,
    /// Not `Sync`: two threads must not use the tcache at once.
    _one_thread: Cell<()>,
}

impl private::Sealed for Alone {
    fn new(budget: Budget) -> Result<Alone, ConfigError> {
        let tcache = Tcache::create().map_err(|code| ConfigError::Library {
            backend: "jemalloc",
            call: "tcache.create",
            code,
        })?;
        let flags = tcache.flags();
        Ok(Alone { meter: Meter::new(budget), tcache, flags, _one_thread: Cell::new(()) })
    }

    #[inline]
    fn charge(&self, bytes: usize) -> Result<(), AllocError> {
        self.meter.charge(bytes)
    }

    #[inline]
    fn refund(&self, bytes: usize) {
        self.meter.refund(bytes);
    }

    fn clear(&self) {
        self.meter.clear();
    }

    fn used(&self) -> usize {
        self.meter.used()
    }

    fn nested(&self) -> usize {
        self.meter.nested()
    }

    fn budget(&self) -> &Budget {
        self.meter.budget()
    }

    #[inline]
    fn with_tcache<R>(&self, operation: impl FnOnce(c_int) -> R) -> R {
        operation(self.flags)
    }

    fn flush(&self) {
        // SAFETY: this type is not `Sync`, so no other thread is here.
        unsafe { self.tcache.flush() };
    }
}

/// A heap that any thread may use at any time.
pub struct Shared {
    meter: SharedMeter,
    /// A power of two of them.
    slots: Box<[Slot]>,
}

/// A tcache for whoever has its lock, made when first used; on a cache line of its own
/// (two, for processors that fetch pairs).
#[repr(align(128))]
#[derive(Default)]
struct Slot(Mutex<State>);

#[derive(Default)]
enum State {
    /// Nobody has used this slot yet.
    #[default]
    Unused,
    Ready(Tcache),
    /// jemalloc has no tcache left.
    Refused,
}

impl State {
    #[inline]
    fn flags(&mut self) -> c_int {
        match self {
            State::Ready(tcache) => tcache.flags(),
            State::Unused => self.prepare(),
            State::Refused => MALLOCX_TCACHE_NONE,
        }
    }

    #[cold]
    fn prepare(&mut self) -> c_int {
        *self = Tcache::create().map_or(State::Refused, State::Ready);
        match self {
            State::Ready(tcache) => tcache.flags(),
            _ => MALLOCX_TCACHE_NONE,
        }
    }
}

impl private::Sealed for Shared {
    fn new(budget: Budget) -> Result<Shared, ConfigError> {
        static PROCESSORS: OnceLock<usize> = OnceLock::new();
        let slots = *PROCESSORS.get_or_init(|| {
            let processors = std::thread::available_parallelism().map_or(1, usize::from);
            (processors + 1).next_power_of_two().min(64)
        });
        let slots = (0..slots).map(|_| Slot::default()).collect();
        Ok(Shared { meter: SharedMeter::new(budget), slots })
    }

    #[inline]
    fn charge(&self, bytes: usize) -> Result<(), AllocError> {
        self.meter.charge(thread_number(), bytes)
    }

    #[inline]
    fn refund(&self, bytes: usize) {
        self.meter.refund(thread_number(), bytes);
    }

    fn clear(&self) {
        self.meter.clear();
    }

    fn used(&self) -> usize {
        self.meter.used()
    }

    fn nested(&self) -> usize {
        self.meter.nested()
    }

    fn budget(&self) -> &Budget {
        self.meter.budget()
    }

    #[inline]
    fn with_tcache<R>(&self, operation: impl FnOnce(c_int) -> R) -> R {
        let first = thread_number();
        for number in [first, first + 1] {
            match self.slots[number & (self.slots.len() - 1)].0.try_lock() {
                Ok(mut state) => return operation(state.flags()),
                Err(TryLockError::Poisoned(state)) => {
                    return operation(state.into_inner().flags());
                }
                Err(TryLockError::WouldBlock) => {}
            }
        }
        operation(MALLOCX_TCACHE_NONE)
    }

    fn flush(&self) {
        for slot in &self.slots {
            let state = slot.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            if let State::Ready(tcache) = &*state {
                // SAFETY: the slot is locked.
                unsafe { tcache.flush() };
            }
        }
    }
}

/// A number of the calling thread's own: threads are counted as they come.
#[inline]
fn thread_number() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(1);
    thread_local! {
        /// 0 until this thread first asks.
        static NUMBER: Cell<usize> = const { Cell::new(0) };
    }
    NUMBER.with(|number| {
        if number.get() == 0 {
            number.set(THREADS.fetch_add(1, Relaxed));
        }
        number.get()
    })
}
