//! Values that a case may write in two ways.

use std::fmt;

use bytes::Bytes;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};

use super::{Picture, PictureFile, Pictures, Script, Source};

impl<'de> Deserialize<'de> for Script {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Script;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a list of exchanges or \"nobody\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Script, E> {
                match text {
                    "nobody" => Ok(Script::Nobody),
                    other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
                }
            }
            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Script, A::Error> {
                Deserialize::deserialize(SeqAccessDeserializer::new(list)).map(Script::Exchanges)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl<'de> Deserialize<'de> for Pictures {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Pictures;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a number or a list of pictures")
            }
            fn visit_u64<E: de::Error>(self, count: u64) -> Result<Pictures, E> {
                usize::try_from(count)
                    .map(Pictures::Count)
                    .map_err(E::custom)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Pictures, A::Error> {
                Deserialize::deserialize(SeqAccessDeserializer::new(list)).map(Pictures::List)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl<'de> Deserialize<'de> for Picture {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Source;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a picture such as \"png 64x48\" or {\"file\": \"fox.png\"}")
            }
            fn visit_str<E: de::Error>(self, words: &str) -> Result<Source, E> {
                Ok(Source::Words(words.to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Source, A::Error> {
                let map = PictureFile::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Source::File(map.file))
            }
        }
        let source = deserializer.deserialize_any(Either)?;
        Ok(Self {
            source,
            bytes: Bytes::new(),
        })
    }
}
