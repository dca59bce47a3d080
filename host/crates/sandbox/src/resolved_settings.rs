//! Settings with the upstreams that follow from them: the input of a call, together with a component.

use std::sync::Arc;

use pinhole_egress::Redactor;

use crate::engine_settings::EngineSettings;
use crate::grant::{ImageHostSetting, Upstreams};

/// An engine's settings, either for generating or for editing, and the upstreams that follow from them.
#[derive(Clone, Debug, Default)]
pub struct ResolvedSettings {
    pub settings: EngineSettings,
    /// The upstreams that the engine may send requests to.
    pub upstreams: Arc<Upstreams>,
    /// The operator's list of hosts from which images may be fetched.
    pub image_hosts: Arc<ImageHostSetting>,
    /// Finds the settings' secrets in text.
    pub redactor: Arc<Redactor>,
    /// Set if the engine itself refuses these settings.
    pub problem: Option<SettingProblem>,
}

/// A setting that the engine refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingProblem {
    /// The setting's key.
    pub key: String,
    /// For the operator: the variable that set it, the problem, and what the engine expects.
    pub message: String,
}
