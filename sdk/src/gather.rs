//! The pictures of a job that needs several requests, and what a person should know of them.

use crate::upstream::Document;
use crate::words::cut;
use crate::{Answer, Error, ErrorKind, Picture, Request, job, send_all};

/// Notes on one job.
const MAX_NOTES: usize = 10;
/// Length of one note, in bytes.
const MAX_NOTE: usize = 300;
/// How long a job waits for an upstream that asked it to, in milliseconds; longer is an error.
pub const MAX_DELAY_MS: u64 = 30_000;
/// How long a job waits where the upstream did not say, in milliseconds.
const DELAY_MS: u64 = 1000;

/// Where a picture of an answer is.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    /// Its base64 stands at this JSON pointer.
    Pointer(String),
    /// It has to be fetched.
    Address(String),
}

/// What the requests of a job gave so far.
#[derive(Debug)]
pub struct Gathered<R> {
    asked: usize,
    max: usize,
    left_out: usize,
    /// In the order they came. More than asked for, where the upstream gave more: they are made
    /// and paid.
    pub pictures: Vec<Picture>,
    /// What was read of each answer that had pictures.
    pub readings: Vec<R>,
    /// What went wrong.
    pub errors: Vec<Error>,
}

impl<R> Gathered<R> {
    /// For a job that asks for `asked` pictures and may give at most `max`.
    #[must_use]
    pub fn new(asked: u32, max: u32) -> Self {
        Self {
            asked: asked as usize,
            max: max as usize,
            left_out: 0,
            pictures: Vec::new(),
            readings: Vec::new(),
            errors: Vec::new(),
        }
    }

    /// Takes the pictures of an answer from the places that `read` finds, or its error.
    pub fn add(
        &mut self,
        answer: Result<Answer, Error>,
        read: impl FnOnce(serde_json::Value) -> Result<(Vec<Place>, R), Error>,
    ) {
        if let Err(error) = self.try_add(answer, read) {
            self.errors.push(error);
        }
    }

    fn try_add(
        &mut self,
        answer: Result<Answer, Error>,
        read: impl FnOnce(serde_json::Value) -> Result<(Vec<Place>, R), Error>,
    ) -> Result<(), Error> {
        let document = answer?.document()?;
        let (places, reading) = read(document.parse()?)?;
        self.take(&document, places);
        self.readings.push(reading);
        Ok(())
    }

    /// Takes pictures of a document, such as an event of a stream, from these places. One that
    /// cannot be taken is an error of the job; those beyond the most that it may give are counted.
    pub fn take(&mut self, document: &Document, places: Vec<Place>) {
        for place in places {
            if self.pictures.len() >= self.max {
                self.left_out += 1;
                continue;
            }
            let picture = match place {
                Place::Pointer(pointer) => document.image(&pointer).map(Picture::Held),
                Place::Address(address) => Ok(Picture::Address(address)),
            };
            match picture {
                Ok(picture) => self.pictures.push(picture),
                Err(error) => self.errors.push(error),
            }
        }
    }

    /// The same when there is a picture, else the first error.
    pub fn some(mut self) -> Result<Self, Error> {
        if !self.pictures.is_empty() {
            return Ok(self);
        }
        let nothing = || Error::protocol("the upstream answered without an image");
        Err(match self.errors.is_empty() {
            true => nothing(),
            false => self.errors.swap_remove(0),
        })
    }

    /// What a person should know of a job that gave other than what it asked for: how many are
    /// missing or were left out, what `more` says, and what went wrong.
    #[must_use]
    pub fn notes(&self, more: &[String]) -> Vec<String> {
        let (came, asked) = (self.pictures.len(), self.asked);
        let mut notes = Vec::new();
        if came < asked {
            notes.push(format!("{came} of {asked} images came"));
        }
        if self.left_out > 0 {
            let (left_out, max) = (self.left_out, self.max);
            notes.push(format!("{left_out} images beyond {max} were left out"));
        }
        let failed = self.errors.iter().map(|error| &error.message);
        notes.extend(more.iter().chain(failed).map(|note| cut(note, MAX_NOTE)));
        notes.truncate(MAX_NOTES);
        notes
    }
}

