//! The fast paths as functions of their own, for `.ci/disassembly.sh` to look at.
//!
//! ```sh
//! .ci/disassembly.sh
//! ```
//!
//! Each function is what a program compiles to that allocates a size it does not know
//! until it runs, or frees by pointer. Run by itself, the example only shows that they
//! work.

use std::alloc::Layout;
use std::ptr::{NonNull, null_mut};

use mallocer_core::{Config, Mallocer};
use mallocer_flist::{Flist, SharedFlist};

fn start(chunk: Result<NonNull<[u8]>, mallocer_core::AllocError>) -> *mut u8 {
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
unsafe extern "C" fn single_free_sized(heap: &Flist, chunk: NonNull<u8>, size: usize) {
    // SAFETY: passed on.
    unsafe { heap.free_sized(chunk, layout(size)) }
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

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (single, shared) =
        (Flist::open(&Config::default())?, SharedFlist::open(&Config::default())?);
    for size in [16, 100, 3000] {
        let chunks = [single_alloc(&single, size), single_alloc(&single, size)];
        let [first, second] = chunks.map(|chunk| NonNull::new(chunk).expect("there is memory"));
        let third = NonNull::new(shared_alloc(&shared, size)).expect("there is memory");
        // SAFETY: each chunk is freed once, in its own heap, with the size asked for.
        unsafe {
            single_free(&single, first);
            single_free_sized(&single, second, size);
            shared_free(&shared, third);
        }
    }
    println!("{} {}", single.info(), shared.info());
    Ok(())
}
