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

/// The thread-local words. All zero bytes is a thread that used no arena yet.
#[repr(C)]
pub(crate) struct Local {
    /// Tag of the arena used last, as a number; 0 for none.
    pub(crate) last: u64,
    /// This thread's cache in it.
    pub(crate) cache: *mut ThreadCache,
    /// The number of this thread; 0 if it has none yet.
    pub(crate) thread: u64,
    /// Tags and caches of arenas used before, by tag.
    remembered: [(u64, *mut ThreadCache); REMEMBERED],
}

impl Local {
    /// Makes the arena with this tag the last one, if it is remembered.
    pub(crate) fn recall(&mut self, tag: u64) -> bool {
        let (remembered, cache) = self.remembered[slot(tag)];
        if remembered == tag {
            (self.last, self.cache) = (tag, cache);
        }
        remembered == tag
    }

    /// Remembers this thread's cache in the arena with this tag, as the last one.
    pub(crate) fn remember(&mut self, tag: u64, cache: *mut ThreadCache) {
        (self.last, self.cache) = (tag, cache);
        self.remembered[slot(tag)] = (tag, cache);
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = Local {
            last: 0,
            cache: ptr::null_mut(),
            thread: 0,
            remembered: [(0, ptr::null_mut()); REMEMBERED],
        };
    }
}

/// Arenas that are made one after another are remembered side by side.
fn slot(tag: u64) -> usize {
    (tag >> 3) as usize % REMEMBERED
}

#[cfg(all(target_arch = "x86_64", target_os = "linux", not(mallocer_pthread_local)))]
mod storage {
    use super::Local;
    use core::arch::{asm, global_asm};

    const _: () = assert!(size_of::<Local>() == 152);

    // The version in the name keeps two versions of this crate in one program apart.
    global_asm!(
        ".pushsection .tbss.mallocer_flist_local_0_1,\"awT\",@nobits",
        ".globl mallocer_flist_local_0_1",
        ".hidden mallocer_flist_local_0_1",
        ".type mallocer_flist_local_0_1,@object",
        ".size mallocer_flist_local_0_1,152",
        ".balign 64",
        "mallocer_flist_local_0_1:",
        ".zero 152",
        ".popsection",
    );

    /// Whether `local` may be null.
    pub(crate) const MAY_BE_NULL: bool = false;

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

#[cfg(not(all(target_arch = "x86_64", target_os = "linux", not(mallocer_pthread_local))))]
mod storage {
    use super::Local;
    use crate::once::Once;

    static KEY: Once<libc::pthread_key_t> = Once::new();

    /// Whether `local` may be null.
    pub(crate) const MAY_BE_NULL: bool = true;

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

pub(crate) use storage::{MAY_BE_NULL, give_back, local};