/// Sends a request for each of `items` side by side, and those once more that the upstream only
/// put off: it said so with a delay of at most [`MAX_DELAY_MS`], or was overloaded.
///
/// `request` makes an item's request; `refused` turns an answer without success into the engine's
/// error, whose kind decides. The results come in the order of the items.
pub fn send_each<'a, T>(
    items: &'a [T],
    request: impl Fn(&'a T) -> Result<Request<'a>, Error>,
    refused: impl Fn(&crate::Refusal) -> Error,
) -> Vec<Result<Answer, Error>> {
    let send = |items: &[&'a T]| -> Vec<Result<Answer, Failure>> {
        let requests: Result<Vec<_>, Error> = items.iter().map(|item| request(item)).collect();
        match requests {
            Ok(requests) => send_all(requests)
                .into_iter()
                .map(|answer| judged(answer, &refused))
                .collect(),
            Err(error) => items
                .iter()
                .map(|_| Err(Failure::of(error.clone())))
                .collect(),
        }
    };
    let all: Vec<&T> = items.iter().collect();
    let mut results = send(&all);
    let delay = |result: &Result<Answer, Failure>| result.as_ref().err()?.delay_ms();
    let Some(longest) = results.iter().filter_map(delay).max() else {
        return results.into_iter().map(flat).collect();
    };
    if !job::sleep(u32::try_from(longest).unwrap_or(u32::MAX)) {
        let cancelled = || Err(Error::new(ErrorKind::Cancelled, "the job was cancelled"));
        return results.iter().map(|_| cancelled()).collect();
    }
    let put_off: Vec<usize> = (0..)
        .zip(&results)
        .filter_map(|(index, result)| delay(result).map(|_| index))
        .collect();
    let again: Vec<&T> = put_off
        .iter()
        .filter_map(|index| items.get(*index))
        .collect();
    for (index, answer) in put_off.into_iter().zip(send(&again)) {
        if let Some(result) = results.get_mut(index) {
            *result = answer;
        }
    }
    results.into_iter().map(flat).collect()
}

/// Why a request gave nothing, and whether the upstream itself said so.
struct Failure {
    error: Error,
    status: Option<u16>,
}

impl Failure {
    fn of(error: Error) -> Self {
        Self {
            error,
            status: None,
        }
    }

    /// After how long it may be tried again, if at all. A connection that failed is not tried
    /// again: the request may have arrived, and may be paid.
    fn delay_ms(&self) -> Option<u64> {
        self.status?;
        let told = self.error.retry_after_ms;
        match self.error.kind {
            ErrorKind::RateLimited | ErrorKind::Unavailable => {
                Some(told.unwrap_or(DELAY_MS)).filter(|ms| *ms <= MAX_DELAY_MS)
            }
            _ => None,
        }
    }
}

fn judged(
    answer: Result<Answer, Error>,
    refused: &impl Fn(&crate::Refusal) -> Error,
) -> Result<Answer, Failure> {
    let answer = answer.map_err(Failure::of)?;
    answer.success().map_err(|refusal| Failure {
        error: refused(&refusal),
        status: Some(refusal.status),
    })
}

fn flat(result: Result<Answer, Failure>) -> Result<Answer, Error> {
    result.map_err(|failure| failure.error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: ErrorKind, told: Option<u64>, status: Option<u16>, expected: Option<u64>) {
        let mut error = Error::new(kind, "no");
        error.retry_after_ms = told;
        assert_eq!(Failure { error, status }.delay_ms(), expected);
    }

    #[test]
    fn only_what_was_put_off_for_a_short_while_is_sent_again() {
        use ErrorKind::{Invalid, Quota, RateLimited, Unavailable};
        check(RateLimited, Some(1200), Some(429), Some(1200));
        check(RateLimited, None, Some(429), Some(DELAY_MS));
        check(RateLimited, Some(3_600_000), Some(429), None);
        check(Unavailable, None, Some(503), Some(DELAY_MS));
        check(Unavailable, None, None, None);
        check(Quota, Some(1), Some(429), None);
        check(Invalid, None, Some(400), None);
    }

    #[test]
    fn notes_say_what_is_missing_and_why() {
        let mut gathered: Gathered<()> = Gathered::new(3, 10);
        gathered.pictures.push(Picture::Address("http://a".into()));
        gathered.errors.push(Error::protocol("x".repeat(400)));
        let notes = gathered.notes(&["one was refused".to_owned()]);
        assert_eq!(notes.len(), 3);
        assert_eq!(notes[..2], ["1 of 3 images came", "one was refused"]);
        assert!(notes[2].len() < 310);
        let none: Gathered<()> = Gathered::new(1, 1);
        assert_eq!(none.some().unwrap_err().kind, ErrorKind::Protocol);
    }
}
