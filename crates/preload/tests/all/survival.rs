//! What a process goes through: under the default, with clusters, and hardened.

use crate::harness::{Run, compiled, run_source};

const MODES: [&str; 3] = ["", "tiny=64x1000,decay=0", "hardened=1"];

/// What a process may have only so much of. Under a limit on data, as under strict
/// overcommit, memory must be committed before it is used.
const LIMITS: [&str; 2] = ["address space", "data"];

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

/// Runs a part of survival.c, with arguments for it, under a limit of so many MiB on `what`.
#[track_caller]
fn survives_under_a_limit(what: &str, megabytes: usize, options: &str, part: &[&str]) {
    println!("{megabytes} MiB of {what}, {options:?}");
    compiled("survival.c");
    let run = run_source("limit.c", options).arg(what).arg(megabytes);
    part.iter().fold(run, Run::arg).end().well();
}

#[test]
fn a_limit_is_kept_and_told_by_null() {
    for what in LIMITS {
        for options in MODES {
            survives_under_a_limit(what, 64, options, &["limited", "64"]);
            survives_under_a_limit(what, 500, options, &["limited", "500"]);
        }
    }
}

#[test]
fn threads_and_forks_under_a_limit() {
    for what in LIMITS {
        for options in MODES {
            survives_under_a_limit(what, 300, options, &["threads"]);
            survives_under_a_limit(what, 300, options, &["forks"]);
        }
    }
}
