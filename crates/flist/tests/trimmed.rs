//! What is given back to the system for want of a span that is long enough, and taken again. Alone in its
//! process, since what lies behind an arena's memory decides how long its spans are.

use std::alloc::Layout;
use std::ptr::NonNull;
use std::time::Duration;

use mallocer_conformance::Random;
use mallocer_core::{Config, Mallocer};
use mallocer_flist::SharedFlist;

/// Replaces one of ten blocks of 1 to 25 MiB at random, so many times; how often the heap became
/// larger or smaller by more than a mebibyte.
fn changes(
    heap: &SharedFlist,
    random: &mut Random,
    held: &mut [Option<NonNull<u8>>; 10],
    rounds: usize,
) -> usize {
    let mut times = 0;
    for _ in 0..rounds {
        let place = &mut held[random.below(10)];
        if let Some(chunk) = place.take() {
            // SAFETY: allocated below, and freed once.
            unsafe { heap.free(chunk) };
        }
        let before = heap.info().heap;
        let layout = Layout::from_size_align((1 << 20) + random.below(24 << 20), 8).unwrap();
        *place = Some(heap.try_alloc(layout).unwrap().cast::<u8>());
        times += usize::from(heap.info().heap.abs_diff(before) > 1 << 20);
    }
    times
}

#[test]
fn what_is_given_back_and_taken_again_is_kept_after_a_while() {
    let mut config = Config::default();
    // Nothing decays while this runs.
    config.decay = Some(Duration::from_secs(100_000));
    let (mut first, mut later) = (0, 0);
    for seed in 0..20 {
        let heap = SharedFlist::open(&config).unwrap();
        let (mut random, mut held) = (Random::new(seed), [None; 10]);
        first += changes(&heap, &mut random, &mut held, 300);
        later += changes(&heap, &mut random, &mut held, 1000);
    }
    println!("{first} times, and {later} in three times as many rounds later");
    assert!(first > 100 && later < first / 2, "{first} and {later} times");
}
