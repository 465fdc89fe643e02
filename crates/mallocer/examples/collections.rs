//! An index over words, all of it in one arena: the map, the keys and the postings.
//! Then the same on threads, in a shared one.

use std::thread;

use mallocer::collections::{Box, HashMap, HashSet, Vec};
use mallocer::{Arena, BuildError, SharedArena};

const TEXT: &str = "whether it is nobler in the mind to suffer the slings and arrows of \
                    outrageous fortune or to take arms against a sea of troubles and by \
                    opposing end them to die to sleep no more";

fn main() -> Result<(), BuildError> {
    let arena = Arena::new(16 << 20)?;
    let mut index: HashMap<Box<[u8], _>, Vec<usize, _>, _> = HashMap::new_in(&arena);
    for (position, word) in TEXT.split_whitespace().enumerate() {
        let mut key = Vec::new_in(&arena);
        key.extend_from_slice(word.as_bytes());
        index.entry(key.into_boxed_slice()).or_insert_with(|| Vec::new_in(&arena)).push(position);
    }
    println!("`to` stands at {:?}", index[b"to".as_slice()]);
    println!("{} words, {}", index.len(), arena.info());
    for slab in arena.utilization() {
        println!("  {slab}");
    }
    drop(index);
    println!("dropped: {}", arena.info());

    let shared = SharedArena::new(16 << 20)?;
    let threads: std::vec::Vec<_> = (0..4)
        .map(|thread| {
            let mut squares = HashSet::new_in(shared.clone());
            thread::spawn(move || {
                squares.extend((0..10_000u64).map(|number| (number * number) % (1000 + thread)));
                squares
            })
        })
        .collect();
    println!();
    for (thread, squares) in threads.into_iter().enumerate() {
        let squares = squares.join().expect("no thread panics");
        println!("{} square residues modulo {}", squares.len(), 1000 + thread);
    }
    println!("{}", shared.info());
    Ok(())
}
