//! The journal of a job: the entries that are stored before the engine may continue.
//!
//! A process can end at any moment, and another one then continues its jobs. It must know whether an upstream may have
//! received an order, and the note by which the engine finds that order again. A mark or a note that is stored after the
//! order can be missing; then the same image is ordered and charged twice. So the first order of a job waits until the
//! mark is stored, and `remember` waits until the note is stored.
//!
//! An attempt after one that may have ordered has fewer rights, because an engine could ignore what it noted: it orders
//! only after it has stored the note of the earlier attempt again, and each order needs a call of `remember` of its own.
//! What the note means to the upstream is the engine's matter: the host cannot check that the order has the same id.
//!
//! Orders also wait while the lease of the job is uncertain: another host may have taken the job.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pinhole_ground::guard::{Guard, Refusal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

/// An entry that is stored before the engine continues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalEntry {
    /// The next request may be billed.
    Order,
    /// The engine stores this text with the job.
    Note(Arc<str>),
    /// Another component carries out the job, because the one before ordered nothing.
    Component(JobComponent),
}

/// Which component carries out a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobComponent {
    pub binding: String,
    pub engine: String,
    pub version: String,
    /// SHA-256 of the component, in hexadecimal.
    pub digest: String,
}

/// An entry that the job waits for.
#[derive(Debug)]
pub struct PendingEntry {
    pub entry: JournalEntry,
    stored: oneshot::Sender<()>,
}

impl PendingEntry {
    /// The entry is stored: the job continues. Dropping it instead refuses what the job wants to do.
    pub fn confirm(self) {
        self.stored.send(()).ok();
    }
}

/// The journal of one attempt. Clones share it.
#[derive(Clone, Debug)]
pub struct JobJournal {
    entries: mpsc::Sender<PendingEntry>,
    /// Until when orders may be sent.
    lease: watch::Receiver<Instant>,
    state: Arc<Mutex<State>>,
}

/// What an attempt may do.
#[derive(Debug, Default)]
struct State {
    is_marked: bool,
    is_closed: bool,
    has_refused: bool,
    /// What an earlier attempt that may have ordered has noted.
    earlier: Option<EarlierOrder>,
}

#[derive(Debug)]
struct EarlierOrder {
    note: Arc<str>,
    /// The engine has stored the same note again.
    is_confirmed: bool,
    /// The next order has had a call of `remember`.
    may_order: bool,
}

/// Why an order must not be sent.
#[derive(Debug)]
pub(crate) enum OrderError {
    /// An earlier attempt may have ordered the same.
    Refused(Refusal),
    /// The job is no longer this process's, or was cancelled.
    Closed,
}

impl JobJournal {
    /// The journal of an attempt, and the receiver of its entries. `earlier_note` is what an attempt that may have
    /// ordered has noted. Orders wait while the time in `lease` has passed.
    #[must_use]
    pub fn new(
        lease: watch::Receiver<Instant>,
        earlier_note: Option<&str>,
    ) -> (Self, mpsc::Receiver<PendingEntry>) {
        // An entry waits for the one before.
        let (entries, receiver) = mpsc::channel(1);
        let state = State {
            is_marked: earlier_note.is_some(),
            earlier: earlier_note.map(|note| EarlierOrder {
                note: note.into(),
                is_confirmed: false,
                may_order: false,
            }),
            ..State::default()
        };
        let journal = Self {
            entries,
            lease,
            state: Arc::new(Mutex::new(state)),
        };
        (journal, receiver)
    }

    /// From now on, the job orders and notes nothing.
    pub fn close(&self) {
        self.lock().is_closed = true;
    }

    /// True if the mark of an order is stored, or is about to be.
    #[must_use]
    pub fn has_order(&self) -> bool {
        self.lock().is_marked
    }

    /// True if the engine wanted to order what an earlier attempt may have ordered.
    #[must_use]
    pub fn has_refused_order(&self) -> bool {
        self.lock().has_refused
    }

    /// Another component carries out the job. Nothing was ordered so far.
    pub async fn change_component(&self, component: JobComponent) {
        self.lock().is_marked = false;
        self.store(JournalEntry::Component(component)).await.ok();
    }

    /// Waits until an order may be sent.
    pub(crate) async fn order(&self) -> Result<(), OrderError> {
        let is_first = {
            let mut state = self.lock();
            state.use_permission().map_err(OrderError::Refused)?;
            !std::mem::replace(&mut state.is_marked, true)
        };
        if is_first {
            let stored = self.store(JournalEntry::Order).await;
            stored.map_err(|()| OrderError::Closed)?;
        }
        let mut lease = self.lease.clone();
        let valid = lease.wait_for(|until| Instant::now() < *until);
        valid.await.map_err(|_| OrderError::Closed)?;
        if self.lock().is_closed {
            return Err(OrderError::Closed);
        }
        Ok(())
    }

