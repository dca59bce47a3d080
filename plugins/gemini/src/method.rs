//! The API's methods that create images.

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Method {
    /// One image per request.
    GenerateContent,
    /// Like `GenerateContent`, with an event stream as response.
    StreamGenerateContent,
    /// Several images per request, but no edits.
    Predict,
}

impl Method {
    pub(crate) const ALL: [Self; 3] = [
        Self::GenerateContent,
        Self::StreamGenerateContent,
        Self::Predict,
    ];

    /// The name in URLs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::GenerateContent => "generateContent",
            Self::StreamGenerateContent => "streamGenerateContent",
            Self::Predict => "predict",
        }
    }
}
