//! The same random operations on an array and on a `Vec`: same results, same panics, same
//! contents after each.

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};

use mallocer_array::{Array, Source};
use mallocer_conformance::Random;

use crate::{on_every_source, quiet};

/// What elements are made of, and how one is made of a number.
trait Element: Clone + PartialEq + PartialOrd + Debug {
    fn make(number: u64) -> Self;
    /// A number of few values, so that neighbours are often alike.
    fn kind(&self) -> u64;
}

macro_rules! number {
    ($($number:ty),*) => {$(
        impl Element for $number {
            fn make(number: u64) -> Self {
                number as Self
            }
            fn kind(&self) -> u64 {
                *self as u64 % 3
            }
        }
    )*};
}

number!(u8, u32, u64, u128);

impl Element for () {
    fn make(_: u64) {}
    fn kind(&self) -> u64 {
        0
    }
}

/// No multiple of the granule, and not a power of two.
impl Element for [u8; 13] {
    fn make(number: u64) -> Self {
        [number as u8; 13]
    }
    fn kind(&self) -> u64 {
        self[0] as u64 % 3
    }
}

/// Owns memory, so that a double drop or a stale copy shows.
impl Element for Box<u64> {
    fn make(number: u64) -> Self {
        Box::new(number)
    }
    fn kind(&self) -> u64 {
        **self % 3
    }
}

/// Aligned further than an array without a chunk can be for nothing.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
#[repr(align(128))]
struct Far(u64);

impl Element for Far {
    fn make(number: u64) -> Self {
        Far(number)
    }
    fn kind(&self) -> u64 {
        self.0 % 3
    }
}

/// Larger than an OS page.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
struct Large([u64; 700]);

impl Element for Large {
    fn make(number: u64) -> Self {
        Large([number; 700])
    }
    fn kind(&self) -> u64 {
        self.0[699] % 3
    }
}

/// Runs the same on both, and compares what comes of it, panics included.
fn both<R: PartialEq + Debug>(
    what: &str,
    array: impl FnOnce() -> R,
    vec: impl FnOnce() -> R,
) -> Option<R> {
    let ours = catch_unwind(AssertUnwindSafe(array)).ok();
    let theirs = catch_unwind(AssertUnwindSafe(vec)).ok();
    assert_eq!(ours, theirs, "{what}: one of them panics, or the results differ");
    ours
}

fn range(random: &mut Random, len: usize) -> (usize, usize) {
    // Now and then one that is not of the array.
    (random.below(len + 2), random.below(len + 2))
}

fn run<T: Element, S: Source>(source: S, seed: u64, steps: usize, most: usize) {
    let mut random = Random::new(seed);
    let mut array: Array<T, S> = Array::new_in(source);
    let mut vec: Vec<T> = Vec::new();
    for step in 0..steps {
        let len = vec.len();
        let value = T::make(random.word());
        let other = value.clone();
        let index = random.below(len + 2);
        let some: Vec<T> = (0..random.below(40)).map(|_| T::make(random.word())).collect();
        let operation = if len > most { 22 } else { random.below(29) };
        match operation {
            0..6 => {
                array.push(value);
                vec.push(other);
            }
            6 => assert_eq!(array.pop(), vec.pop()),
            7 => {
                both("insert", || array.insert(index, value), || vec.insert(index, other));
            }
            8 => {
                both("remove", || array.remove(index), || vec.remove(index));
            }
            9 => {
                both("swap_remove", || array.swap_remove(index), || vec.swap_remove(index));
            }
            10 => {
                array.truncate(index);
                vec.truncate(index);
            }
            11 => {
                let len = random.below(2 * len + 20);
                array.resize(len, value);
                vec.resize(len, other);
            }
            12 => {
                array.extend_from_slice(&some);
                vec.extend_from_slice(&some);
            }
            13 => {
                // An iterator that announces nothing.
                array.extend(some.iter().filter(|one| one.kind() < 2).cloned());
                vec.extend(some.iter().filter(|one| one.kind() < 2).cloned());
            }
            14 => {
                array.dedup_by_key(|one| one.kind());
                vec.dedup_by_key(|one| one.kind());
            }
            15 => {
                array.retain_mut(|one| one.kind() != 1);
                vec.retain_mut(|one| one.kind() != 1);
            }
            16 => {
                let (start, end) = range(&mut random, len);
                let take = random.below(10);
                both(
                    "drain",
                    || array.drain(start..end).take(take).collect::<Vec<_>>(),
                    || vec.drain(start..end).take(take).collect::<Vec<_>>(),
                );
            }
            17 => {
                let (start, end) = range(&mut random, len);
                let unknown = random.below(2) == 0;
                let with = some.iter().filter(|one| !unknown || one.kind() > 0).cloned();
                both(
                    "splice",
                    || array.splice(start..end, with.clone()).rev().collect::<Vec<_>>(),
                    || vec.splice(start..end, with.clone()).rev().collect::<Vec<_>>(),
                );
            }
            18 => {
                let (start, end) = range(&mut random, len);
                both(
                    "extend_from_within",
                    || array.extend_from_within(start..end),
                    || vec.extend_from_within(start..end),
                );
            }
            19 => {
                let tail = both(
                    "split_off",
                    || array.split_off(index).into_vec(),
                    || vec.split_off(index),
                );
                if let Some(tail) = tail {
                    array.append(&mut Array::from_vec_in(tail.clone(), source));
                    vec.append(&mut tail.clone());
                }
            }
            20 => array.shrink_to(random.below(len + 20)),
            21 => array.shrink_to_fit(),
            22 => {
                array.clear();
                vec.clear();
            }
            23 => {
                array.reserve(index);
                assert!(array.capacity() >= len + index);
            }
            24 => {
                array = array.clone();
                assert!(array.capacity() >= array.len());
            }
            25 => {
                let (start, end) = (index.min(len), len);
                let (mut ours, mut theirs) = (Vec::new(), Vec::new());
                array.extract(start..end, |one| one.kind() == 2, |one| ours.push(one));
                let mut at = start;
                while at < vec.len() {
                    if vec[at].kind() == 2 { theirs.push(vec.remove(at)) } else { at += 1 }
                }
                assert_eq!(ours, theirs);
            }
            26 => {
                assert_eq!(array.pop_if(|one| one.kind() == 0), vec.pop_if(|one| one.kind() == 0),)
            }
            27 => {
                array.try_push(value).unwrap();
                vec.push(other);
            }
            _ => {
                let mut ours = array.into_iter();
                let mut theirs = vec.into_iter();
                for _ in 0..random.below(3) {
                    assert_eq!(ours.next_back(), theirs.next_back());
                    assert_eq!(ours.next(), theirs.next());
                }
                assert_eq!(ours.as_slice(), theirs.as_slice());
                assert_eq!(ours.clone().collect::<Vec<_>>(), theirs.as_slice());
                array = Array::from_iter_in(ours, source);
                vec = theirs.collect();
            }
        }
        assert_eq!(array, vec, "after operation {operation}, step {step}, seed {seed}");
        assert!(array.capacity() >= array.len());
        assert_eq!(array.partial_cmp(&array.clone()), vec.partial_cmp(&vec.clone()));
        assert!(array.as_ptr().addr().is_multiple_of(align_of::<T>()));
    }
}

