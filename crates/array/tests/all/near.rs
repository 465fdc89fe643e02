//! Pools that place values beside their neighbours.

use std::collections::{BTreeMap, BTreeSet};
use std::ptr;
use std::rc::Rc;

use mallocer_array::{In, Near, Pool, Pooled, Source};
use mallocer_conformance::Random;
use mallocer_core::{AllocError, Config, Mallocer};
use mallocer_flist::{Flist, Global};

use crate::on_every_source;

/// Inserts near to anything and drops at random; every value stays what it was.
fn random_program<S: Source>(source: S) {
    fn run<T: Clone + PartialEq + std::fmt::Debug, S: Source>(source: S, make: fn(u64) -> T) {
        let mut random = Random::new(size_of::<T>() as u64);
        let mut pool = Pool::near_in(source);
        let mut leaked = BTreeSet::new();
        {
            let pool = &pool;
            let mut held: Vec<(Pooled<T, S, Near>, T)> = Vec::new();
            let mut gone = Vec::new();
            for _ in 0..20_000 {
                let value = make(random.word());
                match random.below(100) {
                    insert @ 0..55 => {
                        let near: *const u8 = match insert {
                            0 => ptr::null(),
                            // Anywhere at all, in the midst of values, or beside them.
                            1 => ptr::without_provenance(random.word() as usize),
                            2 => ptr::from_ref(&value).cast(),
                            3..10 if !gone.is_empty() => gone[random.below(gone.len())],
                            10..50 if !held.is_empty() => {
                                let place = held[random.below(held.len())].0.as_ptr().as_ptr();
                                let around = random.below(64 << 10).wrapping_sub(32 << 10);
                                match insert {
                                    10..20 => place.cast::<u8>().wrapping_add(around),
                                    _ => place.cast(),
                                }
                            }
                            _ => {
                                held.push((pool.insert(value.clone()), value));
                                continue;
                            }
                        };
                        held.push((pool.insert_near(near, value.clone()), value));
                    }
                    _ if held.is_empty() => {}
                    drop => {
                        let (handle, value) = held.swap_remove(random.below(held.len()));
                        assert_eq!(*handle, value);
                        match drop {
                            55 => _ = leaked.insert(handle.as_ptr()),
                            _ => gone.push(handle.as_ptr().as_ptr().cast_const().cast()),
                        }
                        match drop {
                            55 => _ = handle.leak(),
                            56..75 => assert_eq!(handle.into_inner(), value),
                            _ => std::mem::drop(handle),
                        }
                    }
                }
                assert_eq!(pool.len(), held.len() + leaked.len());
            }
            // No two values overlap, and those that are alive are those that are held.
            let places: BTreeSet<_> = held.iter().map(|(handle, _)| handle.as_ptr()).collect();
            let alive: BTreeSet<_> = places.union(&leaked).copied().collect();
            assert_eq!(pool.live(), alive.iter().copied().collect::<Vec<_>>());
            let mut before = 0;
            for place in alive {
                assert!(place.addr().get() >= before && place.is_aligned());
                before = place.addr().get() + size_of::<T>();
            }
            for (mut handle, value) in held {
                assert_eq!(*handle, value);
                *handle = value;
            }
        }
        assert_eq!((pool.len(), pool.live().len()), (leaked.len(), leaked.len()));
        assert_eq!(pool.iter_mut().map(ptr::from_mut).count(), leaked.len());
        for value in pool.iter_mut() {
            // SAFETY: it was leaked, and nobody else has it.
            unsafe { ptr::drop_in_place(value) };
        }
    }
    run::<(), S>(source, |_| ());
    run::<u8, S>(source, |number| number as u8);
    run::<u64, S>(source, |number| number);
    run::<[u8; 13], S>(source, |number| [number as u8; 13]);
    run::<[u64; 3], S>(source, |number| [number; 3]);
    run::<String, S>(source, |number| number.to_string());
    run::<[u64; 8], S>(source, |number| [number; 8]);
    run::<[u64; 9], S>(source, |number| [number; 9]);
    run::<[u64; 300], S>(source, |number| [number; 300]);
}

#[test]
fn a_random_program_on_every_source() {
    on_every_source!(random_program);
}

/// How far two values are from each other.
fn distance<T, S: Source>(one: &Pooled<T, S, Near>, other: &Pooled<T, S, Near>) -> usize {
    one.as_ptr().addr().get().abs_diff(other.as_ptr().addr().get())
}

