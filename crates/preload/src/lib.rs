//! libmallocer.so: the C library's `malloc` family, served by flist.
//!
//! A program that is started with `LD_PRELOAD=libmallocer.so` runs on mallocer's engine:
//! the dynamic loader finds `malloc`, `free` and their kin here before it finds them in
//! the C library. There is no algorithm in this crate, only C symbols, and what they say:
//!
//! | module | what it is |
//! |---|---|
//! | `heap` | the one heap, opened by whatever comes first |
//! | `family` | `malloc`, `calloc`, `realloc`, `free` and their variants |
//! | `aligned` | `posix_memalign`, `aligned_alloc` and older names |
//! | `new`, `operators` | `operator new`; the deletes of C++ that know a size or an alignment |
//! | `inspect` | `mallinfo2`, `malloc_stats`, `malloc_trim` and the like |
//! | `statistics` | what the heap has seen, for programs that ask for it |
//! | `start` | what happens once: options, clusters, and the report at exit |
//! | `environment`, `options` | the variable `MALLOCER` |
//! | `report`, `delivery`, `output` | statistics as text and as JSON; where they go; writing without allocating |
//! | `foreign` | pointers that the C library's own `malloc` has handed out |
//! | `deepbind` | libraries that would pass ours on to the C library |
//! | `errno` | how a call says why there is no memory |
//!
//! # How it is built
//!
//! The profile `drop-in` aborts instead of unwinding, and then the crate is `no_std`: the
//! library needs nothing but the C library. In all other profiles (tests, lints, a build
//! of the whole workspace) it uses std, whose panics need no handler of ours; it works
//! then, too, but is larger.
//!
//! `build.rs` and `layout.ld` say where things lie: what every program runs is in one window of
//! the file that the kernel maps at once, so that a small process has little of it resident.
#![cfg_attr(panic = "abort", no_std)]

mod aligned;
#[cfg(target_arch = "x86_64")]
mod deepbind;
mod delivery;
mod environment;
mod errno;
mod family;
mod foreign;
mod heap;
mod inspect;
#[cfg(target_arch = "x86_64")]
mod new;
mod operators;
mod options;
mod output;
mod report;
mod start;
mod statistics;

/// Rust code in here that allocates (a ladder's table, say) does so on the same heap.
#[global_allocator]
static ALLOCATOR: heap::Rust = heap::Rust;

/// Nothing in the library panics; a bug that does must not go on.
#[cfg(panic = "abort")]
#[panic_handler]
fn panic(panic: &core::panic::PanicInfo<'_>) -> ! {
    output::say(format_args!("mallocer: {panic}\n"));
    // SAFETY: `abort` has no conditions.
    unsafe { libc::abort() }
}
