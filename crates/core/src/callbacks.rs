//! What a program is told when an arena takes memory, gives some back, or has none left.
//!
//! All three happen on the budget, far behind an allocation that finds a chunk ready. An
//! arena without callbacks has one null pointer more; the fast paths do not know of them.

use alloc::sync::Arc;
use core::fmt;

use crate::error::AllocError;

type Told = dyn Fn(usize) + Send + Sync;
type Asked = dyn Fn(&AllocError) -> bool + Send + Sync;

/// Functions that an arena calls: see each of the methods that set them.
///
/// Arenas that draw on this one's budget count as this one: it is told of their bytes, and
/// asked after them when they are refused.
///
/// # Examples
///
/// ```
/// use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
/// use mallocer_core::Callbacks;
///
/// static TAKEN: AtomicUsize = AtomicUsize::new(0);
///
/// let callbacks = Callbacks::none().on_exhausted(|refusal| {
///     eprintln!("{refusal}");
///     false
/// });
/// // SAFETY: counting uses no arena.
/// let callbacks = unsafe { callbacks.on_commit(|bytes| _ = TAKEN.fetch_add(bytes, Relaxed)) };
/// ```
#[derive(Clone, Default)]
pub struct Callbacks(Option<Arc<Set>>);

#[derive(Clone, Default)]
struct Set {
    commit: Option<Arc<Told>>,
    decommit: Option<Arc<Told>>,
    exhausted: Option<Arc<Asked>>,
}

impl Callbacks {
    /// No callbacks.
    pub const fn none() -> Callbacks {
        Callbacks(None)
    }

    fn with(self, change: impl FnOnce(&mut Set)) -> Callbacks {
        let mut set = self.0.map_or_else(Set::default, Arc::unwrap_or_clone);
        change(&mut set);
        Callbacks(Some(Arc::new(set)))
    }

    /// Calls `told` with a number of bytes after the arena has taken them.
    ///
    /// flist takes steps of its pools, and extents; the other backends take what they draw
    /// ahead for chunks.
    ///
    /// # Safety
    ///
    /// `told` is called in the midst of the arena's work, perhaps with its lock held: it uses
    /// no arena that counts as this one.
    pub unsafe fn on_commit(self, told: impl Fn(usize) + Send + Sync + 'static) -> Callbacks {
        self.with(|set| set.commit = Some(Arc::new(told)))
    }

    /// Calls `told` with a number of bytes when the arena gives them back.
    ///
    /// # Safety
    ///
    /// As [`on_commit`](Callbacks::on_commit).
    pub unsafe fn on_decommit(self, told: impl Fn(usize) + Send + Sync + 'static) -> Callbacks {
        self.with(|set| set.decommit = Some(Arc::new(told)))
    }

    /// Calls `asked` when the capacity refuses a request, before it fails.
    ///
    /// `true` says that something was freed: the request is tried again, and if it is
    /// refused again, `asked` is called again. With `false` it fails. No lock is held:
    /// `asked` may use any arena, also the one that asks. What is freed in another arena
    /// than that one may have to be purged there before it helps.
    pub fn on_exhausted(
        self,
        asked: impl Fn(&AllocError) -> bool + Send + Sync + 'static,
    ) -> Callbacks {
        self.with(|set| set.exhausted = Some(Arc::new(asked)))
    }

    /// Tells that `bytes` bytes were taken.
    pub(crate) fn commit(&self, bytes: usize) {
        if let Some(Set { commit: Some(told), .. }) = self.0.as_deref()
            && bytes > 0
        {
            told(bytes);
        }
    }

    /// Tells that `bytes` bytes are given back.
    pub(crate) fn decommit(&self, bytes: usize) {
        if let Some(Set { decommit: Some(told), .. }) = self.0.as_deref()
            && bytes > 0
        {
            told(bytes);
        }
    }

    /// Whether a request that was refused shall be tried again.
    pub(crate) fn exhausted(&self, refusal: &AllocError) -> bool {
        match self.0.as_deref() {
            Some(Set { exhausted: Some(asked), .. }) => asked(refusal),
            _ => false,
        }
    }
}

impl fmt::Debug for Callbacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = self.0.as_deref();
        let is = |there: bool| if there { "set" } else { "none" };
        f.debug_struct("Callbacks")
            .field("commit", &is(set.is_some_and(|set| set.commit.is_some())))
            .field("decommit", &is(set.is_some_and(|set| set.decommit.is_some())))
            .field("exhausted", &is(set.is_some_and(|set| set.exhausted.is_some())))
            .finish()
    }
}
