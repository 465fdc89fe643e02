//! The gate: threads that begin or end, and heaps that are destroyed.
//!
//! In mimalloc 3 each thread that allocates from a heap has a *theap* there: its own pages
//! and lists. A theap is linked into the lists of both its thread and its heap. Two things
//! change these lists from the thread's side:
//!
//! * its first allocation from a heap makes a theap;
//! * its end, in the destructor of a pthread key of mimalloc's, abandons the pages of all
//!   its theaps and frees them.
//!
//! `mi_heap_destroy` changes them from the heap's side, for threads that still live. In
//! 3.3.2 these do not go together: a thread that ends reads the heap of each theap after
//! the destruction has cleared it, and the process crashes. It is enough that a heap is
//! dropped right after its last thread has returned from its closure, as scoped threads do.
//!
//! # Protocol
//!
//! A thread is *in motion* while it makes its first theap in a heap, and from the beginning
//! of its end until mimalloc's destructor has run. A heap is destroyed only while no thread
//! is in motion, and no thread comes into motion meanwhile:
//!
//! ```text
//! motion > 0  ⇒  no heap is being destroyed
//! ```
//!
//! Whoever wants to destroy a heap while threads are in motion does not wait (they may be
//! running destructors of the program's that wait for him): the heap goes to the
//! *graveyard*, and the last thread to come out of motion destroys what lies there. A thread
//! that is about to come into motion lets a full graveyard be emptied first, but waits only
//! so long.
//!
//! # How a thread's end is seen
//!
//! ```text
//! closure returns → thread-local destructors → destructors of pthread keys → gone
//!                   Leaving: motion + 1         mimalloc's        ours: motion − 1
//! ```
//!
//! Thread-local destructors run before those of keys. The order among keys is not specified,
//! but a destructor that sets its key again is called again when all others have been
//! called: so ours takes its second call for the end.

use std::cell::Cell;
use std::ptr;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use libmimalloc_sys::{mi_heap_destroy, mi_heap_t};

/// How many heaps may wait to be destroyed before threads are held back.
const FULL_GRAVEYARD: usize = 16;

/// How long a thread is held back at most.
const MOST_WAIT: Duration = Duration::from_millis(10);

/// Heaps that this thread is known to have a theap in: enough for threads that work on
/// several arenas in turn.
const KNOWN: usize = 8;

/// Where a thread is in its life.
#[derive(Clone, Copy, PartialEq)]
enum Stage {
    /// It has not allocated from a shared heap yet.
    Unknown,
    /// Its end will be seen.
    Watched,
    /// Its thread-local variables are being destroyed: it is in motion.
    Leaving,
    /// As `Leaving`, and it has allocated since.
    LeavingLate,
    /// mimalloc has seen its end.
    Gone,
}

/// What is known of a thread. Has no destructor, so it can be read to the very end.
struct Thread {
    stage: Cell<Stage>,
    /// A number of its own; 0 until it first asks.
    number: Cell<usize>,
    /// The numbers of heaps that it has a theap in.
    known: [Cell<usize>; KNOWN],
}

thread_local! {
    static THREAD: Thread = const {
        Thread {
            stage: Cell::new(Stage::Unknown),
            number: Cell::new(0),
            known: [const { Cell::new(0) }; KNOWN],
        }
    };
    static LEAVING: Leaving = const { Leaving };
}

/// A number of the calling thread's own: threads are counted as they come.
#[inline]
pub(crate) fn number() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(1);
    THREAD.with(|thread| {
        if thread.number.get() == 0 {
            thread.number.set(THREADS.fetch_add(1, Relaxed));
        }
        thread.number.get()
    })
}

/// A number for a heap, never used again.
pub(crate) fn heap_number() -> usize {
    static HEAPS: AtomicUsize = AtomicUsize::new(1);
    HEAPS.fetch_add(1, Relaxed)
}

/// Runs an allocation from the heap of this number, in motion if it is the thread's first
/// there. `None` if the thread is gone.
#[inline]
pub(crate) fn allocating<R>(heap: usize, allocate: impl FnOnce() -> R) -> Option<R> {
    let known = THREAD.with(|thread| thread.known[heap % KNOWN].get() == heap);
    if known { Some(allocate()) } else { first_allocation(heap, allocate) }
}

