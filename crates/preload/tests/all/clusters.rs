//! Clusters: while requests stay within them, there is no system call at all.
//!
//! The program makes two system calls as marks, and `strace` tells of all there are.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::compiled;
use crate::library::library;

const OPTIONS: &str = "tiny=64x100000,small=512x20000,1m=20,decay=0";

/// The system calls of the program between its marks, or nothing if there is no `strace`.
fn calls_between_marks(name: &str, options: &str, args: &[&str]) -> Option<Vec<String>> {
    let strace = Command::new("strace").arg("-V").stdout(Stdio::null()).status();
    if !strace.is_ok_and(|status| status.success()) {
        eprintln!("NOT TESTED: strace is not installed; CI has it");
        return None;
    }
    // Tests run beside each other, here and in other processes.
    let file = format!("trace-{}-{}-{}", std::process::id(), args.len(), options.len());
    let trace = Path::new(env!("CARGO_TARGET_TMPDIR")).join(file);
    let status = Command::new("strace")
        .arg("-f")
        .arg("-o")
        .arg(&trace)
        .arg("-E")
        .arg(format!("LD_PRELOAD={}", library().display()))
        .arg("-E")
        .arg(format!("MALLOCER={options}"))
        .arg(compiled(name))
        .args(args)
        .status()
        .unwrap();
    assert!(status.success());
    let text = fs::read_to_string(&trace).unwrap();
    fs::remove_file(&trace).unwrap();
    let calls: Vec<&str> = text.lines().collect();
    let is_mark = |call: &&str| call.contains("getppid(");
    let marks: Vec<_> = calls.iter().enumerate().filter(|(_, call)| is_mark(call)).collect();
    assert_eq!(marks.len(), 2, "{text}");
    let between = &calls[marks[0].0 + 1..marks[1].0];
    Some(between.iter().map(|call| call.to_string()).collect())
}

#[test]
fn within_clusters_there_is_no_system_call() {
    if let Some(calls) = calls_between_marks("clusters.c", OPTIONS, &[]) {
        assert!(calls.is_empty(), "{} calls: {calls:#?}", calls.len());
    }
}

#[test]
fn beyond_clusters_or_without_them_there_are_some() {
    for (options, args) in [(OPTIONS, &["beyond"][..]), ("", &[])] {
        if let Some(calls) = calls_between_marks("clusters.c", options, args) {
            assert!(!calls.is_empty(), "{options:?} {args:?}");
        }
    }
}
