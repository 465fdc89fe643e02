//! All shared arenas that are alive: for threads that end, and for forks.
//!
//! A thread that ends must leave its magazines in every shared arena to others, so that nothing
//! is lost; an arena that is dropped meanwhile must not be touched. Both take
//! the registry's lock. Locks are always taken in this order:
//!
//! ```text
//! registry  →  one arena's heap (all of them, in a fork)  →  reservation
//! ```

use core::ptr;
use core::sync::atomic::AtomicPtr;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::hardened::Hardened;
use crate::local::{Local, give_back};
use crate::lock::Lock;
use crate::primitive::{AtomicU64, process_wide};
use crate::reservation::Reservation;
use crate::sharing::Sharing;

process_wide! {
    static REGISTRY: Lock<Registry> = Lock::new(Registry::EMPTY);
}

process_wide! {
    /// The number of the next thread. Numbers are never used again.
    static NEXT_THREAD: AtomicU64 = AtomicU64::new(1);
}

struct Registry {
    /// The arenas, linked through themselves.
    first: *const Sharing,
    /// Whose destructor runs when a thread ends.
    key: Option<libc::pthread_key_t>,
    /// Whether forks are prepared for.
    forks: bool,
}

impl Registry {
    /// In a model there are no forks, and threads say themselves when they end.
    const EMPTY: Registry = {
        let key = if cfg!(mallocer_loom) { Some(0) } else { None };
        Registry { first: ptr::null(), key, forks: cfg!(mallocer_loom) }
    };
}

// SAFETY: the arenas are shared between threads, and alive as long as they are in the
// list.
unsafe impl Send for Registry {}

/// An arena's neighbours in the list. Changed under the registry's lock.
pub(crate) struct Links {
    prev: *const Sharing,
    next: *const Sharing,
}

impl Links {
    pub(crate) const NONE: Links = Links { prev: ptr::null(), next: ptr::null() };
}

/// Puts an arena into the list.
///
/// # Safety
///
/// It stays where it is until it is taken out.
pub(crate) unsafe fn enter(arena: *const Sharing) {
    let mut registry = REGISTRY.lock();
    if !registry.forks {
        // SAFETY: the three functions may run around any fork. If there is no memory to
        // note them, forks work as long as no other thread is in an arena.
        registry.forks = unsafe {
            libc::pthread_atfork(Some(before_fork), Some(after_fork), Some(after_fork)) == 0
        };
    }
    let next = registry.first;
    registry.first = arena;
    // SAFETY: arenas in the list are alive; their links change under the lock.
    unsafe {
        *(*arena).links.get() = Links { prev: ptr::null(), next };
        if !next.is_null() {
            (*(*next).links.get()).prev = arena;
        }
    }
}

/// Takes an arena out of the list: no thread that ends touches it afterwards.
///
/// # Safety
///
/// It is in the list.
pub(crate) unsafe fn leave(arena: *const Sharing) {
    let mut registry = REGISTRY.lock();
    // SAFETY: as in `enter`.
    unsafe {
        let Links { prev, next } = (*arena).links.get().replace(Links::NONE);
        if prev.is_null() {
            registry.first = next;
        } else {
            (*(*prev).links.get()).next = next;
        }
        if !next.is_null() {
            (*(*next).links.get()).prev = prev;
        }
    }
}

/// The hardened layer of the process's heap, if it has one.
static HARDENED: AtomicPtr<Hardened> = AtomicPtr::new(ptr::null_mut());

fn hardened() -> Option<&'static Hardened> {
    // SAFETY: null, or what `enter_hardened` was given.
    unsafe { HARDENED.load(Acquire).as_ref() }
}

/// Notes the hardened layer, for forks.
pub(crate) fn enter_hardened(layer: &'static Hardened) {
    HARDENED.store(ptr::from_ref(layer).cast_mut(), Release);
}

/// A number for the calling thread, with the words `local`, whose end will be noticed;
/// `None` if the system has no more keys.
pub(crate) fn begin_thread(local: *mut Local) -> Option<u64> {
    let key = {
        let mut registry = REGISTRY.lock();
        if registry.key.is_none() {
            let mut key = 0;
            // SAFETY: the destructor may run at any thread's end.
            let made = unsafe { libc::pthread_key_create(&mut key, Some(end_thread)) };
            registry.key = (made == 0).then_some(key);
        }
        registry.key?
    };
    // SAFETY: the key was made above; the thread's words live as long as the thread.
    let set = cfg!(mallocer_loom) || unsafe { libc::pthread_setspecific(key, local.cast()) } == 0;
    set.then(|| NEXT_THREAD.fetch_add(1, Relaxed))
}

/// Flushes the ending thread's magazines in every arena. It may use arenas afterwards:
/// then it begins anew.
pub(crate) extern "C" fn end_thread(local: *mut libc::c_void) {
    let local = local.cast::<Local>();
    // SAFETY: the words are this thread's.
    let thread = unsafe {
        let thread = (*local).thread;
        (*local).clear();
        give_back(local);
        thread
    };
    let mut found = None;
    each(&REGISTRY.lock(), |arena| {
        if let Some(misuse) = arena.end_thread(thread) {
            found = Some((arena.tell, misuse));
        }
    });
    // Telling allocates, perhaps in an arena that this thread must register in anew.
    if let Some((tell, misuse)) = found {
        tell(misuse);
    }
}

fn each(registry: &Registry, mut act: impl FnMut(&Sharing)) {
    let mut arena = registry.first;
    // SAFETY: arenas in the list are alive while the lock is held.
    unsafe {
        while let Some(one) = arena.as_ref() {
            act(one);
            arena = (*one.links.get()).next;
        }
    }
}

/// Before a fork all locks are taken, so that the child gets every heap whole.
extern "C" fn before_fork() {
    let registry = REGISTRY.lock();
    // Its locks are held while an arena's is taken, never the other way round.
    if let Some(hardened) = hardened() {
        hardened.hold();
    }
    each(&registry, |arena| arena.heap.hold());
    core::mem::forget(registry);
    if let Some(reservation) = Reservation::made() {
        reservation.hold();
    }
}

/// In parent and child they are given back.
extern "C" fn after_fork() {
    // SAFETY: `before_fork` took all of them, in this thread (of which the child has a
    // copy).
    unsafe {
        if let Some(reservation) = Reservation::made() {
            reservation.let_go();
        }
        let registry = REGISTRY.held();
        each(&registry, |arena| arena.heap.let_go());
        if let Some(hardened) = hardened() {
            hardened.let_go();
        }
    }
}
