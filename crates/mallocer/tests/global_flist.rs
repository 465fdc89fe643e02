//! A program whose every allocation is served by flist.
#![cfg(feature = "flist")]

mod global;

#[global_allocator]
static GLOBAL: mallocer::global::Flist = mallocer::global::Flist;

#[test]
fn a_program_runs_on_it() {
    global::run();
}
