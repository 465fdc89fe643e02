//! The checks, one file for each promise.

mod allocation;
mod capacity;
mod config;
mod impossible;
mod programs;
mod realloc;
mod release;
mod threads;
mod together;

use core::alloc::Layout;
use std::panic::resume_unwind;
use std::thread;

use mallocer_core::{AllocError, Budget, Config, Mallocer};

use crate::report::Check;

/// A list of checks, named by their paths.
macro_rules! checks {
    ($M:ident: $($file:ident { $($check:ident),+ $(,)? })+) => {
        vec![$($(Check {
            name: concat!(stringify!($file), "::", stringify!($check)),
            run: $file::$check::<$M>,
        }),+),+]
    };
}

/// The checks for one thread.
pub(crate) fn single<M: Mallocer>() -> Vec<Check> {
    checks! { M:
        allocation {
            sizes_around_every_slab, large_sizes, alignments, large_alignments, zero_sizes,
            zeroed_memory, slabs_serve, missing_slabs_are_named, slab_sizes_are_slabs,
            many_small_chunks, moving_the_heap, purge_keeps_contents,
        }
        realloc {
            contents_to_the_smaller_size, growth_chains, shrink_chains, alignment_changes,
            failure_keeps_the_chunk, resize_in_place,
        }
        capacity {
            of_tiny_chunks, of_small_chunks, of_medium_chunks, of_large_chunks, of_mixed_chunks,
            filled_again_and_again, refusals_cost_nothing, serves_other_sizes_afterwards, of_the_parent, of_grandparents,
            shared_by_siblings,
        }
        release {
            empties_the_heap, of_an_empty_heap, a_hundred_times, spares_children,
            by_drop_refunds_the_parent, children_outlive_their_parent,
        }
        config { capacity_too_small, smallest_capacity, capacity_too_large, largest_capacity, limits_of_zero }
        impossible { sizes, alignments, reallocations }
        together { two_heaps, hundreds_of_heaps }
        programs { in_much_memory, in_little_memory, in_hardly_any_memory }
    }
}

/// The checks for many threads.
pub(crate) fn shared<M: Mallocer + Send + Sync>() -> Vec<Check> {
    checks! { M:
        threads {
            work_alone, work_in_little_memory, hand_chunks_over, hand_chunks_around,
            fifty_allocate_and_fifty_free, come_and_go, outlive_heaps, share_the_capacity,
            share_the_budget, release_after_them,
        }
    }
}

/// A heap of `capacity` bytes.
fn open<M: Mallocer>(capacity: usize) -> M {
    open_in(&Budget::UNLIMITED, capacity)
}

/// A heap of `capacity` bytes that draws on `parent`.
fn open_in<M: Mallocer>(parent: &Budget, capacity: usize) -> M {
    let mut config = Config::default();
    config.capacity = capacity;
    config.parent = parent.clone();
    M::open(&config).unwrap_or_else(|error| panic!("no heap of {capacity} bytes: {error}"))
}

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).expect("checks use valid layouts")
}

/// Unwraps an answer that there was no reason to refuse.
#[track_caller]
fn granted<T>(what: core::fmt::Arguments<'_>, answer: Result<T, AllocError>) -> T {
    answer.unwrap_or_else(|error| panic!("{what} is refused: {error}"))
}

/// Runs `work` on `count` threads, giving each its number, and waits for them. If
/// some panic, the first panic goes on here.
pub(crate) fn in_threads(count: usize, work: impl Fn(usize) + Sync) {
    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..count).map(|thread| scope.spawn(move || work(thread))).collect();
        let panics: Vec<_> = threads.into_iter().filter_map(|thread| thread.join().err()).collect();
        if let Some(panic) = panics.into_iter().next() {
            resume_unwind(panic);
        }
    });
}
