//! Test images from a specification such as `png 64x48 alpha 2`. The same text gives the same bytes.

use std::io::Cursor;

use bytes::Bytes;
use image::{DynamicImage, GrayImage, ImageFormat, Luma, Rgba, RgbaImage};

/// Maximum width and height of an image with pixels.
const MAX_SIDE: u32 = 4096;
/// Maximum width and height that a header alone can claim: the limit of JPEG and GIF.
const MAX_CLAIMED_SIDE: u32 = 65_535;

/// A parsed specification.
struct ImageSpec {
    format: ImageFormat,
    width: u32,
    height: u32,
    color: [u8; 3],
    noise_seed: u64,
    alpha: bool,
    mask: bool,
    noise: bool,
    header_only: bool,
}

/// Encodes the image of a specification.
pub(crate) fn encode(spec: &str) -> Result<Bytes, String> {
    let image = parse_spec(spec).map_err(|reason| format!("invalid image {spec:?}: {reason}"))?;
    if image.header_only {
        return Ok(encode_header(&image).into());
    }
    let mut bytes = Cursor::new(Vec::new());
    draw(&image)
        .write_to(&mut bytes, image.format)
        .map_err(|error| format!("cannot encode image {spec:?}: {error}"))?;
    Ok(bytes.into_inner().into())
}

/// A small image in the format of an image that begins with these bytes; `None` if it is unknown.
pub(crate) fn encode_in_format_of(head: &[u8]) -> Option<Bytes> {
    let spec = match image::guess_format(head).ok()? {
        ImageFormat::Png => "png 8x8",
        ImageFormat::Jpeg => "jpeg 8x8",
        ImageFormat::WebP => "webp 8x8",
        ImageFormat::Gif => "gif 8x8",
        _ => return None,
    };
    encode(spec).ok()
}

/// Whether two encoded images have the same size and pixels.
pub(crate) fn has_same_pixels(one: &[u8], other: &[u8]) -> Result<bool, String> {
    let decode = |bytes: &[u8]| match image::load_from_memory(bytes) {
        Ok(image) => Ok(image.into_rgba8()),
        Err(error) => Err(format!("cannot decode the image: {error}")),
    };
    Ok(decode(one)? == decode(other)?)
}

fn parse_spec(spec: &str) -> Result<ImageSpec, String> {
    let mut fields = spec.split_whitespace();
    let format = match fields.next() {
        Some("png") => ImageFormat::Png,
        Some("jpeg") => ImageFormat::Jpeg,
        Some("webp") => ImageFormat::WebP,
        Some("gif") => ImageFormat::Gif,
        _ => return Err("it does not begin with png, jpeg, webp or gif".to_owned()),
    };
    let (width, height) = fields
        .next()
        .and_then(parse_size)
        .ok_or("the format must be followed by a size such as 64x48")?;
    let mut image = ImageSpec {
        format,
        width,
        height,
        color: numbered_color(0),
        noise_seed: 0,
        alpha: false,
        mask: false,
        noise: false,
        header_only: false,
    };
    for option in fields {
        image.set_option(option)?;
    }
    if image.alpha && !matches!(format, ImageFormat::Png | ImageFormat::WebP) {
        return Err("only png and webp can be transparent".to_owned());
    }
    let max = if image.header_only {
        MAX_CLAIMED_SIDE
    } else {
        MAX_SIDE
    };
    if width > max || height > max {
        return Err(format!("width and height are limited to {max} pixels"));
    }
    Ok(image)
}

fn parse_size(text: &str) -> Option<(u32, u32)> {
    let (width, height) = text.split_once('x')?;
    let parse_side = |side: &str| side.parse::<u32>().ok().filter(|side| *side > 0);
    Some((parse_side(width)?, parse_side(height)?))
}

impl ImageSpec {
    fn set_option(&mut self, option: &str) -> Result<(), String> {
        match option {
            "alpha" => self.alpha = true,
            "mask" => self.mask = true,
            "noise" => self.noise = true,
            "header" => self.header_only = true,
            "red" => self.color = [220, 30, 30],
            "green" => self.color = [30, 160, 60],
            "blue" => self.color = [30, 60, 220],
            "black" => self.color = [0; 3],
            "white" => self.color = [255; 3],
            "grey" => self.color = [128; 3],
            other => {
                let number = other
                    .parse()
                    .map_err(|_| format!("unknown option {option:?}"))?;
                self.color = numbered_color(number);
                self.noise_seed = number.into();
            }
        }
        Ok(())
    }
}

/// A different color for each number, far apart for neighbors.
fn numbered_color(number: u16) -> [u8; 3] {
    let [high, low] = number.to_be_bytes();
    let spread = |byte: u8, by: u8, from: u8| byte.wrapping_mul(by).wrapping_add(from);
    [
        spread(low, 37, 90),
        spread(low, 91, 60),
        spread(high, 53, 120),
    ]
}

