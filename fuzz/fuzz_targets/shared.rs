//! Any three programs, each on a thread of its own, on one shared arena.
#![no_main]

mod input;

use libfuzzer_sys::fuzz_target;
use mallocer_conformance::program;
use mallocer_flist::SharedFlist;

fuzz_target!(|bytes: &[u8]| {
    let (capacity, program) = input::capacity_and_program(bytes);
    let programs: Vec<_> =
        program.chunks(program.len().div_ceil(3).max(1)).map(Vec::from).collect();
    program::run_shared::<SharedFlist>(capacity, &programs);
});
