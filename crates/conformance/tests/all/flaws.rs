//! The suite tested: a right heap passes all of it, and every flaw is found by the
//! check that is there for it.

use mallocer_conformance::{Report, report, report_shared};

use crate::reference::*;

#[test]
fn a_right_heap_passes() {
    report_shared::<Reference<Right>>("").expect_clean();
}

/// No check passes whatever it is given. A heap whose chunks are shorter than it says fails
/// almost all of them at once, since that is looked at with each chunk; settings and slabs that
/// are not there have flaws of their own.
#[test]
fn every_check_can_fail() {
    let all = report_shared::<Reference<Exaggerating>>("");
    let settings = report::<Reference<Careless>>("config");
    let slabs = report::<Reference<Guessing>>("allocation::missing");
    let mut never: Vec<&str> = all.passed;
    for failure in settings.failures.iter().chain(&slabs.failures) {
        never.retain(|check| *check != failure.check);
    }
    assert!(!all.failures.is_empty() && never.is_empty(), "these never fail: {never:?}");
}

/// Passes if the check of that name failed, with these words.
#[track_caller]
fn expect(report: &Report, check: &str, words: &str) {
    let found = report.failures.iter().find(|failure| failure.check == check);
    let Some(failure) = found else { panic!("{check} does not find the flaw: {report}") };
    assert!(failure.message.contains(words), "{check} says something else: {}", failure.message);
    let text = report.to_string();
    assert!(text.contains("reference (") && text.contains(check), "the report is short: {text}");
}

macro_rules! flaws {
    ($report:ident: $($test:ident: $kind:ident => $check:literal $words:literal;)+) => {$(
        #[test]
        fn $test() {
            expect(&$report::<Reference<$kind>>($check), $check, $words);
        }
    )+};
}

flaws! { report:
    overlaps: Overlapping => "allocation::many_small_chunks" "overlaps the live chunk";
    misalignment: Misaligned => "allocation::alignments" "is not aligned as asked";
    exaggerated_lengths: Exaggerating => "allocation::many_small_chunks" "chunk_len differ";
    ignored_capacity: Unlimited => "capacity::of_small_chunks" "are charged to the budget";
    ignored_parents: Unlimited => "capacity::of_the_parent" "are charged to the budget";
    leaked_budget: Leaking => "capacity::filled_again_and_again" "holds";
    budget_leaked_at_drop: LeakingAtDrop =>
        "release::by_drop_refunds_the_parent" "keeps bytes of a heap that is gone";
    budget_leaked_at_refusal: LeakingAtRefusal => "capacity::refusals_cost_nothing" "a thousand refusals";
    made_up_figures: Lying => "capacity::of_small_chunks" "a refusal of nothing";
    giving_up: GivingUp => "capacity::of_small_chunks" "although as much was just freed";
    forgotten_contents: Forgetful => "realloc::contents_to_the_smaller_size" "contents changed";
    forgotten_tails: Tailless => "realloc::growth_chains" "contents changed";
    hasty_realloc: Hasty => "realloc::failure_keeps_the_chunk" "contents changed";
    dirty_zeroes: Dirty => "allocation::zeroed_memory" "zeroed chunk";
    miscounting: Miscounting => "allocation::large_sizes" "alloc is not the sum of the slabs";
    unsorted_slabs: Unsorted => "allocation::slabs_serve" "is followed by slab";
    guessed_slabs: Guessing => "allocation::missing_slabs_are_named" "left: Ok(())";
    chunks_kept_at_release: Clinging => "release::empties_the_heap" "alloc is not 0 after release";
    budget_kept_at_release: Greedy => "release::a_hundred_times" "keeps bytes of a released heap";
    forgotten_children: Sweeping => "release::spares_children" "nested is not what";
    purged_contents: Purging => "allocation::purge_keeps_contents" "contents changed";
    any_small_capacity: Careless => "config::capacity_too_small" "a heap opens";
    any_large_capacity: Careless => "config::capacity_too_large" "a heap opens";
    overflow: Overflowing => "impossible::sizes" "fewer than asked";
    growth_over_the_end: Stretching => "realloc::resize_in_place" "chunk_len differ";
}

flaws! { report_shared:
    uncounted_frees: Aloof => "threads::hand_chunks_around" "alloc is not 0";
    lost_frees: Losing => "threads::hand_chunks_over" "alloc is not 0";
}
