//! Taking characters out of the middle of a text.

use core::iter::FusedIterator;
use core::str;

use crate::drain::Drain;
use crate::source::Source;

/// What [`Text::drain`](super::Text::drain) gives.
pub struct Characters<'a, S: Source> {
    bytes: Drain<'a, u8, S>,
}

impl<'a, S: Source> Characters<'a, S> {
    /// The characters of whole ones' bytes.
    pub(super) fn new(bytes: Drain<'a, u8, S>) -> Characters<'a, S> {
        Characters { bytes }
    }

    /// The characters that nobody has taken yet.
    pub fn as_str(&self) -> &str {
        // SAFETY: the range, and each character taken, ends where characters do.
        unsafe { str::from_utf8_unchecked(self.bytes.as_slice()) }
    }
}

impl<S: Source> Iterator for Characters<'_, S> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        let character = self.as_str().chars().next()?;
        self.bytes.by_ref().take(character.len_utf8()).for_each(drop);
        Some(character)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.as_str().chars().size_hint()
    }
}

impl<S: Source> DoubleEndedIterator for Characters<'_, S> {
    fn next_back(&mut self) -> Option<char> {
        let character = self.as_str().chars().next_back()?;
        self.bytes.by_ref().rev().take(character.len_utf8()).for_each(drop);
        Some(character)
    }
}

impl<S: Source> FusedIterator for Characters<'_, S> {}
