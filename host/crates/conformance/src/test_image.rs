//! Pictures made from a few words, the same bytes for the same words.

use std::io::Cursor;

use bytes::Bytes;
use image::{DynamicImage, GrayImage, ImageFormat, Luma, Rgba, RgbaImage};

/// Width and height of a picture with pixels.
const MAX_SIDE: u32 = 4096;
/// Width and height that a mere header may claim; JPEG and GIF can say no more.
const MAX_CLAIMED_SIDE: u32 = 65_535;

/// What the words ask for.
struct Wanted {
    format: ImageFormat,
    width: u32,
    height: u32,
    colour: [u8; 3],
    seed: u64,
    alpha: bool,
    mask: bool,
    noise: bool,
    header: bool,
}

/// The encoded picture of words such as `png 64x48 alpha 2`. The error says what is wrong.
pub(crate) fn make(words: &str) -> Result<Bytes, String> {
    let wanted = parse(words).map_err(|why| format!("{words:?} is no picture: {why}"))?;
    if wanted.header {
        return Ok(header(&wanted).into());
    }
    let mut bytes = Cursor::new(Vec::new());
    let written = pixels(&wanted).write_to(&mut bytes, wanted.format);
    written.map_err(|error| format!("{words:?} cannot be made: {error}"))?;
    Ok(bytes.into_inner().into())
}

/// A small picture of the format that the first bytes show; nothing where they show none.
pub(crate) fn like(head: &[u8]) -> Option<Bytes> {
    let words = match image::guess_format(head).ok()? {
        ImageFormat::Png => "png 8x8",
        ImageFormat::Jpeg => "jpeg 8x8",
        ImageFormat::WebP => "webp 8x8",
        ImageFormat::Gif => "gif 8x8",
        _ => return None,
    };
    make(words).ok()
}

/// Do both show the same, whatever their formats?
pub(crate) fn same_pixels(one: &[u8], other: &[u8]) -> Result<bool, String> {
    let decode = |bytes: &[u8]| match image::load_from_memory(bytes) {
        Ok(picture) => Ok(picture.into_rgba8()),
        Err(error) => Err(format!("no picture that can be decoded: {error}")),
    };
    Ok(decode(one)? == decode(other)?)
}

fn parse(words: &str) -> Result<Wanted, String> {
    let mut words = words.split_whitespace();
    let format = match words.next() {
        Some("png") => ImageFormat::Png,
        Some("jpeg") => ImageFormat::Jpeg,
        Some("webp") => ImageFormat::WebP,
        Some("gif") => ImageFormat::Gif,
        _ => return Err("it must begin with png, jpeg, webp or gif".to_owned()),
    };
    let side = |text: &str| text.parse::<u32>().ok().filter(|side| *side > 0);
    let sides = words.next().and_then(|text| text.split_once('x'));
    let sides = sides.and_then(|(width, height)| Some((side(width)?, side(height)?)));
    let (width, height) = sides.ok_or("its second word must be a size such as 64x48")?;
    let mut wanted = Wanted {
        format,
        width,
        height,
        colour: numbered(0),
        seed: 0,
        alpha: false,
        mask: false,
        noise: false,
        header: false,
    };
    for word in words {
        match word {
            "alpha" => wanted.alpha = true,
            "mask" => wanted.mask = true,
            "noise" => wanted.noise = true,
            "header" => wanted.header = true,
            "red" => wanted.colour = [220, 30, 30],
            "green" => wanted.colour = [30, 160, 60],
            "blue" => wanted.colour = [30, 60, 220],
            "black" => wanted.colour = [0; 3],
            "white" => wanted.colour = [255; 3],
            "grey" => wanted.colour = [128; 3],
            number => {
                let number = number
                    .parse()
                    .map_err(|_| format!("{word:?} means nothing"))?;
                wanted.colour = numbered(number);
                wanted.seed = number.into();
            }
        }
    }
    if wanted.alpha && !matches!(format, ImageFormat::Png | ImageFormat::WebP) {
        return Err("only png and webp can be transparent".to_owned());
    }
    let max = if wanted.header {
        MAX_CLAIMED_SIDE
    } else {
        MAX_SIDE
    };
    if width > max || height > max {
        return Err(format!("a side has at most {max} pixels"));
    }
    Ok(wanted)
}

/// Another colour for every number that two bytes can hold, far apart for neighbours.
fn numbered(number: u16) -> [u8; 3] {
    let [high, low] = number.to_be_bytes();
    let spread = |byte: u8, by: u8, from: u8| byte.wrapping_mul(by).wrapping_add(from);
    [
        spread(low, 37, 90),
        spread(low, 91, 60),
        spread(high, 53, 120),
    ]
}

