//! The ordered tree of the index: a B+ tree of raw chunks.
//!
//! Keys live in the leaves; a branch holds copies of keys that separate its
//! children, as storage engines do, so that freeing an entry never leaves a branch
//! with a dangling key.
//!
//! ```text
//! branch   │ level │ len │ prefixes[16]       │ children[16] │ keys[16] │
//!                           0 ≤ child 0 < key 1 ≤ child 1 < key 2 ≤ …
//! leaf     │ 0     │ len │ prefixes[16]       │ entries[16]  │
//! ```
//!
//! Both begin with a [`Node`]. Slot 0 of a branch has no key: its child takes all
//! that is below key 1. Insertion splits every full node on its way down, so a
//! split always finds room in the parent. Deletion merges a node with a neighbour
//! when both fit into three quarters of a node, on its way up.
//!
//! Invariants (`Tree::check_invariants`, in tests): keys ascend strictly through all leaves;
//! all keys below child `i` lie in `key i ..key i + 1`; every leaf has level 0 and a
//! child one level less than its parent.
//!
//! The unsafe functions below all ask the same of their caller: a node that is passed
//! is live, of this tree, and a branch or a leaf as the parameter's name says; nobody
//! else refers to it meanwhile; memory is the one that the tree is always used with.

use std::alloc::Layout;
use std::ptr::NonNull;

use mallocer_core::AllocError;

use super::key::{Key, prefix};
use super::memory::Memory;

/// The slots of a node.
const FANOUT: usize = 16;

/// The most slots that a merged node has.
const MERGED: usize = FANOUT * 3 / 4;

/// The most branches above a leaf: each has at least two children when it is made,
/// and there are fewer than 2³² keys.
const DEPTH: usize = 32;

/// What is at a key: chosen by the store.
pub(super) trait Entry {
    /// The key that the entry is found by.
    fn key(&self) -> Key;
}

/// A leaf, or the first part of a branch.
#[repr(C)]
struct Node {
    /// Branches between this node and the leaves; 0 for a leaf.
    level: u32,
    /// Slots in use.
    len: u32,
    /// The first bytes of the key of each slot (of slot 0 of a branch: unused).
    prefixes: [u64; FANOUT],
    /// In a leaf: entries. In a branch: children.
    slots: [Slot; FANOUT],
}

/// A node above the leaves.
#[repr(C)]
struct Branch {
    node: Node,
    /// The keys that separate the children; that of slot 0 is `None`.
    keys: [Option<Key>; FANOUT],
}

/// A pointer to an entry or to a child, which the node's level tells.
type Slot = Option<NonNull<u8>>;
type NodePtr = NonNull<Node>;

/// A B+ tree of entries of type `E`, in the memory of whoever calls.
///
/// Dropping it frees nothing: its nodes go when the arena is released.
pub(super) struct Tree<E> {
    root: Option<NodePtr>,
    entry: std::marker::PhantomData<NonNull<E>>,
}

impl<E: Entry> Tree<E> {
    /// An empty tree, which takes no memory yet.
    pub(super) fn new() -> Tree<E> {
        Tree { root: None, entry: std::marker::PhantomData }
    }

    /// The entry at `key`.
    pub(super) fn get(&self, key: &[u8]) -> Option<NonNull<E>> {
        let prefix = prefix(key);
        let mut node = self.root?;
        // SAFETY: nodes, entries and keys reached from the root are live.
        unsafe {
            while node.as_ref().level > 0 {
                node = child(node, child_index(node, prefix, key));
            }
            let position = leaf_position::<E>(node, prefix, key).ok()?;
            node.as_ref().slots[position].map(NonNull::cast)
        }
    }

    /// The entry at `key`, or the one that `make` returns, which is then put there.
    pub(super) fn get_or_insert<M: Memory>(
        &mut self,
        key: &[u8],
        memory: &M,
        make: impl FnOnce() -> Result<NonNull<E>, AllocError>,
    ) -> Result<NonNull<E>, AllocError> {
        let prefix = prefix(key);
        // SAFETY: nodes, entries and keys reached from the root are live; a new
        // node is linked before it is reached.
        unsafe {
            let mut node = self.root_with_room(memory)?;
            while node.as_ref().level > 0 {
                let mut at = child_index(node, prefix, key);
                if child(node, at).as_ref().len as usize == FANOUT {
                    split_child::<E, M>(node, at, memory)?;
                    at = child_index(node, prefix, key);
                }
                node = child(node, at);
            }
            match leaf_position::<E>(node, prefix, key) {
                Ok(position) => Ok(node.as_ref().slots[position].expect("a slot in use").cast()),
                Err(position) => {
                    let entry = make()?;
                    insert_slot(node, position, prefix, Some(entry.cast()));
                    Ok(entry)
                }
            }
        }
    }

