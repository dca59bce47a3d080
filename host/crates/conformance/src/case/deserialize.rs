//! Values that a case can write in two ways.

use std::fmt;

use bytes::Bytes;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};

use super::{CaseImage, ExpectedImages, ImageOrigin, Script};

impl<'de> Deserialize<'de> for Script {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ScriptVisitor;
        impl<'de> Visitor<'de> for ScriptVisitor {
            type Value = Script;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a list of exchanges or \"nobody\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Script, E> {
                match text {
                    "nobody" => Ok(Script::RefuseConnections),
                    other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
                }
            }
            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Script, A::Error> {
                Deserialize::deserialize(SeqAccessDeserializer::new(list)).map(Script::Exchanges)
            }
        }
        deserializer.deserialize_any(ScriptVisitor)
    }
}

impl<'de> Deserialize<'de> for ExpectedImages {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ImagesVisitor;
        impl<'de> Visitor<'de> for ImagesVisitor {
            type Value = ExpectedImages;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a number or a list of images")
            }
            fn visit_u64<E: de::Error>(self, count: u64) -> Result<ExpectedImages, E> {
                usize::try_from(count)
                    .map(ExpectedImages::Count)
                    .map_err(E::custom)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<ExpectedImages, A::Error> {
                Deserialize::deserialize(SeqAccessDeserializer::new(list)).map(ExpectedImages::List)
            }
        }
        deserializer.deserialize_any(ImagesVisitor)
    }
}

/// An image in a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ImageFile {
    file: String,
}

impl<'de> Deserialize<'de> for CaseImage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ImageVisitor;
        impl<'de> Visitor<'de> for ImageVisitor {
            type Value = ImageOrigin;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an image such as \"png 64x48\" or {\"file\": \"fox.png\"}")
            }
            fn visit_str<E: de::Error>(self, spec: &str) -> Result<ImageOrigin, E> {
                Ok(ImageOrigin::Spec(spec.to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ImageOrigin, A::Error> {
                let image = ImageFile::deserialize(MapAccessDeserializer::new(map))?;
                Ok(ImageOrigin::File(image.file))
            }
        }
        Ok(Self {
            origin: deserializer.deserialize_any(ImageVisitor)?,
            bytes: Bytes::new(),
        })
    }
}
