//! The format of an image: what the job's parameters choose, and the bytes.

use image::codecs::jpeg::JpegEncoder;
use image::codecs::webp::WebPEncoder;
use image::{ExtendedColorType, ImageEncoder};
use pinhole_sdk::{Error, Job, Size};
use serde_json::Value;

/// JPEG quality if the job sets no `output_compression`.
const DEFAULT_JPEG_QUALITY: u8 = 90;

/// The format of an image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Encoding {
    Png,
    /// With a quality from 1 to 100.
    Jpeg(u8),
    /// Without loss.
    WebP,
}

impl Encoding {
    /// Reads `output_format`, `output_compression` and `background`. Every other parameter, and every value
    /// that changes nothing here, is refused: an engine that ignores one lets its user wait for nothing.
    pub(crate) fn from_job(job: &Job) -> Result<Self, Error> {
        let (mut format, mut compression) = ("png".to_owned(), None);
        for (name, value) in job.parse_parameters(&[])? {
            match (name.as_str(), value) {
                (_, Value::Null) => {}
                ("output_format", Value::String(text)) => format = text,
                ("output_compression", value) => compression = Some(value),
                ("background", Value::String(text)) if text == "auto" || text == "opaque" => {}
                ("background", _) => {
                    return Err(Error::invalid(
                        "background",
                        "sketch draws on an opaque background: leave background out",
                    ));
                }
                ("output_format", _) => return Err(unknown_format()),
                (other, _) => return Err(unknown_parameter(other)),
            }
        }
        let quality = compression.map(|value| parse_quality(&value)).transpose()?;
        match (format.as_str(), quality) {
            ("png", None | Some(100)) => Ok(Self::Png),
            ("webp", None | Some(100)) => Ok(Self::WebP),
            ("jpeg", quality) => Ok(Self::Jpeg(quality.unwrap_or(DEFAULT_JPEG_QUALITY).max(1))),
            ("png" | "webp", Some(_)) => Err(Error::invalid(
                "output_compression",
                format!(
                    "sketch compresses {format} without loss: leave output_compression out, or set output_format to jpeg"
                ),
            )),
            _ => Err(unknown_format()),
        }
    }

    /// The bytes of an image from its RGB pixels.
    pub(crate) fn encode(self, size: Size, pixels: &[u8]) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let Size { width, height } = size;
        let color = ExtendedColorType::Rgb8;
        let result = match self {
            Self::Png => encode_png(&mut bytes, size, pixels).map_err(|error| error.to_string()),
            Self::Jpeg(quality) => JpegEncoder::new_with_quality(&mut bytes, quality)
                .write_image(pixels, width, height, color)
                .map_err(|error| error.to_string()),
            Self::WebP => WebPEncoder::new_lossless(&mut bytes)
                .write_image(pixels, width, height, color)
                .map_err(|error| error.to_string()),
        };
        match result {
            Ok(()) => Ok(bytes),
            Err(error) => Err(Error::protocol(format!("cannot encode the image: {error}"))),
        }
    }
}

fn parse_quality(value: &Value) -> Result<u8, Error> {
    let number = value.as_u64().and_then(|number| u8::try_from(number).ok());
    number.filter(|number| *number <= 100).ok_or_else(|| {
        Error::invalid(
            "output_compression",
            "output_compression must be a whole number from 0 to 100",
        )
    })
}

fn unknown_format() -> Error {
    Error::invalid("output_format", "output_format must be png, jpeg or webp")
}

fn unknown_parameter(name: &str) -> Error {
    let shown: String = name.chars().take(60).collect();
    let message = format!(
        "sketch has no parameter {shown}: leave it out, or use output_format, output_compression or background"
    );
    Error::invalid(shown, message)
}

fn encode_png(bytes: &mut Vec<u8>, size: Size, pixels: &[u8]) -> Result<(), png::EncodingError> {
    let mut encoder = png::Encoder::new(bytes, size.width, size.height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_compression(png::Compression::Fastest);
    encoder.write_header()?.write_image_data(pixels)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn encoding(parameters: &Value) -> Result<Encoding, Error> {
        Encoding::from_job(&Job {
            prompt: "x".into(),
            negative_prompt: None,
            model: None,
            size: None,
            count: 1,
            steps: None,
            seed: None,
            parameters: parameters.to_string(),
        })
    }

    #[test]
    fn parameters_choose_the_format() {
        for (parameters, expected) in [
            (json!({}), Encoding::Png),
            (
                json!({"output_format": "png", "output_compression": 100}),
                Encoding::Png,
            ),
            (
                json!({"output_format": "webp", "background": "opaque"}),
                Encoding::WebP,
            ),
            (
                json!({"output_format": "jpeg"}),
                Encoding::Jpeg(DEFAULT_JPEG_QUALITY),
            ),
            (
                json!({"output_format": "jpeg", "output_compression": 40}),
                Encoding::Jpeg(40),
            ),
            (
                json!({"output_format": "jpeg", "output_compression": 0}),
                Encoding::Jpeg(1),
            ),
            (json!({"quality": null, "style": null}), Encoding::Png),
        ] {
            assert_eq!(encoding(&parameters).unwrap(), expected, "{parameters}");
        }
    }

    #[test]
    fn every_other_parameter_is_refused_by_name() {
        for (name, value) in [
            ("output_format", json!("gif")),
            ("output_format", json!(1)),
            ("output_compression", json!(40)),
            ("output_compression", json!(101)),
            ("output_compression", json!("40")),
            ("background", json!("transparent")),
            ("quality", json!("high")),
            ("style", json!("natural")),
            ("moderation", json!("low")),
            ("input_fidelity", json!("high")),
            ("cfg_scale", json!(7)),
        ] {
            let error = encoding(&json!({name: value})).unwrap_err();
            assert_eq!(error.field.as_deref(), Some(name), "{}", error.message);
        }
        let webp = json!({"output_format": "webp", "output_compression": 40});
        let error = encoding(&webp).unwrap_err();
        assert_eq!(error.field.as_deref(), Some("output_compression"));
    }

    #[test]
    fn every_format_has_its_bytes() {
        let pixels = vec![128; 8 * 4 * 3];
        for (encoding, format) in [
            (Encoding::Png, image::ImageFormat::Png),
            (Encoding::Jpeg(80), image::ImageFormat::Jpeg),
            (Encoding::WebP, image::ImageFormat::WebP),
        ] {
            let bytes = encoding.encode(Size::new(8, 4), &pixels).unwrap();
            let decoded = image::load_from_memory_with_format(&bytes, format).unwrap();
            assert_eq!((decoded.width(), decoded.height()), (8, 4), "{encoding:?}");
        }
    }
}
