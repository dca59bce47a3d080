//! Prepares the images of an edit for an engine.

use std::time::Duration;

use pinhole_ground::memory::MemoryShare;
use pinhole_images::{DecodeError, DecodeFor, Decoder, Image, MetadataPolicy};
use pinhole_sandbox::{Edit, Limits};

use super::error::Error;

/// Removes private metadata, such as the location of a photograph, and applies the orientation.
///
/// The setting for generated images does not apply: an upstream never needs a user's metadata.
pub(super) async fn prepare(
    edit: Edit,
    decoder: &Decoder,
    user: Option<&str>,
) -> Result<Edit, Error> {
    let share = decoder.memory().of(user);
    let (mut sources, mut mask) = (Vec::with_capacity(edit.sources.len()), None);
    for source in edit.sources {
        sources.push(without_private_metadata(source, &share).await?);
    }
    if let Some(original) = edit.mask {
        mask = Some(without_private_metadata(original, &share).await?);
    }
    for source in &mut sources {
        if source.is_rotated() {
            *source = to_upright(source.clone(), decoder, user, &share).await?;
        }
    }
    Ok(Edit { sources, mask })
}

async fn without_private_metadata(image: Image, share: &MemoryShare) -> Result<Image, Error> {
    let length = image.bytes().len();
    let stripped = image.with_metadata(MetadataPolicy::Essential, |_| false);
    if stripped.bytes().len() == length {
        return Ok(stripped);
    }
    counted(stripped, share).await
}

/// An image with new bytes, counted in the user's share.
async fn counted(image: Image, share: &MemoryShare) -> Result<Image, Error> {
    let lease = share.lease(image.bytes().len()).await;
    Ok(image.with_lease(lease.map_err(Error::MemoryFull)?))
}

/// Applies the orientation to the pixels: the mask is made for the image as users see it, and few
/// upstreams read the metadata.
async fn to_upright(
    source: Image,
    decoder: &Decoder,
    user: Option<&str>,
    share: &MemoryShare,
) -> Result<Image, Error> {
    let limits = Limits::job(Duration::ZERO).image;
    let bytes = source.decoding_bytes();
    let rotate = move || source.to_upright(limits);
    let permit = decoder.acquire(DecodeFor::User(user)).await?;
    let rotated = permit.run(bytes, rotate).await;
    let rotated = rotated.map_err(|error| match error {
        DecodeError::Refused(refusal) => Error::invalid("image", refusal.reason),
        DecodeError::MemoryFull(full) => Error::MemoryFull(full),
    })?;
    counted(rotated, share).await
}
