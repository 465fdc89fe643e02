//! Every option at once, beside a fast path that does not know of them.
//!
//! Callbacks, hints, decay, counting and tracing are asked for when an arena is built, or by
//! its type. What an allocation and a free execute is the same in a program that uses none of
//! them: `.ci/options.sh` compares the instructions of the functions below with those of
//! `crates/flist/examples/fast_path.rs`, which are the same source in a program without.

use std::alloc::Layout;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use mallocer::debug::{Counted, Traced};
use mallocer::{Arena, BuildError, Callbacks, Flist, Hints, Mallocer, SharedArena, SharedFlist};

fn start(chunk: Result<NonNull<[u8]>, mallocer::AllocError>) -> *mut u8 {
    chunk.map_or(null_mut(), |chunk| chunk.cast().as_ptr())
}

fn layout(size: usize) -> Layout {
    // SAFETY: this program asks for small sizes only, and 8 is a power of two.
    unsafe { Layout::from_size_align_unchecked(size, 8) }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn single_alloc(heap: &Flist, size: usize) -> *mut u8 {
    start(heap.try_alloc(layout(size)))
}

#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn single_free(heap: &Flist, chunk: NonNull<u8>) {
    // SAFETY: passed on.
    unsafe { heap.free(chunk) }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn shared_alloc(heap: &SharedFlist, size: usize) -> *mut u8 {
    start(heap.try_alloc(layout(size)))
}

#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn shared_free(heap: &SharedFlist, chunk: NonNull<u8>) {
    // SAFETY: passed on.
    unsafe { heap.free(chunk) }
}

static TAKEN: AtomicUsize = AtomicUsize::new(0);

fn callbacks() -> Callbacks {
    let callbacks = Callbacks::none().on_exhausted(|refusal| {
        println!("asked: {refusal}");
        false
    });
    // SAFETY: counting uses no arena.
    unsafe {
        callbacks
            .on_commit(|bytes| _ = TAKEN.fetch_add(bytes, Relaxed))
            .on_decommit(|bytes| _ = TAKEN.fetch_sub(bytes, Relaxed))
    }
}

fn main() -> Result<(), BuildError> {
    let arena = Arena::<Flist>::builder()
        .capacity(1 << 20)
        .hints(Hints::GROWING | Hints::LONG_LIVED)
        .decay(Duration::from_millis(10))
        .callbacks(callbacks())
        .build()?;
    let shared =
        SharedArena::<SharedFlist>::builder().capacity(1 << 20).callbacks(callbacks()).build()?;
    for size in 1..1000 {
        let (one, other) = (single_alloc(arena.heap(), size), shared_alloc(shared.heap(), size));
        let (Some(one), Some(other)) = (NonNull::new(one), NonNull::new(other)) else {
            panic!("a mebibyte is enough");
        };
        // SAFETY: both chunks were allocated above, and are freed once.
        unsafe {
            single_free(arena.heap(), one);
            shared_free(shared.heap(), other);
        }
    }
    println!("{} bytes taken, as the callbacks counted; {}", TAKEN.load(Relaxed), arena.info());
    assert!(arena.try_alloc(Layout::new::<[u8; 2 << 20]>()).is_err());

    let counted = Arena::<Counted<Traced<Flist>>>::builder().capacity(1 << 20).build()?;
    let chunk = counted.alloc(Layout::new::<[u64; 9]>());
    println!("held: {:?}", counted.heap().inner().held());
    // SAFETY: allocated above, and freed once.
    unsafe { counted.free(chunk.cast()) };
    println!("{}", counted.heap().counts());

    drop((arena, shared));
    assert_eq!(TAKEN.load(Relaxed), 0);
    Ok(())
}