fn draw(image: &ImageSpec) -> DynamicImage {
    let is_left = |x: u32| x * 2 < image.width;
    if image.mask {
        let shade = |x, _| Luma([if is_left(x) { 255 } else { 0 }]);
        let mask = DynamicImage::from(GrayImage::from_fn(image.width, image.height, shade));
        return match image.format {
            ImageFormat::Gif => mask.into_rgb8().into(),
            _ => mask,
        };
    }
    let mut state = 0x9e37_79b9_7f4a_7c15 ^ image.noise_seed;
    let pixels = RgbaImage::from_fn(image.width, image.height, |x, _| {
        let [mut red, mut green, mut blue] = image.color;
        if image.noise {
            // Xorshift: the same numbers on every machine.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            [red, green, blue, ..] = state.to_be_bytes();
        }
        let opacity = if image.alpha && is_left(x) { 0 } else { 255 };
        Rgba([red, green, blue, opacity])
    });
    if image.alpha {
        pixels.into()
    } else {
        DynamicImage::from(pixels).into_rgb8().into()
    }
}

/// A header that claims the size, without pixels.
fn encode_header(image: &ImageSpec) -> Vec<u8> {
    let (width, height) = (image.width, image.height);
    let clamped = |side: u32| u16::try_from(side).unwrap_or(u16::MAX);
    let three_bytes = |side: u32| {
        let [a, b, c, _] = (side - 1).to_le_bytes();
        [a, b, c]
    };
    match image.format {
        ImageFormat::Jpeg => [
            b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0\xff\xc0\0\x11\x08".as_slice(),
            &clamped(height).to_be_bytes(),
            &clamped(width).to_be_bytes(),
            b"\x03\x01\x22\0\x02\x11\x01\x03\x11\x01",
        ]
        .concat(),
        ImageFormat::Gif => [
            b"GIF89a".as_slice(),
            &clamped(width).to_le_bytes(),
            &clamped(height).to_le_bytes(),
            b"\0\0\0",
        ]
        .concat(),
        ImageFormat::WebP => [
            b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0".as_slice(),
            &three_bytes(width),
            &three_bytes(height),
        ]
        .concat(),
        _ => {
            let chunk = [
                b"IHDR".as_slice(),
                &width.to_be_bytes(),
                &height.to_be_bytes(),
                b"\x08\x02\0\0\0",
            ]
            .concat();
            let checksum = crc32(&chunk).to_be_bytes();
            [b"\x89PNG\r\n\x1a\n\0\0\0\x0d".as_slice(), &chunk, &checksum].concat()
        }
    }
}

/// The checksum of a PNG chunk.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;
    use pinhole_images::{Image, ImageLimits};

    const LIMITS: ImageLimits = ImageLimits {
        max_bytes: 1 << 20,
        max_pixels: u64::MAX,
    };
    const SMALL: ImageLimits = ImageLimits {
        max_pixels: 1 << 20,
        ..LIMITS
    };

    fn check(spec: &str, media_type: &str, size: (u32, u32)) {
        let image = Image::from_bytes(encode(spec).unwrap(), LIMITS).unwrap();
        assert_eq!(
            (image.media_type(), image.size()),
            (media_type, size),
            "{spec}"
        );
    }

    #[test]
    fn encoded_image_has_format_and_size_of_its_spec() {
        check("png 64x48", "image/png", (64, 48));
        check("jpeg 8x9 3", "image/jpeg", (8, 9));
        check("webp 5x4 alpha", "image/webp", (5, 4));
        check("gif 3x2 mask", "image/gif", (3, 2));
        for format in ["png", "jpeg", "webp", "gif"] {
            let spec = format!("{format} 65535x65535 header");
            let header = encode(&spec).unwrap();
            assert!(header.len() < 100);
            let error = Image::from_bytes(header, SMALL).unwrap_err();
            assert!(error.reason.contains("is 65535 x 65535"), "{error}");
        }
    }

    #[test]
    fn encoded_image_depends_only_on_its_spec() {
        for format in ["png", "jpeg", "webp", "gif"] {
            let encoded = |option: &str| encode(&format!("{format} 1x1 {option}")).unwrap();
            let all = ["", "1", "2", "256", "red", "noise"].map(encoded);
            for (index, one) in all.iter().enumerate() {
                assert!(!all[..index].contains(one), "{format} {index}");
            }
            assert_eq!(encoded("2"), encoded("2"));
        }
    }

    #[test]
    fn white_mask_of_alpha_has_pixels_of_mask() {
        let alpha = Image::from_bytes(encode("png 5x2 alpha").unwrap(), LIMITS).unwrap();
        let white = alpha.to_white_mask(LIMITS).unwrap();
        assert_eq!(
            has_same_pixels(white.bytes(), &encode("png 5x2 mask").unwrap()),
            Ok(true)
        );
        assert_eq!(
            has_same_pixels(white.bytes(), &encode("png 5x2").unwrap()),
            Ok(false)
        );
        assert!(has_same_pixels(b"text", white.bytes()).is_err());
    }

    #[test]
    fn encoded_noise_does_not_compress() {
        assert!(encode("png 100x100 noise").unwrap().len() > 30_000);
    }

    #[test]
    fn spec_parser_names_invalid_part() {
        for (spec, expected) in [
            ("bmp 1x1", "png, jpeg"),
            ("png", "64x48"),
            ("png 0x1", "64x48"),
            ("png 1x1 pink", "\"pink\""),
            ("gif 1x1 alpha", "transparent"),
            ("png 5000x1", "4096"),
            ("png 70000x1 header", "65535"),
        ] {
            let error = encode(spec).unwrap_err();
            assert!(error.contains(expected) && error.contains(spec), "{error}");
        }
    }
}
