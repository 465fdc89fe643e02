//! Strings: UTF-8 in an array of bytes.

mod characters;
mod traits;

use alloc::string::String;
use core::fmt;
use core::ops::{Range, RangeBounds};
use core::str::{self, Utf8Error};

use mallocer_core::Ambient;

use crate::array::Array;
use crate::drain::checked;
use crate::raw::ReserveError;
use crate::source::Source;

pub use characters::Characters;

/// A growable string in a heap: what `String` is to `Vec`, on an [`Array`].
///
/// # Examples
///
/// ```
/// use core::fmt::Write;
/// use mallocer_array::Text;
/// use mallocer_flist::Global;
///
/// let mut line = Text::<Global>::new();
/// line.push_str("chunks: ");
/// write!(line, "{:>5}", 479).unwrap();
/// assert_eq!(line, "chunks:   479");
/// assert_eq!(size_of_val(&line), 8);
/// ```
pub struct Text<S: Source> {
    bytes: Array<u8, S>,
}

impl<P: Ambient> Text<P> {
    /// An empty text on the heap of a process.
    #[inline]
    pub fn new() -> Text<P> {
        Text::new_in(P::default())
    }

    /// An empty text with room for at least `capacity` bytes.
    ///
    /// # Panics
    ///
    /// As [`reserve`](Text::reserve).
    #[track_caller]
    pub fn with_capacity(capacity: usize) -> Text<P> {
        Text::with_capacity_in(capacity, P::default())
    }
}

impl<S: Source> Text<S> {
    /// An empty text in `source`. It takes no memory until it has a character.
    #[inline]
    pub fn new_in(source: S) -> Text<S> {
        Text { bytes: Array::new_in(source) }
    }

    /// An empty text with room for at least `capacity` bytes.
    ///
    /// # Panics
    ///
    /// As [`reserve`](Text::reserve).
    #[track_caller]
    pub fn with_capacity_in(capacity: usize, source: S) -> Text<S> {
        Text { bytes: Array::with_capacity_in(capacity, source) }
    }

    /// A text in `source` that is a copy of `text`.
    ///
    /// # Panics
    ///
    /// As [`reserve`](Text::reserve).
    #[track_caller]
    pub fn from_str_in(text: &str, source: S) -> Text<S> {
        let mut copy = Text::with_capacity_in(text.len(), source);
        copy.push_str(text);
        copy
    }

    /// A text in `source` of what `arguments` print.
    ///
    /// # Panics
    ///
    /// As [`reserve`](Text::reserve), and if an argument's formatting fails.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocer_array::Text;
    /// use mallocer_flist::Global;
    ///
    /// let key = Text::format_in(format_args!("{}/{:04}", "segment", 7), Global);
    /// assert_eq!(key, "segment/0007");
    /// ```
    #[track_caller]
    pub fn format_in(arguments: fmt::Arguments<'_>, source: S) -> Text<S> {
        let mut text = Text::new_in(source);
        match arguments.as_str() {
            Some(whole) => text.push_str(whole),
            None => fmt::Write::write_fmt(&mut text, arguments)
                .expect("a formatting trait implementation returned an error"),
        }
        text
    }

    /// A text in `source` of `parts`, with `between` between two of them.
    ///
    /// # Panics
    ///
    /// As [`reserve`](Text::reserve).
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocer_array::Text;
    /// use mallocer_flist::Global;
    ///
    /// assert_eq!(Text::join_in(["to", "be"], " ", Global), "to be");
    /// ```
    #[track_caller]
    pub fn join_in<P: AsRef<str>>(
        parts: impl IntoIterator<Item = P>,
        between: &str,
        source: S,
    ) -> Text<S> {
        let mut text = Text::new_in(source);
        let mut parts = parts.into_iter();
        if let Some(first) = parts.next() {
            text.push_str(first.as_ref());
        }
        for part in parts {
            text.push_str(between);
            text.push_str(part.as_ref());
        }
        text
    }

    /// The pieces between `separator`s, each a text of its own, in this text's heap.
    ///
    /// For pieces that are only looked at there is [`str::split`].
    ///
    /// # Panics
    ///
    /// As [`reserve`](Text::reserve).
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocer_array::Text;
    /// use mallocer_flist::Global;
    ///
    /// let words = Text::from_str_in("to be or not", Global).split_into(" ");
    /// assert_eq!(words[3], "not");
    /// ```
    pub fn split_into(&self, separator: &str) -> Array<Text<S>, S> {
        let source = self.source();
        let pieces = self.split(separator).map(|piece| Text::from_str_in(piece, source));
        Array::from_iter_in(pieces, source)
    }

    /// A text of `bytes`, if they are UTF-8; nothing is copied.
    ///
    /// # Errors
    ///
    /// The bytes, and where they are not UTF-8.
    pub fn from_utf8(bytes: Array<u8, S>) -> Result<Text<S>, (Array<u8, S>, Utf8Error)> {
        match str::from_utf8(&bytes) {
            Ok(_) => Ok(Text { bytes }),
            Err(wrong) => Err((bytes, wrong)),
        }
    }

