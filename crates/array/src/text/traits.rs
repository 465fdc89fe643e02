//! What texts have in common with `str` and `String`.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use core::borrow::{Borrow, BorrowMut};
use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::ops::{Add, AddAssign, Deref, DerefMut};
use core::str::{self, FromStr};

use mallocer_core::Ambient;

use super::Text;
use crate::array::Array;
use crate::source::Source;

impl<S: Source> Deref for Text<S> {
    type Target = str;

    #[inline(always)]
    fn deref(&self) -> &str {
        // SAFETY: a text is UTF-8.
        unsafe { str::from_utf8_unchecked(&self.bytes) }
    }
}

impl<S: Source> DerefMut for Text<S> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut str {
        // SAFETY: as above.
        unsafe { str::from_utf8_unchecked_mut(&mut self.bytes) }
    }
}

impl<S: Source> fmt::Write for Text<S> {
    #[inline]
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push_str(text);
        Ok(())
    }

    #[inline]
    fn write_char(&mut self, character: char) -> fmt::Result {
        self.push(character);
        Ok(())
    }
}

impl<S: Source> fmt::Display for Text<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl<S: Source> fmt::Debug for Text<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl<S: Source> Clone for Text<S> {
    fn clone(&self) -> Text<S> {
        Text::from_str_in(self, self.source())
    }

    fn clone_from(&mut self, other: &Text<S>) {
        self.clear();
        self.push_str(other);
    }
}

impl<P: Ambient> Default for Text<P> {
    fn default() -> Text<P> {
        Text::new()
    }
}

impl<S: Source, S2: Source> PartialEq<Text<S2>> for Text<S> {
    fn eq(&self, other: &Text<S2>) -> bool {
        self.as_str() == other.as_str()
    }
}

impl<S: Source> Eq for Text<S> {}

macro_rules! equal {
    ($($other:ty),*) => {$(
        impl<S: Source> PartialEq<$other> for Text<S> {
            fn eq(&self, other: &$other) -> bool {
                self.as_str() == &other[..]
            }
        }

        impl<S: Source> PartialEq<Text<S>> for $other {
            fn eq(&self, other: &Text<S>) -> bool {
                &self[..] == other.as_str()
            }
        }
    )*};
}

equal!(str, &str, String, Cow<'_, str>);

impl<S: Source, S2: Source> PartialOrd<Text<S2>> for Text<S> {
    fn partial_cmp(&self, other: &Text<S2>) -> Option<Ordering> {
        Some(self.as_str().cmp(other.as_str()))
    }
}

impl<S: Source> Ord for Text<S> {
    fn cmp(&self, other: &Text<S>) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl<S: Source> Hash for Text<S> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl<S: Source> AsRef<str> for Text<S> {
    fn as_ref(&self) -> &str {
        self
    }
}

impl<S: Source> AsRef<[u8]> for Text<S> {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl<S: Source> Borrow<str> for Text<S> {
    fn borrow(&self) -> &str {
        self
    }
}

impl<S: Source> AsMut<str> for Text<S> {
    fn as_mut(&mut self) -> &mut str {
        self
    }
}

impl<S: Source> BorrowMut<str> for Text<S> {
    fn borrow_mut(&mut self) -> &mut str {
        self
    }
}

#[cfg(feature = "std")]
impl<S: Source> AsRef<std::ffi::OsStr> for Text<S> {
    fn as_ref(&self) -> &std::ffi::OsStr {
        self.as_str().as_ref()
    }
}

#[cfg(feature = "std")]
impl<S: Source> AsRef<std::path::Path> for Text<S> {
    fn as_ref(&self) -> &std::path::Path {
        self.as_str().as_ref()
    }
}

impl<S: Source> Extend<char> for Text<S> {
    fn extend<I: IntoIterator<Item = char>>(&mut self, characters: I) {
        let characters = characters.into_iter();
        self.reserve(characters.size_hint().0);
        characters.for_each(|character| self.push(character));
    }
}

impl<'a, S: Source> Extend<&'a char> for Text<S> {
    fn extend<I: IntoIterator<Item = &'a char>>(&mut self, characters: I) {
        self.extend(characters.into_iter().copied());
    }
}

macro_rules! pieces {
    ($([$($life:lifetime)?] $piece:ty),*) => {$(
        impl<$($life,)? S: Source> Extend<$piece> for Text<S> {
            fn extend<I: IntoIterator<Item = $piece>>(&mut self, texts: I) {
                texts.into_iter().for_each(|text| self.push_str(&text));
            }
        }

        impl<$($life,)? P: Ambient> FromIterator<$piece> for Text<P> {
            fn from_iter<I: IntoIterator<Item = $piece>>(texts: I) -> Text<P> {
                let mut text = Text::new();
                text.extend(texts);
                text
            }
        }
    )*};
}

pieces!(['a] &'a str, [] String, [] Box<str>, ['a] Cow<'a, str>);

impl<S: Source, S2: Source> Extend<Text<S2>> for Text<S> {
    fn extend<I: IntoIterator<Item = Text<S2>>>(&mut self, texts: I) {
        texts.into_iter().for_each(|text| self.push_str(&text));
    }
}

impl<P: Ambient, S: Source> FromIterator<Text<S>> for Text<P> {
    fn from_iter<I: IntoIterator<Item = Text<S>>>(texts: I) -> Text<P> {
        let mut text = Text::new();
        text.extend(texts);
        text
    }
}

impl<P: Ambient> FromIterator<char> for Text<P> {
    fn from_iter<I: IntoIterator<Item = char>>(characters: I) -> Text<P> {
        let mut text = Text::new();
        text.extend(characters);
        text
    }
}

impl<'a, P: Ambient> FromIterator<&'a char> for Text<P> {
    fn from_iter<I: IntoIterator<Item = &'a char>>(characters: I) -> Text<P> {
        characters.into_iter().copied().collect()
    }
}

macro_rules! copied {
    ($($other:ty),*) => {$(
        impl<P: Ambient> From<$other> for Text<P> {
            fn from(text: $other) -> Text<P> {
                Text::from_str_in(&text, P::default())
            }
        }
    )*};
}

copied!(String, &String, &mut str, Box<str>, Cow<'_, str>);

impl<P: Ambient> From<char> for Text<P> {
    fn from(character: char) -> Text<P> {
        Text::from(&*character.encode_utf8(&mut [0; 4]))
    }
}

impl<P: Ambient> From<&str> for Text<P> {
    fn from(text: &str) -> Text<P> {
        Text::from_str_in(text, P::default())
    }
}

impl<P: Ambient> FromStr for Text<P> {
    type Err = core::convert::Infallible;

    fn from_str(text: &str) -> Result<Text<P>, Self::Err> {
        Ok(Text::from(text))
    }
}

impl<S: Source> From<Text<S>> for String {
    fn from(text: Text<S>) -> String {
        text.into_string()
    }
}

impl<S: Source> From<Text<S>> for Box<str> {
    fn from(text: Text<S>) -> Box<str> {
        text.into_string().into_boxed_str()
    }
}

impl<S: Source> From<Text<S>> for Array<u8, S> {
    fn from(text: Text<S>) -> Array<u8, S> {
        text.into_bytes()
    }
}

impl<S: Source> Add<&str> for Text<S> {
    type Output = Text<S>;

    fn add(mut self, text: &str) -> Text<S> {
        self.push_str(text);
        self
    }
}

impl<S: Source> AddAssign<&str> for Text<S> {
    fn add_assign(&mut self, text: &str) {
        self.push_str(text);
    }
}
