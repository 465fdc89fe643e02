//! jemalloc's control interface (`mallctl`), with names resolved once.
//!
//! A control is named by a path such as `arena.7.reset`; jemalloc translates it into
//! numbers (a MIB), of which some are the arena or the size class meant. Translating
//! takes longer than most controls, so each is done once in the life of the process.

use std::ptr;
use std::sync::OnceLock;

use libc::c_int;
use tikv_jemalloc_ctl::raw;

/// A control of `N` path elements.
pub(crate) struct Control<const N: usize> {
    /// The path, ending in a null byte, with 0 for each element to be replaced.
    name: &'static [u8],
    mib: OnceLock<[usize; N]>,
}

impl<const N: usize> Control<N> {
    pub(crate) const fn new(name: &'static [u8]) -> Control<N> {
        Control { name, mib: OnceLock::new() }
    }

    /// The MIB with `number` in place of every path element in `at`.
    fn mib(&self, at: &[(usize, usize)]) -> [usize; N] {
        let mut mib = *self.mib.get_or_init(|| {
            let mut mib = [0; N];
            raw::name_to_mib(self.name, &mut mib).expect("jemalloc has this control");
            mib
        });
        for &(place, number) in at {
            mib[place] = number;
        }
        mib
    }

    /// Reads a value, or returns jemalloc's error code.
    ///
    /// # Safety
    ///
    /// `T` is the type of the control's value.
    pub(crate) unsafe fn read<T: Copy + Default>(&self, at: &[(usize, usize)]) -> Result<T, c_int> {
        let (mut value, mut len) = (T::default(), size_of::<T>());
        // SAFETY: the value has the type that jemalloc writes (the caller's promise).
        unsafe { self.call(at, (&raw mut value).cast(), &mut len, ptr::null_mut(), 0) }?;
        debug_assert_eq!(len, size_of::<T>());
        Ok(value)
    }

    /// Writes a value, or returns jemalloc's error code.
    ///
    /// # Safety
    ///
    /// `T` is the type of the control's value, and the control is allowed now.
    pub(crate) unsafe fn write<T: Copy>(
        &self,
        at: &[(usize, usize)],
        mut value: T,
    ) -> Result<(), c_int> {
        let new = (&raw mut value).cast();
        // SAFETY: the caller's promise.
        unsafe { self.call(at, ptr::null_mut(), ptr::null_mut(), new, size_of::<T>()) }
    }

    /// Runs a control that has no value, or returns jemalloc's error code.
    ///
    /// # Safety
    ///
    /// The control is allowed now.
    pub(crate) unsafe fn run(&self, at: &[(usize, usize)]) -> Result<(), c_int> {
        // SAFETY: the caller's promise.
        unsafe { self.call(at, ptr::null_mut(), ptr::null_mut(), ptr::null_mut(), 0) }
    }

    unsafe fn call(
        &self,
        at: &[(usize, usize)],
        old: *mut libc::c_void,
        old_len: *mut usize,
        new: *mut libc::c_void,
        new_len: usize,
    ) -> Result<(), c_int> {
        let mib = self.mib(at);
        // SAFETY: the MIB has the length that is passed; the rest is the caller's.
        let code =
            unsafe { tikv_jemalloc_sys::mallctlbymib(mib.as_ptr(), N, old, old_len, new, new_len) };
        if code == 0 { Ok(()) } else { Err(code) }
    }
}