    /// A text of `bytes`.
    ///
    /// # Safety
    ///
    /// They are UTF-8.
    pub unsafe fn from_utf8_unchecked(bytes: Array<u8, S>) -> Text<S> {
        Text { bytes }
    }

    /// A text in `source` of `bytes`, with U+FFFD where they are not UTF-8.
    ///
    /// # Panics
    ///
    /// As [`reserve`](Text::reserve).
    pub fn from_utf8_lossy_in(bytes: &[u8], source: S) -> Text<S> {
        let mut text = Text::with_capacity_in(bytes.len(), source);
        for chunk in bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            if !chunk.invalid().is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        text
    }

    /// A text in `source` of UTF-16.
    ///
    /// # Errors
    ///
    /// If `units` has a surrogate without its partner.
    pub fn from_utf16_in(
        units: &[u16],
        source: S,
    ) -> Result<Text<S>, core::char::DecodeUtf16Error> {
        let mut text = Text::with_capacity_in(units.len(), source);
        for character in char::decode_utf16(units.iter().copied()) {
            text.push(character?);
        }
        Ok(text)
    }

    /// The array of bytes.
    pub fn into_bytes(self) -> Array<u8, S> {
        self.bytes
    }

    /// A `String` with the same characters.
    pub fn into_string(self) -> String {
        // SAFETY: a text is UTF-8.
        unsafe { String::from_utf8_unchecked(self.bytes.into_vec()) }
    }

    /// Where the text's memory comes from.
    pub fn source(&self) -> S {
        self.bytes.source()
    }

    /// The characters.
    #[inline]
    pub fn as_str(&self) -> &str {
        self
    }

    /// The characters, to be changed.
    #[inline]
    pub fn as_mut_str(&mut self) -> &mut str {
        self
    }

    /// The array of bytes, to be changed.
    ///
    /// # Safety
    ///
    /// They are UTF-8 afterwards.
    pub unsafe fn as_mut_array(&mut self) -> &mut Array<u8, S> {
        &mut self.bytes
    }

    /// How many bytes fit without more memory.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Makes room for at least `more` bytes, and for some that may come after them.
    ///
    /// # Panics
    ///
    /// Where [`try_reserve`](Text::try_reserve) has an error, with its message.
    #[track_caller]
    pub fn reserve(&mut self, more: usize) {
        self.bytes.reserve(more);
    }

    /// Makes room for at least `more` bytes.
    ///
    /// # Errors
    ///
    /// [`ReserveError`]; then the text is as it was.
    pub fn try_reserve(&mut self, more: usize) -> Result<(), ReserveError> {
        self.bytes.try_reserve(more)
    }

    /// Makes room for `more` bytes, and for no more than their chunk has anyway.
    ///
    /// # Panics
    ///
    /// As [`reserve`](Text::reserve).
    #[track_caller]
    pub fn reserve_exact(&mut self, more: usize) {
        self.bytes.reserve_exact(more);
    }

    /// Makes room for `more` bytes, as [`reserve_exact`](Text::reserve_exact) does.
    ///
    /// # Errors
    ///
    /// [`ReserveError`]; then the text is as it was.
    pub fn try_reserve_exact(&mut self, more: usize) -> Result<(), ReserveError> {
        self.bytes.try_reserve_exact(more)
    }

    /// Gives back what the characters do not need.
    pub fn shrink_to_fit(&mut self) {
        self.bytes.shrink_to_fit();
    }

    /// Gives back what the characters do not need beyond room for `capacity` bytes.
    pub fn shrink_to(&mut self, capacity: usize) {
        self.bytes.shrink_to(capacity);
    }

    /// The characters as a slice that lives as long as the heap; the text is never freed by
    /// itself.
    pub fn leak<'s>(self) -> &'s mut str
    where
        S: 's,
    {
        // SAFETY: a text is UTF-8.
        unsafe { str::from_utf8_unchecked_mut(self.bytes.leak()) }
    }

    /// Puts `character` at the end.
    ///
    /// # Panics
    ///
    /// As [`reserve`](Text::reserve).
    #[inline]
    #[track_caller]
    pub fn push(&mut self, character: char) {
        if character.is_ascii() {
            self.bytes.push(character as u8);
        } else {
            self.push_str(character.encode_utf8(&mut [0; 4]));
        }
    }

    /// Puts `text` at the end.
    ///
    /// # Panics
    ///
    /// As [`reserve`](Text::reserve).
    #[inline]
    #[track_caller]
    pub fn push_str(&mut self, text: &str) {
        self.bytes.extend_from_bytes(text.as_bytes());
    }

    /// Puts `text` at the end, if there is memory for it.
    ///
    /// # Errors
    ///
    /// [`ReserveError`]; then the text is as it was.
    #[inline]
    pub fn try_push_str(&mut self, text: &str) -> Result<(), ReserveError> {
        self.try_reserve(text.len())?;
        self.push_str(text);
        Ok(())
    }

