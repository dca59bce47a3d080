//! Prepares the images of an edit for an engine.

use std::time::Duration;

use pinhole_ground::memory::MemoryShare;
use pinhole_images::{DecodeError, DecodeFor, Decoder, Image, MetadataPolicy};
use pinhole_sandbox::{Edit, Limits};
use tokio::runtime::Handle;

use super::error::Error;

/// Removes private metadata, such as the location of a photograph, and applies the orientation.
///
/// The setting for generated images does not apply: an upstream never needs a user's metadata.
pub(super) async fn prepare(
    edit: Edit,
    decoder: &Decoder,
    share: &MemoryShare,
) -> Result<Edit, Error> {
    let (mut sources, mut mask) = (Vec::with_capacity(edit.sources.len()), None);
    for source in edit.sources {
        sources.push(without_private_metadata(source, share).await?);
    }
    if let Some(original) = edit.mask {
        mask = Some(without_private_metadata(original, share).await?);
    }
    Ok(Edit {
        sources: to_upright(sources, decoder, share).await?,
        mask,
    })
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
    mut sources: Vec<Image>,
    decoder: &Decoder,
    share: &MemoryShare,
) -> Result<Vec<Image>, Error> {
    let limits = Limits::job(Duration::ZERO).image;
    for source in &mut sources {
        if !source.is_rotated() {
            continue;
        }
        let (original, bytes) = (source.clone(), source.decoding_bytes());
        let rotate = move || original.to_upright(limits);
        let rotated = decoder
            .run(DecodeFor::User, &Handle::current(), bytes, rotate)
            .await;
        let rotated = rotated.map_err(|error| match error {
            DecodeError::Refused(refusal) => Error::invalid("image", refusal.reason),
            DecodeError::MemoryFull(full) => Error::MemoryFull(full),
        })?;
        *source = counted(rotated, share).await?;
    }
    Ok(sources)
}
