//! What a process pays for the library before it has done much: OS pages of its file.

use std::env;

use crate::harness::run_source;

/// As `build.rs` and `layout.ld` have it: symbols and constants 20 KiB, a window of code that
/// all run, 64 KiB, and two OS pages that are written to; and another two for what may come. Code
/// that small programs do not run would be 50 KiB more.
const MOST_KIB: u64 = 100;

#[test]
fn a_small_program_has_little_of_the_library_resident() {
    let said = run_source("resident.c", "").end().well().stderr;
    let resident: u64 = said.trim_end().parse().expect("a number of KiB");
    assert!(resident > 0, "the library was not found");
    // A library that somebody names may be a debug build, which is not laid out for this.
    let named = env::var_os("MALLOCER_LIBRARY").is_some();
    assert!(named || resident <= MOST_KIB, "{resident} KiB");
}
