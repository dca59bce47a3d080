//! Prepares the images of an edit for an engine.

use std::time::Duration;

use pinhole_images::{DecodeFor, Decoder, Image, MetadataPolicy};
use pinhole_sandbox::{Edit, Limits};
use tokio::runtime::Handle;

use super::error::Error;

/// Removes private metadata, such as the location of a photograph, and applies the orientation.
///
/// The setting for generated images does not apply: an upstream never needs a user's metadata.
pub(super) async fn prepare(
    edit: Edit,
    decoder: &Decoder,
    user: Option<&str>,
) -> Result<Edit, Error> {
    let sources = edit.sources.into_iter().map(without_private_metadata);
    Ok(Edit {
        sources: to_upright(sources.collect(), decoder, user).await?,
        mask: edit.mask.map(without_private_metadata),
    })
}

fn without_private_metadata(image: Image) -> Image {
    image.with_metadata(MetadataPolicy::Essential, |_| false)
}

/// Applies the orientation to the pixels: the mask is made for the image as users see it, and few
/// upstreams read the metadata.
async fn to_upright(
    sources: Vec<Image>,
    decoder: &Decoder,
    user: Option<&str>,
) -> Result<Vec<Image>, Error> {
    if !sources.iter().any(Image::is_rotated) {
        return Ok(sources);
    }
    let limits = Limits::job(Duration::ZERO).image;
    let rotate_all = move || {
        let rotated = sources.iter().map(|source| source.to_upright(limits));
        rotated.collect()
    };
    let permit = decoder.acquire(DecodeFor::User(user)).await?;
    permit
        .run(&Handle::current(), rotate_all)
        .await
        .map_err(|refusal| Error::invalid("image", refusal.reason))
}