    /// Takes the entry at `key` out of the tree.
    pub(super) fn remove<M: Memory>(&mut self, key: &[u8], memory: &M) -> Option<NonNull<E>> {
        let prefix = prefix(key);
        let mut path = [(NonNull::<Node>::dangling(), 0); DEPTH];
        let mut depth = 0;
        let mut node = self.root?;
        // SAFETY: nodes, entries and keys reached from the root are live; a node is
        // freed only after it has been taken out of its parent.
        unsafe {
            while node.as_ref().level > 0 {
                let at = child_index(node, prefix, key);
                path[depth] = (node, at);
                depth += 1;
                node = child(node, at);
            }
            let position = leaf_position::<E>(node, prefix, key).ok()?;
            let entry = node.as_ref().slots[position].map(NonNull::cast);
            remove_slot(node, position);
            for &(parent, at) in path[..depth].iter().rev() {
                if !merge_child(parent, at, memory) {
                    break;
                }
            }
            self.lower_root(memory);
            entry
        }
    }

    /// Calls `visit` for every entry, in the order of the keys.
    pub(super) fn each(&self, visit: &mut impl FnMut(NonNull<E>)) {
        if let Some(root) = self.root {
            // SAFETY: nodes and entries reached from the root are live.
            unsafe { each_below(root, visit) };
        }
    }

    /// The root, made if there is none, and split if it is full.
    unsafe fn root_with_room<M: Memory>(&mut self, memory: &M) -> Result<NodePtr, AllocError> {
        let Some(root) = self.root else {
            let leaf = new_node(0, memory)?;
            self.root = Some(leaf);
            return Ok(leaf);
        };
        // SAFETY: the root is live. The new one has it as its only child before the split.
        unsafe {
            if (root.as_ref().len as usize) < FANOUT {
                return Ok(root);
            }
            let mut above = new_node(root.as_ref().level + 1, memory)?;
            above.as_mut().slots[0] = Some(root.cast());
            above.as_mut().len = 1;
            self.root = Some(above);
            split_child::<E, M>(above, 0, memory)?;
            Ok(above)
        }
    }

    /// Frees roots that have only one child.
    unsafe fn lower_root<M: Memory>(&mut self, memory: &M) {
        while let Some(root) = self.root {
            // SAFETY: the root is live, and has been left by the time it is freed.
            unsafe {
                if root.as_ref().level == 0 || root.as_ref().len > 1 {
                    return;
                }
                self.root = Some(child(root, 0));
                free_node(root, memory);
            }
        }
    }
}

fn layout(level: u32) -> Layout {
    if level == 0 { Layout::new::<Node>() } else { Layout::new::<Branch>() }
}

fn new_node(level: u32, memory: &impl Memory) -> Result<NodePtr, AllocError> {
    let chunk = memory.alloc(layout(level))?;
    let node = Node { level, len: 0, prefixes: [0; FANOUT], slots: [None; FANOUT] };
    // SAFETY: the chunk has the layout of what is written.
    unsafe {
        if level == 0 {
            chunk.cast().write(node);
        } else {
            chunk.cast().write(Branch { node, keys: [None; FANOUT] });
        }
    }
    Ok(chunk.cast())
}

unsafe fn free_node(node: NodePtr, memory: &impl Memory) {
    // SAFETY: the caller's promise that `node` is live, and reached no more.
    unsafe { memory.free_sized(node.cast(), layout(node.as_ref().level)) }
}

/// The keys of a branch.
unsafe fn keys<'n>(branch: NodePtr) -> &'n mut [Option<Key>; FANOUT] {
    // SAFETY: the caller's promise that `branch` is live, has a level above 0, and
    // that no other reference to its keys is in use. One to its node may be: only
    // the keys are borrowed here.
    unsafe {
        debug_assert!(branch.as_ref().level > 0);
        &mut (*branch.cast::<Branch>().as_ptr()).keys
    }
}