    /// Puts the characters of `range` at the end once more.
    ///
    /// # Panics
    ///
    /// As [`drain`](Text::drain), and as [`reserve`](Text::reserve).
    #[track_caller]
    pub fn extend_from_within(&mut self, range: impl RangeBounds<usize>) {
        let range = self.whole(range);
        self.bytes.extend_from_within(range);
    }

    /// `range` as bytes at which characters begin.
    #[track_caller]
    fn whole(&self, range: impl RangeBounds<usize>) -> Range<usize> {
        let range = checked(range, self.len());
        assert!(self.is_char_boundary(range.start));
        assert!(self.is_char_boundary(range.end));
        range
    }

    /// Takes the last character.
    pub fn pop(&mut self) -> Option<char> {
        let last = self.chars().next_back()?;
        self.bytes.truncate(self.len() - last.len_utf8());
        Some(last)
    }

    /// Drops what is behind the first `len` bytes, if there is anything.
    ///
    /// # Panics
    ///
    /// If `len` is inside a character.
    #[track_caller]
    pub fn truncate(&mut self, len: usize) {
        if len <= self.len() {
            assert!(self.is_char_boundary(len));
            self.bytes.truncate(len);
        }
    }

    /// Drops all characters; the memory stays.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Takes the character at byte `index`.
    ///
    /// # Panics
    ///
    /// If `index` is at or behind the end, or inside a character.
    #[track_caller]
    pub fn remove(&mut self, index: usize) -> char {
        let Some(character) = self[index..].chars().next() else {
            panic!("cannot remove a char from the end of a string");
        };
        self.bytes.drain(index..index + character.len_utf8());
        character
    }

    /// Puts `character` at byte `index`.
    ///
    /// # Panics
    ///
    /// If `index` is behind the end or inside a character, and as
    /// [`reserve`](Text::reserve).
    #[track_caller]
    pub fn insert(&mut self, index: usize, character: char) {
        self.insert_str(index, character.encode_utf8(&mut [0; 4]));
    }

    /// Puts `text` at byte `index`.
    ///
    /// # Panics
    ///
    /// As [`insert`](Text::insert).
    #[track_caller]
    pub fn insert_str(&mut self, index: usize, text: &str) {
        assert!(self.is_char_boundary(index));
        self.bytes.insert_bytes(index, text.as_bytes());
    }

    /// Keeps the characters for which `keep` is true.
    pub fn retain(&mut self, mut keep: impl FnMut(char) -> bool) {
        /// Closes the gap, also if `keep` panics.
        struct Sieve<'a, S: Source> {
            text: &'a mut Text<S>,
            kept: usize,
            at: usize,
            len: usize,
        }

        impl<S: Source> Drop for Sieve<'_, S> {
            fn drop(&mut self) {
                let bytes = &mut self.text.bytes;
                // SAFETY: the length is at most what it was. What was kept and what was
                // not looked at are whole characters.
                unsafe {
                    bytes.set_len(self.len);
                    bytes.copy_within(self.at.., self.kept);
                    bytes.set_len(self.kept + self.len - self.at);
                }
            }
        }

        let len = self.len();
        let mut sieve = Sieve { text: self, kept: 0, at: 0, len };
        // SAFETY: what was not looked at yet is whole characters.
        let next = |bytes: &[u8]| unsafe { str::from_utf8_unchecked(bytes) }.chars().next();
        while let Some(character) = next(&sieve.text.bytes[sieve.at..]) {
            let bytes = character.len_utf8();
            if keep(character) {
                let (at, kept) = (sieve.at, sieve.kept);
                sieve.kept += bytes;
                if at != kept {
                    sieve.text.bytes.copy_within(at..at + bytes, kept);
                }
            }
            sieve.at += bytes;
        }
    }

    /// Takes the characters of `range` out; they are gone when the iterator is dropped.
    ///
    /// # Panics
    ///
    /// If a bound is behind the end or inside a character.
    #[track_caller]
    pub fn drain(&mut self, range: impl RangeBounds<usize>) -> Characters<'_, S> {
        Characters::new(self.bytes.drain(self.whole(range)))
    }

    /// Replaces the characters of `range` by `with`.
    ///
    /// # Panics
    ///
    /// As [`drain`](Text::drain), and as [`reserve`](Text::reserve).
    #[track_caller]
    pub fn replace_range(&mut self, range: impl RangeBounds<usize>, with: &str) {
        self.bytes.splice(self.whole(range), with.bytes());
    }

    /// Moves the characters from byte `at` on into a text of their own, in the same heap.
    ///
    /// # Panics
    ///
    /// If `at` is behind the end or inside a character, and as [`reserve`](Text::reserve).
    #[track_caller]
    pub fn split_off(&mut self, at: usize) -> Text<S> {
        assert!(self.is_char_boundary(at));
        Text { bytes: self.bytes.split_off(at) }
    }
}
