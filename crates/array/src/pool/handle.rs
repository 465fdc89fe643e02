//! The handle of a value in a pool.

use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::marker::PhantomData;
use core::mem::{self, ManuallyDrop};
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

use super::{Anywhere, Free, Placing, Pool, Slots, near};
use crate::source::Source;

/// A value in a [`Pool`], which it owns: what a `Box` is, in one word as well.
pub struct Pooled<'p, T, S: Source, R: Placing = Anywhere> {
    slot: NonNull<T>,
    /// Owns the value, and borrows the pool.
    pool: PhantomData<(T, &'p Pool<T, S, R>)>,
}

impl<'p, T, S: Source, R: Placing> Pooled<'p, T, S, R> {
    /// Puts `value` into a slot that is nobody's.
    #[inline(always)]
    pub(super) fn fill(slot: NonNull<T>, value: T) -> Self {
        // SAFETY: the slot is nobody's, and large enough.
        unsafe { slot.write(value) };
        Pooled { slot, pool: PhantomData }
    }

    /// The value; its slot is free.
    pub fn into_inner(self) -> T {
        let handle = ManuallyDrop::new(self);
        // SAFETY: the value is moved out once, and its slot is used by nobody.
        unsafe {
            let value = handle.slot.read();
            free::<T, R>(handle.slot);
            value
        }
    }

    /// The value for as long as the pool lives. It is not dropped, and its slot not freed
    /// before the pool is.
    pub fn leak(self) -> &'p mut T {
        let handle = ManuallyDrop::new(self);
        // SAFETY: nobody else has the value, and the pool is borrowed for that long.
        unsafe { &mut *handle.slot.as_ptr() }
    }

    /// Where the value is.
    pub fn as_ptr(&self) -> NonNull<T> {
        self.slot
    }
}

/// Puts a slot on the list of free ones, or makes it free in its block.
///
/// # Safety
///
/// Its pool is alive, and nobody uses it any more.
#[inline(always)]
unsafe fn free<T, R: Placing>(slot: NonNull<T>) {
    // SAFETY: a slot's segment leads to its pool's control block, and a slot has room for
    // a link.
    unsafe {
        let control = Slots::<T, R>::segment(slot).as_ref().home.as_ref();
        if R::NEAR {
            near::free::<T, R>(control, slot);
        } else {
            slot.cast::<Free>().write(Free { next: control.free.get() });
            control.free.set(slot.as_ptr().cast());
        }
        control.live.set(control.live.get() - 1);
    }
}

impl<T, S: Source, R: Placing> Deref for Pooled<'_, T, S, R> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: the value is this handle's.
        unsafe { self.slot.as_ref() }
    }
}

impl<T, S: Source, R: Placing> DerefMut for Pooled<'_, T, S, R> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above.
        unsafe { self.slot.as_mut() }
    }
}

impl<T, S: Source, R: Placing> Drop for Pooled<'_, T, S, R> {
    #[inline]
    fn drop(&mut self) {
        /// Frees the slot, also if the value's drop panics.
        struct Slot<T, R: Placing>(NonNull<T>, PhantomData<R>);

        impl<T, R: Placing> Drop for Slot<T, R> {
            #[inline(always)]
            fn drop(&mut self) {
                // SAFETY: the handle has borrowed the pool, and its value is gone.
                unsafe { free::<T, R>(self.0) };
            }
        }

        let _slot = Slot::<T, R>(self.slot, PhantomData);
        if mem::needs_drop::<T>() {
            // SAFETY: the value is this handle's, which nobody uses any more.
            unsafe { self.slot.drop_in_place() };
        }
    }
}

impl<T: fmt::Debug, S: Source, R: Placing> fmt::Debug for Pooled<'_, T, S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: PartialEq, S: Source, R: Placing> PartialEq for Pooled<'_, T, S, R> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Eq, S: Source, R: Placing> Eq for Pooled<'_, T, S, R> {}

impl<T: PartialOrd, S: Source, R: Placing> PartialOrd for Pooled<'_, T, S, R> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (**self).partial_cmp(&**other)
    }
}

impl<T: Ord, S: Source, R: Placing> Ord for Pooled<'_, T, S, R> {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(&**other)
    }
}

impl<T: Hash, S: Source, R: Placing> Hash for Pooled<'_, T, S, R> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl<T: fmt::Display, S: Source, R: Placing> fmt::Display for Pooled<'_, T, S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T, S: Source, R: Placing> AsRef<T> for Pooled<'_, T, S, R> {
    fn as_ref(&self) -> &T {
        self
    }
}

impl<T, S: Source, R: Placing> AsMut<T> for Pooled<'_, T, S, R> {
    fn as_mut(&mut self) -> &mut T {
        self
    }
}
