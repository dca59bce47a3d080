//! Downloads the images of a finished job.

use pinhole_sdk::{Error, Image, Request};

use super::{MAX_IMAGES, is_abandoned};
use crate::settings::WorkflowKeys;
use crate::wire::{OutputFile, OutputFiles};
use crate::{UPSTREAM, error};

/// The images that the workflow saves, or else those that it sent over the socket, or else its previews.
pub(super) fn collect_images(
    files: OutputFiles,
    sent_images: Vec<Image>,
    keys: &WorkflowKeys,
    warnings: &mut Vec<String>,
) -> Result<Vec<Image>, Error> {
    let images = if !files.saved.is_empty() {
        download_files(&files.saved, warnings)?
    } else if sent_images.is_empty() {
        download_files(&files.previews, warnings)?
    } else {
        sent_images
    };
    if images.is_empty() {
        let what = match files.others.first() {
            Some(other) => format!("finished with {other} and no image"),
            None => "finished without an image".to_owned(),
        };
        let message = format!(
            "the workflow {what}: add a SaveImage node to it in {}",
            keys.workflow
        );
        return Err(Error::protocol(message));
    }
    Ok(images)
}

/// Downloads the files that can be read. Fails only if none can.
fn download_files(files: &[OutputFile], warnings: &mut Vec<String>) -> Result<Vec<Image>, Error> {
    if files.len() > MAX_IMAGES {
        let left_out = files.len() - MAX_IMAGES;
        warnings.push(format!(
            "{left_out} images beyond {MAX_IMAGES} were left out"
        ));
    }
    let (mut images, mut first_error) = (Vec::new(), None);
    for file in files.iter().take(MAX_IMAGES) {
        match download_file(file) {
            Ok(image) => images.push(image),
            Err(error) if is_abandoned(&error) => return Err(error),
            Err(error) => {
                warnings.push(format!("an image is missing: {}", error.message));
                first_error.get_or_insert(error);
            }
        }
    }
    match first_error {
        Some(error) if images.is_empty() => Err(error),
        _ => Ok(images),
    }
}

fn download_file(file: &OutputFile) -> Result<Image, Error> {
    let response = Request::get(UPSTREAM, file.path()).send()?;
    match response.success() {
        Ok(success) => success.image(),
        Err(refusal) if refusal.status == 404 => Err(Error::protocol(
            "ComfyUI generated an image but no longer has it",
        )),
        Err(refusal) => Err(error::from_refusal(refusal)),
    }
}
