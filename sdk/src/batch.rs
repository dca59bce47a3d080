//! The images and errors of a job that sends several requests.
//!
//! ```no_run
//! # fn example(requests: Vec<pinhole_sdk::Request<'_>>) -> Result<(), pinhole_sdk::Error> {
//! use pinhole_sdk::{Batch, ImageLocation, Output, send_all};
//!
//! let mut batch: Batch<()> = Batch::new(2, 4);
//! for response in send_all(requests) {
//!     batch.add_response(response, |_json| Ok((vec![ImageLocation::Pointer("/image".into())], ())));
//! }
//! let output = Output::new(batch.require_image()?.images);
//! # Ok(()) }
//! ```

use crate::upstream::Document;
use crate::upstream_text::truncate;
use crate::{Error, MadeImage, Response};

const MAX_WARNINGS: usize = 10;
const MAX_WARNING_BYTES: usize = 300;

/// Where an upstream's response holds an image.
///
/// ```
/// use pinhole_sdk::ImageLocation;
///
/// let first = ImageLocation::Pointer("/data/0/b64_json".into());
/// let second = ImageLocation::Url("/data/1/url".into());
/// assert_ne!(first, second);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum ImageLocation {
    /// A JSON pointer to its base64 or data URL.
    Pointer(String),
    /// A JSON pointer to its `http` or `https` URL, which the host fetches.
    Url(String),
}

/// Collects the images, errors and response details of one job.
///
/// `R` is what the engine reads from each response in addition to the images.
///
/// ```no_run
/// # fn example(requests: Vec<pinhole_sdk::Request<'_>>) -> Result<(), pinhole_sdk::Error> {
/// use pinhole_sdk::{Batch, ImageLocation, Output, send_all};
/// use serde_json::Value;
///
/// let mut batch: Batch<()> = Batch::new(2, 4);
/// for response in send_all(requests) {
///     batch.add_response(response, |json: Value| {
///         let count = json["data"].as_array().map_or(0, Vec::len);
///         let pointer = |index| ImageLocation::Pointer(format!("/data/{index}/b64_json"));
///         Ok(((0..count).map(pointer).collect(), ()))
///     });
/// }
/// let batch = batch.require_image()?;
/// let warnings = batch.warnings(&[]);
/// let output = Output { warnings, ..Output::new(batch.images) };
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Batch<R> {
    requested: usize,
    max: usize,
    left_out: usize,
    /// In the order of the responses. Extra images are included, up to the maximum: the upstream
    /// has made and billed them.
    pub images: Vec<MadeImage>,
    /// One for each response that was read.
    pub readings: Vec<R>,
    /// The failures so far.
    pub errors: Vec<Error>,
}

impl<R> Batch<R> {
    /// Creates a batch for a job that requests `requested` images and may return at most `max`.
    ///
    /// ```
    /// use pinhole_sdk::Batch;
    ///
    /// let batch: Batch<()> = Batch::new(2, 4);
    /// assert!(batch.images.is_empty());
    /// ```
    #[must_use]
    pub fn new(requested: u32, max: u32) -> Self {
        Self {
            requested: requested as usize,
            max: max as usize,
            left_out: 0,
            images: Vec::new(),
            readings: Vec::new(),
            errors: Vec::new(),
        }
    }

    /// Adds a response: its images, from the locations that `read` returns, or its error.
    ///
    /// ```
    /// use pinhole_sdk::{Batch, Error};
    ///
    /// let mut batch: Batch<()> = Batch::new(1, 1);
    /// let failed = Err(Error::protocol("the response broke off"));
    /// batch.add_response(failed, |_json| Ok((Vec::new(), ())));
    /// assert_eq!(batch.errors.len(), 1);
    /// ```
    pub fn add_response(
        &mut self,
        response: Result<Response, Error>,
        read: impl FnOnce(serde_json::Value) -> Result<(Vec<ImageLocation>, R), Error>,
    ) {
        if let Err(error) = self.try_add_response(response, read) {
            self.errors.push(error);
        }
    }

