//! The pages of a table, by the ids of its rows.

use std::collections::HashSet;

use crate::store::{ReadRow, UnreadableRow};

/// Where the next page of a table starts.
#[derive(Default)]
pub(super) struct RowPages {
    after: String,
    /// The last ids of all pages. A damaged id may have another place in the order of the table than as text.
    ends: HashSet<String>,
}

impl RowPages {
    /// The next page has the rows after this id.
    pub(super) fn after(&self) -> &str {
        &self.after
    }

    /// Continues after a page. Returns false at the end of the table.
    pub(super) fn advance<T>(&mut self, page: &[ReadRow<T>], id: impl Fn(&T) -> &str) -> bool {
        let ids = page.iter().rev().map(|row| match row {
            Ok(row) => id(row),
            Err(UnreadableRow { id }) => id,
        });
        let last = ids.into_iter().find(|id| !id.is_empty());
        let Some(last) = last.filter(|last| self.ends.insert((*last).to_owned())) else {
            return false;
        };
        last.clone_into(&mut self.after);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(ids: &[Option<&str>]) -> Vec<ReadRow<String>> {
        let row = |id: &Option<&str>| match id {
            Some(id) => Ok((*id).to_owned()),
            None => Err(UnreadableRow { id: String::new() }),
        };
        ids.iter().map(row).collect()
    }

    #[test]
    fn row_pages_end_at_an_empty_or_a_repeated_page() {
        let mut pages = RowPages::default();
        let mut advance = |ids: &[Option<&str>]| {
            let goes_on = pages.advance(&page(ids), String::as_str);
            (goes_on, pages.after().to_owned())
        };
        assert_eq!(
            advance(&[Some("a"), Some("c"), None]),
            (true, "c".to_owned())
        );
        // A damaged id, which the table has behind all others.
        assert_eq!(advance(&[Some("d"), Some("b")]), (true, "b".to_owned()));
        assert_eq!(advance(&[Some("c"), Some("b")]).0, false);
        assert_eq!(advance(&[None]).0, false);
        assert_eq!(advance(&[]).0, false);
    }
}
