//! The values that a job uses when its request leaves them out.

/// The values that a job uses when its request leaves them out. `None` leaves the choice to the engine.
#[derive(Clone, Debug, Default)]
pub(super) struct JobDefaults {
    pub(super) model: Option<String>,
    /// `WxH` or `auto`.
    pub(super) size: Option<String>,
    pub(super) steps: Option<u32>,
}