#[cold]
fn first_allocation<R>(heap: usize, allocate: impl FnOnce() -> R) -> Option<R> {
    THREAD.with(|thread| {
        match thread.stage.get() {
            Stage::Unknown => watch(thread),
            Stage::Watched => {}
            // In motion already. Nothing is noted as known: mimalloc may end the thread
            // any moment, and its theaps with it.
            Stage::Leaving | Stage::LeavingLate => {
                thread.stage.set(Stage::LeavingLate);
                return Some(allocate());
            }
            Stage::Gone => return None,
        }
        gate().begin_motion();
        let result = allocate();
        thread.known[heap % KNOWN].set(heap);
        gate().end_motion();
        Some(result)
    })
}

/// Destroys a heap, now or when no thread is in motion.
///
/// # Safety
///
/// Nothing of the heap is used afterwards.
pub(crate) unsafe fn destroy(heap: *mut mi_heap_t) {
    gate().bury(heap);
}

/// Arranges that the end of this thread is seen.
fn watch(thread: &Thread) {
    // Initialized here, so that its destructor runs.
    LEAVING.with(|_| ());
    // SAFETY: the key exists; the value only has to be different from null.
    unsafe { libc::pthread_setspecific(end_key(), ptr::without_provenance(1)) };
    thread.stage.set(Stage::Watched);
}

/// Begins the end of a thread when it is dropped.
struct Leaving;

impl Drop for Leaving {
    fn drop(&mut self) {
        THREAD.with(|thread| {
            thread.stage.set(Stage::Leaving);
            thread.known.iter().for_each(|known| known.set(0));
        });
        gate().begin_motion();
    }
}

/// The pthread key whose destructor sees threads end.
fn end_key() -> libc::pthread_key_t {
    static KEY: OnceLock<libc::pthread_key_t> = OnceLock::new();
    *KEY.get_or_init(|| {
        let mut key = 0;
        // SAFETY: both pointers are valid.
        let refused = unsafe { libc::pthread_key_create(&mut key, Some(thread_ends)) };
        assert_eq!(refused, 0, "the process has no thread-specific key left");
        key
    })
}

/// The destructor of [`end_key`]. Its argument counts the calls.
unsafe extern "C" fn thread_ends(calls: *mut libc::c_void) {
    THREAD.with(|thread| {
        let stage = thread.stage.get();
        if calls.addr() > 1 && stage == Stage::Leaving {
            thread.stage.set(Stage::Gone);
            gate().end_motion();
            return;
        }
        if stage == Stage::LeavingLate {
            thread.stage.set(Stage::Leaving);
        }
        // SAFETY: the key exists. Should the system not call again, the thread stays in
        // motion, and heaps stay in the graveyard: nothing breaks.
        unsafe { libc::pthread_setspecific(end_key(), ptr::without_provenance(2)) };
    });
}

struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Threads in motion.
    motion: usize,
    /// Somebody is destroying heaps.
    destroying: bool,
    /// Heaps to be destroyed, by address.
    graveyard: Vec<usize>,
}

fn gate() -> &'static Gate {
    static GATE: OnceLock<Gate> = OnceLock::new();
    GATE.get_or_init(|| Gate { state: Mutex::default(), changed: Condvar::new() })
}

impl Gate {
    fn begin_motion(&self) {
        let mut state = self.lock();
        if state.graveyard.len() >= FULL_GRAVEYARD {
            let full = |state: &mut State| state.graveyard.len() >= FULL_GRAVEYARD;
            let waited = self.changed.wait_timeout_while(state, MOST_WAIT, full);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        while state.destroying {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.motion += 1;
    }

    fn end_motion(&self) {
        let mut state = self.lock();
        state.motion -= 1;
        self.empty_graveyard(state);
    }

    fn bury(&self, heap: *mut mi_heap_t) {
        let mut state = self.lock();
        state.graveyard.push(heap.expose_provenance());
        self.empty_graveyard(state);
    }

    /// Destroys the heaps that wait for it, if no thread is in motion.
    fn empty_graveyard<'a>(&'a self, mut state: MutexGuard<'a, State>) {
        while state.motion == 0 && !state.destroying && !state.graveyard.is_empty() {
            let heaps = std::mem::take(&mut state.graveyard);
            state.destroying = true;
            drop(state);
            for heap in heaps {
                // SAFETY: whoever has buried it says that nothing of it is used any more,
                // and no thread is in motion.
                unsafe { mi_heap_destroy(ptr::with_exposed_provenance_mut(heap)) };
            }
            state = self.lock();
            state.destroying = false;
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
