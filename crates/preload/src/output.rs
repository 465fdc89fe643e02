//! Where words go: standard error, or a file; without allocating.

use core::fmt::{self, Write};

/// How many bytes are gathered for one write.
const GATHERED: usize = 1024;

/// A descriptor of the system's that words are written to, gathered into few calls.
pub(crate) struct Output {
    descriptor: i32,
    gathered: [u8; GATHERED],
    len: usize,
}

impl Output {
    pub(crate) fn new(descriptor: i32) -> Output {
        Output { descriptor, gathered: [0; GATHERED], len: 0 }
    }

    /// Writes out what is gathered.
    fn flush(&mut self) {
        let mut rest = &self.gathered[..self.len];
        while !rest.is_empty() {
            // SAFETY: the bytes are valid for their length.
            let wrote = unsafe { libc::write(self.descriptor, rest.as_ptr().cast(), rest.len()) };
            match usize::try_from(wrote) {
                Ok(wrote) if wrote > 0 => rest = &rest[wrote..],
                // There is nobody to tell.
                _ => break,
            }
        }
        self.len = 0;
    }
}

impl Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for &byte in text.as_bytes() {
            if self.len == GATHERED {
                self.flush();
            }
            self.gathered[self.len] = byte;
            self.len += 1;
        }
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Writes to standard error.
#[cold]
#[inline(never)]
pub(crate) fn say(words: fmt::Arguments<'_>) {
    let _ = Output::new(libc::STDERR_FILENO).write_fmt(words);
}
