//! Previews as clients receive them.

use pinhole_ground::guard::Refusal;
use pinhole_images::{DecodeFor, Decoder, Image, ImageLimits};
use pinhole_sandbox::{JobContext, Progress};

use crate::files::{encode_data_url, to_jpeg};

/// Length of a preview that clients receive, in bytes.
const MAX_BYTES: usize = 128 << 10;
/// The longer side of a reduced preview in pixels. Even noise is then shorter than [`MAX_BYTES`].
const REDUCED_SIDE: u32 = 384;
const REDUCED_LIMITS: ImageLimits = ImageLimits {
    max_bytes: MAX_BYTES,
    max_pixels: (REDUCED_SIDE as u64) * (REDUCED_SIDE as u64),
};

/// The preview as a data URL, if it is short enough.
pub(super) fn to_data_url(preview: &Image) -> Option<String> {
    is_short(preview).then(|| encode_data_url(preview))
}

/// Replaces a preview that is too long by a reduced one, or removes it, also in the job's progress.
pub(super) async fn reduce_long(progress: &mut Progress, context: &JobContext, decoder: &Decoder) {
    let Some(long) = progress.preview.take_if(|it| !is_short(it)) else {
        return;
    };
    progress.preview = reduce(&long, context, decoder).await;
    context.progress.send_if_modified(|latest| {
        if latest.preview.as_ref().map(Image::bytes) == Some(long.bytes()) {
            latest.preview.clone_from(&progress.preview);
        }
        // Those who wait for progress have this preview.
        false
    });
}

async fn reduce(preview: &Image, context: &JobContext, decoder: &Decoder) -> Option<Image> {
    let user = context.user.as_deref();
    let permit = decoder.acquire(DecodeFor::Engine(user)).await.ok()?;
    let (bytes, original) = (preview.decoding_bytes(), preview.clone());
    let reduced = permit.run(bytes, move || to_reduced(&original)).await;
    reduced
        .inspect_err(|error| tracing::debug!("job {}: no preview: {error}", context.job))
        .ok()
}

fn to_reduced(preview: &Image) -> Result<Image, Refusal> {
    let pixels = preview.to_thumbnail(REDUCED_SIDE)?;
    let bytes = to_jpeg(pixels).map_err(|error| error.to_string())?;
    Image::from_bytes(bytes, REDUCED_LIMITS)
}

fn is_short(preview: &Image) -> bool {
    preview.bytes().len() <= MAX_BYTES
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::{DynamicImage, ImageFormat, RgbImage};

    use super::*;

    /// A PNG of pixels that no format compresses.
    fn noise(side: u32) -> Image {
        let mut state = 1_u32;
        let pixels = RgbImage::from_fn(side, side, |_, _| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let [red, green, blue, _] = state.to_be_bytes();
            image::Rgb([red, green, blue])
        });
        let mut bytes = Cursor::new(Vec::new());
        DynamicImage::from(pixels)
            .write_to(&mut bytes, ImageFormat::Png)
            .unwrap();
        let limits = ImageLimits {
            max_bytes: usize::MAX,
            max_pixels: u64::MAX,
        };
        Image::from_bytes(bytes.into_inner().into(), limits).unwrap()
    }

    async fn reduced(preview: Image) -> (Progress, JobContext) {
        let context = JobContext::new("j".to_owned());
        let mut progress = Progress {
            preview: Some(preview),
            ..Progress::default()
        };
        context.progress.send_replace(progress.clone());
        reduce_long(&mut progress, &context, &Decoder::default()).await;
        (progress, context)
    }

    #[tokio::test]
    async fn long_preview_is_reduced_for_all_readers() {
        let (progress, context) = reduced(noise(1024)).await;
        let preview = progress.preview.unwrap();
        assert_eq!(preview.size(), (REDUCED_SIDE, REDUCED_SIDE));
        let url = to_data_url(&preview).unwrap();
        assert!(url.starts_with("data:image/jpeg;base64,"), "{url:.40}");
        let latest = context.progress.borrow().preview.clone().unwrap();
        assert_eq!(latest.bytes(), preview.bytes());
    }

    #[tokio::test]
    async fn short_preview_is_unchanged() {
        let original = noise(8);
        let (progress, _) = reduced(original.clone()).await;
        assert_eq!(progress.preview.unwrap().bytes(), original.bytes());
    }

    #[tokio::test]
    async fn preview_that_cannot_be_decoded_is_removed() {
        let broken = Image::sample(2, MAX_BYTES + 1);
        assert_eq!(to_data_url(&broken), None);
        let (progress, context) = reduced(broken).await;
        assert!(progress.preview.is_none());
        assert!(context.progress.borrow().preview.is_none());
    }
}
