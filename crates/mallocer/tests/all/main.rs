//! The facade on every backend that is compiled in, in both kinds of arena.

#![cfg_attr(mallocer_nightly, feature(allocator_api))]

mod allocators;
mod backends;
mod building;
mod callbacks;
// What goes around a heap needs one.
#[cfg(any(feature = "flist", feature = "malloc", feature = "jemalloc", feature = "mimalloc"))]
mod debug;
mod methods;
mod nesting;
#[cfg(feature = "serde")]
mod serde;
mod threads;

use std::alloc::Layout;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

/// Runs a body with `$kind` as either kind of arena, on every backend.
macro_rules! each_arena {
    (|$kind:ident, $backend:ident| $body:block) => {
        for &$backend in mallocer::Backend::compiled() {
            {
                use mallocer::Arena as $kind;
                $body
            }
            {
                use mallocer::SharedArena as $kind;
                $body
            }
        }
    };
}

pub(crate) use each_arena;

fn bytes(size: usize) -> Layout {
    Layout::array::<u8>(size).unwrap()
}

/// Fills the whole length of a chunk with `byte`.
fn fill(chunk: NonNull<[u8]>, byte: u8) {
    // SAFETY: a chunk is valid for writes of its whole length.
    unsafe { chunk.cast::<u8>().write_bytes(byte, chunk.len()) };
}

/// Whether the whole length of a chunk that is filled holds `byte`.
fn holds(chunk: NonNull<[u8]>, byte: u8) -> bool {
    // SAFETY: the chunk is valid, and all of it is written.
    (0..chunk.len()).all(|at| unsafe { chunk.cast::<u8>().add(at).read() } == byte)
}

/// The message of the panic that `run` ends in.
fn panic_message<R>(run: impl FnOnce() -> R) -> String {
    let payload = catch_unwind(AssertUnwindSafe(run)).err().expect("nothing panicked");
    match payload.downcast::<String>() {
        Ok(message) => *message,
        Err(payload) => (*payload.downcast::<&str>().unwrap()).to_owned(),
    }
}
