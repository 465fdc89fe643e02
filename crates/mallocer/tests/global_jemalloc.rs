//! A program whose every allocation is served by jemalloc.
#![cfg(feature = "jemalloc")]

mod global;

#[global_allocator]
static GLOBAL: mallocer::global::Jemalloc = mallocer::global::Jemalloc;

#[test]
fn a_program_runs_on_it() {
    global::run();
}
