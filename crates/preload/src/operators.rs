//! The deletes of C++, which may know a size or an alignment.
//!
//! The C++ library's own throw the size away, which is worth a check and a look-up; so they are here.
//!
//! The standard has the deletes call each other, down to `operator delete(void*)`, and a
//! program may replace any of them and rely on that. A definition in the program is found
//! before one of a preloaded library, and one in here before that of the C++ library. So
//! each delete asks first whether what it stands on is in here, too:
//!
//! ```text
//! delete[](p, size) ─▶ delete[](p) ─▶ delete(p) ─▶ free          all in here: a sized free
//!                          └─ the program's own? ─▶ call that, and the size is lost
//! ```

use core::ffi::{CStr, c_void};
use core::mem::{MaybeUninit, transmute};
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use libc::size_t;

use crate::family::{free, free_known};
use crate::heap::{ALIGN, HEAP};

type Delete = unsafe extern "C" fn(*mut c_void);
type DeleteAligned = unsafe extern "C" fn(*mut c_void, size_t);

static DELETE: Chosen = Chosen::new(c"_ZdlPv");
static DELETE_ARRAY: Chosen = Chosen::new(c"_ZdaPv");
static DELETE_ALIGNED: Chosen = Chosen::new(c"_ZdlPvSt11align_val_t");
static DELETE_ARRAY_ALIGNED: Chosen = Chosen::new(c"_ZdaPvSt11align_val_t");

/// `operator delete(void*)`.
///
/// # Safety
///
/// As [`free`].
#[unsafe(export_name = "_ZdlPv")]
unsafe extern "C" fn delete(chunk: *mut c_void) {
    // SAFETY: passed on.
    unsafe { free(chunk) }
}

/// `operator delete[](void*)`.
///
/// # Safety
///
/// As [`free`].
#[unsafe(export_name = "_ZdaPv")]
unsafe extern "C" fn delete_array(chunk: *mut c_void) {
    // SAFETY: passed on; the program's own has the type that the name says.
    unsafe {
        match DELETE.elsewhere() {
            None => free(chunk),
            Some(own) => transmute::<*const c_void, Delete>(own)(chunk),
        }
    }
}

/// `operator delete(void*, std::size_t)`.
///
/// # Safety
///
/// As [`free`].
#[unsafe(export_name = "_ZdlPvm")]
unsafe extern "C" fn delete_sized(chunk: *mut c_void, size: size_t) {
    // SAFETY: passed on.
    unsafe {
        if !(DELETE.is_here() && HEAP.free_sized_at_hand(chunk.cast(), size)) {
            delete_sized_slow(chunk, size);
        }
    }
}

/// # Safety
///
/// As [`free`].
#[inline(never)]
unsafe extern "C" fn delete_sized_slow(chunk: *mut c_void, size: size_t) {
    // SAFETY: passed on.
    unsafe {
        if !(DELETE.is_here() && HEAP.free_sized_near(chunk.cast(), size)) {
            delete_sized_slower(chunk, size);
        }
    }
}

/// # Safety
///
/// As [`free`].
#[cold]
#[inline(never)]
unsafe extern "C" fn delete_sized_slower(chunk: *mut c_void, size: size_t) {
    // SAFETY: as in `delete_array`.
    unsafe {
        match DELETE.elsewhere() {
            None => free_known("operator delete", chunk, asked(size), ALIGN),
            Some(own) => transmute::<*const c_void, Delete>(own)(chunk),
        }
    }
}

/// `operator delete[](void*, std::size_t)`.
///
/// # Safety
///
/// As [`free`].
#[unsafe(export_name = "_ZdaPvm")]
unsafe extern "C" fn delete_array_sized(chunk: *mut c_void, size: size_t) {
    // SAFETY: passed on.
    unsafe {
        let here = DELETE_ARRAY.is_here() && DELETE.is_here();
        if !(here && HEAP.free_sized_at_hand(chunk.cast(), size)) {
            delete_array_sized_slow(chunk, size);
        }
    }
}

/// # Safety
///
/// As [`free`].
#[cold]
#[inline(never)]
unsafe extern "C" fn delete_array_sized_slow(chunk: *mut c_void, size: size_t) {
    // SAFETY: as in `delete_array`.
    unsafe {
        match DELETE_ARRAY.elsewhere().or_else(|| DELETE.elsewhere()) {
            None => free_known("operator delete[]", chunk, asked(size), ALIGN),
            Some(own) => transmute::<*const c_void, Delete>(own)(chunk),
        }
    }
}

