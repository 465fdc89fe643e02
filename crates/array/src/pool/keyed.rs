//! The checked pool: values by keys that tell whether they are still meant.
//!
//! ```text
//! key    │ index │ generation │
//!            │
//! slots  │ 3 │ value │ 8 │ next free │ 1 │ value │ …        an array
//!          └ generation: odd while there is a value
//! ```
//!
//! A slot's generation counts how often it was filled and emptied. A key has the generation
//! of its value, so a key of a value that is gone finds another one. A slot whose
//! generations are used up, after 2³¹ values, is not used any more.

use core::fmt;
use core::hash::{Hash, Hasher};
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ops::{Index, IndexMut};

use mallocer_core::Ambient;

use crate::array::Array;
use crate::source::Source;

/// No slot: the end of the list of free ones.
const NONE: u32 = u32::MAX;

/// A pool that owns its values, and gives them by keys that may be copied and kept.
///
/// A key whose value was removed is noticed, also when its slot has been used again. Values
/// may move when the pool grows, so they are borrowed, never pointed at.
///
/// # Examples
///
/// ```
/// use mallocer_array::KeyedPool;
/// use mallocer_flist::Global;
///
/// let mut pool = KeyedPool::new_in(Global);
/// let one = pool.insert("one");
/// let two = pool.insert("two");
/// assert_eq!(pool.remove(one), Some("one"));
/// let three = pool.insert("three");     // in the slot of "one", which was freed last
/// assert_eq!(pool.get(one), None);
/// assert_eq!((pool[two], pool[three]), ("two", "three"));
/// ```
pub struct KeyedPool<T, S: Source> {
    slots: Array<Slot<T>, S>,
    /// The slot that was freed last.
    free: u32,
    live: u32,
}

struct Slot<T> {
    /// Odd while there is a value.
    generation: u32,
    content: Content<T>,
}

union Content<T> {
    value: ManuallyDrop<T>,
    next: u32,
}

/// Which value of a [`KeyedPool`] is meant.
pub struct Key<T> {
    index: u32,
    generation: u32,
    of: PhantomData<fn() -> T>,
}

impl<T> Slot<T> {
    fn is_live(&self) -> bool {
        self.generation % 2 == 1
    }

    /// # Safety
    ///
    /// There is a value.
    unsafe fn value(&self) -> &T {
        // SAFETY: the caller's promise.
        unsafe { &self.content.value }
    }

    /// # Safety
    ///
    /// There is a value.
    unsafe fn value_mut(&mut self) -> &mut T {
        // SAFETY: the caller's promise.
        unsafe { &mut self.content.value }
    }
}

impl<T> Drop for Slot<T> {
    fn drop(&mut self) {
        if self.is_live() {
            // SAFETY: there is a value, which ends with its slot.
            unsafe { ManuallyDrop::drop(&mut self.content.value) };
        }
    }
}

impl<T, P: Ambient> KeyedPool<T, P> {
    /// An empty pool on the heap of a process.
    pub fn new() -> KeyedPool<T, P> {
        KeyedPool::new_in(P::default())
    }
}

impl<T, P: Ambient> Default for KeyedPool<T, P> {
    fn default() -> KeyedPool<T, P> {
        KeyedPool::new()
    }
}

impl<T, S: Source> KeyedPool<T, S> {
    /// An empty pool in `source`.
    pub fn new_in(source: S) -> KeyedPool<T, S> {
        KeyedPool { slots: Array::new_in(source), free: NONE, live: 0 }
    }

    /// Puts `value` into the slot that was freed last, or into a new one.
    ///
    /// # Panics
    ///
    /// If there is no memory, or there are 2³² − 1 slots.
    #[track_caller]
    pub fn insert(&mut self, value: T) -> Key<T> {
        let content = Content { value: ManuallyDrop::new(value) };
        let index = self.free;
        let generation = if index == NONE {
            let index = self.slots.len();
            assert!(index < NONE as usize, "a keyed pool has at most {NONE} slots");
            self.slots.push(Slot { generation: 1, content });
            self.live += 1;
            return Key { index: index as u32, generation: 1, of: PhantomData };
        } else {
            let slot = &mut self.slots[index as usize];
            // SAFETY: a free slot says which is the next one.
            self.free = unsafe { slot.content.next };
            slot.generation += 1;
            slot.content = content;
            slot.generation
        };
        self.live += 1;
        Key { index, generation, of: PhantomData }
    }

