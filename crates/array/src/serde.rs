//! Serialize for all arrays and texts; Deserialize for those on a process's heap, and the same
//! as a function for any other source.

use core::fmt;
use core::marker::PhantomData;
use core::str;

use mallocer_core::Ambient;
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Unexpected, Visitor};
use serde::ser::{Serialize, Serializer};

use crate::array::Array;
use crate::source::Source;
use crate::text::Text;

/// The most bytes that are reserved because the data say so.
const MOST_AHEAD: usize = 1 << 20;

impl<T: Serialize, S: Source> Serialize for Array<T, S> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        self[..].serialize(serializer)
    }
}

impl<T, S: Source> Array<T, S> {
    /// An array in `source` of what the deserializer has.
    ///
    /// # Errors
    ///
    /// The deserializer's.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocer_array::{Array, In};
    /// use mallocer_core::{Config, Mallocer};
    /// use mallocer_flist::Flist;
    ///
    /// let heap = Flist::open(&Config::default()).unwrap();
    /// let mut json = serde_json::Deserializer::from_str("[3, 14, 15]");
    /// let array = Array::<u32, _>::deserialize_in(In::new(&heap), &mut json).unwrap();
    /// assert_eq!(array, [3, 14, 15]);
    /// ```
    pub fn deserialize_in<'de, D: Deserializer<'de>>(
        source: S,
        deserializer: D,
    ) -> Result<Array<T, S>, D::Error>
    where
        T: Deserialize<'de>,
    {
        struct Elements<T, S>(S, PhantomData<T>);

        impl<'de, T: Deserialize<'de>, S: Source> Visitor<'de> for Elements<T, S> {
            type Value = Array<T, S>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a sequence")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Self::Value, A::Error> {
                let most = MOST_AHEAD / size_of::<T>().max(1);
                let ahead = values.size_hint().unwrap_or(0).min(most);
                let mut array = Array::with_capacity_in(ahead, self.0);
                while let Some(value) = values.next_element()? {
                    array.push(value);
                }
                Ok(array)
            }
        }

        deserializer.deserialize_seq(Elements(source, PhantomData))
    }
}

impl<'de, T: Deserialize<'de>, P: Ambient> Deserialize<'de> for Array<T, P> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Array::deserialize_in(P::default(), deserializer)
    }
}

impl<S: Source> Serialize for Text<S> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        serializer.serialize_str(self)
    }
}

impl<S: Source> Text<S> {
    /// A text in `source` of what the deserializer has, copied once.
    ///
    /// # Errors
    ///
    /// The deserializer's, and bytes that are not UTF-8.
    pub fn deserialize_in<'de, D: Deserializer<'de>>(
        source: S,
        deserializer: D,
    ) -> Result<Text<S>, D::Error> {
        struct Characters<S>(S);

        impl<S: Source> Visitor<'_> for Characters<S> {
            type Value = Text<S>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Text<S>, E> {
                Ok(Text::from_str_in(text, self.0))
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Text<S>, E> {
                let text = str::from_utf8(bytes)
                    .map_err(|_| Error::invalid_value(Unexpected::Bytes(bytes), &self))?;
                self.visit_str(text)
            }
        }

        deserializer.deserialize_str(Characters(source))
    }
}

impl<'de, P: Ambient> Deserialize<'de> for Text<P> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Text::deserialize_in(P::default(), deserializer)
    }
}
