//! The same random operations on a text and on a `String`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use mallocer_array::{Source, Text};
use mallocer_conformance::Random;

use crate::{on_every_source, quiet};

/// Characters of one, two, three and four bytes.
const LETTERS: [char; 8] = ['a', 'b', ' ', 'ß', 'é', '€', '語', '𝄞'];

fn word(random: &mut Random) -> String {
    (0..random.below(9)).map(|_| LETTERS[random.below(8)]).collect()
}

fn run<S: Source>(source: S, seed: u64) {
    let mut random = Random::new(seed);
    let mut text = Text::new_in(source);
    let mut string = String::new();
    for step in 0..500 {
        let len = string.len();
        let more = word(&mut random);
        let letter = LETTERS[random.below(8)];
        // Often inside a character, sometimes behind the end: both must panic.
        let (at, end) = (random.below(len + 2), random.below(len + 2));
        let operation = if len > 2000 { 3 } else { random.below(16) };
        macro_rules! both {
            ($name:ident: $one:ident => $($act:tt)*) => {{
                let ours = catch_unwind(AssertUnwindSafe(|| { let $one = &mut text; $($act)* }));
                let theirs = catch_unwind(AssertUnwindSafe(|| { let $one = &mut string; $($act)* }));
                assert_eq!(ours.ok(), theirs.ok(), "{} at {at}..{end} of {len}", stringify!($name));
            }};
        }
        match operation {
            0..3 => both!(push_str: one => one.push_str(&more)),
            3 => both!(truncate: one => one.truncate(at / 2)),
            4 => both!(push: one => one.push(letter)),
            5 => both!(pop: one => one.pop()),
            6 => both!(insert: one => one.insert(at, letter)),
            7 => both!(insert_str: one => one.insert_str(at, &more)),
            8 => both!(remove: one => one.remove(at)),
            9 => both!(retain: one => one.retain(|character| character != letter)),
            10 => both!(drain: one => one.drain(at..end).rev().take(2).collect::<String>()),
            11 => both!(replace: one => one.replace_range(at..end, &more)),
            12 => both!(split_off: one => { let tail = one.split_off(at); tail.to_string() }),
            13 => both!(again: one => one.extend_from_within(at..end)),
            14 => {
                assert_eq!(text.try_push_str(&more), Ok(()));
                string.push_str(&more);
            }
            _ => both!(extend: one => one.extend(more.chars().rev())),
        }
        assert_eq!(text, string, "after operation {operation}, step {step}, seed {seed}");
        assert!(text.capacity() >= text.len());
    }
    assert_eq!(text.clone().into_string(), string);
    let mut other = Text::from_str_in("what was there", source);
    other.clone_from(&text);
    assert_eq!(other, string);
    assert_eq!(text.cmp(&text.clone()), std::cmp::Ordering::Equal);
}

fn some<S: Source>(source: S) {
    for seed in 0..6 {
        run(source, seed);
    }
}

#[test]
fn the_same_as_a_string_on_every_source() {
    quiet(|| on_every_source!(some));
}
