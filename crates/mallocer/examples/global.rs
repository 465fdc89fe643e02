//! A backend as the allocator of the whole program.

use std::collections::BTreeMap;

#[cfg(feature = "flist")]
#[global_allocator]
static GLOBAL: mallocer::global::Flist = mallocer::global::Flist;

fn main() {
    let text = include_str!("global.rs");
    let mut words: BTreeMap<&str, usize> = BTreeMap::new();
    for word in text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty())
    {
        *words.entry(word).or_default() += 1;
    }
    let (word, count) = words.iter().max_by_key(|(_, count)| **count).expect("there are words");
    println!("{} different words in this source; `{word}` stands {count} times", words.len());
    let served = if cfg!(feature = "flist") { "flist" } else { "Rust's own allocator" };
    println!("the tree of them is in memory of {served}");
}
