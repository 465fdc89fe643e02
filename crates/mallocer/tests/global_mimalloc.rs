//! A program whose every allocation is served by mimalloc.
#![cfg(feature = "mimalloc")]

mod global;

#[global_allocator]
static GLOBAL: mallocer::global::Mimalloc = mallocer::global::Mimalloc;

#[test]
fn a_program_runs_on_it() {
    global::run();
}
