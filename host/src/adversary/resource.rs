//! R: an engine takes more than its share.

use super::Case;

pub(super) const CASES: &[Case] = &[];
