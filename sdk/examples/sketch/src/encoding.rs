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
    /// Reads `output_format` and `output_compression`, whose values the host has checked.
    pub(crate) fn from_job(job: &Job) -> Result<Self, Error> {
        let parameters = job.parse_parameters(&[])?;
        let format = parameters.get("output_format").and_then(Value::as_str);
        let quality = parameters.get("output_compression");
        let quality = quality.and_then(|it| u8::try_from(it.as_u64()?).ok());
        match (format.unwrap_or("png"), quality) {
            ("png", None | Some(100)) => Ok(Self::Png),
            ("webp", None | Some(100)) => Ok(Self::WebP),
            ("jpeg", quality) => Ok(Self::Jpeg(quality.unwrap_or(DEFAULT_JPEG_QUALITY).max(1))),
            (format, Some(_)) => Err(Error::invalid(
                "output_compression",
                format!(
                    "sketch compresses {format} without loss: leave output_compression out, or set output_format to jpeg"
                ),
            )),
            (other, None) => Err(Error::invalid(
                "output_format",
                format!("sketch cannot write {other}"),
            )),
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
            parameters: parameters.to_string(),
            ..Job::default()
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
    fn formats_without_loss_refuse_a_compression() {
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
