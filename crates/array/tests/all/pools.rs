//! Pools: values in slots, by handle and by key.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use mallocer_array::{In, KeyedPool, Pool, Pooled, Source};
use mallocer_conformance::Random;
use mallocer_core::{AllocError, Config, Mallocer};
use mallocer_flist::{Flist, Global};

use crate::on_every_source;

/// Inserts and drops at random; every value stays what it was.
fn random_program<S: Source>(source: S) {
    fn run<T: Clone + PartialEq + std::fmt::Debug, S: Source>(source: S, make: fn(u64) -> T) {
        let mut random = Random::new(size_of::<T>() as u64);
        let pool = Pool::new_in(source);
        let mut held: Vec<(Pooled<T, S>, T)> = Vec::new();
        for _ in 0..20_000 {
            if random.below(100) < 55 {
                let value = make(random.word());
                held.push((pool.insert(value.clone()), value));
            } else if !held.is_empty() {
                let (handle, value) = held.swap_remove(random.below(held.len()));
                assert_eq!(*handle, value);
                if random.below(2) == 0 {
                    assert_eq!(handle.into_inner(), value);
                }
            }
            assert_eq!(pool.len(), held.len());
        }
        // No two values overlap, and those that are alive are those that are held.
        let places: BTreeSet<_> = held.iter().map(|(handle, _)| handle.as_ptr()).collect();
        assert_eq!(places, pool.live().into_iter().collect());
        let mut before = 0;
        for place in places {
            assert!(place.addr().get() >= before && place.is_aligned());
            before = place.addr().get() + size_of::<T>();
        }
        for (mut handle, value) in held {
            assert_eq!(*handle, value);
            *handle = value;
        }
        assert!(pool.is_empty());
    }
    run::<u8, S>(source, |number| number as u8);
    run::<u64, S>(source, |number| number);
    run::<[u8; 13], S>(source, |number| [number as u8; 13]);
    run::<String, S>(source, |number| number.to_string());
    run::<[u64; 300], S>(source, |number| [number; 300]);
}

#[test]
fn a_random_program_on_every_source() {
    on_every_source!(random_program);
}

#[test]
fn the_slot_freed_last_is_used_first() {
    let pool = Pool::new_in(Global);
    let [one, two, three] = [1, 2, 3].map(|value| pool.insert(value));
    let (first, second) = (one.as_ptr(), two.as_ptr());
    drop(one);
    drop(two);
    let (four, five) = (pool.insert(4), pool.insert(5));
    assert_eq!((four.as_ptr(), five.as_ptr()), (second, first));
    assert_eq!((*three, *four, *five), (3, 4, 5));
}

/// Handles in values of the same pool.
struct Node<'p, S: Source> {
    key: u64,
    left: Link<'p, S>,
    right: Link<'p, S>,
    _alive: Rc<()>,
}

type Link<'p, S> = Option<Pooled<'p, Node<'p, S>, S>>;

fn insert<'p, S: Source>(
    pool: &'p Pool<Node<'p, S>, S>,
    root: &mut Link<'p, S>,
    key: u64,
    alive: &Rc<()>,
) {
    let mut at = root;
    while let Some(node) = at {
        at = if key < node.key { &mut node.left } else { &mut node.right };
    }
    *at = Some(pool.insert(Node { key, left: None, right: None, _alive: alive.clone() }));
}

fn sum<S: Source>(link: &Link<'_, S>) -> u64 {
    link.as_ref().map_or(0, |node| node.key + sum(&node.left) + sum(&node.right))
}

fn trees<S: Source>(source: S) {
    let alive = Rc::new(());
    let pool = Pool::new_in(source);
    let mut root = None;
    let mut random = Random::new(3);
    let mut expected = 0;
    for _ in 0..5000 {
        let key = random.word() >> 32;
        expected += key;
        insert(&pool, &mut root, key, &alive);
    }
    assert_eq!(sum(&root), expected);
    assert_eq!((pool.len(), Rc::strong_count(&alive)), (5000, 5001));
    let half = root.as_mut().and_then(|node| node.left.take());
    drop(half);
    assert_eq!(Rc::strong_count(&alive) - 1, pool.len());
    drop(root);
    assert!(pool.is_empty());
    assert_eq!(Rc::strong_count(&alive), 1);
}

#[test]
fn trees_on_every_source() {
    on_every_source!(trees);
}

#[test]
fn a_pool_gives_its_memory_back_and_may_move() {
    let heap = Flist::open(&Config::default()).unwrap();
    let mut pool = Pool::new_in(In::new(&heap));
    assert_eq!(heap.info().alloc, 0, "no memory before the first value");
    for value in 0..10_000u64 {
        pool.insert(value).leak();
    }
    let mut moved = Box::new(pool);
    let handle = moved.insert(7);
    drop(handle);
    assert_eq!(moved.iter_mut().map(|value| *value).sum::<u64>(), 9999 * 5000);
    drop(moved);
    assert_eq!(heap.info().alloc, 0);
    pool = Pool::new_in(In::new(&heap));
    assert_eq!(*pool.insert(1), 1);
}