#[test]
fn a_value_goes_beside_its_neighbour_while_there_is_a_slot() {
    let pool = Pool::near_in(Global);
    let founders: Vec<_> =
        (0..1000).map(|number| pool.insert_near(ptr::null::<u8>(), [number; 3])).collect();
    let mut beside = Vec::new();
    for founder in &founders {
        for number in 1..4usize {
            beside.push(pool.insert_near(&raw const founder[2], [founder[0] + number; 3]));
            assert_eq!(distance(beside.last().unwrap(), founder), 24 * number);
        }
    }
    // A fifth one begins a block, which has room for its own.
    let fifth = pool.insert_near(&raw const founders[0][0], [5; 3]);
    assert!(distance(&fifth, &founders[0]) >= 96);
    let sixth = pool.insert_near(fifth.as_ptr().as_ptr(), [6; 3]);
    assert_eq!(distance(&fifth, &sixth), 24);
    // The slot nearest behind it is taken, else the nearest in front of it.
    let mut block = beside.drain(..3);
    let (second, third, fourth) =
        (block.next().unwrap(), block.next().unwrap(), block.next().unwrap());
    let place = third.as_ptr();
    drop((second, third));
    assert_eq!(pool.insert_near(fourth.as_ptr().as_ptr(), [7; 3]).as_ptr(), place);
    let near = pool.insert_near(founders[0].as_ptr().as_ptr(), [8; 3]);
    assert_eq!(distance(&near, &founders[0]), 24);
    assert_eq!(pool.len(), 1000 + 3000 - 2 + 2 + 1);
}

#[test]
fn values_without_a_neighbour_fill_blocks() {
    let pool = Pool::near_in(Global);
    let mut places: Vec<_> = (0..100u64).map(|number| pool.insert([number; 3])).collect();
    for block in places.chunks(4) {
        assert!((1..4).all(|index| distance(&block[0], &block[index]) == 24 * index));
    }
    // Slots of a block that has values are for their neighbours; a block without any is used
    // again by anyone, the last one first.
    let block: Vec<_> = places[4..8].iter().map(|handle| handle.as_ptr()).collect();
    places.drain(4..8);
    let places: Vec<_> = (0..8u64).map(|number| pool.insert([number; 3])).collect();
    assert_eq!(places[..4].iter().map(Pooled::as_ptr).collect::<Vec<_>>(), block);
}

#[test]
fn a_hint_that_is_none_is_harmless() {
    let (pool, other) = (Pool::near_in(Global), Pool::near_in(Global));
    let foreign = other.insert([1u64; 3]);
    assert_eq!(*pool.insert_near(foreign.as_ptr().as_ptr(), [2; 3]), [2; 3]);
    let one = pool.insert([3u64; 3]);
    let segment = one.as_ptr().as_ptr().map_addr(|address| address & !((16 << 10) - 1));
    // Every address of the segment, of its head, and of what was never used or is behind it.
    for offset in (0..(64usize << 10)).step_by(8) {
        let value = pool.insert_near(segment.cast::<u8>().wrapping_add(offset), [4; 3]);
        assert!(distance(&value, &one) >= 24);
    }
    // A value that is gone, whose block is free or somebody else's.
    let gone = other.insert([5; 3]).as_ptr().as_ptr();
    let values: Vec<_> = (0..9).map(|number| other.insert_near(gone, [number; 3])).collect();
    assert!((0..9).all(|number| *values[number as usize] == [number; 3]));
    for address in [0, 1, 8, usize::MAX, usize::MAX - 7, isize::MAX as usize, 1 << 47] {
        drop(pool.insert_near(ptr::without_provenance::<[u64; 3]>(address), [6; 3]));
    }
    assert_eq!((pool.len(), other.len()), (1, 10));
}

/// A tree as in the benches, beside a map.
struct Node<'p, S: Source> {
    key: u64,
    children: [Link<'p, S>; 2],
    _alive: Rc<()>,
}

type Link<'p, S> = Option<Pooled<'p, Node<'p, S>, S, Near>>;

fn find<'a, 'p, S: Source>(mut at: &'a mut Link<'p, S>, key: u64) -> &'a mut Link<'p, S> {
    while at.as_ref().is_some_and(|node| node.key != key) {
        let node = &mut **at.as_mut().unwrap();
        at = &mut node.children[usize::from(key > node.key)];
    }
    at
}

