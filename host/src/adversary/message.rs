//! H: what goes over a connection, and what comes back.

use super::Case;

pub(super) const CASES: &[Case] = &[];