    fn try_add_response(
        &mut self,
        response: Result<Response, Error>,
        read: impl FnOnce(serde_json::Value) -> Result<(Vec<ImageLocation>, R), Error>,
    ) -> Result<(), Error> {
        let document = response?.document()?;
        let (locations, reading) = read(document.parse()?)?;
        self.take_images(&document, locations);
        self.readings.push(reading);
        Ok(())
    }

    /// Takes the images at these locations of a document, such as an event of a stream. An image
    /// that cannot be read or fetched becomes an error; images beyond the maximum are only counted.
    ///
    /// ```no_run
    /// # fn example(document: &pinhole_sdk::upstream::Document) -> Result<(), pinhole_sdk::Error> {
    /// use pinhole_sdk::{Batch, ImageLocation};
    ///
    /// let mut batch: Batch<()> = Batch::new(1, 1);
    /// batch.take_images(document, vec![ImageLocation::Url("/output/0".into())]);
    /// # Ok(()) }
    /// ```
    pub fn take_images(&mut self, document: &Document, locations: Vec<ImageLocation>) {
        for location in locations {
            if self.images.len() >= self.max {
                self.left_out += 1;
                continue;
            }
            let image = match location {
                ImageLocation::Pointer(pointer) => document.image(&pointer),
                ImageLocation::Url(pointer) => document.fetch_image(&pointer),
            };
            match image {
                Ok(image) => self.images.push(image.into()),
                Err(error) => self.errors.push(error),
            }
        }
    }

    /// Fails with the first error if the batch has no image.
    ///
    /// ```
    /// use pinhole_sdk::Batch;
    ///
    /// let batch: Batch<()> = Batch::new(1, 1);
    /// let error = batch.require_image().unwrap_err();
    /// assert_eq!(error.message, "the upstream returned no image");
    /// ```
    pub fn require_image(self) -> Result<Self, Error> {
        if !self.images.is_empty() {
            return Ok(self);
        }
        let first = self.errors.into_iter().next();
        Err(first.unwrap_or_else(|| Error::protocol("the upstream returned no image")))
    }

    /// Warnings for the output: how many images are missing or were left out, then `more`, then the
    /// errors. At most 10 of 300 bytes.
    ///
    /// ```
    /// use pinhole_sdk::Batch;
    ///
    /// let batch: Batch<()> = Batch::new(2, 4);
    /// let warnings = batch.warnings(&["the size was rounded".into()]);
    /// assert_eq!(warnings, ["0 of 2 images received", "the size was rounded"]);
    /// ```
    #[must_use]
    pub fn warnings(&self, more: &[String]) -> Vec<String> {
        let (received, requested) = (self.images.len(), self.requested);
        let mut warnings = Vec::new();
        if received < requested {
            warnings.push(format!("{received} of {requested} images received"));
        }
        if self.left_out > 0 {
            let (left_out, max) = (self.left_out, self.max);
            warnings.push(format!("{left_out} images beyond {max} were left out"));
        }
        let messages = self.errors.iter().map(|error| &error.message);
        let others = more.iter().chain(messages);
        warnings.extend(others.map(|text| truncate(text, MAX_WARNING_BYTES)));
        warnings.truncate(MAX_WARNINGS);
        warnings
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn batch_warnings_count_missing_images_and_list_errors() {
        let mut batch: Batch<()> = Batch::new(3, 10);
        batch.errors.push(Error::protocol("x".repeat(400)));
        let warnings = batch.warnings(&["one was refused".to_owned()]);
        assert_eq!(warnings.len(), 3);
        assert_eq!(warnings[..2], ["0 of 3 images received", "one was refused"]);
        assert!(warnings[2].len() < 310);
        let empty: Batch<()> = Batch::new(1, 1);
        let error = empty.require_image().unwrap_err();
        assert_eq!(error.kind, ErrorKind::Protocol);
    }
}