    /// Takes the value of `key`, if it is still there.
    pub fn remove(&mut self, key: Key<T>) -> Option<T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation != key.generation {
            return None;
        }
        // SAFETY: a key's generation is odd, so there is a value, which is the caller's from
        // here on.
        let value = unsafe { ManuallyDrop::take(&mut slot.content.value) };
        self.live -= 1;
        match slot.generation.checked_add(1) {
            Some(even) => {
                slot.generation = even;
                slot.content.next = self.free;
                self.free = key.index;
            }
            // Used up: empty, and never free again.
            None => slot.generation = 0,
        }
        Some(value)
    }

    /// The value of `key`, if it is still there.
    #[inline]
    pub fn get(&self, key: Key<T>) -> Option<&T> {
        let slot = self.slots.get(key.index as usize)?;
        // SAFETY: a key's generation is odd, so there is a value.
        (slot.generation == key.generation).then(|| unsafe { slot.value() })
    }

    /// The value of `key`, to be changed, if it is still there.
    #[inline]
    pub fn get_mut(&mut self, key: Key<T>) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        // SAFETY: as above.
        (slot.generation == key.generation).then(|| unsafe { slot.value_mut() })
    }

    /// Whether the value of `key` is still there.
    pub fn contains(&self, key: Key<T>) -> bool {
        self.get(key).is_some()
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.live as usize
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// The values and their keys, in the order of slots.
    pub fn iter(&self) -> impl Iterator<Item = (Key<T>, &T)> {
        self.slots.iter().zip(0..).filter(|(slot, _)| slot.is_live()).map(|(slot, index)| {
            let key = Key { index, generation: slot.generation, of: PhantomData };
            // SAFETY: there is a value.
            (key, unsafe { slot.value() })
        })
    }

    /// The values, to be changed, and their keys.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Key<T>, &mut T)> {
        self.slots.iter_mut().zip(0..).filter(|(slot, _)| slot.is_live()).map(|(slot, index)| {
            let key = Key { index, generation: slot.generation, of: PhantomData };
            // SAFETY: as above.
            (key, unsafe { slot.value_mut() })
        })
    }

    /// Drops all values. Their keys stay those of values that are gone.
    pub fn clear(&mut self) {
        for index in 0..self.slots.len() as u32 {
            let generation = self.slots[index as usize].generation;
            if generation % 2 == 1 {
                drop(self.remove(Key { index, generation, of: PhantomData }));
            }
        }
    }
}

impl<T, S: Source> Index<Key<T>> for KeyedPool<T, S> {
    type Output = T;

    /// The value of `key`.
    ///
    /// # Panics
    ///
    /// If it is not there any more.
    fn index(&self, key: Key<T>) -> &T {
        self.get(key).unwrap_or_else(|| gone(key))
    }
}

impl<T, S: Source> IndexMut<Key<T>> for KeyedPool<T, S> {
    fn index_mut(&mut self, key: Key<T>) -> &mut T {
        self.get_mut(key).unwrap_or_else(|| gone(key))
    }
}

#[cold]
#[track_caller]
fn gone<T>(key: Key<T>) -> ! {
    panic!("the value of {key:?} is gone: it was removed, or is another pool's")
}

impl<T: fmt::Debug, S: Source> fmt::Debug for KeyedPool<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<T> Clone for Key<T> {
    fn clone(&self) -> Key<T> {
        *self
    }
}

impl<T> Copy for Key<T> {}

impl<T> PartialEq for Key<T> {
    fn eq(&self, other: &Key<T>) -> bool {
        (self.index, self.generation) == (other.index, other.generation)
    }
}

impl<T> Eq for Key<T> {}

impl<T> Hash for Key<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.index, self.generation).hash(state);
    }
}

impl<T> fmt::Debug for Key<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}, {})", self.index, self.generation)
    }
}
