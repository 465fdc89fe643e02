//! Callbacks, on every backend.

use std::alloc::Layout;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use mallocer::{AllocError, Arena, Backend, Callbacks, SharedArena};

/// What an arena said that it took, and gave back.
#[derive(Default)]
struct Seen {
    taken: AtomicUsize,
    given: AtomicUsize,
}

fn counting(seen: &Arc<Seen>) -> Callbacks {
    let (one, other) = (seen.clone(), seen.clone());
    // SAFETY: counting uses no arena.
    unsafe {
        Callbacks::none()
            .on_commit(move |bytes| _ = one.taken.fetch_add(bytes, Relaxed))
            .on_decommit(move |bytes| _ = other.given.fetch_add(bytes, Relaxed))
    }
}

fn page() -> Layout {
    Layout::new::<[u8; 5000]>()
}

#[test]
fn what_is_taken_is_told_and_what_is_given_back() {
    for &backend in Backend::compiled() {
        let seen = Arc::new(Seen::default());
        let arena = Arena::builder()
            .backend(backend)
            .capacity(8 << 20)
            .callbacks(counting(&seen))
            .build()
            .unwrap();
        let child = arena.child().capacity(4 << 20).build().unwrap();
        for _ in 0..100 {
            arena.alloc(page());
            child.alloc(page());
        }
        let (taken, given) = (seen.taken.load(Relaxed), seen.given.load(Relaxed));
        assert!(taken - given >= arena.info().heap, "{backend}: {taken} - {given}");
        assert_eq!(taken - given, arena.budget().used(), "{backend}");
        drop(child);
        drop(arena);
        assert_eq!(seen.taken.load(Relaxed), seen.given.load(Relaxed), "{backend}");
    }
}

/// Chunks of an arena that may be freed when it runs out, oldest last.
type Cache = Arc<Mutex<Option<(SharedArena, Vec<usize>)>>>;

fn evict(cache: &Cache) -> bool {
    let mut cache = cache.lock().unwrap();
    let Some((arena, chunks)) = cache.as_mut() else { return false };
    let Some(chunk) = chunks.pop() else { return false };
    let chunk = NonNull::new(std::ptr::with_exposed_provenance_mut(chunk)).unwrap();
    // SAFETY: the chunk is the arena's, and nobody else has it.
    unsafe { arena.free(chunk) };
    // For a child that asks: what flist keeps is its own.
    arena.purge();
    true
}

#[test]
fn an_arena_that_is_exhausted_asks_and_tries_again() {
    for &backend in Backend::compiled() {
        let cache = Cache::default();
        let asked = Arc::new(AtomicUsize::new(0));
        let callbacks = Callbacks::none().on_exhausted({
            let (cache, asked) = (cache.clone(), asked.clone());
            move |refusal| {
                assert!(matches!(refusal, AllocError::Capacity { limit: 2_097_152, .. }));
                asked.fetch_add(1, Relaxed);
                evict(&cache)
            }
        });
        let arena = SharedArena::builder()
            .backend(backend)
            .capacity(2 << 20)
            .callbacks(callbacks)
            .build()
            .unwrap();
        *cache.lock().unwrap() = Some((arena.clone(), Vec::new()));
        for size in [100_000, 60_000, 200_000] {
            for _ in 0..50 {
                let chunk = arena.alloc(Layout::from_size_align(size, 8).unwrap());
                let address = chunk.cast::<u8>().as_ptr().expose_provenance();
                cache.lock().unwrap().as_mut().unwrap().1.push(address);
            }
        }
        assert!(asked.load(Relaxed) > 100, "{backend}: asked {} times", asked.load(Relaxed));
        // A child that its parent refuses asks the parent's callback.
        let child = arena.child().build().unwrap();
        child.alloc(Layout::new::<[u8; 1 << 20]>());
        // Who cannot free anything is refused.
        let refused = arena.try_alloc(Layout::new::<[u8; 4 << 20]>());
        assert!(matches!(refused, Err(AllocError::Capacity { .. })), "{backend}");
        assert!(cache.lock().unwrap().take().unwrap().1.is_empty(), "{backend}");
    }
}

/// An arena for one thread may be used by what it calls.
#[test]
fn an_arena_of_one_thread_asks_too() {
    thread_local!(static HELD: std::cell::RefCell<Option<(Arena, Vec<NonNull<u8>>)>> =
        const { std::cell::RefCell::new(None) });
    for &backend in Backend::compiled() {
        let give = |_: &AllocError| {
            HELD.with_borrow_mut(|held| {
                let Some((arena, chunks)) = held else { return false };
                let Some(chunk) = chunks.pop() else { return false };
                // SAFETY: the chunk is the arena's, and nobody else has it.
                unsafe { arena.free(chunk) };
                true
            })
        };
        let arena = Arena::builder()
            .backend(backend)
            .capacity(2 << 20)
            .callbacks(Callbacks::none().on_exhausted(give))
            .build()
            .unwrap();
        let child = arena.child().build().unwrap();
        let chunks = (0..15).map(|_| arena.alloc(Layout::new::<[u8; 100_000]>()).cast()).collect();
        HELD.set(Some((arena, chunks)));
        // The child asks for more than is left, so that its parent's chunks go.
        let whole = child.try_alloc(Layout::new::<[u8; 1_500_000]>());
        let (arena, chunks) = HELD.take().unwrap();
        assert!(chunks.len() < 15, "{backend}");
        // flist keeps what was freed for itself; a child gets it when the arena purges.
        if whole.is_err() {
            arena.purge();
            child.alloc(Layout::new::<[u8; 1_500_000]>());
        }
    }
}
