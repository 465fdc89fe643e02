//! The index against an oracle from the standard library, on every backend.

use std::collections::{BTreeMap, BTreeSet};

use mallocer::{AllocError, Arena, Backend, SharedArena};

use super::memory::{Counting, Instrument, Probe, Space};
use super::store::Store;
use super::version::Mailbox;
use crate::compare::corpus::Corpus;
use crate::compare::digest::{Digest, Words};
use crate::compare::round::{Round, RoundError, on_backend};
use crate::compare::work::{KeyBuffer, Work};

/// Some text with many words, many of them often.
fn corpus() -> Corpus {
    let text = concat!(include_str!("tree.rs"), include_str!("version.rs")).as_bytes().to_vec();
    Corpus { bytes: text.len(), text, files: 2, cut: false, unreadable: Vec::new() }
}

/// What the index must hold for a key: its postings and its current text.
type Oracle = BTreeMap<Vec<u8>, (Vec<u32>, Vec<u8>)>;

/// Does the whole work of `parts` on the oracle.
fn oracle(work: &Work) -> Oracle {
    let mut oracle = Oracle::new();
    let mut buffer: KeyBuffer = [0; size_of::<KeyBuffer>()];
    for part in work.parts() {
        for &operation in &part.builds {
            let key = work.key(operation, &mut buffer).to_vec();
            let text = || (Vec::new(), work.line(operation).to_vec());
            oracle.entry(key).or_insert_with(text).0.push(operation);
        }
        for &operation in &part.updates {
            let entry = oracle.get_mut(work.key(operation, &mut buffer)).unwrap();
            entry.1 = work.line(operation).to_vec();
        }
        for &operation in &part.deletes {
            oracle.remove(work.key(operation, &mut buffer)).unwrap();
        }
    }
    oracle
}

fn digest(oracle: &Oracle) -> Digest {
    let mut digest = Digest::default();
    for (key, (postings, text)) in oracle {
        let mut words = Words::default();
        words.add_bytes(key);
        words.add_numbers(postings);
        words.add_bytes(text);
        digest.push(words.finish());
    }
    digest
}

fn round(backend: Backend, work: &Work) -> Round {
    on_backend(backend, work, 1 << 30, None).unwrap()
}

#[test]
fn one_worker_holds_what_the_oracle_holds_on_every_backend() {
    let work = Work::plan(&corpus(), 2, 1, 3);
    let oracle = oracle(&work);
    for &backend in Backend::compiled() {
        let round = round(backend, &work);
        assert_eq!(round.keys, oracle.len() as u64, "{backend}");
        assert_eq!(round.digest, format!("{:016x}", digest(&oracle).hash()), "{backend}");
        assert!(round.peak.live > 0, "{backend}");
        assert!(round.peak.heap >= round.peak.live, "{backend}: {:?}", round.peak);
        assert!(round.deleted.live < round.peak.live, "{backend}");
    }
}

#[test]
fn several_workers_hold_the_same_on_every_backend() {
    let expected = digest(&oracle(&Work::plan(&corpus(), 2, 1, 3)));
    let shared = Work::plan(&corpus(), 2, 3, 3);
    for &backend in Backend::compiled() {
        let round = round(backend, &shared);
        assert_eq!(round.digest, format!("{:016x}", expected.hash()), "{backend}");
    }
}

#[test]
fn a_capacity_too_small_is_an_error_that_names_the_phase_and_the_limit() {
    for workers in [1, 3] {
        let work = Work::plan(&corpus(), 4, workers, 3);
        for &backend in Backend::compiled() {
            let error = on_backend(backend, &work, 1 << 20, None).unwrap_err();
            let RoundError::Alloc { phase, refusal: AllocError::Capacity { limit, .. } } = error
            else {
                panic!("{backend}: {error}")
            };
            assert_eq!(limit, 1 << 20);
            assert!(["open", "build", "update"].contains(&phase), "{backend}: {phase}");
        }
    }
}

/// Adds keys in ascending order, and then removes them in one that `order` makes:
/// after every step, the tree must be in order and hold exactly what it should.
fn grows_and_shrinks<A: Space>(arena: &A, order: fn(u32) -> u32) {
    const KEYS: u32 = 2000;
    let probe = Counting.probe(arena);
    let mut store = Store::new(&probe, 4).unwrap();
    let mailbox = Mailbox::default();
    let key = |number: u32| format!("key with a long common part {number:05}").into_bytes();
    let mut left: BTreeSet<u32> = BTreeSet::new();
    for number in 0..KEYS {
        store.add(&key(number), number, b"text").unwrap();
        left.insert(number);
    }
    assert_eq!(store.check_invariants().0, left.len());
    for number in (0..KEYS).map(order) {
        assert!(store.remove(&key(number)), "{number} is there");
        assert!(!store.remove(&key(number)), "{number} is gone");
        left.remove(&number);
        store.post(&mailbox);
        store.collect(&mailbox);
        let (keys, held) = store.check_invariants();
        assert_eq!((keys, held), (left.len(), 4.min(KEYS as usize - left.len())));
        assert_eq!(store.scan().count(), left.len() as u64);
    }
    // A leaf, the ring of four places, and four versions in it.
    let tally = probe.tally();
    assert_eq!(tally.allocs - tally.frees, 1 + 1 + 4);
    store.add(b"again", 1, b"text").unwrap();
    assert_eq!(store.scan().count(), 1);
}

#[test]
fn the_tree_grows_and_shrinks_in_any_order() {
    let orders: [fn(u32) -> u32; 3] =
        [|step| step, |step| 1999 - step, |step| (step * 769 + 13) % 2000];
    for order in orders {
        grows_and_shrinks(&Arena::new(1 << 30).unwrap(), order);
    }
    grows_and_shrinks(&SharedArena::new(1 << 30).unwrap(), orders[2]);
}
