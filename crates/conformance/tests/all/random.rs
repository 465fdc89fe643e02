//! Random programs that shrink: a failure here is reported as the shortest list of
//! operations that still fails.

use mallocer_conformance::program::{Op, run, run_shared};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestError, TestRng, TestRunner};

use crate::reference::{Forgetful, Reference};

/// Sizes as programs have them: mostly small, shrinking towards 0.
fn size() -> impl Strategy<Value = usize> {
    prop_oneof![
        6 => 0..=64usize,
        4 => 0..=1100usize,
        2 => 0..=40_000usize,
        1 => 0..=1usize << 20,
    ]
}

/// Alignments up to 4096, shrinking towards 1.
fn align() -> impl Strategy<Value = usize> {
    prop_oneof![3 => Just(1), 1 => (0..=12u32).prop_map(|shift| 1 << shift)]
}

fn op() -> impl Strategy<Value = Op> {
    let chunk = || 0..1000usize;
    prop_oneof![
        30 => (size(), align()).prop_map(|(size, align)| Op::Alloc { size, align }),
        10 => (size(), align()).prop_map(|(size, align)| Op::AllocZeroed { size, align }),
        4 => (0..500usize).prop_map(|index| Op::AllocSlab { index }),
        10 => (chunk(), size()).prop_map(|(chunk, size)| Op::Realloc { chunk, size }),
        3 => (chunk(), size(), align())
            .prop_map(|(chunk, size, align)| Op::Realign { chunk, size, align }),
        8 => (chunk(), size()).prop_map(|(chunk, size)| Op::Resize { chunk, size }),
        14 => chunk().prop_map(|chunk| Op::Free { chunk }),
        12 => (chunk(), 0..5000usize).prop_map(|(chunk, part)| Op::FreeSized { chunk, part }),
        1 => Just(Op::Purge),
        1 => Just(Op::Release),
    ]
}

fn capacity() -> impl Strategy<Value = usize> {
    prop_oneof![Just(1 << 16), Just(1 << 20), Just(1 << 23), Just(1 << 30)]
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() }
}

macro_rules! backends {
    ($($backend:ident: $single:ty, $shared:ty;)+) => {$(
        mod $backend {
            use super::*;

            proptest! {
                #![proptest_config(config())]

                #[test]
                fn single(capacity in capacity(), program in vec(op(), 1..400)) {
                    run::<$single>(capacity, program);
                }

                #[test]
                fn shared(capacity in capacity(), program in vec(op(), 1..400)) {
                    run::<$shared>(capacity, program);
                }

                #[test]
                fn threads(capacity in capacity(), programs in vec(vec(op(), 1..200), 2..4)) {
                    run_shared::<$shared>(capacity, &programs);
                }
            }
        }
    )+};
}

backends! {
    flist: mallocer_flist::Flist, mallocer_flist::SharedFlist;
    malloc: mallocer_malloc::Malloc, mallocer_malloc::SharedMalloc;
    jemalloc: mallocer_jemalloc::Jemalloc, mallocer_jemalloc::SharedJemalloc;
    mimalloc: mallocer_mimalloc::Mimalloc, mallocer_mimalloc::SharedMimalloc;
}

/// A heap that loses contents when it reallocates is reported as one allocation
/// and one reallocation of it.
#[test]
fn failures_shrink() {
    let config = ProptestConfig { cases: 1000, ..config() };
    // The same programs every time: how far one shrinks depends on it.
    let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, random);
    let failure = runner.run(&vec(op(), 1..100), |program| {
        run::<Reference<Forgetful>>(1 << 30, program);
        Ok(())
    });
    let Err(TestError::Fail(_, program)) = failure else { panic!("nothing is found: {failure:?}") };
    let forgets = matches!(program.last(), Some(Op::Realloc { .. } | Op::Realign { .. }));
    assert!(forgets && program.len() <= 3, "{program:?}");
}