fn pixels(wanted: &Wanted) -> DynamicImage {
    let left = |x: u32| x * 2 < wanted.width;
    if wanted.mask {
        let shade = |x, _| Luma([if left(x) { 255 } else { 0 }]);
        let mask = DynamicImage::from(GrayImage::from_fn(wanted.width, wanted.height, shade));
        return match wanted.format {
            ImageFormat::Gif => mask.into_rgb8().into(),
            _ => mask,
        };
    }
    let mut state = 0x9e37_79b9_7f4a_7c15 ^ wanted.seed;
    let picture = RgbaImage::from_fn(wanted.width, wanted.height, |x, _| {
        let [mut red, mut green, mut blue] = wanted.colour;
        if wanted.noise {
            // Xorshift: the same numbers on every machine.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            [red, green, blue, ..] = state.to_be_bytes();
        }
        let opacity = if wanted.alpha && left(x) { 0 } else { 255 };
        Rgba([red, green, blue, opacity])
    });
    match wanted.alpha {
        true => picture.into(),
        false => DynamicImage::from(picture).into_rgb8().into(),
    }
}

/// A header that claims the size, and nothing after it.
fn header(wanted: &Wanted) -> Vec<u8> {
    let (width, height) = (wanted.width, wanted.height);
    let low = |side: u32| u16::try_from(side).unwrap_or(u16::MAX);
    let three = |side: u32| {
        let [a, b, c, _] = (side - 1).to_le_bytes();
        [a, b, c]
    };
    match wanted.format {
        ImageFormat::Jpeg => [
            b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0\xff\xc0\0\x11\x08".as_slice(),
            &low(height).to_be_bytes(),
            &low(width).to_be_bytes(),
            b"\x03\x01\x22\0\x02\x11\x01\x03\x11\x01",
        ]
        .concat(),
        ImageFormat::Gif => [
            b"GIF89a".as_slice(),
            &low(width).to_le_bytes(),
            &low(height).to_le_bytes(),
            b"\0\0\0",
        ]
        .concat(),
        ImageFormat::WebP => [
            b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0".as_slice(),
            &three(width),
            &three(height),
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
            let check = crc32(&chunk).to_be_bytes();
            [b"\x89PNG\r\n\x1a\n\0\0\0\x0d".as_slice(), &chunk, &check].concat()
        }
    }
}

/// The check sum of a PNG chunk.
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

    fn check(words: &str, media_type: &str, size: (u32, u32)) {
        let image = Image::from_bytes(make(words).unwrap(), LIMITS).unwrap();
        assert_eq!(
            (image.media_type(), image.size()),
            (media_type, size),
            "{words}"
        );
    }

    #[test]
    fn a_picture_has_the_format_and_size_of_its_words() {
        check("png 64x48", "image/png", (64, 48));
        check("jpeg 8x9 3", "image/jpeg", (8, 9));
        check("webp 5x4 alpha", "image/webp", (5, 4));
        check("gif 3x2 mask", "image/gif", (3, 2));
        for format in ["png", "jpeg", "webp", "gif"] {
            let words = format!("{format} 65535x65535 header");
            let header = make(&words).unwrap();
            assert!(header.len() < 100);
            let refused = Image::from_bytes(header, SMALL).unwrap_err();
            assert!(refused.reason.contains("is 65535 x 65535"), "{refused}");
        }
    }

    #[test]
    fn other_numbers_are_other_pictures_and_the_same_words_the_same() {
        for format in ["png", "jpeg", "webp", "gif"] {
            let made = |option: &str| make(&format!("{format} 1x1 {option}")).unwrap();
            let all = ["", "1", "2", "256", "red", "noise"].map(made);
            for (place, one) in all.iter().enumerate() {
                assert!(!all[..place].contains(one), "{format} {place}");
            }
            assert_eq!(made("2"), made("2"));
        }
    }

    #[test]
    fn a_white_mask_of_alpha_is_the_mask_of_its_words() {
        let alpha = Image::from_bytes(make("png 5x2 alpha").unwrap(), LIMITS).unwrap();
        let white = alpha.to_white_mask(LIMITS).unwrap();
        assert_eq!(
            same_pixels(white.bytes(), &make("png 5x2 mask").unwrap()),
            Ok(true)
        );
        assert_eq!(
            same_pixels(white.bytes(), &make("png 5x2").unwrap()),
            Ok(false)
        );
        assert!(same_pixels(b"words", white.bytes()).is_err());
    }

    #[test]
    fn noise_does_not_compress() {
        assert!(make("png 100x100 noise").unwrap().len() > 30_000);
    }

    #[test]
    fn wrong_words_are_named() {
        for (words, expected) in [
            ("bmp 1x1", "png, jpeg"),
            ("png", "64x48"),
            ("png 0x1", "64x48"),
            ("png 1x1 pink", "\"pink\""),
            ("gif 1x1 alpha", "transparent"),
            ("png 5000x1", "4096"),
            ("png 70000x1 header", "65535"),
        ] {
            let error = make(words).unwrap_err();
            assert!(error.contains(expected) && error.contains(words), "{error}");
        }
    }
}