unsafe fn child(branch: NodePtr, at: usize) -> NodePtr {
    // SAFETY: the caller's promise that `branch` is a live branch.
    unsafe { branch.as_ref().slots[at].expect("a slot in use").cast() }
}

/// The slot of the child whose keys `key` lies among.
unsafe fn child_index(branch: NodePtr, prefix: u64, key: &[u8]) -> usize {
    // SAFETY: the caller's promise that `branch` is a live branch.
    let (node, keys) = unsafe { (branch.as_ref(), keys(branch)) };
    let mut at = 1;
    while at < node.len as usize {
        let below = match node.prefixes[at].cmp(&prefix) {
            std::cmp::Ordering::Less => true,
            std::cmp::Ordering::Greater => false,
            // SAFETY: the keys of slots in use, but for the first, are live.
            std::cmp::Ordering::Equal => unsafe { keys[at].expect("a separator").bytes() <= key },
        };
        if !below {
            break;
        }
        at += 1;
    }
    at - 1
}

/// Where `key` is in a leaf, or where it would be.
unsafe fn leaf_position<E: Entry>(leaf: NodePtr, prefix: u64, key: &[u8]) -> Result<usize, usize> {
    // SAFETY: the caller's promise that `leaf` is a live leaf.
    let node = unsafe { leaf.as_ref() };
    for at in 0..node.len as usize {
        let order = node.prefixes[at].cmp(&prefix).then_with(|| {
            let entry = node.slots[at].expect("a slot in use").cast::<E>();
            // SAFETY: entries of a live leaf are live, and so are their keys.
            unsafe { entry.as_ref().key().bytes() }.cmp(key)
        });
        match order {
            std::cmp::Ordering::Less => {}
            std::cmp::Ordering::Equal => return Ok(at),
            std::cmp::Ordering::Greater => return Err(at),
        }
    }
    Err(node.len as usize)
}

/// Makes room at `at` and fills it; the node is not full.
unsafe fn insert_slot(mut node: NodePtr, at: usize, prefix: u64, slot: Slot) {
    // SAFETY: the caller's promise that `node` is live and not referred to.
    let node = unsafe { node.as_mut() };
    let len = node.len as usize;
    node.prefixes.copy_within(at..len, at + 1);
    node.slots.copy_within(at..len, at + 1);
    node.prefixes[at] = prefix;
    node.slots[at] = slot;
    node.len += 1;
}

/// Closes the gap at `at`.
unsafe fn remove_slot(mut node: NodePtr, at: usize) {
    // SAFETY: the caller's promise that `node` is live and not referred to.
    let node = unsafe { node.as_mut() };
    let len = node.len as usize;
    node.prefixes.copy_within(at + 1..len, at);
    node.slots.copy_within(at + 1..len, at);
    node.len -= 1;
}

/// Splits the full child in slot `at` of a branch that is not full.
unsafe fn split_child<E: Entry, M: Memory>(
    branch: NodePtr,
    at: usize,
    memory: &M,
) -> Result<(), AllocError> {
    const HALF: usize = FANOUT / 2;
    // SAFETY: the caller's promise that `branch` is live. The new node is nobody
    // else's, and references to the two do not overlap.
    unsafe {
        let mut left = child(branch, at);
        let level = left.as_ref().level;
        let mut right = new_node(level, memory)?;
        // What separates them: from a leaf a copy of a key; from a branch the key
        // itself, as the first child of the right one needs none.
        let separator = if level == 0 {
            let first = left.as_ref().slots[HALF].expect("a full node").cast::<E>();
            let copy = Key::copy_of(first.as_ref().key().bytes(), memory);
            copy.inspect_err(|_| free_node(right, memory))?
        } else {
            let (left_keys, right_keys) = (keys(left), keys(right));
            right_keys[1..HALF].copy_from_slice(&left_keys[HALF + 1..]);
            left_keys[HALF + 1..].fill(None);
            left_keys[HALF].take().expect("a separator")
        };
        let (left, new) = (left.as_mut(), right.as_mut());
        new.prefixes[..HALF].copy_from_slice(&left.prefixes[HALF..]);
        new.slots[..HALF].copy_from_slice(&left.slots[HALF..]);
        (left.len, new.len) = (HALF as u32, HALF as u32);

        let len = branch.as_ref().len as usize;
        keys(branch).copy_within(at + 1..len, at + 2);
        keys(branch)[at + 1] = Some(separator);
        insert_slot(branch, at + 1, prefix(separator.bytes()), Some(right.cast()));
        Ok(())
    }
}

