//! Downloads the images of a finished job.

use pinhole_sdk::{Error, Image, get_finished};

use super::{FinishedRun, JobResult, MAX_IMAGES, is_abandoned};
use crate::settings::WorkflowKeys;
use crate::wire::OutputFile;
use crate::{UPSTREAM, error};

/// The nodes of which another run would have the images that are lost.
type LostImages = Option<Vec<String>>;

/// The message for a file that the server lists and no longer has.
pub(super) const IMAGE_GONE: &str = "ComfyUI generated an image but no longer has it";

/// The downloaded files, and the ids of nodes whose files the server has deleted since an earlier job.
struct Downloads {
    images: Vec<Image>,
    deleted: Vec<String>,
}

/// The images that the workflow saves, or else those that it sent over the socket, or else its previews. Images
/// can be missing only if the second value says so.
pub(super) fn collect_images(
    run: FinishedRun,
    keys: &WorkflowKeys,
) -> Result<(JobResult, LostImages), Error> {
    let files = run.entry.into_files()?;
    let mut result = JobResult {
        prompt_id: run.prompt_id,
        images: run.sent_images,
        warnings: run.warnings,
    };
    if files.saved.is_empty() && !result.images.is_empty() {
        return Ok((result, None));
    }
    let listed = if files.saved.is_empty() {
        &files.previews
    } else {
        &files.saved
    };
    let Downloads { images, deleted } =
        download_files(listed, &files.cached_nodes, &mut result.warnings)?;
    result.images = images;
    let lost_on_socket = result.images.is_empty() && run.lost_socket && run.sends_over_socket;
    if lost_on_socket || !deleted.is_empty() {
        return Ok((result, Some(deleted)));
    }
    if result.images.is_empty() {
        let message = format!(
            "the workflow finished without an image: add a SaveImage node to it in {}",
            keys.workflow
        );
        return Err(Error::protocol(message));
    }
    Ok((result, None))
}

/// Downloads the files that can be read. Fails only if none can.
fn download_files(
    files: &[OutputFile],
    cached_nodes: &[String],
    warnings: &mut Vec<String>,
) -> Result<Downloads, Error> {
    if files.len() > MAX_IMAGES {
        let left_out = files.len() - MAX_IMAGES;
        warnings.push(format!(
            "{left_out} images beyond {MAX_IMAGES} were left out"
        ));
    }
    let (mut images, mut deleted, mut first_error) = (Vec::new(), Vec::new(), None);
    for file in files.iter().take(MAX_IMAGES) {
        match download_file(file) {
            Ok(Some(image)) => images.push(image),
            Ok(None) if cached_nodes.contains(&file.node) => deleted.push(file.node.clone()),
            Ok(None) => {
                warnings.push(format!("an image is missing: {IMAGE_GONE}"));
                first_error.get_or_insert(Error::protocol(IMAGE_GONE));
            }
            Err(error) if is_abandoned(&error) => return Err(error),
            Err(error) => {
                warnings.push(format!("an image is missing: {}", error.message));
                first_error.get_or_insert(error);
            }
        }
    }
    match first_error {
        Some(error) if images.is_empty() && deleted.is_empty() => Err(error),
        _ => Ok(Downloads { images, deleted }),
    }
}

/// Downloads a file; `None` if the server does not have it.
fn download_file(file: &OutputFile) -> Result<Option<Image>, Error> {
    match get_finished(UPSTREAM, &file.path())?.success() {
        Ok(success) => success.image().map(Some),
        Err(refusal) if refusal.status == 404 => Ok(None),
        Err(refusal) => Err(error::from_refusal(refusal)),
    }
}
