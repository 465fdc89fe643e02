//! `mallocer compare`: the same work on every backend.

use std::path::{Path, PathBuf};
use std::{env, fs};

use serde_json::Value;

use crate::{compiled, error, json, mallocer, stdout};

/// A directory with some text in it, removed at the end of the test.
struct Texts(PathBuf);

impl Texts {
    fn new(name: &str) -> Texts {
        let path = env::temp_dir().join(format!("mallocer-cli-{}-{name}", std::process::id()));
        fs::create_dir_all(path.join("more")).expect("a directory");
        let source = include_str!("compare.rs");
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
    let arguments = ["compare", "--workload", "arena", "--only", "strings", "--rounds", "1"];
    let table = stdout(&mallocer(&arguments));
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
        let message = error(&arguments, 2);
        assert!(message.contains(words), "{arguments:?}: {message}");
    }
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
