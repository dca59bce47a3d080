//! The figures of an engine over time, for charts.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::jobs::{Series, SeriesRange};
use crate::web::auth::Administrator;
use crate::web::error::ApiError;
use crate::web::extractors::{Json, Path, Query};

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct StatsQuery {
    /// `1h` has a point for each minute, `24h` for each ten minutes. Default: `1h`.
    #[param(inline)]
    range: Option<StatsRange>,
}

#[derive(Clone, Copy, Deserialize, Serialize, ToSchema)]
enum StatsRange {
    #[serde(rename = "1h")]
    Hour,
    #[serde(rename = "24h")]
    Day,
}

impl From<StatsRange> for SeriesRange {
    fn from(range: StatsRange) -> Self {
        match range {
            StatsRange::Hour => Self::Hour,
            StatsRange::Day => Self::Day,
        }
    }
}

/// Figures of an engine over time, since the server started.
#[derive(Serialize, ToSchema)]
pub(super) struct EngineStats {
    range: StatsRange,
    /// All versions together.
    #[serde(flatten)]
    all: Series,
    /// The versions that had a job in the range.
    versions: Vec<VersionSeries>,
}

#[derive(Serialize, ToSchema)]
struct VersionSeries {
    version: String,
    /// SHA-256 of the component, in hexadecimal.
    digest: String,
    series: Series,
}

/// `GET /api/v1/engines/{name}/stats`
#[utoipa::path(
    get,
    path = "/api/v1/engines/{name}/stats",
    tag = "engines",
    operation_id = "describe_engine_stats",
    summary = "Return the jobs, failures, times and memory of an engine over time. For administrators",
    params(("name" = String, Path, description = "Name of the engine."), StatsQuery),
    responses(
        (status = 200, description = "the figures", body = EngineStats),
        (status = 404, description = "unknown engine"),
    ),
)]
pub(super) async fn stats(
    State(app): State<Arc<App>>,
    _: Administrator,
    Path(name): Path<String>,
    Query(StatsQuery { range }): Query<StatsQuery>,
) -> Result<Json<EngineStats>, ApiError> {
    let range = range.unwrap_or(StatsRange::Hour);
    let engine = app.releases.status(&name)?;
    let figures = &app.jobs.figures;
    let digests = engine.versions.iter().map(|it| it.digest.as_str());
    let all = figures.series(digests, range.into());
    let series = |version: &crate::releases::VersionStatus| {
        let series = figures.series([version.digest.as_str()], range.into());
        let has_jobs = !series.points.is_empty();
        has_jobs.then(|| VersionSeries {
            version: version.version.clone(),
            digest: version.digest.clone(),
            series,
        })
    };
    let versions = engine.versions.iter().filter_map(series).collect();
    Ok(Json(EngineStats {
        range,
        all,
        versions,
    }))
}
