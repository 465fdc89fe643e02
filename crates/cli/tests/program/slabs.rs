//! `mallocer slabs`: the ladder of slabs.

use crate::{error, json, mallocer, stdout};

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
