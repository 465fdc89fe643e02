//! `mallocer run`: any program on libmallocer.so.

use std::os::unix::process::ExitStatusExt;
use std::process::Output;
use std::{env, fs};

use serde_json::Value;

use crate::library::library;
use crate::{command, error, stdout};

/// Runs `program` on the library under test, with these options of `mallocer run`.
fn run(options: &[&str], program: &[&str]) -> Output {
    let mut command = command(&["run", "--library"]);
    command.arg(library()).args(options).arg("--").args(program);
    command.output().expect("the program starts")
}

#[test]
fn run_sums_up_and_passes_output_and_exit_code_on() {
    let program = ["bash", "-c", "echo \"$LD_PRELOAD $MALLOCER\"; exit 7"];
    let output = run(&["--cluster", "64x1000"], &program);
    let (out, err) = (stdout(&output), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(7), "{err}");
    assert!(out.contains("libmallocer.so") && out.contains("cluster=64x1000,stats=exit"), "{out}");
    assert_eq!(out.lines().count(), 1, "{out}");
    assert!(err.contains("peak heap size") && err.contains("misses"), "{err}");
}

#[test]
fn run_ends_by_the_signal_that_ended_the_program() {
    let output = run(&[], &["sh", "-c", "kill -TERM $$"]);
    assert_eq!(output.status.signal(), Some(15));
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(err.contains("no summary: the program was ended by signal 15"), "{err}");
}

#[test]
fn run_writes_the_whole_report_as_json() {
    let file = env::temp_dir().join(format!("mallocer-run-json-{}", std::process::id()));
    let name = file.to_str().expect("a path in UTF-8");
    let output = run(&["--quiet", "--hardened", "--json", name], &["ls", "/"]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let report: Value = serde_json::from_slice(&fs::read(&file).expect("a report")).expect("JSON");
    fs::remove_file(file).expect("it was written");
    let blocks = report["block_list"].as_array().expect("a list");
    assert!(!blocks.is_empty(), "ls allocates");
    assert_eq!(Some(blocks.len() as u64), report["blocks"].as_u64());
}

#[test]
fn run_says_what_is_missing() {
    let message = error(&["run", "--library", "/nowhere/lib.so", "--", "true"], 2);
    assert!(message.contains("/nowhere/lib.so"), "{message}");
    let library = library().to_str().expect("a path in UTF-8");
    let message = error(&["run", "--library", library, "--", "/nowhere/program"], 127);
    assert!(message.contains("/nowhere/program"), "{message}");
    let message = error(&["run", "--cluster", "many", "--", "true"], 2);
    assert!(message.contains("64x100000"), "{message}");
}
