//! The functions themselves.

use crate::harness::run_source;

#[test]
fn every_function_is_as_the_manual_pages_say() {
    let ended = run_source("family.c", "").end().well();
    assert!(ended.stderr.contains("mallocer: statistics"), "malloc_stats: {}", ended.stderr);
    assert!(ended.stderr.contains("<system type=\"max\""), "malloc_info: {}", ended.stderr);
}

#[test]
fn clusters_and_decay_change_no_meaning() {
    run_source("family.c", "tiny=64x1000,100k=10,decay=0").end().well();
}

#[test]
fn a_realloc_frees_nothing_that_the_program_sees() {
    for options in ["", "hardened=1"] {
        run_source("wrapped.c", options).end().well();
    }
}
