//! A program whose every allocation is served by malloc.
#![cfg(feature = "malloc")]

mod global;

#[global_allocator]
static GLOBAL: mallocer::global::Malloc = mallocer::global::Malloc;

#[test]
fn a_program_runs_on_it() {
    global::run();
}
