//! Every misuse, one to a program: caught by default, at four sizes.

use std::fs;

use crate::harness::{compiled, run_source, source};

/// Of a pool with many chunks, of one with few, of one that all threads share, and an extent.
pub(crate) const SIZES: [usize; 4] = [8, 4 << 10, 40 << 10, 256 << 10];

/// What a program says of itself in its first line, `/* says: … */`; nothing if that is
/// `/* faults */`.
fn says(name: &str) -> String {
    let text = fs::read_to_string(source(name)).unwrap();
    let line = text.lines().next().unwrap_or_default();
    if line == "/* faults */" {
        return String::new();
    }
    let words = line.strip_prefix("/* says: ").and_then(|rest| rest.strip_suffix(" */"));
    words.unwrap_or_else(|| panic!("{name} does not begin with what it says")).to_string()
}

pub(crate) fn programs(folder: &str) -> Vec<(String, String)> {
    let mut programs: Vec<_> = fs::read_dir(source(folder))
        .unwrap()
        .map(|entry| format!("{folder}/{}", entry.unwrap().file_name().to_str().unwrap()))
        .map(|name| (says(&name), name))
        .map(|(says, name)| (name, says))
        .collect();
    programs.sort();
    assert!(!programs.is_empty(), "{folder} is empty");
    programs
}

#[test]
fn chunks_of_the_c_library_are_passed_on() {
    for options in ["", "hardened=1"] {
        run_source("foreign.c", options).end().well();
    }
    let ended = run_source("foreign.c", "").arg("twice").end();
    assert_eq!(ended.signal, Some(6), "{ended:?}");
    assert!(!ended.stderr.contains("mallocer"), "{ended:?}");
}

#[cfg(target_arch = "x86_64")]
#[test]
fn chunks_do_not_end_in_the_c_library() {
    let library = compiled("shared/deepbound.c");
    let run = |options| run_source("deepbind.c", options).arg(library.display()).end();
    for options in ["", "hardened=1"] {
        run(options).well();
    }
    // That is what would become of them.
    let ended = run("deepbind=1");
    assert!(matches!(ended.signal, Some(6 | 11)), "{ended:?}");
}

#[test]
fn every_misuse_is_caught_at_every_size() {
    for (name, says) in programs("misuse") {
        for size in SIZES {
            let ended = run_source(&name, "").arg(size).end();
            println!("{name} {size}: {}", ended.stderr.trim_end());
            ended.stopped(&says);
        }
    }
}