/// `operator delete(void*, std::align_val_t)`.
///
/// # Safety
///
/// As [`free`].
#[unsafe(export_name = "_ZdlPvSt11align_val_t")]
unsafe extern "C" fn delete_aligned(chunk: *mut c_void, _align: size_t) {
    // SAFETY: passed on.
    unsafe { free(chunk) }
}

/// `operator delete[](void*, std::align_val_t)`.
///
/// # Safety
///
/// As [`free`].
#[unsafe(export_name = "_ZdaPvSt11align_val_t")]
unsafe extern "C" fn delete_array_aligned(chunk: *mut c_void, align: size_t) {
    // SAFETY: as in `delete_array`.
    unsafe {
        match DELETE_ALIGNED.elsewhere() {
            None => free(chunk),
            Some(own) => transmute::<*const c_void, DeleteAligned>(own)(chunk, align),
        }
    }
}

/// `operator delete(void*, std::size_t, std::align_val_t)`.
///
/// # Safety
///
/// As [`free`].
#[unsafe(export_name = "_ZdlPvmSt11align_val_t")]
unsafe extern "C" fn delete_sized_aligned(chunk: *mut c_void, size: size_t, align: size_t) {
    // SAFETY: as in `delete_array`.
    unsafe {
        match DELETE_ALIGNED.elsewhere() {
            None => free_aligned("operator delete", chunk, size, align),
            Some(own) => transmute::<*const c_void, DeleteAligned>(own)(chunk, align),
        }
    }
}

/// `operator delete[](void*, std::size_t, std::align_val_t)`.
///
/// # Safety
///
/// As [`free`].
#[unsafe(export_name = "_ZdaPvmSt11align_val_t")]
unsafe extern "C" fn delete_array_sized_aligned(chunk: *mut c_void, size: size_t, align: size_t) {
    // SAFETY: as in `delete_array`.
    unsafe {
        match DELETE_ARRAY_ALIGNED.elsewhere().or_else(|| DELETE_ALIGNED.elsewhere()) {
            None => free_aligned("operator delete[]", chunk, size, align),
            Some(own) => transmute::<*const c_void, DeleteAligned>(own)(chunk, align),
        }
    }
}

/// The size that `operator new` asks `malloc` for. A chunk at hand serves no byte where it
/// serves one.
fn asked(size: size_t) -> size_t {
    size.max(1)
}

/// Frees a chunk of an aligned `operator new`. Some C++ libraries round the size up to the
/// alignment, and others do not, so all that is known is that the chunk has as much.
///
/// # Safety
///
/// As [`free`].
unsafe fn free_aligned(operation: &'static str, chunk: *mut c_void, size: size_t, align: size_t) {
    // SAFETY: passed on.
    unsafe {
        let fits = chunk.is_null()
            || HEAP.chunk_len(operation, chunk.cast()) >= size
                && chunk.addr() & align.wrapping_sub(1) == 0;
        if fits { free(chunk) } else { free_known(operation, chunk, size, align) }
    }
}

/// Which definition of a symbol the loader has chosen.
pub(crate) struct Chosen {
    name: &'static CStr,
    /// [`UNKNOWN`](Self::UNKNOWN), [`HERE`](Self::HERE), or the address of one elsewhere.
    address: AtomicUsize,
}

impl Chosen {
    const UNKNOWN: usize = 0;
    const HERE: usize = 1;

    pub(crate) const fn new(name: &'static CStr) -> Chosen {
        Chosen { name, address: AtomicUsize::new(Self::UNKNOWN) }
    }

    /// Whether the definition is known to be the one in here.
    #[inline(always)]
    pub(crate) fn is_here(&self) -> bool {
        self.address.load(Relaxed) == Self::HERE
    }

    /// The definition, if it is not the one in here.
    #[inline(always)]
    pub(crate) fn elsewhere(&self) -> Option<*const c_void> {
        match self.address.load(Relaxed) {
            Self::HERE => None,
            _ => self.look(),
        }
    }

    /// Asks the loader, whose answer is always the same.
    #[cold]
    fn look(&self) -> Option<*const c_void> {
        // SAFETY: the name ends with a zero byte.
        let chosen = unsafe { libc::dlsym(libc::RTLD_DEFAULT, self.name.as_ptr()) };
        let here = chosen.is_null() || object_of(chosen) == object_of((&raw const DELETE).cast());
        let address = if here { Self::HERE } else { chosen.expose_provenance() };
        self.address.store(address, Relaxed);
        (!here).then_some(chosen.cast_const())
    }
}

/// Where the program or library that has `address` begins.
fn object_of(address: *const c_void) -> *mut c_void {
    let mut found = MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: the call fills in what it finds; zeroed, the rest is null pointers.
    unsafe {
        libc::dladdr(address, found.as_mut_ptr());
        found.assume_init().dli_fbase
    }
}
