//! Statistics: asked for by the program, at exit, and at a signal.

use std::env;
use std::fs;

use crate::harness::run_source;

#[test]
fn a_program_can_ask() {
    run_source("statistics.c", "").end().well();
    run_source("statistics.c", "tiny=96x1000").end().well();
}

#[test]
fn at_exit_as_text() {
    let said = run_source("statistics.c", "stats=exit").end().well().stderr;
    let parts =
        ["max heap size", "peak heap size", "current heap size", "current use", "misses", "blocks"];
    for part in parts {
        assert_eq!(said.matches(part).count(), 1, "{part}: {said}");
    }
}

#[test]
fn at_a_signal_and_the_program_goes_on() {
    for (option, signal) in [("stats=signal", 12), ("stats=signal:10", 10)] {
        let said = run_source("statistics.c", option).arg(signal).end().well().stderr;
        assert!(said.starts_with("mallocer: statistics of process"), "{said}");
        assert!(said.ends_with("after the signal\n"), "{said}");
    }
}

#[test]
fn to_a_file_as_json() {
    let name = format!("mallocer-statistics-{}.", std::process::id());
    let pattern = env::temp_dir().join(name.clone() + "%p");
    let options = format!("stats=exit,format=json,file={}", pattern.display());
    let ended = run_source("statistics.c", &options).end().well();
    assert_eq!(ended.stderr, "");
    let folder = fs::read_dir(env::temp_dir()).unwrap();
    let mut found = folder
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().is_some_and(|n| n.starts_with(&name)));
    let path = found.next().expect("one file was written");
    let report: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    fs::remove_file(path).unwrap();
    assert!(found.next().is_none());
    let blocks = report["block_list"].as_array().unwrap();
    assert_eq!(blocks.len() as u64, report["blocks"].as_u64().unwrap());
    let bytes: u64 = blocks.iter().map(|block| block["bytes"].as_u64().unwrap()).sum();
    assert_eq!(bytes, report["heap"].as_u64().unwrap());
    assert!(report["peak_heap"].as_u64().unwrap() >= 96 * 100_000);
}

#[test]
fn a_file_that_cannot_be_written_is_said() {
    let said = run_source("statistics.c", "stats=exit,file=/nowhere/x").end().well().stderr;
    assert_eq!(said, "mallocer: MALLOCER: file=/nowhere/x cannot be written\n");
}
