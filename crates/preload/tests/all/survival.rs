//! What a process goes through: under the default, with clusters, and hardened.

use crate::harness::{compiled, run_source};

const MODES: [&str; 3] = ["", "tiny=64x1000,decay=0", "hardened=1"];

#[track_caller]
fn survives(what: &str) {
    for options in MODES {
        println!("{options}");
        run_source("survival.c", options).arg(what).end().well();
    }
}

#[test]
fn forks_while_threads_are_at_work() {
    survives("forks");
}

#[test]
fn thousands_of_short_threads() {
    survives("threads");
}

#[test]
fn signals_at_any_moment() {
    survives("signals");
}

#[test]
fn libraries_that_come_and_go() {
    survives("libraries");
}

#[test]
fn before_the_first_constructor_and_after_the_last_destructor() {
    survives("ends");
}

#[test]
fn chunks_handed_from_thread_to_thread() {
    survives("handed_over");
}

#[test]
fn an_address_space_limit_is_kept_and_told_by_null() {
    compiled("survival.c");
    for megabytes in [64, 500] {
        for options in MODES {
            let run = run_source("limit.c", options).arg(megabytes).arg("limited").arg(megabytes);
            run.end().well();
        }
    }
}

#[test]
fn threads_and_forks_under_a_limit() {
    compiled("survival.c");
    for options in MODES {
        run_source("limit.c", options).arg(300).arg("threads").end().well();
        run_source("limit.c", options).arg(300).arg("forks").end().well();
    }
}
