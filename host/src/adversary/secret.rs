//! S: what an engine, an upstream or a person may not learn.

use super::Case;

pub(super) const CASES: &[Case] = &[];
