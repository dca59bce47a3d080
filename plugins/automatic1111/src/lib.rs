//! `automatic1111`: an image engine for AUTOMATIC1111's web UI and for servers with the same API
//! (Forge, SD.Next, the server of stable-diffusion.cpp).
//!
//! The path of a job, from top to bottom: `body` writes the request, `names` replaces the names in it
//! by the web UI's own, `polling` sends it and follows its progress, and `response` finds the images
//! in the response.

mod body;
mod checkpoint;
mod error;
mod lookup;
mod names;
mod parameters;
mod polling;
mod progress;
mod request;
mod response;
mod settings;

use pinhole_sdk::{
    Abilities, Credential, Description, Engine, Error, Image, Job, Model, Output, Settings,
    Upstream, Verification,
};

use request::ImageRequest;

const UPSTREAM: &str = "api";
const TXT2IMG: &str = "/sdapi/v1/txt2img";
const IMG2IMG: &str = "/sdapi/v1/img2img";

/// Maximum number of images in a job. They form one batch, whose graphics memory grows with it.
const MAX_COUNT: u32 = 10;

struct Automatic1111;

impl Engine for Automatic1111 {
    fn describe() -> Description {
        Description {
            name: "automatic1111".into(),
            title: "AUTOMATIC1111".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            abilities: Abilities {
                edit: true,
                mask: true,
                progress: true,
                cancel: true,
                negative_prompt: true,
                seed: true,
                steps: true,
                strength: true,
                max_count: MAX_COUNT,
                max_sources: 1,
            },
            settings: settings::declare(),
            upstreams: vec![Upstream {
                name: UPSTREAM.into(),
                base_url: settings::BASE_URL.into(),
                credentials: vec![Credential::Basic(settings::API_AUTH.into())],
                // Not the web UI's options: all its users share them.
                requests: [
                    "POST /sdapi/v1/txt2img",
                    "POST /sdapi/v1/img2img",
                    "POST /sdapi/v1/interrupt",
                    "GET /sdapi/v1/progress",
                    "GET /sdapi/v1/sd-models",
                    "GET /sdapi/v1/samplers",
                    "GET /sdapi/v1/schedulers",
                    "GET /internal/ping",
                ]
                .map(Into::into)
                .into(),
                ..Upstream::default()
            }],
            parameters: parameters::declare(),
            other_parameters: false,
        }
    }

    fn generate(job: Job, settings: Settings) -> Result<Output, Error> {
        let request = ImageRequest {
            path: TXT2IMG,
            operator_parameters: settings::operator_parameters(&settings, settings::PARAMS)?,
            size: job.size,
            body: body::txt2img(&job)?,
            images: Vec::new(),
        };
        request.run(&job)
    }

    fn edit(
        job: Job,
        sources: Vec<Image>,
        mask: Option<Image>,
        settings: Settings,
    ) -> Result<Output, Error> {
        let Some(source) = sources.first() else {
            return Err(Error::invalid("image", "the job has no source image"));
        };
        let white_mask = mask
            .map(|mask| mask.white_mask())
            .transpose()
            .map_err(|why| Error::invalid("mask", format!("cannot use the mask: {why}")))?;
        let mut images = vec![("/init_images/0", source)];
        images.extend(white_mask.as_ref().map(|image| ("/mask", image)));
        let mut operator_parameters =
            settings::operator_parameters(&settings, settings::EDIT_PARAMS)?;
        // These fields hold the job's own images.
        operator_parameters.retain(|key, _| !["init_images", "mask"].contains(&key.as_str()));
        let source_size = source.size();
        let request = ImageRequest {
            path: IMG2IMG,
            operator_parameters,
            size: job.size.or(Some(source_size)),
            body: body::img2img(&job, source_size, white_mask.is_some())?,
            images,
        };
        request.run(&job)
    }

    fn models(_settings: Settings) -> Result<Vec<Model>, Error> {
        let checkpoints = checkpoint::request_all()?;
        Ok(checkpoints.into_iter().map(Model::from).collect())
    }

    /// Requests the checkpoints. Of the responses for which every server with this API requires the
    /// credentials, it is the shortest.
    fn verify(settings: Settings) -> Result<Verification, Error> {
        settings::validate(&settings)?;
        checkpoint::request_all()?;
        Ok(Verification::default())
    }
}

pinhole_sdk::export!(Automatic1111);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn description_covers_every_request() {
        let description = Automatic1111::describe();
        let granted = &description.upstreams[0].requests;
        for (method, target) in [
            ("POST", TXT2IMG),
            ("POST", IMG2IMG),
            ("POST", polling::INTERRUPT),
            ("GET", polling::PROGRESS),
            ("GET", polling::PROGRESS_WITHOUT_IMAGE),
            ("GET", checkpoint::CHECKPOINTS),
            ("GET", names::SAMPLERS),
            ("GET", names::SCHEDULERS),
            ("GET", error::PING),
        ] {
            let path = target.split('?').next().unwrap();
            assert!(granted.contains(&format!("{method} {path}")), "{path}");
        }
    }
}
