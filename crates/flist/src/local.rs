//! What a thread knows: its number, and the caches of the arenas it used last.
//!
//! On x86-64 Linux this is thread-local storage of the initial-exec kind, which the
//! linker places and two instructions find. `thread_local!` needs std, allocates where
//! it has a destructor, and in a shared library goes through a call. Elsewhere a
//! `pthread` key leads to it; building with `--cfg mallocer_pthread_local` does so
//! everywhere, for tests.

use core::ptr;

use crate::cache::ThreadCache;

/// How many arenas a thread remembers beside the last.
const REMEMBERED: usize = 8;

/// Which of the two caches that a thread has at hand: a program that lives on flist has
/// the process-wide heap and an arena in use at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Lane {
    /// A heap of the whole process.
    Process = 0,
    /// The shared arena used last.
    Arena = 1,
}

/// A thread's cache in one arena.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Used {
    /// The arena's tag, as a number; 0 for none.
    pub(crate) tag: u64,
    pub(crate) cache: *mut ThreadCache,
}

impl Used {
    const NONE: Used = Used { tag: 0, cache: ptr::null_mut() };
}

/// The thread-local words. All zero bytes is a thread that used no arena yet.
#[repr(C)]
pub(crate) struct Local {
    /// What was used last, in each lane.
    last: [Used; 2],
    /// This thread's cache in the one heap of the process that is found without a tag; null
    /// if it has none yet.
    sole: *mut ThreadCache,
    /// The number of this thread; 0 if it has none yet.
    pub(crate) thread: u64,
    /// What was used before, by tag.
    remembered: [Used; REMEMBERED],
}

impl Local {
    const NEW: Local = Local {
        last: [Used::NONE; 2],
        sole: ptr::null_mut(),
        thread: 0,
        remembered: [Used::NONE; REMEMBERED],
    };

    /// Makes the arena with this tag the last one in its lane, if it is remembered.
    pub(crate) fn recall(&mut self, lane: Lane, tag: u64) -> bool {
        let remembered = self.remembered[slot(tag)];
        if remembered.tag == tag {
            self.last[lane as usize] = remembered;
        }
        remembered.tag == tag
    }

    /// Remembers this thread's cache in the arena with this tag, as the last one.
    pub(crate) fn remember(&mut self, lane: Lane, used: Used) {
        self.last[lane as usize] = used;
        self.remembered[slot(used.tag)] = used;
    }

    /// Has this cache for that in the one heap of the process that is found without a tag.
    pub(crate) fn set_sole(&mut self, cache: *mut ThreadCache) {
        self.sole = cache;
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = Local::NEW;
    }
}

/// Arenas that are made one after another are remembered side by side.
fn slot(tag: u64) -> usize {
    (tag >> 3) as usize % REMEMBERED
}

#[cfg(all(
    target_arch = "x86_64",
    target_os = "linux",
    not(any(mallocer_pthread_local, mallocer_loom))
))]
mod storage {
    use core::arch::{asm, global_asm};
    use core::mem::offset_of;

    use super::{Lane, Local, Used};
    use crate::cache::ThreadCache;

    const _: () = assert!(size_of::<Local>() == 176 && offset_of!(Local, last) == 0);

    // The version in the name keeps two versions of this crate in one program apart.
    global_asm!(
        ".pushsection .tbss.mallocer_flist_local_0_1,\"awT\",@nobits",
        ".globl mallocer_flist_local_0_1",
        ".hidden mallocer_flist_local_0_1",
        ".type mallocer_flist_local_0_1,@object",
        ".size mallocer_flist_local_0_1,176",
        ".balign 64",
        "mallocer_flist_local_0_1:",
        ".zero 176",
        ".popsection",
    );