    /// Stores a note of the engine. The error is for the engine.
    pub(crate) async fn note(&self, note: Arc<str>) -> Result<(), String> {
        self.lock().check_note(&note)?;
        let stored = self.store(JournalEntry::Note(note)).await;
        stored.map_err(|()| "the job has ended".to_owned())?;
        if let Some(earlier) = &mut self.lock().earlier {
            earlier.may_order = true;
        }
        Ok(())
    }

    async fn store(&self, entry: JournalEntry) -> Result<(), ()> {
        if self.lock().is_closed {
            return Err(());
        }
        let (stored, confirmation) = oneshot::channel();
        let pending = PendingEntry { entry, stored };
        self.entries.send(pending).await.map_err(|_| ())?;
        confirmation.await.map_err(|_| ())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn use_permission(&mut self) -> Result<(), Refusal> {
        let Some(earlier) = &mut self.earlier else {
            return Ok(());
        };
        let is_permitted = std::mem::take(&mut earlier.may_order);
        let refused = Guard::SecondOrder.refuse_if(!is_permitted, || {
            "the engine ordered again what it ordered before the server was restarted".to_owned()
        });
        self.has_refused |= refused.is_err();
        refused
    }

    fn check_note(&mut self, note: &str) -> Result<(), String> {
        let Some(earlier) = &mut self.earlier else {
            return Ok(());
        };
        if !earlier.is_confirmed && *earlier.note != *note {
            return Err("store what `remembered` returns before another text".to_owned());
        }
        earlier.is_confirmed = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A journal whose entries are all stored, and what it stores.
    fn stored(earlier_note: Option<&str>) -> (JobJournal, Arc<Mutex<Vec<JournalEntry>>>) {
        let lease = watch::Sender::new(Instant::now() + Duration::from_secs(60));
        let (journal, mut pending) = JobJournal::new(lease.subscribe(), earlier_note);
        let entries = Arc::<Mutex<Vec<JournalEntry>>>::default();
        let written = entries.clone();
        tokio::spawn(async move {
            while let Some(entry) = pending.recv().await {
                written.lock().unwrap().push(entry.entry.clone());
                entry.confirm();
            }
            drop(lease);
        });
        (journal, entries)
    }

    #[tokio::test]
    async fn first_order_is_marked_once() {
        let (journal, entries) = stored(None);
        assert!(!journal.has_order());
        for _ in 0..3 {
            journal.order().await.unwrap();
        }
        journal.note("a".into()).await.unwrap();
        journal.order().await.unwrap();
        let expected = [JournalEntry::Order, JournalEntry::Note("a".into())];
        assert_eq!(*entries.lock().unwrap(), expected);
    }

    #[tokio::test]
    async fn order_after_an_earlier_one_needs_its_note_again() {
        let (journal, entries) = stored(Some("a"));
        let refused = journal.order().await;
        assert!(
            matches!(refused, Err(OrderError::Refused(_))),
            "{refused:?}"
        );
        assert!(journal.note("b".into()).await.is_err());
        assert!(journal.order().await.is_err() && journal.has_refused_order());
        journal.note("a".into()).await.unwrap();
        journal.order().await.unwrap();
        assert!(journal.order().await.is_err(), "one order for each note");
        journal.note("b".into()).await.unwrap();
        journal.order().await.unwrap();
        let notes = ["a", "b"].map(|note| JournalEntry::Note(note.into()));
        assert_eq!(*entries.lock().unwrap(), notes);
    }

    #[tokio::test]
    async fn order_waits_for_the_lease() {
        let lease = watch::Sender::new(Instant::now());
        let (journal, mut pending) = JobJournal::new(lease.subscribe(), Some("a"));
        let ordering = tokio::spawn(async move {
            journal.note("a".into()).await.unwrap();
            journal.order().await
        });
        pending.recv().await.unwrap().confirm();
        tokio::task::yield_now().await;
        assert!(!ordering.is_finished());
        lease.send_replace(Instant::now() + Duration::from_secs(60));
        ordering.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn closed_journal_orders_and_notes_nothing() {
        let (journal, entries) = stored(None);
        journal.close();
        assert!(matches!(journal.order().await, Err(OrderError::Closed)));
        assert!(journal.note("a".into()).await.is_err());
        let (unread, pending) =
            JobJournal::new(watch::Sender::new(Instant::now()).subscribe(), None);
        drop(pending);
        assert!(matches!(unread.order().await, Err(OrderError::Closed)));
        assert!(entries.lock().unwrap().is_empty());
    }
}
