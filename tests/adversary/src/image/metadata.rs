//! Metadata of images.

use anyhow::{Result, ensure};

use super::encode::{chunk, compressed_text, compressed_zeros, small_png};
use super::{contains, first_image, generate_from_upstream};
use crate::target::{AttackTarget, SECRET};

/// The setting that decides which metadata is retained.
const METADATA_SETTING: &str = "PINHOLE_IMAGE_METADATA";
const WORKFLOW: &str = "the workflow of another program";

pub(super) async fn foreign_metadata(target: &AttackTarget) -> Result<()> {
    let with_workflow = |name, prefix: &[u8]| chunk(name, &[prefix, WORKFLOW.as_bytes()].concat());
    let chunks = [
        with_workflow(b"tEXt", b"workflow\0")?,
        with_workflow(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0")?,
        with_workflow(b"eXIf", b"II*\0\x08\0\0\0\0\0\0\0\0\0")?,
        with_workflow(b"caBX", b"")?,
        with_workflow(b"prVt", b"")?,
    ];
    let response = generate_from_upstream(target, &small_png(&chunks)?).await?;
    ensure!(
        !contains(&first_image(&response)?, WORKFLOW.as_bytes()),
        "the image contains the workflow"
    );
    Ok(())
}

async fn retain_metadata(target: &AttackTarget) -> Result<()> {
    let response = target.set(METADATA_SETTING, "keep").await?;
    response.require_success("setting the metadata policy")
}

fn text_chunk(compressed: &[u8]) -> Result<Vec<u8>> {
    chunk(b"zTXt", &[b"note\0\0", compressed].concat())
}

pub(super) async fn compressed_secret(target: &AttackTarget) -> Result<()> {
    retain_metadata(target).await?;
    let harmless = small_png(&[text_chunk(&compressed_text(WORKFLOW)?)?])?;
    let response = generate_from_upstream(target, &harmless).await?;
    ensure!(
        first_image(&response)? == harmless,
        "the metadata is not retained, so the case proves nothing"
    );
    let secret = small_png(&[text_chunk(&compressed_text(SECRET)?)?])?;
    require_text_removed(target, &secret).await
}

pub(super) async fn long_compressed_text(target: &AttackTarget) -> Result<()> {
    retain_metadata(target).await?;
    let image = small_png(&[text_chunk(&compressed_zeros(40 << 20)?)?])?;
    require_text_removed(target, &image).await
}

async fn require_text_removed(target: &AttackTarget, image: &[u8]) -> Result<()> {
    let response = generate_from_upstream(target, image).await?;
    ensure!(
        !contains(&first_image(&response)?, b"zTXt"),
        "the image contains the compressed text"
    );
    Ok(())
}
