//! A request for a job, and what it needs before it is accepted.

use std::sync::Arc;

use axum::extract::{FromRequest, Request};
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use pinhole_ground::memory::MemoryLease;
use pinhole_ground::text::hex;
use pinhole_sandbox::Edit;

use crate::app::App;
use crate::files::MAX_SOURCES;
use crate::files::lookup::ImageReference;
use crate::jobs::{
    AcceptError, BackgroundJob, JOB_BYTES, JobPlan, JobRequest, Operation, RequestRecord,
};
use crate::store::{Idempotency, JobRow, User};
use crate::web::auth;
use crate::web::error::{ApiError, Rejection};
use crate::web::images::schema;
use crate::web::json_body::JsonBody;
use crate::web::keyed_job::parse_key;
use crate::web::source_images::{load_image, load_sources};

const SOURCE: &str = "source";
const MASK: &str = "mask";

/// The images to make. Fields that are missing or null have the operator's defaults.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewJobRequest {
    #[schema(schema_with = schema::prompt)]
    prompt: String,
    #[schema(schema_with = schema::negative_prompt)]
    negative_prompt: Option<String>,
    /// Overrides the configured engine.
    engine: Option<String>,
    #[schema(schema_with = schema::model)]
    model: Option<String>,
    #[schema(schema_with = schema::size)]
    size: Option<String>,
    #[schema(schema_with = schema::image_count)]
    n: Option<u32>,
    #[schema(schema_with = schema::supported_steps)]
    steps: Option<u32>,
    #[schema(schema_with = schema::seed)]
    seed: Option<u64>,
    #[schema(schema_with = schema::strength)]
    strength: Option<f32>,
    /// Parameters that only this engine knows.
    parameters: Option<Map<String, Value>>,
    /// The images to edit: ids or URLs of stored files, or data URLs.
    #[schema(max_items = 16)]
    sources: Option<Vec<String>>,
    /// A PNG that is transparent where the first source may change. Named like a source.
    mask: Option<String>,
}

/// The body of a request for a job.
pub(super) struct JobBody {
    request: NewJobRequest,
    pub(super) idempotency: Option<Idempotency>,
    memory: MemoryLease,
}

impl<S: Send + Sync> FromRequest<S> for JobBody {
    type Rejection = Rejection;

    async fn from_request(request: Request, _: &S) -> Result<Self, Rejection> {
        let uri = request.uri().clone();
        let read = async {
            let key = parse_key(request.headers())?;
            let json = JsonBody::read(request).await?;
            Ok(Self {
                request: json.parse()?,
                idempotency: key.map(|key| Idempotency {
                    key,
                    request_hash: hex(&Sha256::digest(json.text())),
                }),
                memory: json.into_lease(),
            })
        };
        read.await.map_err(|error: ApiError| error.rejection(&uri))
    }
}

impl NewJobRequest {
    fn operation(&self) -> Operation {
        match &self.sources {
            Some(sources) if !sources.is_empty() => Operation::Edit,
            _ => Operation::Generate,
        }
    }

    /// Removes the names of the images to edit. Fails for a mask without a source.
    fn take_images(&mut self) -> Result<(Vec<String>, Option<String>), ApiError> {
        let sources = self.sources.take().unwrap_or_default();
        let mask = non_empty(self.mask.take());
        if sources.is_empty() && mask.is_some() {
            let detail = "a mask belongs to a source: send sources, or leave the mask out";
            return Err(ApiError::invalid(MASK, detail));
        }
        if sources.len() > MAX_SOURCES {
            let detail = format!("sources has more than {MAX_SOURCES} images: send fewer");
            return Err(ApiError::invalid("sources", detail));
        }
        Ok((sources, mask))
    }

    fn into_job_request(self) -> JobRequest {
        JobRequest {
            prompt: self.prompt,
            negative_prompt: self.negative_prompt,
            model: non_empty(self.model),
            size: non_empty(self.size),
            count: self.n,
            steps: self.steps,
            seed: self.seed,
            strength: self.strength,
            parameters: self.parameters.unwrap_or_default(),
        }
    }
}

/// Checks a job and starts it.
pub(super) async fn start(
    app: &Arc<App>,
    user: User,
    body: JobBody,
) -> Result<Result<JobRow, AcceptError>, ApiError> {
    let JobBody {
        mut request,
        idempotency,
        mut memory,
    } = body;
    let place = app.active_jobs.take_place(&user)?;
    let operation = request.operation();
    let (sources, mask) = request.take_images()?;
    let engine = non_empty(request.engine.take());
    let request = request.into_job_request();
    let (named, model) = (engine.as_deref(), request.model.as_deref());
    let snapshot = app.jobs.snapshot_for(operation, named, model).await?;
    app.files.require_image_room(&user, 0).await?;
    let requester = auth::requester(app, &snapshot, &user, None).await?;
    let plan = JobPlan::new(snapshot, operation, named, model, requester)?;
    let edit = match operation {
        Operation::Generate => None,
        Operation::Edit => {
            let edit = load_images(app, &user, &sources, mask).await?;
            Some(app.jobs.prepare_sources(&plan, edit).await?)
        }
    };
    app.jobs.check(&plan, &request, edit.as_ref())?;
    let record = RequestRecord::new(&request, named, edit.as_ref()).to_json()?;
    // The images have leases of their own.
    memory.shrink_to(record.len().saturating_mul(4).saturating_add(JOB_BYTES));
    let job = BackgroundJob {
        jobs: app.jobs.clone(),
        active_jobs: app.active_jobs.clone(),
        user,
        plan,
        request,
        record,
        edit,
        idempotency,
        place,
        memory,
    };
    Ok(job.start().await)
}

/// Loads the images of an edit.
async fn load_images(
    app: &App,
    user: &User,
    names: &[String],
    mask: Option<String>,
) -> Result<Edit, ApiError> {
    let sources = load_sources(app, user, SOURCE, names).await?;
    let mask = match mask {
        Some(name) => Some(load_image(app, user, MASK, &ImageReference::parse(&name)).await?),
        None => None,
    };
    Ok(Edit { sources, mask })
}

/// Clients send an empty string for a field that is not set.
fn non_empty(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(body: Value) -> NewJobRequest {
        serde_json::from_value(body).unwrap()
    }

    #[test]
    fn request_edits_if_it_has_sources() {
        let with_sources = |sources: Value| parse(json!({"prompt": "p", "sources": sources}));
        for (sources, operation) in [
            (json!(null), Operation::Generate),
            (json!([]), Operation::Generate),
            (json!(["a"]), Operation::Edit),
        ] {
            assert_eq!(
                with_sources(sources.clone()).operation(),
                operation,
                "{sources}"
            );
        }
        let most = vec!["a"; MAX_SOURCES];
        assert!(with_sources(json!(most)).take_images().is_ok());
        let more = vec!["a"; MAX_SOURCES + 1];
        assert!(with_sources(json!(more)).take_images().is_err());
        let mask_alone = json!({"prompt": "p", "mask": "m"});
        assert!(parse(mask_alone).take_images().is_err());
        assert!(
            parse(json!({"prompt": "p", "mask": ""}))
                .take_images()
                .is_ok()
        );
        let unknown = serde_json::from_value::<NewJobRequest>(json!({"prompt": "p", "image": "a"}));
        assert!(unknown.is_err());
    }

    #[test]
    fn schema_states_the_limit_of_sources() {
        let schema = <NewJobRequest as utoipa::PartialSchema>::schema();
        let schema = serde_json::to_value(schema).unwrap();
        assert_eq!(schema["properties"]["sources"]["maxItems"], MAX_SOURCES);
    }
}
