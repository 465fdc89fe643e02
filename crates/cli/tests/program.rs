//! The program as its users run it: arguments in, output and exit code out.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

use serde_json::Value;

/// Runs the program in an environment that changes nothing.
fn mallocer(arguments: &[&str]) -> Output {
    command(arguments).output().expect("the program starts")
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mallocer"));
    command.args(arguments);
    for name in ["MALLOCER_BACKEND", "NO_COLOR", "CLICOLOR_FORCE", "COLUMNS"] {
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
    message
}

fn json(arguments: &[&str]) -> Value {
    let output = mallocer(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// A directory with some text in it, removed at the end of the test.
struct Texts(PathBuf);

impl Texts {
    fn new(name: &str) -> Texts {
        let path = env::temp_dir().join(format!("mallocer-cli-{}-{name}", std::process::id()));
        fs::create_dir_all(path.join("more")).expect("a directory");
        let source = include_str!("program.rs");
        fs::write(path.join("one.rs"), source).expect("a file");
        fs::write(path.join("more/two.rs"), source.to_uppercase()).expect("a file");
        Texts(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("a path in UTF-8")
    }
}

impl Drop for Texts {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
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
fn the_default_ladder_has_479_slabs_and_67_gets_72() {
    let ladder = json(&[
        "slabs",
        "--min",
        "0",
        "--max",
        "1TiB",
        "--align",
        "8",
        "--request",
        "67",
        "--json",
    ]);
    assert_eq!(ladder["schema"], "mallocer.slabs");
    assert_eq!(ladder["version"], 1);
    assert_eq!(ladder["count"], 479);
    let slabs = ladder["slabs"].as_array().unwrap();
    assert_eq!(slabs.len(), 479);
    assert_eq!(slabs[0]["size"], 8);
    assert_eq!(slabs[478]["size"], 1u64 << 40);
    for pair in slabs.windows(2) {
        assert_eq!(pair[1]["from"].as_u64(), pair[0]["to"].as_u64().map(|to| to + 1));
    }
    assert_eq!(ladder["requests"][0]["slab"], 72);
    assert_eq!(ladder["requests"][0]["waste"], 5);
}

#[test]
fn a_ladder_between_bounds_and_one_given_whole() {
    let between = json(&["slabs", "--min", "96", "--max", "1MiB", "--json"]);
    assert_eq!(between["count"], 183);
    let whole =
        json(&["slabs", "--list", "70,72,96", "--request", "67", "--request", "67:8", "--json"]);
    assert_eq!(whole["requests"][0]["slab"], 70);
    assert_eq!(whole["requests"][1]["slab"], 72);
}

#[test]
fn the_table_of_slabs_is_plain_and_narrow_in_a_pipe() {
    let output = mallocer(&["slabs", "--min", "96", "--max", "1MiB"]);
    let text = stdout(&output);
    assert!(output.status.success() && !text.contains('\x1b'));
    assert!(text.lines().all(|line| line.chars().count() <= 100));
    assert!(text.contains("183 slabs from 96 B to 1 MiB"));
    let head = stdout(&mallocer(&["slabs", "--head", "3"]));
    assert!(head.contains("476 more not shown"));
    assert!(stdout(&mallocer(&["slabs", "--request", "67"])).contains(" 72 "));
}

#[test]
fn every_bad_ladder_is_named_with_exit_code_2() {
    let cases: &[(&[&str], &str)] = &[
        (&["--min", "512", "--max", "96"], "minblock 512 is above maxblock 96"),
        (&["--min", "97"], "minblock 97 is not a multiple of the alignment 8; use 104"),
        (&["--max", "1001"], "maxblock 1001 is not a multiple of the alignment 8; use 1008"),
        (&["--max", "2TiB"], "must lie between 1 and 1099511627776"),
        (&["--align", "4"], "alignment 4 of a ladder must be 8 or 16"),
        (&["--utilization", "1.5"], "utilization 1.5 must lie between 0.5 and 0.999"),
        (&["--utilization", "0.999"], "the ladder has 513 slabs, above the limit of 512"),
        (&["--list", "8,24,16"], "slab 16 at position 2 does not ascend"),
        (&["--list", "0,8"], "slab 0 at position 0"),
        (&["--max", "1KiB", "--request", "1025"], "1025 bytes requested, above the largest slab"),
        (&["--list", "70", "--request", "67:8"], "multiple of 8"),
        (&["--min", "4XiB"], "`4XiB` is not a size"),
        (&["--request", "67:3"], "alignment 3 is not a power of two"),
        (&["--list", "8", "--min", "8"], "cannot be used with"),
    ];
    for (arguments, words) in cases {
        let arguments: Vec<&str> = ["slabs"].iter().chain(*arguments).copied().collect();
        let message = error(&arguments, 2);
        assert!(message.contains(words), "{arguments:?}: {message}");
    }
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
fn compare_runs_every_backend_to_the_same_contents_for_any_number_of_threads() {
    let texts = Texts::new("compare");
    let run = |threads: &str| {
        json(&[
            "compare",
            "--rounds",
            "1",
            "--scale",
            "2",
            "--threads",
            threads,
            "--json",
            "-",
            texts.path(),
        ])
    };
    let (alone, together) = (run("1"), run("3"));
    assert_eq!(alone["work"]["digest"], together["work"]["digest"]);
    for document in [&alone, &together] {
        assert_eq!(document["schema"], "mallocer.compare");
        assert_eq!(document["version"], 1);
        assert_eq!(document["identical"], true);
        assert_eq!(document["input"]["files"], 2);
        let backends = document["backends"].as_array().unwrap();
        let names: Vec<_> = backends.iter().map(|b| b["name"].as_str().unwrap()).collect();
        assert_eq!(names, compiled());
        for backend in backends {
            assert_eq!(backend["failure"], Value::Null);
            let rounds = backend["rounds"].as_array().unwrap();
            assert_eq!(rounds.len(), 2, "one for phases, one for latencies");
            for round in rounds {
                assert_eq!(round["digest"], document["work"]["digest"]);
            }
            let metrics = &backend["metrics"];
            for name in ["total_ns", "heap_peak_bytes", "live_peak_bytes"] {
                assert!(metrics[name]["median"].as_f64().unwrap() > 0.0, "{name}: {metrics}");
            }
            assert!(metrics["alloc_p99_9_ns"]["median"].is_number(), "{metrics}");
            assert!(rounds[1]["latency"]["samples"].as_u64().unwrap() > 0);
        }
    }
    // Calls are the same on every backend, whatever the timing of hand-overs.
    for document in [&alone, &together] {
        for backend in document["backends"].as_array().unwrap() {
            for count in ["allocs", "frees", "reallocs"] {
                assert_eq!(backend["rounds"][0][count], document["work"][count]);
            }
        }
    }
}

#[test]
fn compare_measures_the_workloads_of_the_set_on_every_backend() {
    let arguments = ["compare", "--workload", "arena", "--only", "strings,release,generations"];
    let document = json(&[&arguments[..], &["--rounds", "2", "--json", "-"]].concat());
    assert_eq!(document["schema"], "mallocer.compare.arena");
    assert_eq!(document["settings"]["threads"], 2);
    let workloads = document["workloads"].as_array().unwrap();
    assert_eq!(workloads.len(), 3);
    for workload in workloads {
        let mut least = f64::INFINITY;
        for result in workload["results"].as_array().unwrap() {
            assert_eq!(result["failure"], Value::Null, "{workload}");
            if workload["name"] == "release" && result["form"] == "global" {
                assert_eq!(result["ns"], Value::Null, "a library itself has nothing to release");
                continue;
            }
            assert_eq!(result["rounds"].as_array().unwrap().len(), 2);
            assert!(result["ns"]["median"].as_f64().unwrap() > 0.0, "{result}");
            least = least.min(result["ratio"].as_f64().unwrap());
        }
        assert_eq!(least, 1.0, "the best is the measure: {workload}");
    }
    let table = stdout(&mallocer(&[&arguments[..], &["--rounds", "1"]].concat()));
    assert!(table.contains("\n strings ") && table.contains("mean ratio"), "{table}");
    assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
}

#[test]
fn compare_shows_a_plain_table_and_writes_json_beside_it() {
    let texts = Texts::new("table");
    let file = texts.0.join("figures.json");
    let file_name = file.to_str().unwrap();
    let names = compiled();
    let output = mallocer(&[
        "compare",
        "--rounds",
        "1",
        "--scale",
        "1",
        "--backends",
        &names.join(","),
        "--json",
        file_name,
        texts.path(),
    ]);
    let table = stdout(&output);
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "no progress where there is no terminal");
    assert!(names.iter().all(|name| table.contains(name.as_str())));
    assert!(table.contains("2 files") && table.contains("Contents are identical"));
    assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
    let document: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(document["identical"], true);
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
fn a_backend_that_fails_is_named_with_what_it_said() {
    let texts = Texts::new("fails");
    let output = mallocer(&[
        "compare",
        "--rounds",
        "1",
        "--capacity",
        "128KiB",
        "--json",
        "-",
        texts.path(),
    ]);
    assert_eq!(output.status.code(), Some(1));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    for backend in document["backends"].as_array().unwrap() {
        let failure = backend["failure"].as_str().unwrap();
        assert!(failure.starts_with("ended with exit code 1: "), "{failure}");
        assert!(failure.contains("capacity"), "{failure}");
    }
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.starts_with("error: "), "{message}");
    assert!(compiled().iter().all(|name| message.contains(name.as_str())), "{message}");
}

#[test]
fn compare_refuses_what_it_cannot_use() {
    let texts = Texts::new("refuses");
    let empty = texts.0.join("empty");
    fs::create_dir_all(&empty).unwrap();
    let empty = empty.to_str().unwrap();
    let cases: &[(&[&str], &str)] = &[
        (&["--backends", "tcmalloc"], "no backend is called `tcmalloc`"),
        (&["/no/such/path"], "cannot read /no/such/path"),
        (&[empty], "name files or directories with text in them"),
        (&["--threads", "0"], "`0` is not a number of threads; give 1 to 256"),
        (&["--rounds", "0"], "0 is not in 1..=1000"),
        (&["--capacity", "many"], "`many` is not a size"),
        (&["--only", "pair"], "--only pair is for --workload arena"),
        (
            &["--workload", "arena", "--only", "none"],
            "no workload is called `none`; there are pair",
        ),
        (&["--workload", "arena", "src"], "leave out src"),
        (&["--json", "/no/such/place.json", "--rounds", "1", texts.path()], "name another file"),
    ];
    for (arguments, words) in cases {
        let arguments: Vec<&str> = ["compare"].iter().chain(*arguments).copied().collect();
        let output = mallocer(&arguments);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.starts_with("error: ") && message.contains(words), "{message}");
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
    use std::process::Stdio;
    let mut child = command(&["slabs", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn the_documentation_names_every_figure_of_the_json() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    let docs = fs::read_to_string(docs).unwrap();
    let texts = Texts::new("docs");
    let document = json(&["compare", "--rounds", "1", "--scale", "1", "--json", "-", texts.path()]);
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let backend = &document["backends"][0];
    let named = [&document, &document["settings"], &document["work"], backend, &backend["metrics"]];
    for key in named.into_iter().flat_map(keys).chain(keys(&backend["rounds"][0])) {
        assert!(docs.contains(&format!("`{key}`")), "docs/cli.md does not name {key}");
    }
    let arguments = ["compare", "--workload", "arena", "--only", "release", "--rounds", "1"];
    let document = json(&[&arguments[..], &["--json", "-"]].concat());
    let row = &document["workloads"][0];
    let named = [&document, &document["settings"], row, &row["results"][0], &document["means"][0]];
    for key in named.into_iter().flat_map(keys) {
        assert!(docs.contains(&format!("`{key}`")), "docs/cli.md does not name {key}");
    }
}

/// libmallocer.so, built as users build it.
fn library() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it is in target");
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--profile", "drop-in", "-p", "mallocer-preload"])
        .arg("--target-dir")
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    assert!(status.expect("cargo runs").success());
    target.join("drop-in/libmallocer.so")
}

#[test]
fn run_sums_up_and_passes_output_and_exit_code_on() {
    let library = library();
    let library = library.to_str().expect("a path in UTF-8");
    let output = mallocer(&[
        "run",
        "--library",
        library,
        "--cluster",
        "64x1000",
        "--",
        "bash",
        "-c",
        "echo \"$LD_PRELOAD $MALLOCER\"; exit 7",
    ]);
    let (out, err) = (stdout(&output), String::from_utf8_lossy(&output.stderr).into_owned());
    assert_eq!(output.status.code(), Some(7), "{err}");
    assert!(out.contains("libmallocer.so") && out.contains("cluster=64x1000,stats=exit"), "{out}");
    assert_eq!(out.lines().count(), 1, "{out}");
    assert!(err.contains("peak heap size") && err.contains("misses"), "{err}");
}

#[test]
fn run_ends_by_the_signal_that_ended_the_program() {
    use std::os::unix::process::ExitStatusExt;

    let library = library();
    let library = library.to_str().expect("a path in UTF-8");
    let output = mallocer(&["run", "--library", library, "sh", "-c", "kill -TERM $$"]);
    assert_eq!(output.status.signal(), Some(15));
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(err.contains("no summary: the program was ended by signal 15"), "{err}");
}

#[test]
fn run_writes_the_whole_report_as_json() {
    let library = library();
    let file = env::temp_dir().join(format!("mallocer-run-json-{}", std::process::id()));
    let arguments = ["run", "--quiet", "--hardened", "--library"];
    let output = command(&arguments)
        .arg(&library)
        .arg("--json")
        .arg(&file)
        .args(["--", "ls", "/"])
        .output()
        .expect("the program starts");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let report: Value = serde_json::from_slice(&fs::read(&file).expect("a report")).expect("JSON");
    fs::remove_file(file).expect("it was written");
    let blocks = report["block_list"].as_array().expect("a list");
    assert_eq!(Some(blocks.len() as u64), report["blocks"].as_u64());
}

#[test]
fn run_says_what_is_missing() {
    let message = error(&["run", "--library", "/nowhere/lib.so", "--", "true"], 2);
    assert!(message.contains("/nowhere/lib.so"), "{message}");
    let library = library();
    let library = library.to_str().expect("a path in UTF-8");
    let message = error(&["run", "--library", library, "--", "/nowhere/program"], 127);
    assert!(message.contains("/nowhere/program"), "{message}");
    let message = error(&["run", "--cluster", "many", "--", "true"], 2);
    assert!(message.contains("64x100000"), "{message}");
}
