//! Parcels on their way from the thread that freed their chunks to the one whose pools they are of.
//!
//! What a thread frees of another thread's pools it gathers in a block of its shelf. When the block is
//! full, and all of it is of one owner, the block itself is the parcel: it is pushed onto the owner's
//! inbox, and the thread goes on with another one. The owner takes its whole inbox when its
//! magazine and depot have run empty, and pushes each emptied block onto the stack of those that
//! were returned to its sender.
//!
//! ```text
//! sender's shelf             owner's post
//! foreign ──full──▶ push ──▶ inbox ──taken whole──▶ pending ──▶ magazine
//!    ▲                                                 │
//!  spare ◀──taken whole── returned ◀──── push ◀─empty──┘
//!                         sender's post
//! ```
//!
//! None of it takes the lock. Both stacks are Treiber's ("Systems Programming: Coping with
//! Parallelism", 1986): any thread pushes, and who takes takes all, so that no link of a block is read
//! that somebody else may have. The lock is for what is made: posts, and blocks while none was
//! returned. A block stays with the shelf that it was made for.

use core::cell::Cell;
use core::ptr::{self, NonNull};
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::cache::ThreadCache;
use crate::foreign::Foreign;
use crate::pool::Slot;
use crate::primitive::{AtomicPtr, AtomicU32};
use crate::shelf::Shelf;

/// Where a shelf sends parcels from and gets them: in cache lines of its own.
#[repr(C, align(64))]
pub(crate) struct Post<S> {
    /// Parcels that other threads sent.
    inbox: AtomicPtr<Foreign<S>>,
    /// Blocks of this shelf that are empty again.
    returned: AtomicPtr<Foreign<S>>,
    /// How many chunks were sent, or are about to be, and are in no magazine yet, and how many may be.
    chunks: AtomicU32,
    most: u32,
    /// What follows is the shelf's thread's alone; under the lock, if it has none.
    ///
    /// Parcels out of the inbox.
    pending: Cell<*mut Foreign<S>>,
    /// Blocks to go on with.
    spare: Cell<*mut Foreign<S>>,
    /// Parcels that were sent from here without the lock.
    sent: Cell<u32>,
}

/// Of so many parcels one takes the lock: so that a heap which has memory to give back gets to it.
const LOCKED: u32 = 64;

/// Puts blocks on a stack, which are linked from the first to the last.
///
/// The exchange comes first, and not a look at what is there, since another processor has the cache line:
/// to look and then to exchange would wait for it twice.
///
/// # Safety
///
/// The blocks are the caller's, and their slots stay as they are until they are taken.
unsafe fn push<S>(stack: &AtomicPtr<Foreign<S>>, first: *mut Foreign<S>, last: *mut Foreign<S>) {
    let mut head = ptr::null_mut();
    loop {
        // SAFETY: the block is the caller's until the exchange.
        unsafe { (*last).link.set(head) };
        match stack.compare_exchange_weak(head, first, Release, Relaxed) {
            Ok(_) => return,
            Err(other) => head = other,
        }
    }
}

/// Takes all blocks of a stack, linked.
fn take_all<S>(stack: &AtomicPtr<Foreign<S>>) -> *mut Foreign<S> {
    // Mostly there are none, and to look costs less than to exchange.
    if stack.load(Relaxed).is_null() {
        return ptr::null_mut();
    }
    stack.swap(ptr::null_mut(), Acquire)
}

impl<S> Post<S> {
    /// A post with nothing, which gets no more parcels once so many chunks wait in it.
    pub(crate) fn new(most: u32) -> Post<S> {
        Post {
            inbox: AtomicPtr::new(ptr::null_mut()),
            returned: AtomicPtr::new(ptr::null_mut()),
            chunks: AtomicU32::new(0),
            most,
            pending: Cell::new(ptr::null_mut()),
            spare: Cell::new(ptr::null_mut()),
            sent: Cell::new(0),
        }
    }

    /// How many chunks were sent and are in no magazine yet.
    pub(crate) fn chunks(&self) -> u32 {
        self.chunks.load(Relaxed)
    }

    /// Counts so many chunks that are to be sent here; `false` if there are as many as may be.
    pub(crate) fn announce(&self, count: u32) -> bool {
        let has_room = self.chunks.fetch_add(count, Relaxed) < self.most;
        if !has_room {
            self.chunks.fetch_sub(count, Relaxed);
        }
        has_room
    }

    /// Sends a parcel here, which was announced.
    ///
    /// # Safety
    ///
    /// The block is the caller's, and full of chunks of this post's shelf.
    pub(crate) unsafe fn send(&self, block: *mut Foreign<S>) {
        // SAFETY: passed on.
        unsafe { push(&self.inbox, block, block) };
    }

    /// An empty block of this post's shelf, if one is here.
    ///
    /// # Safety
    ///
    /// The post is the calling thread's.
    pub(crate) unsafe fn take_spare(&self) -> Option<NonNull<Foreign<S>>> {
        if self.spare.get().is_null() {
            self.spare.set(take_all(&self.returned));
        }
        let block = NonNull::new(self.spare.get())?;
        // SAFETY: what was taken is the caller's.
        self.spare.set(unsafe { block.as_ref() }.link.get());
        Some(block)
    }

    /// Puts a block back that was taken here, or made.
    ///
    /// # Safety
    ///
    /// The post is the calling thread's, and so is the block, which is empty.
    unsafe fn put_spare(&self, block: NonNull<Foreign<S>>) {
        // SAFETY: the caller's promise.
        unsafe { block.as_ref() }.link.set(self.spare.get());
        self.spare.set(block.as_ptr());
    }

