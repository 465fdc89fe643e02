//! What `MALLOCER` may say, and what happens if it says something else.

use std::path::Path;

use crate::harness::{run, run_source};

/// Runs `true` with these options; returns what is said on standard error.
fn said(options: &str) -> String {
    run("/bin/true", options).end().well().stderr
}

#[test]
fn good_options_say_nothing() {
    for options in [
        "",
        ",",
        "tiny=64x1000,small=512x200,512=20,4k=10,1m=2",
        "decay=never",
        "decay=0",
        "decay=500ms,decay=2s",
        "huge=1,hardened=0",
        "huge=0",
        "deepbind=1,deepbind=no",
        "stats=signal,stats=signal:12,format=json",
    ] {
        assert_eq!(said(options), "", "{options}");
    }
}

#[test]
fn a_bad_option_is_one_line_that_names_it_and_what_is_accepted() {
    for (option, accepted) in [
        ("decoy=3", "decay=TIME"),
        ("tiny=64", "SIZExCHUNKS"),
        ("tiny=0x5", "1 B to 1 TiB"),
        ("tiny=1000000000000x1000000000000", "1 B to 1 TiB"),
        ("small=axb", "SIZExCHUNKS"),
        ("512=many", "SIZE=CHUNKS"),
        ("decay=soon", "decay=never"),
        ("decay=99999999999999999999", "decay=never"),
        ("huge=2", "huge=1"),
        ("hardened=very", "hardened=1"),
        ("deepbind=2", "deepbind=1"),
        ("stats=now", "stats=exit"),
        ("stats=signal:900", "stats=signal"),
        ("format=xml", "format=json"),
        ("file=", "file"),
        ("=", "tiny="),
        ("word", "tiny="),
        ("🦀=1", "tiny="),
    ] {
        let said = said(&format!("decay=1s,{option},512=3"));
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.starts_with("mallocer: MALLOCER: "), "{said}");
        assert!(said.contains(&format!("`{option}`")) && said.contains(accepted), "{said}");
    }
    let name = format!("file={}", "x".repeat(300));
    assert!(said(&name).contains("1 to 255 bytes"));
}

#[test]
fn what_cannot_be_had_is_said_and_the_program_runs() {
    let said = said("1g=1000");
    assert!(said.starts_with("mallocer: MALLOCER: no memory for 1000 chunks"), "{said}");
}

#[test]
fn the_good_options_beside_a_bad_one_hold() {
    let said = said("nonsense,stats=exit");
    assert_eq!(said.matches("nonsense").count(), 1);
    assert!(said.contains("peak heap size"), "{said}");
}

#[test]
fn huge_pages_are_asked_for_where_the_option_says() {
    if !Path::new("/sys/kernel/mm/transparent_hugepage").exists() {
        return;
    }
    for (options, expected) in [("", "-- -- --"), ("huge=1", "hg hg hg"), ("huge=0", "nh nh nh")] {
        let said = run_source("huge.c", options).end().well().stderr;
        assert_eq!(said.trim_end(), expected, "{options}");
    }
}
