//! Hardened mode: what it catches beyond the rest, and that it changes no meaning.

use crate::harness::run_source;
use crate::misuse::programs;

const HARDENED: &str = "hardened=1";

/// Two short enough for the short ways, one of each ring in quarantine behind that, and one
/// between guards.
const SIZES: [usize; 6] = [8, 180, 700, 4 << 10, 20_000, 256 << 10];

#[test]
fn every_misuse_beyond_is_caught_at_every_size() {
    for (name, says) in programs("hardened") {
        for size in SIZES {
            let ended = run_source(&name, HARDENED).arg(size).end();
            println!("{name} {size}: {:?} {}", ended.signal, ended.stderr.trim_end());
            // A large chunk has guards around it, and is one when it is freed.
            if !(size > 32 << 10 && ended.faulted()) {
                ended.stopped(&says);
            }
        }
    }
}

#[test]
fn without_it_most_of_that_is_not_caught() {
    // What this test guards is the other: that it can fail.
    let ended = run_source("hardened/overflow_by_1.c", "").arg(8).end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let ended = run_source("unseen/reuse_at_once.c", "").arg(8).end();
    assert_eq!(ended.code, Some(1), "{ended:?}");
}

#[test]
fn what_was_freed_is_not_seen_again() {
    for (name, _) in programs("unseen") {
        for size in SIZES {
            let ended = run_source(&name, HARDENED).arg(size).end();
            let fault = size > 32 << 10 && ended.faulted();
            assert!(ended.code == Some(0) || fault, "{name} {size}: {ended:?}");
        }
    }
}

#[test]
fn ordinary_misuse_is_caught_as_ever() {
    for (name, says) in programs("misuse") {
        for size in SIZES {
            let ended = run_source(&name, HARDENED).arg(size).end();
            println!("{name} {size}: {}", ended.stderr.trim_end());
            ended.stopped(&says);
        }
    }
}

#[test]
fn the_functions_mean_the_same() {
    run_source("family.c", HARDENED).end().well();
}

#[test]
fn nothing_that_is_right_is_accused() {
    for options in ["", HARDENED] {
        run_source("mixture.c", options).end().well();
    }
}

#[test]
fn a_write_to_what_was_freed_is_found_at_the_end() {
    for size in [8, 100, 4096] {
        run_source("written_and_left.c", HARDENED).arg(size).end().caught("after it was freed");
    }
}

#[test]
fn every_large_chunk_has_guards_also_where_another_was() {
    run_source("guards.c", HARDENED).end().well();
    // Without them the program fails.
    assert_eq!(run_source("guards.c", "").end().code, Some(1));
}
