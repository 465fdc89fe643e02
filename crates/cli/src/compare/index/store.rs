//! The index itself: for every key, where it occurs and its current version.

use std::alloc::Layout;
use std::ptr::NonNull;

use mallocer_core::AllocError;

use super::key::Key;
use super::memory::Memory;
use super::tree::{Entry, Tree};
use super::version::{Batch, Held, Mailbox, Version};
use crate::compare::digest::{Digest, Words};

/// Room for postings that a new key gets; doubled each time it is full.
const FIRST_ROOM: u32 = 4;

/// What the index keeps for a key: a chunk of its own.
struct Record {
    key: Key,
    /// Where the key occurs: an array with `room` for more than its `count`.
    postings: NonNull<u32>,
    count: u32,
    room: u32,
    version: Version,
}

impl Entry for Record {
    fn key(&self) -> Key {
        self.key
    }
}

/// One worker's part of the index.
pub(crate) struct Store<'m, M> {
    memory: &'m M,
    tree: Tree<Record>,
    superseded: Batch,
    held: Held,
}

impl<'m, M: Memory> Store<'m, M> {
    /// An empty store that holds on to `held` superseded versions.
    pub(crate) fn new(memory: &'m M, held: usize) -> Result<Self, AllocError> {
        let held = Held::new(held, memory)?;
        Ok(Store { memory, tree: Tree::new(), superseded: Batch::default(), held })
    }

    /// Adds a place where `key` occurs; a new key gets `text` as its first version.
    pub(crate) fn add(&mut self, key: &[u8], position: u32, text: &[u8]) -> Result<(), AllocError> {
        let memory = self.memory;
        let mut record = self.tree.get_or_insert(key, memory, || Record::new(key, text, memory))?;
        // SAFETY: records in the tree are live, and this store's alone.
        unsafe { record.as_mut().push(position, memory) }
    }

    /// Replaces the version of `key`, if there is such a key.
    pub(crate) fn replace(&mut self, key: &[u8], text: &[u8]) -> Result<(), AllocError> {
        let Some(mut record) = self.tree.get(key) else { return Ok(()) };
        let version = Version::copy_of(text, self.memory)?;
        // SAFETY: records in the tree are live, and this store's alone.
        let old = unsafe { std::mem::replace(&mut record.as_mut().version, version) };
        self.superseded.push(old);
        Ok(())
    }

    /// Removes `key`: its version goes the way of all superseded ones, the rest is
    /// freed now. Returns whether there was such a key.
    pub(crate) fn remove(&mut self, key: &[u8]) -> bool {
        let Some(chunk) = self.tree.remove(key, self.memory) else { return false };
        // SAFETY: the record has left the tree and is reached no more; neither are its
        // key and its postings.
        unsafe {
            let record = chunk.read();
            record.key.free(self.memory);
            self.memory.free(record.postings.cast(), postings(record.room));
            self.memory.free_sized(chunk.cast(), Layout::new::<Record>());
            self.superseded.push(record.version);
        }
        true
    }

    /// Hands superseded versions over once enough have gathered, and takes those of
    /// the worker before.
    #[inline]
    pub(crate) fn exchange(&mut self, own: &Mailbox, next: &Mailbox) {
        if self.superseded.is_due() {
            next.post(&mut self.superseded);
            self.held.collect(own, self.memory);
        }
    }

    /// Hands all superseded versions over.
    pub(crate) fn post(&mut self, next: &Mailbox) {
        next.post(&mut self.superseded);
    }

    /// Takes what others have handed over.
    pub(crate) fn collect(&mut self, own: &Mailbox) {
        self.held.collect(own, self.memory);
    }

    /// Reads everything in the order of the keys.
    pub(crate) fn scan(&self) -> Digest {
        let mut digest = Digest::default();
        self.tree.each(&mut |record| {
            // SAFETY: records in the tree are live, and so is what they point at.
            unsafe {
                let record = record.as_ref();
                let mut words = Words::default();
                words.add_bytes(record.key.bytes());
                words.add_numbers(record.postings());
                words.add_bytes(record.version.text());
                digest.push(words.finish());
            }
        });
        digest
    }

    /// Checks the tree's invariants; returns the keys, and the versions held.
    #[cfg(test)]
    pub(super) fn check_invariants(&self) -> (usize, usize) {
        (self.tree.check_invariants(), self.held.count())
    }
}

impl Record {
    fn new(key: &[u8], text: &[u8], memory: &impl Memory) -> Result<NonNull<Record>, AllocError> {
        let record = Record {
            key: Key::copy_of(key, memory)?,
            postings: memory.alloc(postings(FIRST_ROOM))?.cast(),
            count: 0,
            room: FIRST_ROOM,
            version: Version::copy_of(text, memory)?,
        };
        let chunk = memory.alloc(Layout::new::<Record>())?.cast();
        // SAFETY: the chunk has the layout of what is written.
        unsafe { chunk.write(record) };
        Ok(chunk)
    }

    /// Adds a posting, in a larger array if this one is full.
    ///
    /// # Safety
    ///
    /// The record is live, and `memory` is where it comes from.
    unsafe fn push(&mut self, position: u32, memory: &impl Memory) -> Result<(), AllocError> {
        // SAFETY: the array is live and has `room` elements, of which `count` are written.
        unsafe {
            if self.count == self.room {
                let (old, new) = (postings(self.room), postings(2 * self.room));
                self.postings = memory.realloc(self.postings.cast(), old, new.size())?.cast();
                self.room *= 2;
            }
            self.postings.add(self.count as usize).write(position);
        }
        self.count += 1;
        Ok(())
    }

    /// # Safety
    ///
    /// The record is live as long as the slice.
    unsafe fn postings(&self) -> &[u32] {
        // SAFETY: the first `count` elements are written.
        unsafe { NonNull::slice_from_raw_parts(self.postings, self.count as usize).as_ref() }
    }
}

fn postings(room: u32) -> Layout {
    Layout::array::<u32>(room as usize).expect("postings are 32-bit numbers")
}