fn trees<S: Source>(source: S) {
    let alive = Rc::new(());
    let pool = Pool::near_in(source);
    let mut root = None;
    let mut model = BTreeMap::new();
    let mut random = Random::new(5);
    for _ in 0..20_000 {
        let key = random.word() % 4096;
        let link = find(&mut root, key);
        if link.is_none() {
            let near = ptr::from_ref(link);
            let node = Node { key, children: [None, None], _alive: alive.clone() };
            *link = Some(pool.insert_near(near, node));
            model.insert(key, ());
        } else if link.as_ref().is_some_and(|node| node.children[1].is_none()) {
            *link = link.take().and_then(|node| node.into_inner().children[0].take());
            model.remove(&key);
        }
        assert_eq!(pool.len(), model.len());
    }
    assert_eq!(Rc::strong_count(&alive), model.len() + 1);
    for key in 0..4096 {
        assert_eq!(find(&mut root, key).is_some(), model.contains_key(&key));
    }
    drop(root);
    assert!(pool.is_empty() && pool.live().is_empty());
    assert_eq!(Rc::strong_count(&alive), 1);
}

#[test]
fn trees_on_every_source() {
    on_every_source!(trees);
}

#[test]
fn memory_is_used_again_and_given_back() {
    let heap = Flist::open(&Config::default()).unwrap();
    let pool = Pool::near_in(In::new(&heap));
    let mut taken = 0;
    for round in 0..5 {
        let mut handles: Vec<Pooled<[u64; 3], _, Near>> = Vec::new();
        for number in 0..100_000u64 {
            let near = handles.last().map_or(ptr::null(), |handle| handle.as_ptr().as_ptr());
            handles.push(pool.insert_near(near, [number; 3]));
        }
        assert!((0..100_000).all(|number| *handles[number as usize] == [number; 3]));
        taken = if round == 0 { heap.info().alloc } else { taken };
        assert_eq!(heap.info().alloc, taken);
    }
    assert!(taken < 100_000 * 24 * 2, "chains fill their blocks: {taken} bytes");
    drop(pool);
    assert_eq!(heap.info().alloc, 0);
}

fn made_for<S: Source>(source: S) {
    // Groups of one region and of many, which the table of regions has to hold.
    for capacity in [0, 1, 700, 5_000, 300_000] {
        let mut pool = Pool::near_with_capacity_in(capacity, source).unwrap();
        let handles: Vec<_> =
            (0..capacity as u64 * 2 + 10).map(|number| pool.insert([number; 3])).collect();
        for pair in handles.chunks_exact(2).step_by(100) {
            let place = pair[1].as_ptr().as_ptr();
            let value = pool.insert_near(place, [0; 3]);
            assert_ne!(value.as_ptr().as_ptr(), place);
        }
        let sum: u64 = handles.into_iter().map(|handle| handle.leak()[1]).sum();
        assert_eq!(pool.iter_mut().map(|value| value[1]).sum::<u64>(), sum);
    }
    let refused = Pool::<[u64; 3], _, Near>::near_with_capacity_in(usize::MAX, source);
    assert!(refused.is_err());
}

#[test]
fn made_for_many_values_on_every_source() {
    on_every_source!(made_for);
}

#[test]
fn a_refusal_gives_the_value_back() {
    let mut config = Config::default();
    config.capacity = 256 << 10;
    let heap = Flist::open(&config).unwrap();
    let pool = Pool::near_in(In::new(&heap));
    let mut held = Vec::new();
    let (value, refusal) = loop {
        match pool.try_insert_near(ptr::null::<u8>(), [held.len(); 3]) {
            Ok(handle) => held.push(handle),
            Err(refused) => break refused,
        }
    };
    assert_eq!(value, [held.len(); 3]);
    assert!(matches!(refusal, AllocError::Capacity { .. }));
    // Founders are refused, neighbours are not.
    assert!(pool.try_insert(value).is_err());
    assert!(pool.try_insert_near(held[7].as_ptr().as_ptr(), value).is_ok());
    assert!(held.iter().enumerate().all(|(index, value)| **value == [index; 3]));
}

#[test]
fn large_alignment_and_large_values() {
    #[derive(Clone, PartialEq, Debug)]
    #[repr(align(4096))]
    struct Page(u8);
    #[derive(Clone, PartialEq, Debug)]
    #[repr(align(32))]
    struct Half(u64);

    let pages = Pool::near_in(Global);
    let handles: Vec<_> = (0..100).map(|number| pages.insert_near(&pages, Page(number))).collect();
    assert!((0..100).all(|number| handles[number as usize].0 == number));
    assert!(handles.iter().all(|handle| handle.as_ptr().is_aligned()));
    let halves = Pool::near_in(Global);
    let one = halves.insert(Half(1));
    for number in 1..4 {
        let value = halves.insert_near(&*one, Half(number as u64));
        assert_eq!((distance(&one, &value), value.0), (32 * number, number as u64));
        value.leak();
    }
    assert_eq!(one.as_ptr().addr().get() % 128, 0, "a block lies in a pair of lines");
}
