//! The program as its users run it: arguments in, output and exit code out.

mod compare;
#[path = "../../../preload/tests/all/library.rs"]
mod library;
mod run;
mod slabs;

use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// Runs the program in an environment that changes nothing.
fn mallocer(arguments: &[&str]) -> Output {
    command(arguments).output().expect("the program starts")
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mallocer"));
    command.args(arguments);
    for name in ["MALLOCER", "MALLOCER_BACKEND", "NO_COLOR", "CLICOLOR_FORCE", "COLUMNS"] {
        command.env_remove(name);
    }
    command
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

/// The message of a run that must fail with `code`, and print nothing else.
fn error(arguments: &[&str], code: i32) -> String {
    let output = mallocer(arguments);
    let message = String::from_utf8(output.stderr.clone()).expect("text");
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {message}");
    assert!(message.starts_with("error: "), "{arguments:?}: {message}");
    assert_eq!(stdout(&output), "", "{arguments:?}");
    message
}

fn json(arguments: &[&str]) -> Value {
    let output = mallocer(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The backends of this build, as `mallocer backends` has them.
fn compiled() -> Vec<String> {
    let backends = json(&["backends", "--json"]);
    let compiled = backends["backends"].as_array().expect("a list").iter();
    compiled
        .filter(|backend| backend["compiled"] == true)
        .map(|backend| backend["name"].as_str().expect("a name").to_owned())
        .collect()
}

#[test]
fn all_backends_are_listed_whether_compiled_or_not() {
    let document = json(&["backends", "--json"]);
    let backends = document["backends"].as_array().unwrap();
    let names: Vec<_> = backends.iter().map(|backend| backend["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["flist", "malloc", "jemalloc", "mimalloc"]);
    for backend in backends {
        assert_eq!(backend["slabs"].is_u64(), backend["compiled"] == true, "{backend}");
    }
    let defaults = backends.iter().filter(|backend| backend["default"] == true).count();
    assert_eq!(defaults, usize::from(!compiled().is_empty()));
    let table = stdout(&mallocer(&["backends"]));
    assert!(names.iter().all(|name| table.contains(name)) && table.contains("MALLOCER_BACKEND"));
    assert!(table.lines().all(|line| line.chars().count() <= 100));
}

#[test]
fn the_environment_chooses_a_backend_and_a_wrong_one_is_named() {
    let chosen = command(&["backends", "--json"]).env("MALLOCER_BACKEND", "MALLOC").output();
    let chosen: Value = serde_json::from_slice(&chosen.unwrap().stdout).unwrap();
    if compiled().contains(&"malloc".to_owned()) {
        assert_eq!(chosen["chosen"], "malloc");
    }
    let wrong = command(&["backends"]).env("MALLOCER_BACKEND", "tcmalloc").output().unwrap();
    let message = String::from_utf8(wrong.stderr).unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    assert!(message.starts_with("error: MALLOCER_BACKEND: no backend is called `tcmalloc`"));
}

#[test]
fn colours_come_when_forced_and_go_when_refused() {
    let coloured = command(&["slabs", "--head", "1"]).env("CLICOLOR_FORCE", "1").output().unwrap();
    assert!(stdout(&coloured).contains('\x1b'));
    for refused in [
        command(&["slabs", "--head", "1", "--no-color"]).env("CLICOLOR_FORCE", "1").output(),
        command(&["slabs", "--head", "1"]).env("CLICOLOR_FORCE", "1").env("NO_COLOR", "1").output(),
    ] {
        assert!(!stdout(&refused.unwrap()).contains('\x1b'));
    }
}

#[test]
fn every_command_has_help_with_examples_and_the_hidden_one_does_not_show() {
    for arguments in
        [&["--help"][..], &["compare", "--help"], &["backends", "--help"], &["slabs", "--help"]]
    {
        let output = mallocer(arguments);
        let help = stdout(&output);
        assert!(output.status.success());
        assert!(help.contains("Examples:") && help.contains("Usage: mallocer"), "{help}");
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
        assert!(!help.contains("compare-round"), "{help}");
    }
    let version = stdout(&mallocer(&["--version"]));
    assert_eq!(version.trim(), format!("mallocer {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_reader_that_stops_reading_is_no_error() {
    let mut child = command(&["slabs", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}
