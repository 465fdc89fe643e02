//! Serialize for all arrays and texts, Deserialize for those on a process's heap.

use alloc::string::String;
use core::fmt;
use core::marker::PhantomData;

use mallocer_core::Ambient;
use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};
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

impl<'de, T: Deserialize<'de>, P: Ambient> Deserialize<'de> for Array<T, P> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements<T, P>(PhantomData<(T, P)>);

        impl<'de, T: Deserialize<'de>, P: Ambient> Visitor<'de> for Elements<T, P> {
            type Value = Array<T, P>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a sequence")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Self::Value, A::Error> {
                let most = MOST_AHEAD / size_of::<T>().max(1);
                let mut array = Array::with_capacity(values.size_hint().unwrap_or(0).min(most));
                while let Some(value) = values.next_element()? {
                    array.push(value);
                }
                Ok(array)
            }
        }

        deserializer.deserialize_seq(Elements(PhantomData))
    }
}

impl<S: Source> Serialize for Text<S> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de, P: Ambient> Deserialize<'de> for Text<P> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(Text::from(&*text))
    }
}
