//! Whether a binding can carry out a job, before it does.

use pinhole_sandbox::contract::Job;
use pinhole_sandbox::{Edit, ResolvedSettings};

use super::abilities::EffectiveAbilities;
use super::binding::Binding;
use super::edit_check::check_edit;
use super::error::Error;
use super::plan::JobPlan;
use super::request::JobRequest;
use super::{Jobs, source_images};

impl Jobs {
    /// Removes private metadata from the images of an edit, and applies the orientation of the sources.
    pub async fn prepare_sources(&self, plan: &JobPlan, edit: Edit) -> Result<Edit, Error> {
        let user = plan.requester.user.as_deref();
        source_images::prepare(edit, &self.decoder, user).await
    }

    /// Fails if the plan's binding refuses this job, and its fallbacks are not tried. The sources of the edit are
    /// [prepared](Self::prepare_sources).
    pub fn check(
        &self,
        plan: &JobPlan,
        request: &JobRequest,
        edit: Option<&Edit>,
    ) -> Result<(), Error> {
        let resolved = plan.resolve_model(request.clone());
        match convert(&plan.binding, resolved, edit) {
            Err(error) if !plan.may_fall_back(&error) => Err(error),
            _ => Ok(()),
        }
    }
}

/// A request as a job for this binding, and the binding's settings for it.
pub(super) fn convert<'a>(
    binding: &'a Binding,
    request: JobRequest,
    edit: Option<&Edit>,
) -> Result<(&'a ResolvedSettings, Job), Error> {
    let engine = &binding.component.description;
    let defaults = match edit {
        None => &binding.generate_defaults,
        Some(_) => &binding.edit_defaults,
    };
    let model = request.model.as_ref().or(defaults.model.as_ref());
    let model = model.and_then(|id| binding.models.known(id));
    let abilities = EffectiveAbilities::new(engine, model.as_ref());
    let settings = match edit {
        None => binding.generate_settings()?,
        Some(edit) => {
            check_edit(edit, &abilities)?;
            binding.edit_settings()?
        }
    };
    binding.require_upstream(settings)?;
    let job = request.into_job(defaults, engine, &abilities, edit.is_some())?;
    Ok((settings, job))
}
