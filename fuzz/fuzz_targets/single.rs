//! Any program, on an arena of one thread, against the model of live chunks.
#![no_main]

mod input;

use libfuzzer_sys::fuzz_target;
use mallocer_conformance::program;
use mallocer_flist::Flist;

fuzz_target!(|bytes: &[u8]| {
    let (capacity, program) = input::capacity_and_program(bytes);
    program::run::<Flist>(capacity, program);
});
