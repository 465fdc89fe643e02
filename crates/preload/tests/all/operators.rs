//! C++: what of new and delete is here, and the rest of the language around them.

use crate::harness::{compiled, run_source};

#[test]
fn every_form_of_new_and_delete_works() {
    run_source("operators.cpp", "").end().well();
    run_source("operators.cpp", "hardened=1").end().well();
}

#[test]
fn a_wrong_size_is_caught() {
    for options in ["", "hardened=1"] {
        let ended = run_source("operators.cpp", options).arg("wrong").end();
        ended.caught("misuse in operator delete(");
        ended.caught("the size is wrong");
    }
}

#[test]
fn a_program_that_replaces_them_gets_its_own() {
    run_source("replaced.cpp", "").end().well();
}

#[test]
fn a_library_that_sees_the_c_plus_plus_library_alone_has_it_throw() {
    let library = compiled("shared/thrower.cpp");
    for options in ["", "hardened=1"] {
        run_source("opener.c", options).arg(library.display()).end().well();
    }
}
