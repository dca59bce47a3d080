//! The result of a job, what an engine found out about its upstream, and the job itself in tests.
//!
//! ```no_run
//! # fn example(image: pinhole_sdk::Image) -> Result<(), pinhole_sdk::Error> {
//! use pinhole_sdk::{MadeImage, Output};
//!
//! let output = Output::new([MadeImage::from(image).with_seed(7).with_flag(false)]);
//! # Ok(()) }
//! ```

use crate::{Cost, Explanation, Image, Job, MadeImage, Output, Verification};

impl Output {
    /// These images, and nothing else to say.
    ///
    /// ```no_run
    /// # fn example(image: pinhole_sdk::Image) -> pinhole_sdk::Output {
    /// use pinhole_sdk::{Cost, MadeImage, Output};
    ///
    /// Output {
    ///     cost: Some(Cost::usd(0.04)),
    ///     ..Output::new([MadeImage::from(image).with_seed(7)])
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn new(images: impl IntoIterator<Item = impl Into<MadeImage>>) -> Self {
        Self {
            images: images.into_iter().map(Into::into).collect(),
            revised_prompt: None,
            details: "{}".into(),
            usage: None,
            cost: None,
            warnings: Vec::new(),
        }
    }
}

impl From<Image> for MadeImage {
    /// The image without a seed or details.
    fn from(image: Image) -> Self {
        Self {
            image,
            seed: None,
            flagged: false,
            details: "{}".into(),
        }
    }
}

impl MadeImage {
    /// With the seed that makes the same image again.
    ///
    /// ```no_run
    /// # fn example(image: pinhole_sdk::Image) -> Result<(), pinhole_sdk::Error> {
    /// let made = pinhole_sdk::MadeImage::from(image).with_seed(7);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn with_seed(mut self, seed: impl Into<Option<u64>>) -> Self {
        self.seed = seed.into();
        self
    }

    /// Marked by the upstream's safety system.
    ///
    /// ```no_run
    /// # fn example(image: pinhole_sdk::Image) -> Result<(), pinhole_sdk::Error> {
    /// let made = pinhole_sdk::MadeImage::from(image).with_flag(true);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn with_flag(mut self, flagged: bool) -> Self {
        self.flagged = flagged;
        self
    }

    /// With details: a JSON object.
    ///
    /// ```no_run
    /// # fn example(image: pinhole_sdk::Image) -> Result<(), pinhole_sdk::Error> {
    /// let made = pinhole_sdk::MadeImage::from(image).with_details(r#"{"id": "img_1"}"#);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn with_details(mut self, json: impl Into<String>) -> Self {
        self.details = json.into();
        self
    }
}

impl Cost {
    /// An amount in US dollars.
    ///
    /// ```
    /// assert_eq!(pinhole_sdk::Cost::usd(0.04).unit, "USD");
    /// ```
    #[must_use]
    pub fn usd(amount: f64) -> Self {
        Self {
            amount,
            unit: "USD".into(),
        }
    }
}

impl Default for Verification {
    /// Nothing to report.
    fn default() -> Self {
        Self {
            server: None,
            problems: Vec::new(),
        }
    }
}

impl Default for Explanation {
    /// Nothing to explain.
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            problems: Vec::new(),
        }
    }
}

impl Default for Job {
    /// One image, without a prompt. For tests.
    fn default() -> Self {
        Self {
            prompt: String::new(),
            negative_prompt: None,
            model: None,
            size: None,
            count: 1,
            steps: None,
            seed: None,
            strength: None,
            parameters: "{}".into(),
        }
    }
}
