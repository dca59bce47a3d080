//! M: a component that is none, or not what it says.

use super::Case;

pub(super) const CASES: &[Case] = &[];
