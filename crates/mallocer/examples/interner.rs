//! A string interner: each text once, in an arena, by a number of four bytes.
//!
//! The texts live as long as the arena, so the interner hands out `&str` that do too, and
//! gives everything back at once. What a text costs is its bytes and its length, rounded up to
//! a slab; nothing is freed one by one, and nothing of it is kept twice.

use std::collections::HashSet;

use mallocer::array::{Array, In, Text};
use mallocer::collections::HashMap;
use mallocer::{Arena, BuildError, Flist};

/// A text that was interned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Symbol(u32);

struct Interner<'a> {
    source: In<'a, Flist>,
    /// Both lead to the same texts, which are in the arena once.
    symbols: HashMap<&'a str, Symbol, &'a Arena<Flist>>,
    texts: Array<&'a str, In<'a, Flist>>,
}

impl<'a> Interner<'a> {
    fn new(arena: &'a Arena<Flist>) -> Interner<'a> {
        let source = In::from(arena);
        Interner { source, symbols: HashMap::new_in(arena), texts: Array::new_in(source) }
    }

    fn intern(&mut self, text: &str) -> Symbol {
        if let Some(&known) = self.symbols.get(text) {
            return known;
        }
        let bytes = Text::from_str_in(text, self.source).into_bytes().leak();
        // The bytes were a text a moment ago.
        let kept: &'a str = std::str::from_utf8(bytes).expect("a text is UTF-8");
        let symbol = Symbol(self.texts.len() as u32);
        self.texts.push(kept);
        self.symbols.insert(kept, symbol);
        symbol
    }

    fn text(&self, symbol: Symbol) -> &'a str {
        self.texts[symbol.0 as usize]
    }
}

fn main() -> Result<(), BuildError> {
    let arena = Arena::<Flist>::builder().capacity(256 << 20).build()?;
    let mut interner = Interner::new(&arena);

    let sentence = "it was the best of times it was the worst of times";
    let symbols: Vec<Symbol> = sentence.split(' ').map(|word| interner.intern(word)).collect();
    let back: Vec<&str> = symbols.iter().map(|&symbol| interner.text(symbol)).collect();
    assert_eq!(back.join(" "), sentence);
    println!("{} words, {} symbols: {symbols:?}", symbols.len(), interner.texts.len());

    let before = arena.info().alloc;
    let mut bytes = 0;
    for number in 0..1_000_000u64 {
        let file = number.wrapping_mul(2_654_435_761) % 60_000;
        let path = format!("src/{}/{file:x}", file % 97);
        let known = interner.texts.len();
        interner.intern(&path);
        bytes += if interner.texts.len() > known { path.len() } else { 0 };
    }
    let distinct: HashSet<&str> = interner.texts.iter().copied().collect();
    assert_eq!(distinct.len(), interner.texts.len());
    let taken = arena.info().alloc - before;
    let each = taken as f64 / interner.texts.len() as f64;
    println!("1000000 paths, {} symbols: {bytes} bytes of text", interner.texts.len());
    println!("  {taken} bytes in the arena, {each:.1} for each, table and index included");
    println!("  {}", arena.info());
    Ok(())
}