fn made_for<S: Source>(source: S) {
    for capacity in [0, 1, 700, 5_000, 300_000] {
        let mut pool = Pool::with_capacity_in(capacity, source).unwrap();
        assert!(pool.is_empty());
        // More than it was made for, too.
        let numbers = 0..capacity as u64 * 2 + 10;
        let mut handles: Vec<_> = numbers.clone().map(|number| pool.insert(number)).collect();
        assert!(numbers.clone().all(|number| *handles[number as usize] == number));
        for index in (0..handles.len()).rev().step_by(2) {
            handles.swap_remove(index);
        }
        let sum: u64 = handles.into_iter().map(|handle| *handle.leak()).sum();
        assert_eq!(pool.iter_mut().map(|number| *number).sum::<u64>(), sum);
    }
}

#[test]
fn made_for_many_values_on_every_source() {
    on_every_source!(made_for);
}

#[test]
fn made_for_more_values_than_there_is_memory() {
    let mut config = Config::default();
    config.capacity = 1 << 20;
    let heap = Flist::open(&config).unwrap();
    for many in [1 << 20, usize::MAX / 8, usize::MAX] {
        let refused = Pool::<[u64; 3], _>::with_capacity_in(many, In::new(&heap));
        assert!(refused.is_err(), "{many}");
    }
    assert_eq!(heap.info().alloc, 0);
}

#[test]
fn a_refusal_gives_the_value_back() {
    let mut config = Config::default();
    config.capacity = 256 << 10;
    let heap = Flist::open(&config).unwrap();
    let pool = Pool::new_in(In::new(&heap));
    let mut held = Vec::new();
    let (value, refusal) = loop {
        match pool.try_insert([held.len(); 8]) {
            Ok(handle) => held.push(handle),
            Err(refused) => break refused,
        }
    };
    assert_eq!(value, [held.len(); 8]);
    assert!(matches!(refusal, AllocError::Capacity { .. }));
    assert!(held.len() * 64 > 128 << 10, "half of the capacity holds values: {}", held.len());
    assert!(held.iter().enumerate().all(|(index, value)| **value == [index; 8]));
    held.pop();
    assert!(pool.try_insert(value).is_ok());
}

#[test]
fn a_drop_that_panics_frees_the_slot() {
    struct Bad;
    impl Drop for Bad {
        fn drop(&mut self) {
            panic!("no");
        }
    }
    crate::quiet(|| {
        let pool = Pool::new_in(Global);
        let bad = pool.insert(Bad);
        let place = bad.as_ptr();
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(bad)));
        assert!(ended.is_err() && pool.is_empty());
        let next = pool.insert(Bad);
        assert_eq!(next.as_ptr(), place);
        std::mem::forget(next);
    });
}

#[test]
fn handles_compare_as_their_values() {
    let pool = Pool::new_in(Global);
    let mut handles: Vec<_> = [3, 1, 2].map(|number| pool.insert(number)).into();
    handles.sort();
    let printed: Vec<_> = handles.iter().map(ToString::to_string).collect();
    assert_eq!(printed, ["1", "2", "3"]);
    let set: std::collections::HashSet<_> = handles.into_iter().collect();
    assert!(set.contains(&pool.insert(2)) && !set.contains(&pool.insert(4)));
}

fn keyed<S: Source>(source: S) {
    let mut random = Random::new(1);
    let mut pool = KeyedPool::new_in(source);
    let mut model = HashMap::new();
    let (mut live, mut gone) = (Vec::new(), Vec::new());
    for step in 0..20_000 {
        if random.below(100) < 55 {
            let text = step.to_string();
            let key = pool.insert(text.clone());
            assert!(model.insert(key, text).is_none(), "a key of its own");
            live.push(key);
        } else if !live.is_empty() {
            let key = live.swap_remove(random.below(live.len()));
            assert_eq!(pool.remove(key), model.remove(&key));
            gone.push(key);
        }
        if let Some(&key) = gone.get(random.below(gone.len() + 1)) {
            assert!(!pool.contains(key) && pool.remove(key).is_none());
        }
        assert_eq!(pool.len(), model.len());
    }
    assert_eq!(pool.iter().count(), model.len());
    for (key, text) in pool.iter() {
        assert_eq!(model[&key], *text);
    }
    for (_, text) in pool.iter_mut() {
        text.push('!');
    }
    for (key, text) in &model {
        assert_eq!(pool[*key], format!("{text}!"));
    }
    pool.clear();
    assert!(pool.is_empty() && model.keys().all(|key| pool.get(*key).is_none()));
}

#[test]
fn keyed_on_every_source() {
    on_every_source!(keyed);
}

#[test]
#[should_panic(expected = "is gone")]
fn a_key_of_nothing_panics() {
    let mut pool = KeyedPool::new_in(Global);
    let key = pool.insert(1);
    pool.remove(key);
    pool.insert(2);
    let _ = pool[key];
}

#[test]
fn values_are_dropped_with_a_keyed_pool() {
    let alive = Rc::new(());
    let mut pool = KeyedPool::new_in(Global);
    let keys: Vec<_> = (0..100).map(|_| pool.insert(alive.clone())).collect();
    for key in &keys[..30] {
        pool.remove(*key);
    }
    assert_eq!(Rc::strong_count(&alive), 71);
    drop(pool);
    assert_eq!(Rc::strong_count(&alive), 1);
}
