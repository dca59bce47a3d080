//! What Open WebUI's clients ask for.

use axum::extract::Request;

use super::IMAGE;
use super::fields::Fields;
use pinhole_sandbox::contract::Description;
use crate::jobs::{Requester, JobRequest, Jobs};
use crate::web::error::ApiError;
use crate::web::openai::speaks_openai;

/// A request but for its pictures. `engine`, `seed` and `parameters` are additions.
pub(super) struct Form {
    request: JobRequest,
    background: Option<String>,
}

impl Form {
    /// Reads the body of a generation.
    pub(super) async fn read_generation(request: Request) -> Result<Self, ApiError> {
        let mut fields = Fields::read(request).await?;
        let form = Self::take(&mut fields);
        fields.finish().map(|()| form)
    }

    /// Reads the body of an edit, and what names its pictures.
    ///
    /// Source: Open WebUI 0.6.43 has the fields inside `form_data`; later releases have no such
    /// object. What stands beside it is nobody's business.
    pub(super) async fn read_edit(request: Request) -> Result<(Self, Vec<String>), ApiError> {
        let mut fields = Fields::read(request).await?;
        fields.enter("form_data");
        let images = fields.required_texts(IMAGE);
        let form = Self::take(&mut fields);
        fields.finish().map(|()| (form, images))
    }

    fn take(fields: &mut Fields) -> Self {
        let mut short = |name| {
            let number = fields.number(name, u32::MAX.into());
            number.and_then(|number| u32::try_from(number).ok())
        };
        let (count, steps) = (short("n"), short("steps"));
        Self {
            request: JobRequest {
                count,
                steps,
                prompt: fields.required_text("prompt"),
                negative_prompt: fields.text("negative_prompt"),
                engine: named(fields.text("engine")),
                model: fields.text("model"),
                size: named(fields.text("size")),
                seed: fields.number("seed", u64::MAX),
                parameters: fields.object("parameters"),
                asker: Requester::default(),
            },
            background: named(fields.text("background")),
        }
    }

    /// The job's request, for the engine that will carry it out.
    pub(super) fn into_request(mut self, jobs: &Jobs, asker: Requester, edits: bool) -> JobRequest {
        let chosen = jobs.choose(self.request.engine.as_deref(), &asker, edits);
        self.request.asker = asker;
        match chosen {
            Ok(binding) => self.for_engine(&binding.component.description),
            // Refused where the job begins, with the names of those that there are.
            Err(_) => self.request,
        }
    }

    /// Without the fields of Open WebUI's own that the engine does not have: its clients send them
    /// whatever the engine is, and it leaves them out too.
    fn for_engine(self, engine: &Description) -> JobRequest {
        let Self {
            mut request,
            background,
        } = self;
        let abilities = &engine.abilities;
        request.negative_prompt = request
            .negative_prompt
            .filter(|_| abilities.negative_prompt);
        request.steps = request.steps.filter(|_| abilities.steps);
        if let Some(background) = background.filter(|_| speaks_openai(engine)) {
            let parameter = request.parameters.entry("background");
            parameter.or_insert_with(|| background.into());
        }
        request
    }
}

/// An empty text says nothing.
fn named(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}
