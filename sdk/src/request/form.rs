//! Multipart forms.

use crate::Image;
use crate::upstream::{Field, Part};

/// The fields of a multipart form, in order.
///
/// ```no_run
/// # fn example(image: &pinhole_sdk::Image) -> Result<(), pinhole_sdk::Error> {
/// use pinhole_sdk::Request;
/// use pinhole_sdk::request::Form;
///
/// let form = Form::new().text("prompt", "a fox").image("image", "source", image);
/// let response = Request::post("api", "/edits").form(form).send()?;
/// # Ok(()) }
/// ```
#[derive(Debug, Default)]
pub struct Form<'a>(Vec<Field<'a>>);

impl<'a> Form<'a> {
    /// An empty form.
    ///
    /// ```
    /// use pinhole_sdk::request::Form;
    ///
    /// let form = Form::new();
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a text field. Numbers and booleans become text.
    ///
    /// ```
    /// use pinhole_sdk::request::Form;
    ///
    /// let form = Form::new().text("prompt", "a fox").text("n", 2);
    /// ```
    #[must_use]
    pub fn text(mut self, name: &str, value: impl ToString) -> Self {
        self.0.push(Field {
            name: name.into(),
            file_name: None,
            media_type: None,
            content: vec![Part::Text(value.to_string())],
        });
        self
    }

    /// Adds an image as the file `stem.extension`. Extension and content type match its format.
    ///
    /// ```no_run
    /// # fn example(image: &pinhole_sdk::Image) -> Result<(), pinhole_sdk::Error> {
    /// use pinhole_sdk::request::Form;
    ///
    /// let form = Form::new().image("image", "source", image);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn image(mut self, name: &str, stem: &str, image: &'a Image) -> Self {
        let media_type = image.media_type();
        let extension = match media_type.as_str() {
            "image/jpeg" => "jpg",
            other => other.strip_prefix("image/").unwrap_or("bin"),
        };
        self.0.push(Field {
            name: name.into(),
            file_name: Some(format!("{stem}.{extension}")),
            media_type: Some(media_type.clone()),
            content: vec![Part::Image(image)],
        });
        self
    }

    pub(super) fn into_fields(self) -> Vec<Field<'a>> {
        self.0
    }
}
