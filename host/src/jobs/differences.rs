//! In what the images of a job differ from its request: their number and their size.

use pinhole_images::Image;
use pinhole_sandbox::contract::{Job, Size};

/// Sizes that are named.
const MAX_SIZES: usize = 3;

/// The number and the size of the images that a job requests.
pub(super) struct RequestedImages {
    count: u32,
    size: Option<Size>,
}

impl RequestedImages {
    pub(super) const fn new(job: &Job) -> Self {
        Self {
            count: job.count,
            size: job.size,
        }
    }

    /// Adds a warning for each difference that the engine does not report itself.
    pub(super) fn add_differences(&self, images: &[Image], warnings: &mut Vec<String>) {
        let mut differences = Vec::new();
        if images.len() < self.count as usize {
            let (received, requested) = (images.len(), self.count);
            differences.push(format!("{received} of {requested} images received"));
        }
        if let Some(Size { width, height }) = self.size {
            let mut sizes: Vec<_> = images.iter().map(Image::size).collect();
            sizes.retain(|size| *size != (width, height));
            sizes.sort_unstable();
            sizes.dedup();
            differences.extend(sizes.iter().take(MAX_SIZES).map(|(wide, high)| {
                format!("generated at {wide}x{high} instead of {width}x{height}")
            }));
        }
        for difference in differences {
            if !warnings.iter().any(|it| it.starts_with(&difference)) {
                warnings.push(difference);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(requested: (u32, Option<u32>), widths: &[u8], engine: &[&str], expected: &[&str]) {
        let requested = RequestedImages {
            count: requested.0,
            size: requested.1.map(|width| Size { width, height: 1 }),
        };
        let images: Vec<Image> = widths.iter().map(|it| Image::sample(*it, 0)).collect();
        let mut warnings: Vec<String> = engine.iter().map(|it| (*it).to_owned()).collect();
        requested.add_differences(&images, &mut warnings);
        assert_eq!(warnings, expected);
    }

    #[test]
    fn differences_are_the_missing_images_and_the_other_sizes() {
        check((1, None), &[3], &[], &[]);
        check((1, Some(3)), &[3], &[], &[]);
        check((1, Some(3)), &[3, 3], &[], &[]);
        check((2, None), &[3], &[], &["1 of 2 images received"]);
        let other = "generated at 4x1 instead of 3x1";
        check((3, Some(3)), &[4, 4, 3], &[], &[other]);
        check(
            (1, Some(3)),
            &[4],
            &["seed ignored"],
            &["seed ignored", other],
        );
    }

    #[test]
    fn difference_that_the_engine_reports_is_not_repeated() {
        let reason = "generated at 4x1 instead of 3x1: sides are multiples of 4";
        check((1, Some(3)), &[4], &[reason], &[reason]);
        let missing = "1 of 2 images received";
        check((2, None), &[3], &[missing], &[missing]);
    }
}
