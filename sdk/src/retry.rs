//! Retries: concurrent requests with one retry, and the download of what an upstream has finished.
//!
//! ```no_run
//! # fn example() -> Result<(), pinhole_sdk::Error> {
//! let response = pinhole_sdk::get_finished("api", "/jobs/7/image")?;
//! let image = response.success()?.image()?;
//! # Ok(()) }
//! ```

use crate::{Error, ErrorKind, Refusal, Request, Response, job, send_all};

/// Longest delay that an upstream can ask for before a retry, in milliseconds. If it asks for more,
/// the request fails.
pub const MAX_DELAY_MS: u64 = 30_000;
/// Delay before a retry if the upstream names none, in milliseconds.
const DEFAULT_DELAY_MS: u64 = 1000;

/// Requests for something finished, at most.
const MAX_DOWNLOADS: u32 = 6;
/// Longest delay between two of them, in milliseconds, whatever the upstream asks for.
const MAX_DOWNLOAD_DELAY_MS: u64 = 60_000;
/// The statuses of an upstream, or of a proxy in front of it, that will respond later.
const TEMPORARY: [u16; 4] = [429, 502, 503, 504];

/// Requests what the upstream has finished, such as a stored image. The request orders nothing, so it is sent
/// again while the upstream is overloaded or cannot be reached: at most six times, after the delay that the
/// upstream asks for. Returns the last response, of any status.
///
/// ```no_run
/// # fn example() -> Result<(), pinhole_sdk::Error> {
/// use pinhole_sdk::get_finished;
///
/// let image = get_finished("api", "/view?filename=fox.png")?.success()?.image()?;
/// # Ok(()) }
/// ```
pub fn get_finished(upstream: &str, path: &str) -> Result<Response, Error> {
    let mut default_delay_ms = DEFAULT_DELAY_MS;
    for _ in 1..MAX_DOWNLOADS {
        let result = Request::get(upstream, path).send();
        let Some(delay_ms) = download_delay_ms(&result, default_delay_ms) else {
            return result;
        };
        if !job::sleep(u32::try_from(delay_ms).unwrap_or(u32::MAX)) {
            return Err(Error::new(ErrorKind::Cancelled, "the job was cancelled"));
        }
        default_delay_ms *= 2;
    }
    Request::get(upstream, path).send()
}

/// The delay before the next request; `None` if this result is final.
fn download_delay_ms(result: &Result<Response, Error>, default_ms: u64) -> Option<u64> {
    let delay_ms = match result {
        Ok(response) if TEMPORARY.contains(&response.0.status()) => {
            let headers = response.0.headers();
            Refusal::new(response.0.status(), &headers, String::new()).retry_after_ms
        }
        Err(error) if error.kind == ErrorKind::Unavailable => None,
        _ => return None,
    };
    Some(delay_ms.unwrap_or(default_ms).min(MAX_DOWNLOAD_DELAY_MS))
}

