//! The pages of a table, by the ids of its rows.

use std::collections::HashSet;

use crate::store::{PAGE_ROWS, ReadRow, UnreadableRow};

/// Where the next page of a table starts.
pub(super) struct RowPages {
    /// Rows of a page that is not the last one.
    page_rows: usize,
    after: String,
    /// The last ids of all pages. A damaged id may have another place in the order of the table than as text.
    ends: HashSet<String>,
}

impl Default for RowPages {
    fn default() -> Self {
        Self::new(PAGE_ROWS)
    }
}

impl RowPages {
    fn new(page_rows: usize) -> Self {
        Self {
            page_rows,
            after: String::new(),
            ends: HashSet::new(),
        }
    }

    /// The next page has the rows after this id.
    pub(super) fn after(&self) -> &str {
        &self.after
    }

    /// Continues after a page. Returns false at the end of the table.
    pub(super) fn advance<T>(&mut self, page: &[ReadRow<T>], id_of: impl Fn(&T) -> &str) -> bool {
        if page.len() < self.page_rows {
            return false;
        }
        let mut ids = page.iter().rev().map(|row| match row {
            Ok(row) => id_of(row),
            Err(UnreadableRow { id }) => id,
        });
        let last = ids.find(|id| !id.is_empty());
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
    fn row_pages_end_at_a_short_or_a_repeated_page() {
        let mut pages = RowPages::new(2);
        let mut advance = |ids: &[Option<&str>]| {
            let continues = pages.advance(&page(ids), String::as_str);
            (continues, pages.after().to_owned())
        };
        assert_eq!(advance(&[Some("c"), None]), (true, "c".to_owned()));
        // A damaged id, which the table has behind all others.
        assert_eq!(advance(&[Some("d"), Some("b")]), (true, "b".to_owned()));
        assert!(!advance(&[Some("c"), Some("b")]).0);
        assert!(!advance(&[None, None]).0);
        assert!(!advance(&[Some("x")]).0);
        assert!(!advance(&[]).0);
    }
}