    /// How far this thread's words are from its thread pointer, which fs leads to.
    #[inline(always)]
    fn distance() -> usize {
        let distance;
        // SAFETY: the linker fills in the symbol's distance from the thread pointer (System V ABI,
        // TLS variant II). Nothing is written.
        unsafe {
            asm!(
                "mov {distance}, qword ptr [rip + mallocer_flist_local_0_1@GOTTPOFF]",
                distance = out(reg) distance,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        distance
    }

    /// What this thread used last in a lane.
    #[inline(always)]
    pub(crate) fn used_last(lane: Lane) -> Used {
        let at = distance().wrapping_add(lane as usize * size_of::<Used>());
        let (tag, cache);
        // SAFETY: words of this thread alone, which are not written here.
        unsafe {
            asm!(
                "mov {tag}, qword ptr fs:[{at}]",
                at = in(reg) at,
                tag = out(reg) tag,
                options(pure, readonly, nostack, preserves_flags),
            );
            asm!(
                "mov {cache}, qword ptr fs:[{at} + {offset}]",
                at = in(reg) at,
                offset = const offset_of!(Used, cache),
                cache = out(reg) cache,
                options(pure, readonly, nostack, preserves_flags),
            );
        }
        Used { tag, cache }
    }

    /// This thread's cache in the one heap that is found without a tag; null if it has none.
    #[inline(always)]
    pub(crate) fn sole() -> *mut ThreadCache {
        let cache;
        // SAFETY: as in `used_last`.
        unsafe {
            asm!(
                "mov {cache}, qword ptr fs:[{distance} + {offset}]",
                distance = in(reg) distance(),
                offset = const offset_of!(Local, sole),
                cache = out(reg) cache,
                options(pure, readonly, nostack, preserves_flags),
            );
        }
        cache
    }

    /// This thread's words.
    #[inline(always)]
    pub(crate) fn local() -> *mut Local {
        let local: *mut Local;
        // SAFETY: the word at fs:0 is the thread pointer (System V ABI, TLS variant II), and
        // the linker fills in the symbol's distance from it. Nothing is written.
        unsafe {
            asm!(
                "mov {local}, qword ptr fs:[0]",
                "add {local}, qword ptr [rip + mallocer_flist_local_0_1@GOTTPOFF]",
                local = out(reg) local,
                options(pure, nomem, nostack),
            );
        }
        local
    }

    /// Ends the use of a thread's words: nothing to do, they end with the thread.
    ///
    /// # Safety
    ///
    /// They are the calling thread's.
    pub(crate) unsafe fn give_back(_: *mut Local) {}
}

/// loom's threads are all on one thread of the system.
#[cfg(mallocer_loom)]
mod storage {
    use core::cell::UnsafeCell;

    use super::{Lane, Local, Used};

    loom::thread_local! {
        static LOCAL: UnsafeCell<Local> = UnsafeCell::new(Local::NEW);
    }

    /// What this thread used last in a lane.
    pub(crate) fn used_last(lane: Lane) -> Used {
        // SAFETY: the words are this thread's.
        unsafe { (*local()).last[lane as usize] }
    }

    /// This thread's words.
    pub(crate) fn local() -> *mut Local {
        LOCAL.with(UnsafeCell::get)
    }

    /// # Safety
    ///
    /// None.
    pub(crate) unsafe fn give_back(_: *mut Local) {}
}

#[cfg(not(any(
    all(target_arch = "x86_64", target_os = "linux", not(mallocer_pthread_local)),
    mallocer_loom
)))]
mod storage {
    use super::{Lane, Local, Used};
    use crate::cache::ThreadCache;
    use crate::once::Once;

    static KEY: Once<libc::pthread_key_t> = Once::new();

    /// What this thread used last in a lane.
    #[inline]
    pub(crate) fn used_last(lane: Lane) -> Used {
        // SAFETY: the words are this thread's, or null.
        unsafe { local().as_ref() }.map_or(Used::NONE, |local| local.last[lane as usize])
    }

    /// This thread's cache in the one heap that is found without a tag; null if it has none.
    #[inline]
    pub(crate) fn sole() -> *mut ThreadCache {
        // SAFETY: the words are this thread's, or null.
        unsafe { local().as_ref() }.map_or(core::ptr::null_mut(), |local| local.sole)
    }

    /// This thread's words; null if there is no memory for them.
    pub(crate) fn local() -> *mut Local {
        // SAFETY: the calls have no conditions but a valid key; all zero bytes is valid.
        unsafe {
            let made = KEY.get_or_make(|| {
                let mut key = 0;
                (libc::pthread_key_create(&mut key, None) == 0).then_some(key)
            });
            let Some(&key) = made else { return core::ptr::null_mut() };
            let local = libc::pthread_getspecific(key).cast::<Local>();
            if !local.is_null() {
                return local;
            }
            let local = libc::calloc(1, size_of::<Local>()).cast::<Local>();
            if !local.is_null() && libc::pthread_setspecific(key, local.cast()) != 0 {
                libc::free(local.cast());
                return core::ptr::null_mut();
            }
            local
        }
    }

    /// Ends the use of a thread's words. A later use gets new ones.
    ///
    /// # Safety
    ///
    /// They are the calling thread's, and not used any more.
    pub(crate) unsafe fn give_back(local: *mut Local) {
        // SAFETY: the words came from `calloc`; the key leads to them no more.
        unsafe {
            if let Some(&key) = KEY.get() {
                libc::pthread_setspecific(key, core::ptr::null());
            }
            libc::free(local.cast());
        }
    }
}

#[cfg(not(mallocer_loom))]
pub(crate) use storage::sole;
pub(crate) use storage::{give_back, local, used_last};
