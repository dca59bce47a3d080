//! Whether an engine can edit these images, with this mask.

use pinhole_images::Image;
use pinhole_sandbox::Edit;

use super::abilities::EffectiveAbilities;
use super::error::Error;

/// Length of all source images and the mask of an edit together, in bytes.
pub const MAX_SOURCE_BYTES: usize = 64 << 20;

/// Fails if the engine does not support this edit.
pub(super) fn check_edit(edit: &Edit, engine: &EffectiveAbilities) -> Result<(), Error> {
    let EffectiveAbilities { subject, abilities } = engine;
    if !abilities.edit {
        return Err(Error::unsupported(
            "image",
            format!("{subject} cannot edit images: choose another engine or model"),
        ));
    }
    let Some(first) = edit.sources.first() else {
        return Err(Error::invalid("image", "there is no image to edit"));
    };
    let (count, max_count) = (edit.sources.len(), abilities.max_sources);
    if count > max_count as usize {
        return Err(Error::invalid(
            "image",
            format!("{count} images were sent, but {subject} accepts 1 to {max_count}"),
        ));
    }
    let images = edit.sources.iter().chain(&edit.mask);
    let bytes: usize = images.map(|image| image.bytes().len()).sum();
    if bytes > MAX_SOURCE_BYTES {
        return Err(Error::invalid(
            "image",
            format!(
                "the images have {bytes} bytes in total, more than the {MAX_SOURCE_BYTES} allowed"
            ),
        ));
    }
    let Some(mask) = &edit.mask else {
        return Ok(());
    };
    if !abilities.mask {
        return Err(Error::unsupported(
            "mask",
            format!(
                "{subject} does not support masks: leave the mask out, or describe the area to edit in the prompt"
            ),
        ));
    }
    check_mask(mask, first)
}

fn check_mask(mask: &Image, source: &Image) -> Result<(), Error> {
    if mask.media_type() != "image/png" || !mask.has_alpha() {
        return Err(Error::invalid(
            "mask",
            "the mask must be a PNG with an alpha channel, transparent in the area to edit",
        ));
    }
    if mask.size() != source.size() {
        let ((width, height), (source_width, source_height)) = (mask.size(), source.size());
        return Err(Error::invalid(
            "mask",
            format!(
                "the mask is {width}x{height}, but must be {source_width}x{source_height} like the image"
            ),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::time::Duration;

    use image::{DynamicImage, ImageFormat};
    use pinhole_sandbox::Limits;
    use pinhole_sandbox::contract::{Abilities, Description};

    use super::*;

    fn encoded(pixels: &DynamicImage, format: ImageFormat) -> Image {
        let mut bytes = Cursor::new(Vec::new());
        pixels.write_to(&mut bytes, format).unwrap();
        let limits = Limits::job(Duration::ZERO).image;
        Image::from_bytes(bytes.into_inner().into(), limits).unwrap()
    }

    fn engine(edit: bool, mask: bool) -> EffectiveAbilities {
        let engine = Description {
            name: "draw".to_owned(),
            abilities: Abilities {
                edit,
                mask,
                max_sources: 2,
                ..Abilities::default()
            },
            ..Description::default()
        };
        EffectiveAbilities::new(&engine, None)
    }

    #[test]
    fn check_edit_refuses_what_the_engine_does_not_support() {
        let opaque = encoded(&DynamicImage::new_rgb8(8, 6), ImageFormat::Png);
        let clear = encoded(&DynamicImage::new_rgba8(8, 6), ImageFormat::Png);
        let small = encoded(&DynamicImage::new_rgba8(8, 5), ImageFormat::Png);
        let jpeg = encoded(&DynamicImage::new_rgb8(8, 6), ImageFormat::Jpeg);
        let check = |sources: usize, mask: Option<&Image>, edits: bool, masks: bool| {
            let edit = Edit {
                sources: vec![jpeg.clone(); sources],
                mask: mask.cloned(),
            };
            match check_edit(&edit, &engine(edits, masks)) {
                Ok(()) => "ok".to_owned(),
                Err(error) => format!("{error:?}"),
            }
        };
        let limits = Limits::job(Duration::ZERO).image;
        let long = Image::sample(1, limits.max_bytes);
        let edit = Edit {
            sources: vec![long; 2],
            mask: Some(clear.clone()),
        };
        let error = check_edit(&edit, &engine(true, true))
            .unwrap_err()
            .to_string();
        assert!(error.contains("bytes in total"), "{error}");
        assert_eq!(check(1, None, true, false), "ok");
        assert_eq!(check(2, Some(&clear), true, true), "ok");
        for (expected, sources, mask, edits, masks) in [
            ("Unsupported { field: \"image\"", 1, None, false, false),
            (
                "Unsupported { field: \"mask\"",
                1,
                Some(&clear),
                true,
                false,
            ),
            ("Invalid { field: \"image\"", 0, None, true, true),
            ("Invalid { field: \"image\"", 3, None, true, true),
            ("Invalid { field: \"mask\"", 1, Some(&opaque), true, true),
            ("Invalid { field: \"mask\"", 1, Some(&jpeg), true, true),
            ("8x5, but must be 8x6", 1, Some(&small), true, true),
        ] {
            let actual = check(sources, mask, edits, masks);
            assert!(actual.contains(expected), "{actual} is not {expected}");
        }
    }
}