    /// The parcel that is next, if there is one; it stays here.
    ///
    /// # Safety
    ///
    /// The post is the calling thread's.
    unsafe fn next(&self) -> Option<NonNull<Foreign<S>>> {
        if self.pending.get().is_null() {
            self.pending.set(take_all(&self.inbox));
        }
        NonNull::new(self.pending.get())
    }

    /// Empties all parcels that are here by `take`, which gets the slots of each and how many
    /// there are. Of a thread that is at work, its own or not, those that it has not yet taken out of
    /// the inbox.
    ///
    /// # Safety
    ///
    /// The caller holds the lock, and if the post is `idle`, nobody else uses it.
    pub(crate) unsafe fn empty(&self, idle: bool, mut take: impl FnMut(*mut S, u32)) {
        let mut lists = [take_all(&self.inbox), ptr::null_mut()];
        if idle {
            lists[1] = self.pending.replace(ptr::null_mut());
        }
        for mut block in lists {
            while !block.is_null() {
                // SAFETY: what was taken out of the inbox is the caller's.
                unsafe {
                    let next = (*block).link.get();
                    let len = (*block).len.load(Relaxed);
                    take(Foreign::slots(block), len);
                    (*block).len.store(0, Relaxed);
                    self.chunks.fetch_sub(len, Relaxed);
                    give_back(block, block);
                    block = next;
                }
            }
        }
    }
}

/// Gives emptied blocks back to the shelf that they were made for: linked, from the first to the last.
///
/// # Safety
///
/// The blocks are the caller's, came out of an inbox, and are all of the same shelf.
unsafe fn give_back<S>(first: *mut Foreign<S>, last: *mut Foreign<S>) {
    // SAFETY: the caller's promise. A post lives as long as the arena has memory.
    unsafe { push(&(*(*first).home.get()).returned, first, last) };
}

impl<S: Slot> Shelf<S> {
    /// Sends the full block of foreign chunks to the shelf that all of them belong to, and goes on
    /// with an empty one; `false` if they are of several, or there is none, or no room.
    ///
    /// # Safety
    ///
    /// The shelf is the calling thread's, and that which the chunks belong to is this arena's.
    pub(crate) unsafe fn send_foreign(&mut self, slab: usize) -> bool {
        // SAFETY: the block is this shelf's, and its post, if it has one, is the thread's. What makes
        // another thread's post lets it be seen whole.
        unsafe {
            let Some(foreign) = self.foreign_block() else { return false };
            let owner = (*foreign).owner.get().cast::<Shelf<S>>();
            let (len, mine) = ((*foreign).len.load(Relaxed), self.post());
            // Only a block that was made for its post has its way back.
            if owner.is_null()
                || mine.is_null()
                || len < (*foreign).cap
                || (*foreign).home.get() != mine
            {
                return false;
            }
            let theirs = (*owner).post();
            if (*ThreadCache::of_shelf(owner, slab)).is_left() || theirs.is_null() {
                return false;
            }
            (*mine).sent.set((*mine).sent.get().wrapping_add(1));
            (*mine).sent.get() % LOCKED != 0 && self.hand_over(mine, theirs, || None)
        }
    }

    /// Sends the full block of foreign chunks from the post `mine` to `theirs`, which all of them belong
    /// to, and goes on with an empty one, or one that `make` makes; `false` if there is none, or no room.
    ///
    /// # Safety
    ///
    /// The shelf is the calling thread's, and `mine` is its post. What `make` makes is empty, and for a
    /// whole parcel.
    pub(crate) unsafe fn hand_over(
        &self,
        mine: *mut Post<S>,
        theirs: *mut Post<S>,
        make: impl FnOnce() -> Option<NonNull<Foreign<S>>>,
    ) -> bool {
        let Some(full) = self.foreign_block() else { return false };
        // SAFETY: the block is this shelf's until it is sent; posts live as long as the arena has memory.
        unsafe {
            let Some(spare) = (*mine).take_spare().or_else(make) else { return false };
            if !(*theirs).announce((*full).len.load(Relaxed)) {
                (*mine).put_spare(spare);
                return false;
            }
            (*full).home.set(mine);
            (*theirs).send(full);
            self.set_foreign_block(spare);
            true
        }
    }

    /// Takes parcels out of the inbox into the magazine, which is empty, as many as it has room for;
    /// `false` if there are none, or it has too little.
    ///
    /// # Safety
    ///
    /// The shelf is the calling thread's.
    pub(crate) unsafe fn receive(&mut self) -> bool {
        let post = self.post();
        if post.is_null() {
            return false;
        }
        let mut received = 0;
        // Emptied blocks of one shelf, so that those of a row go back at once.
        let (mut first, mut last) = (ptr::null_mut::<Foreign<S>>(), ptr::null_mut());
        // SAFETY: the post is this shelf's, so this thread's. Parcels that were taken are its own.
        unsafe {
            while let Some(block) = (*post).next() {
                let block = block.as_ptr();
                let len = (*block).len.load(Relaxed);
                if self.magazine.cap() - self.magazine.len() < len {
                    break;
                }
                self.magazine.append(Foreign::slots(block), len);
                (*post).pending.set((*block).link.get());
                received += len;
                (*block).len.store(0, Relaxed);
                if !first.is_null() && (*first).home.get() != (*block).home.get() {
                    give_back(first, last);
                    first = ptr::null_mut();
                }
                if first.is_null() {
                    last = block;
                }
                (*block).link.set(first);
                first = block;
            }
            if received > 0 {
                give_back(first, last);
                (*post).chunks.fetch_sub(received, Relaxed);
            }
        }
        received > 0
    }
}
