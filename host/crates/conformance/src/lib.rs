//! The conformance case runner behind `pinhole engine test`.
//!
//! `docs/reference/conformance-cases.md` describes the cases. A case runs on real parts: the component is
//! admitted as a server admits it, its requests pass through the egress, and the upstream is a server on
//! loopback.
//!
//! | modules | content |
//! |---|---|
//! | `suite`, `report` | all cases of an engine, and their reports |
//! | `case`, `invalid_case`, `case_files`, `computed`, `test_image` | a case, read and validated |
//! | `case_runner`, `case_run`, `host` | one run of a case, and its state |
//! | `scripted_upstream`, `http_reply`, `socket_script` | the fake upstream of a case |
//! | `loopback` | the server below it; also the base of the fake upstream of the tests |
//! | `placeholders`, `request_match`, `multipart_form`, `outcome_match` | comparison with patterns |
//! | `captured_log`, `secret_leaks` | the search for secrets |
//! | `case_writer` | a case from the traffic of a real job |

mod captured_log;
mod case;
mod case_files;
mod case_run;
mod case_runner;
mod case_writer;
mod computed;
mod display;
mod error_kind;
mod host;
mod http_reply;
mod invalid_case;
mod json_pointer;
mod loopback;
mod multipart_form;
mod outcome_match;
mod placeholders;
mod report;
mod request_match;
mod scripted_upstream;
mod secret_leaks;
mod socket_script;
mod suite;
mod test_image;

pub use captured_log::CapturedLog;
pub use case_writer::{CASE_FILE, RecordedJob, RecordedOutcome, WrittenCase, write_case};
pub use host::{Failure, Host, JobImages, JobParameters, Task, TaskResult};
pub use loopback::{
    FakeResponse, LoopbackServer, RawStep, RecordedRequest, RequestHandler, WebSocket,
};
pub use report::{CaseReport, Verdict};
pub use suite::ConformanceSuite;
