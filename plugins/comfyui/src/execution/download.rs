//! Downloads the images of a finished job.

use pinhole_sdk::{Error, Image, get_finished};

use super::{FinishedRun, MAX_IMAGES, is_abandoned};
use crate::settings::WorkflowKeys;
use crate::wire::OutputFile;
use crate::{UPSTREAM, error};

/// The images of a run.
pub(super) struct Collected {
    pub(super) images: Vec<Image>,
    /// Images are lost, and another run with new outputs of these nodes would have them.
    pub(super) lost: Option<Vec<String>>,
}

/// The downloaded files, and the ids of nodes whose files the server has deleted since an earlier job.
struct Downloads {
    images: Vec<Image>,
    deleted: Vec<String>,
}

/// The images that the workflow saves, or else those that it sent over the socket, or else its previews.
pub(super) fn collect_images(
    run: FinishedRun,
    keys: &WorkflowKeys,
    warnings: &mut Vec<String>,
) -> Result<Collected, Error> {
    let files = run.entry.into_files()?;
    if files.saved.is_empty() && !run.sent_images.is_empty() {
        return Ok(Collected {
            images: run.sent_images,
            lost: None,
        });
    }
    let listed = if files.saved.is_empty() {
        &files.previews
    } else {
        &files.saved
    };
    let Downloads { images, deleted } = download_files(listed, &files.cached_nodes, warnings)?;
    let lost_on_socket = images.is_empty() && run.lost_socket && run.sends_over_socket;
    if lost_on_socket || !deleted.is_empty() {
        return Ok(Collected {
            images,
            lost: Some(deleted),
        });
    }
    if images.is_empty() {
        let message = format!(
            "the workflow finished without an image: add a SaveImage node to it in {}",
            keys.workflow
        );
        return Err(Error::protocol(message));
    }
    Ok(Collected { images, lost: None })
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
                let message = "ComfyUI generated an image but no longer has it";
                warnings.push(format!("an image is missing: {message}"));
                first_error.get_or_insert(Error::protocol(message));
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