fn small<S: Source>(source: S) {
    for seed in 0..8 {
        run::<u8, S>(source, seed, 400, 3000);
        run::<u32, S>(source, seed, 400, 3000);
        run::<u64, S>(source, seed, 400, 3000);
        run::<u128, S>(source, seed, 400, 3000);
        run::<(), S>(source, seed, 400, 3000);
        run::<[u8; 13], S>(source, seed, 400, 3000);
        run::<Box<u64>, S>(source, seed, 400, 3000);
        run::<Far, S>(source, seed, 400, 1000);
        run::<Large, S>(source, seed, 100, 60);
    }
}

#[test]
fn the_same_as_a_vec_on_every_source() {
    quiet(|| on_every_source!(small));
}

/// Each length up to some thousands is where a push may have to ask.
fn push_by_push<T: Element, S: Source>(source: S, most: usize) {
    let mut array: Array<T, S> = Array::new_in(source);
    let mut moves = 0;
    let mut before = array.as_ptr();
    for number in 0..most {
        array.push(T::make(number as u64));
        let room = array.capacity();
        assert!(room > number);
        moves += usize::from(before != array.as_ptr());
        before = array.as_ptr();
    }
    for (number, value) in array.iter().enumerate() {
        assert_eq!(*value, T::make(number as u64));
    }
    // Growing is by a part of what there is, so moves are few.
    assert!(moves < 60, "{moves} moves for {most} pushes");
}

fn pushes<S: Source>(source: S) {
    push_by_push::<u8, S>(source, 600_000);
    push_by_push::<u32, S>(source, 150_000);
    push_by_push::<u64, S>(source, 75_000);
    push_by_push::<[u8; 13], S>(source, 50_000);
    push_by_push::<Far, S>(source, 5_000);
    push_by_push::<Large, S>(source, 100);
}

#[test]
fn pushed_one_by_one_on_every_source() {
    on_every_source!(pushes);
}

/// Panics say what those of the standard library say.
#[test]
fn messages_are_those_of_vec() {
    fn message(act: impl FnOnce()) -> String {
        let payload = catch_unwind(AssertUnwindSafe(act)).unwrap_err();
        match payload.downcast::<String>() {
            Ok(text) => *text,
            Err(payload) => payload.downcast::<&str>().unwrap().to_string(),
        }
    }
    quiet(|| {
        let fresh = || Array::<u32, _>::from_vec_in(vec![1, 2, 3], mallocer_flist::Global);
        let vec = || vec![1u32, 2, 3];
        assert_eq!(message(|| fresh().insert(5, 0)), message(|| vec().insert(5, 0)));
        assert_eq!(message(|| _ = fresh().remove(3)), message(|| _ = vec().remove(3)));
        assert_eq!(message(|| _ = fresh().swap_remove(7)), message(|| _ = vec().swap_remove(7)));
        assert_eq!(message(|| drop(fresh().split_off(4))), message(|| drop(vec().split_off(4))));
        assert_eq!(message(|| _ = fresh()[9]), message(|| _ = vec()[9]));
        assert_eq!(message(|| fresh().reserve(usize::MAX)), message(|| vec().reserve(usize::MAX)));
    });
}
