//! Compaction: copy what lives from one arena into another, and release the first.
//!
//! A chunk stays where it is until it is freed, so after most of a table is deleted,
//! the survivors keep nearly every pool alive. A structure that wants that memory
//! back moves itself, and knows best which of its pointers to set anew.

use std::alloc::Layout;
use std::ptr::{self, NonNull};

use mallocer::{Arena, BuildError};

/// Records of different lengths, each in a chunk of its own.
struct Table {
    arena: Arena,
    records: Vec<NonNull<[u8]>>,
}

impl Table {
    fn new(arena: Arena) -> Table {
        Table { arena, records: Vec::new() }
    }

    fn push(&mut self, record: &[u8]) {
        let chunk = self.arena.alloc(Layout::for_value(record)).cast::<u8>();
        // SAFETY: the chunk is at least as long as the record and overlaps nothing.
        unsafe { ptr::copy_nonoverlapping(record.as_ptr(), chunk.as_ptr(), record.len()) };
        self.records.push(NonNull::slice_from_raw_parts(chunk, record.len()));
    }

    fn get(&self, number: usize) -> &[u8] {
        // SAFETY: every record is written and held until it is removed, which takes
        // the table mutably.
        unsafe { self.records[number].as_ref() }
    }

    /// Keeps every record whose number satisfies `keep`.
    fn retain(&mut self, mut keep: impl FnMut(usize) -> bool) {
        let mut number = 0;
        self.records.retain(|record| {
            let keeps = keep(number);
            if !keeps {
                // SAFETY: the record is held, and leaves the table here.
                unsafe { self.arena.free(record.cast()) };
            }
            number += 1;
            keeps
        });
    }

    /// The same records, side by side in a new arena with the same settings.
    fn compacted(self) -> Result<Table, BuildError> {
        let mut compact = Table::new(sibling(&self.arena)?);
        for number in 0..self.records.len() {
            compact.push(self.get(number));
        }
        self.arena.release();
        Ok(compact)
    }
}

/// An empty arena with the settings of `arena`.
fn sibling(arena: &Arena) -> Result<Arena, BuildError> {
    Arena::builder().backend(arena.heap().backend()).capacity(arena.info().capacity).build()
}

fn main() -> Result<(), BuildError> {
    let mut table = Table::new(Arena::new(1 << 30)?);
    for number in 0..200_000usize {
        table.push(&vec![number as u8; 40 + number % 400]);
    }
    println!("200000 records:           {}", table.arena.info());

    table.retain(|number| number % 10 == 0);
    println!("one in ten is left:       {}", table.arena.info());
    println!("purged:                   {} bytes", table.arena.purge());
    println!("                          {}", table.arena.info());

    let table = table.compacted()?;
    println!("copied to another arena:  {}", table.arena.info());
    assert!((0..20_000).all(|number| table.get(number)[0] == (number * 10) as u8));
    Ok(())
}
