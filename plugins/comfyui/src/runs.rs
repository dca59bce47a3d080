//! The runs of a job: one, or one for each image if the workflow has no place for their number.

use pinhole_sdk::{Error, ErrorKind, Image, Job, MadeImage, Output};

use crate::execution::{self, JobResult, Part};
use crate::workflow::{JobValues, Workflow};
use crate::{MAX_COUNT, error};

/// Runs the workflow with a job's values, and returns its images with `warnings` for the user.
///
/// If no node takes the number of images, the workflow runs for each image, with consecutive seeds.
pub(crate) fn run_workflow(
    workflow: &Workflow,
    values: &JobValues,
    job: &Job,
    mut warnings: Vec<String>,
) -> Result<Output, Error> {
    warnings.extend(workflow.unused_values_note(values));
    let requested = job.count.min(MAX_COUNT);
    let runs = if workflow.needs_runs() { requested } else { 1 };
    let first = run(
        workflow,
        values,
        Part {
            index: 0,
            count: runs,
        },
    )?;
    let details = workflow.details(values, &first.prompt_id);
    warnings.extend(first.warnings);
    let mut images = made_images(first.images, values);
    let mut next_values = values.clone();
    for index in 1..runs {
        if images.len() >= requested as usize {
            break;
        }
        next_values = next_values.with_next_seed();
        match run(workflow, &next_values, Part { index, count: runs }) {
            Ok(result) => {
                add_new(&mut warnings, result.warnings);
                images.extend(made_images(result.images, &next_values));
            }
            Err(error) if matches!(error.kind, ErrorKind::Cancelled | ErrorKind::Timeout) => {
                return Err(error);
            }
            Err(error) => {
                warnings.push(format!("image {} failed: {}", index + 1, error.message));
                break;
            }
        }
    }
    images.truncate(execution::MAX_IMAGES);
    if (images.len() as u64) < u64::from(job.count) {
        warnings.push(format!("{} of {} images received", images.len(), job.count));
    }
    warnings.extend(rounded_size_note(values, &images));
    Ok(Output {
        details,
        warnings,
        ..Output::new(images)
    })
}

/// The images of one run. All have its seed, because the server makes them as one batch.
fn made_images(images: Vec<Image>, values: &JobValues) -> Vec<MadeImage> {
    let made = images.into_iter();
    made.map(|image| MadeImage::from(image).with_seed(values.seed()))
        .collect()
}

fn run(workflow: &Workflow, values: &JobValues, part: Part) -> Result<JobResult, Error> {
    execution::run(workflow, values, part)
        .map_err(|error| error::explain_default_edit(error, workflow))
}

fn add_new(warnings: &mut Vec<String>, further: Vec<String>) {
    for warning in further {
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }
}

/// Why the images are slightly smaller than requested, if they are.
fn rounded_size_note(values: &JobValues, images: &[MadeImage]) -> Option<String> {
    let (requested, rounded) = values.rounded_size?;
    let is_rounded = images.iter().any(|made| made.image.size() == rounded);
    is_rounded
        .then(|| format!("generated at {rounded} instead of {requested}: sides are multiples of 8"))
}