/// Merges the child in slot `at` with a neighbour, if both fit into one node well.
unsafe fn merge_child<M: Memory>(branch: NodePtr, at: usize, memory: &M) -> bool {
    // SAFETY: the caller's promise that `branch` is live; its children are distinct.
    unsafe {
        let len = branch.as_ref().len as usize;
        let size = |at| child(branch, at).as_ref().len as usize;
        let fits = |left| size(left) + size(left + 1) <= MERGED;
        let at = match at {
            at if at + 1 < len && fits(at) => at,
            at if at > 0 && fits(at - 1) => at - 1,
            _ => return false,
        };
        let (mut left, right) = (child(branch, at), child(branch, at + 1));
        let separator = keys(branch)[at + 1].take().expect("a separator");
        let separator_prefix = branch.as_ref().prefixes[at + 1];
        keys(branch).copy_within(at + 2..len, at + 1);
        keys(branch)[len - 1] = None;
        remove_slot(branch, at + 1);

        let (start, count) = (left.as_ref().len as usize, right.as_ref().len as usize);
        let end = start + count;
        left.as_mut().prefixes[start..end].copy_from_slice(&right.as_ref().prefixes[..count]);
        left.as_mut().slots[start..end].copy_from_slice(&right.as_ref().slots[..count]);
        left.as_mut().len = end as u32;
        if left.as_ref().level == 0 {
            separator.free(memory);
        } else {
            // The right node's first child gets its key back.
            keys(left)[start..end].copy_from_slice(&keys(right)[..count]);
            keys(left)[start] = Some(separator);
            left.as_mut().prefixes[start] = separator_prefix;
        }
        free_node(right, memory);
        true
    }
}

unsafe fn each_below<E>(node: NodePtr, visit: &mut impl FnMut(NonNull<E>)) {
    // SAFETY: the caller's promise that `node` is live; so is what it holds.
    unsafe {
        let len = node.as_ref().len as usize;
        for at in 0..len {
            if node.as_ref().level == 0 {
                visit(node.as_ref().slots[at].expect("a slot in use").cast());
            } else {
                each_below(child(node, at), visit);
            }
        }
    }
}

#[cfg(test)]
impl<E: Entry> Tree<E> {
    /// Checks the invariants of the module's head; returns how many keys there are.
    pub(super) fn check_invariants(&self) -> usize {
        // SAFETY: nodes reached from the root are live.
        self.root.map_or(0, |root| unsafe { check_below::<E>(root, None, None) })
    }
}

#[cfg(test)]
unsafe fn check_below<E: Entry>(node: NodePtr, from: Option<&[u8]>, to: Option<&[u8]>) -> usize {
    // SAFETY: the caller's promise that `node` is live; so is what it holds.
    unsafe {
        let len = node.as_ref().len as usize;
        assert!(len <= FANOUT);
        if node.as_ref().level == 0 {
            let mut previous: Option<&[u8]> = None;
            for at in 0..len {
                let key = node.as_ref().slots[at].unwrap().cast::<E>().as_ref().key().bytes();
                assert_eq!(node.as_ref().prefixes[at], prefix(key));
                assert!(previous < Some(key), "keys ascend");
                assert!(from.is_none_or(|from| from <= key) && to.is_none_or(|to| key < to));
                previous = Some(key);
            }
            return len;
        }
        assert!(len > 0, "a branch has a child");
        (0..len)
            .map(|at| {
                let key = |at: usize| keys(node)[at].map(|key| key.bytes());
                assert_eq!(key(at).is_none(), at == 0, "all but the first have a key");
                assert!(at == 0 || node.as_ref().prefixes[at] == prefix(key(at).unwrap()));
                let below = child(node, at);
                assert_eq!(below.as_ref().level + 1, node.as_ref().level);
                let low = if at == 0 { from } else { key(at) };
                let high = if at + 1 < len { key(at + 1) } else { to };
                check_below::<E>(below, low, high)
            })
            .sum()
    }
}