/// Sends one request for each item concurrently, then retries once those that the upstream did not accept
/// ([`Refusal::is_not_accepted`]), as rate-limited or unavailable, with a delay of at most [`MAX_DELAY_MS`].
/// Any other failure may have been billed, and is never sent again.
///
/// `request` builds an item's request. `to_error` converts a refusal; the error's kind and delay
/// decide whether to retry. The results are in the order of the items.
///
/// ```no_run
/// # fn example() -> Result<(), pinhole_sdk::Error> {
/// use pinhole_sdk::{Refusal, Request, send_with_retry};
///
/// let seeds = [1, 2];
/// let request = |seed: &u64| {
///     Request::post("api", "/images").json(&serde_json::json!({"prompt": "a fox", "seed": seed}))
/// };
/// for response in send_with_retry(&seeds, request, |refusal: &Refusal| refusal.clone().into()) {
///     let image = response?.image()?;
/// }
/// # Ok(()) }
/// ```
pub fn send_with_retry<'a, T>(
    items: &'a [T],
    request: impl Fn(&'a T) -> Result<Request<'a>, Error>,
    to_error: impl Fn(&Refusal) -> Error,
) -> Vec<Result<Response, Error>> {
    let mut results = send_items(items.iter(), &request, &to_error);
    let delays = results.iter().filter_map(retry_delay_ms);
    if let Some(longest) = delays.max() {
        if !job::sleep(u32::try_from(longest).unwrap_or(u32::MAX)) {
            let cancelled = || Err(Error::new(ErrorKind::Cancelled, "the job was cancelled"));
            return results.iter().map(|_| cancelled()).collect();
        }
        let (retried, retried_items): (Vec<_>, Vec<_>) = results
            .iter_mut()
            .zip(items)
            .filter(|(result, _)| retry_delay_ms(result).is_some())
            .unzip();
        let retries = send_items(retried_items.into_iter(), &request, &to_error);
        for (result, retry) in retried.into_iter().zip(retries) {
            *result = retry;
        }
    }
    let into_error = |failure: Failure| failure.error;
    results
        .into_iter()
        .map(|result| result.map_err(into_error))
        .collect()
}

/// Why a request failed.
struct Failure {
    error: Error,
    /// The upstream has certainly not worked on the request.
    is_not_accepted: bool,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            error,
            is_not_accepted: false,
        }
    }
}

impl Failure {
    /// Delay before a retry; `None` if the request must not be retried. That is so unless the upstream
    /// has certainly not accepted it: after a failed connection, or after a gateway gave up waiting, the
    /// upstream may generate the image and bill it.
    fn retry_delay_ms(&self) -> Option<u64> {
        if !self.is_not_accepted {
            return None;
        }
        match self.error.kind {
            ErrorKind::RateLimited | ErrorKind::Unavailable => {
                let delay_ms = self.error.retry_after_ms.unwrap_or(DEFAULT_DELAY_MS);
                (delay_ms <= MAX_DELAY_MS).then_some(delay_ms)
            }
            _ => None,
        }
    }
}

fn retry_delay_ms(result: &Result<Response, Failure>) -> Option<u64> {
    result.as_ref().err()?.retry_delay_ms()
}

/// If one request cannot be built, all items fail with its error.
fn send_items<'a, T: 'a>(
    items: impl ExactSizeIterator<Item = &'a T>,
    request: &impl Fn(&'a T) -> Result<Request<'a>, Error>,
    to_error: &impl Fn(&Refusal) -> Error,
) -> Vec<Result<Response, Failure>> {
    let count = items.len();
    let requests = match items.map(request).collect::<Result<Vec<_>, Error>>() {
        Ok(requests) => requests,
        Err(error) => {
            return vec![error; count]
                .into_iter()
                .map(|it| Err(it.into()))
                .collect();
        }
    };
    let check = |response: Result<Response, Error>| {
        response?.success().map_err(|refusal| Failure {
            error: to_error(&refusal),
            is_not_accepted: refusal.is_not_accepted(),
        })
    };
    send_all(requests).into_iter().map(check).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: ErrorKind, delay: Option<u64>, is_not_accepted: bool, expected: Option<u64>) {
        let mut error = Error::new(kind, "no");
        error.retry_after_ms = delay;
        let failure = Failure {
            error,
            is_not_accepted,
        };
        assert_eq!(failure.retry_delay_ms(), expected);
    }

    #[test]
    fn retry_delay_exists_only_for_short_temporary_refusals() {
        use ErrorKind::{Invalid, Quota, RateLimited, Unavailable};
        check(RateLimited, Some(1200), true, Some(1200));
        check(RateLimited, None, true, Some(DEFAULT_DELAY_MS));
        check(RateLimited, Some(3_600_000), true, None);
        check(Unavailable, None, true, Some(DEFAULT_DELAY_MS));
        check(Unavailable, None, false, None);
        check(Unavailable, Some(1), false, None);
        check(Quota, Some(1), true, None);
        check(Invalid, None, true, None);
    }
}
