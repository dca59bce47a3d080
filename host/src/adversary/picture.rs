//! I: pictures and texts that come out.

use super::Case;

pub(super) const CASES: &[Case] = &[];
