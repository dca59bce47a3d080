//! The one place where a picture's pixels are decoded: few at a time, with bounded memory, and away
//! from the threads that serve.

use std::io::Cursor;
use std::sync::Arc;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageReader};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::Image;
use super::metadata::Metadata;
use pinhole_ground::guard::Guard;
use pinhole_ground::metrics;

/// Pictures that are decoded for people at once in the whole process; more wait.
const MAX_DECODES_AT_ONCE: usize = 2;
/// The same for engines: one that wants many decoded keeps no person waiting.
const MAX_GUEST_DECODES_AT_ONCE: usize = 1;
/// A picture's pixels in memory, in bytes, and again what its decoder may take besides.
const MAX_DECODED_BYTES: u64 = 192 << 20;

/// Who has pixels decoded.
#[derive(Clone, Copy, Debug)]
pub enum DecodeFor {
    /// Somebody whose picture is shown or sent.
    Person,
    /// A guest.
    Engine,
}

/// Limits how many images are decoded at once. Clones share the limit; a process has one.
#[derive(Clone)]
pub struct Decoder {
    person: Arc<Semaphore>,
    engine: Arc<Semaphore>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self {
            person: Arc::new(Semaphore::new(MAX_DECODES_AT_ONCE)),
            engine: Arc::new(Semaphore::new(MAX_GUEST_DECODES_AT_ONCE)),
        }
    }
}

impl Decoder {
    /// Runs work that decodes pixels on a blocking thread of the runtime, as soon as a permit is free.
    /// A decoder that panics is an error like any other.
    pub async fn run<T: Send + 'static>(
        &self,
        decode_for: DecodeFor,
        runtime: &Handle,
        work: impl FnOnce() -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        let semaphore = match decode_for {
            DecodeFor::Person => &self.person,
            DecodeFor::Engine => &self.engine,
        };
        // Never closed.
        let permit = semaphore
            .clone()
            .acquire_owned()
            .await
            .map_err(|error| error.to_string())?;
        metrics::count_decoded_image();
        let decoding = runtime.spawn_blocking(move || {
            let decoded = work();
            drop(permit);
            decoded
        });
        decoding
            .await
            .unwrap_or_else(|_| Err("the decoder of this image crashed".to_owned()))
    }
}

/// The pixels as they are seen.
pub(super) fn pixels(image: &Image) -> Result<DynamicImage, String> {
    let (mut pixels, orientation) = decoded(image)?;
    pixels.apply_orientation(orientation);
    Ok(pixels)
}

/// The same, small. It is shrunk before it is turned, which takes the less memory.
pub(super) fn thumbnail(image: &Image, size: u32) -> Result<DynamicImage, String> {
    let (mut pixels, orientation) = decoded(image)?;
    if pixels.width().max(pixels.height()) > size {
        pixels = pixels.thumbnail(size, size);
    }
    pixels.apply_orientation(orientation);
    Ok(pixels)
}

pub(super) fn has_alpha(image: &Image) -> bool {
    let decoder = decoder(image);
    decoder.is_ok_and(|decoder| decoder.color_type().has_alpha())
}

pub(super) fn is_turned(image: &Image) -> bool {
    let orientation = decoder(image).map(|mut decoder| decoder.orientation());
    matches!(orientation, Ok(Ok(turned)) if turned != Orientation::NoTransforms)
}

fn decoded(image: &Image) -> Result<(DynamicImage, Orientation), String> {
    // A decoder has no use for metadata, and cannot be hurt by what it never sees.
    let image = image.with_metadata(Metadata::Essential, |_| false);
    let mut decoder = decoder(&image).map_err(|error| error.to_string())?;
    let length = decoder.total_bytes();
    if length > MAX_DECODED_BYTES && Guard::DecodedBytes.holds() {
        return Err(format!(
            "its pixels have {length} bytes, more than the {MAX_DECODED_BYTES} allowed"
        ));
    }
    let orientation = decoder.orientation().map_err(|error| error.to_string())?;
    let pixels = DynamicImage::from_decoder(decoder).map_err(|error| error.to_string())?;
    Ok((pixels, orientation))
}

/// Has read the header. Decodes at most this picture's own size.
fn decoder(image: &Image) -> image::ImageResult<impl ImageDecoder> {
    let mut reader = ImageReader::new(Cursor::new(image.bytes())).with_guessed_format()?;
    let (width, height) = image.size();
    let mut limits = image::Limits::default();
    limits.max_image_width = Some(width);
    limits.max_image_height = Some(height);
    if Guard::DecodedBytes.holds() {
        limits.max_alloc = Some(MAX_DECODED_BYTES);
    }
    reader.limits(limits);
    reader.into_decoder()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_decoder_that_crashes_is_an_error_and_gives_its_room_back() {
        let (decoder, io) = (Decoder::default(), Handle::current());
        for _ in 0..=MAX_DECODES_AT_ONCE {
            let crash = decoder.run(DecodeFor::Person, &io, || -> Result<(), _> {
                panic!("as a decoder might")
            });
            assert!(crash.await.unwrap_err().contains("crashed"));
        }
        assert_eq!(decoder.run(DecodeFor::Person, &io, || Ok(7)).await, Ok(7));
    }

    #[tokio::test]
    async fn engines_that_decode_keep_no_person_waiting() {
        let (decoder, io) = (Decoder::default(), Handle::current());
        let _taken = decoder.engine.acquire().await.unwrap();
        let mut guest = std::pin::pin!(decoder.run(DecodeFor::Engine, &io, || Ok(1)));
        let person = decoder.run(DecodeFor::Person, &io, || Ok(2));
        let first = tokio::select! { biased; done = &mut guest => done, done = person => done };
        assert_eq!(first, Ok(2));
    }
}
