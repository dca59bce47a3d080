//! The lines of the page.

use std::time::Duration;

use pinhole::config::{
    DEFAULT_JOB_SECS, DEFAULT_REQUESTS_PER_MINUTE, DEFAULT_SLOTS, DEFAULT_USER_STORAGE_MIB,
};
use pinhole::{accounts, app, chat, clients, event, files, jobs, store, web};
use pinhole_sandbox::Limits;

use super::Value::{ByteRange, Bytes, Count, Pixels, Rate, Text, Time};
use super::{Limit, Section};

const MINUTE: Duration = Duration::from_secs(60);
const CALL: Limits = Limits::job(Duration::from_secs(DEFAULT_JOB_SECS));

pub(super) const SECTIONS: &[Section] = &[
    Section {
        heading: "Requests",
        limits: &[
            Limit {
                what: "body of a request, except for chats, edits and settings",
                value: Bytes(web::MAX_BODY_BYTES as u64),
                setting: None,
                response: "413",
            },
            Limit {
                what: "connections of all clients; a quarter for one IP address",
                value: Count(clients::DEFAULT_CONNECTIONS as u64),
                setting: Some("PINHOLE_CONNECTIONS"),
                response: "503",
            },
            Limit {
                what: "memory of the process; requests of one user may hold as much as is free for others",
                value: Text("half of the machine's"),
                setting: Some("PINHOLE_MEMORY_MIB"),
                response: "413, 429 or 503",
            },
            Limit {
                what: "requests of one user for images and chat completions",
                value: Rate(DEFAULT_REQUESTS_PER_MINUTE.get() as u64, MINUTE),
                setting: Some("PINHOLE_REQUESTS_PER_MINUTE"),
                response: "429",
            },
            Limit {
                what: "chat completions of one user at the same time",
                value: Count(clients::MAX_CHATS as u64),
                setting: None,
                response: "429",
            },
            Limit {
                what: "time in which the body of a request must arrive",
                value: Time(clients::MAX_BODY_TIME),
                setting: None,
                response: "408",
            },
            Limit {
                what: "body of a chat completion request",
                value: Bytes(web::MAX_COMPLETION_BODY_BYTES as u64),
                setting: None,
                response: "413",
            },
            Limit {
                what: "prompt, negative prompt",
                value: Bytes(jobs::MAX_PROMPT_BYTES as u64),
                setting: None,
                response: "400",
            },
            Limit {
                what: "images per request; an engine may declare fewer",
                value: Count(pinhole_sandbox::MAX_COUNT as u64),
                setting: None,
                response: "400",
            },
            Limit {
                what: "requested width and height",
                value: Count(jobs::MAX_SIDE as u64),
                setting: None,
                response: "400",
            },
            Limit {
                what: "requested width times height",
                value: Pixels(jobs::MAX_PIXELS),
                setting: None,
                response: "400",
            },
            Limit {
                what: "sources of an edit; an engine may declare fewer",
                value: Count(files::MAX_SOURCES as u64),
                setting: None,
                response: "400",
            },
            Limit {
                what: "all sources and the mask of an edit",
                value: Bytes(jobs::MAX_SOURCE_BYTES as u64),
                setting: None,
                response: "400",
            },
        ],
    },
    Section {
        heading: "Jobs",
        limits: &[
            Limit {
                what: "running jobs",
                value: Count(DEFAULT_SLOTS as u64),
                setting: Some("PINHOLE_SLOTS"),
                response: "the job waits",
            },
            Limit {
                what: "waiting jobs per slot, of one user and in all",
                value: Count(pinhole_sandbox::MAX_WAITING_PER_SLOT as u64),
                setting: None,
                response: "429 for one user, 503 in all; 400 on `/api/v1/images`",
            },
            Limit {
                what: "duration of a job",
                value: Time(CALL.wall),
                setting: Some("PINHOLE_JOB_TIMEOUT_SECS"),
                response: "504; 400 on `/api/v1/images`",
            },
            Limit {
                what: "active jobs of one user on `/api/v1/jobs`",
                value: Count(jobs::MAX_ACTIVE_JOBS as u64),
                setting: None,
                response: "429",
            },
            Limit {
                what: "jobs of one user in the list",
                value: Count(store::MAX_STORED_JOBS as u64),
                setting: None,
                response: "the oldest are removed",
            },
            Limit {
                what: "days after its end for which a job is in the list",
                value: Count(store::MAX_JOB_AGE_DAYS as u64),
                setting: None,
                response: "the job is removed",
            },
        ],
    },
    Section {
        heading: "Images and files",
        limits: &[
            Limit {
                what: "an uploaded, edited or generated image",
                value: Bytes(files::UPLOAD_LIMITS.max_bytes as u64),
                setting: None,
                response: "413 in a form, 400 in JSON; a generated one is dropped",
            },
            Limit {
                what: "its width times height",
                value: Pixels(files::UPLOAD_LIMITS.max_pixels),
                setting: None,
                response: "400; a generated one is dropped",
            },
            Limit {
                what: "images on a page of the gallery",
                value: Count(web::MAX_PAGE_IMAGES as u64),
                setting: None,
                response: "400",
            },
            Limit {
                what: "images that one request stars, deletes or restores",
                value: Count(web::MAX_CHANGED_IMAGES as u64),
                setting: None,
                response: "400",
            },
            Limit {
                what: "images in an archive",
                value: Count(web::MAX_ARCHIVE_IMAGES as u64),
                setting: None,
                response: "400",
            },
            Limit {
                what: "time in which the deletion of images can be undone",
                value: Time(files::UNDO_TIME),
                setting: None,
                response: "they are removed",
            },
            Limit {
                what: "characters of an image's name and prompt that a search compares",
                value: Count(store::MAX_SEARCHED_CHARS as u64),
                setting: None,
                response: "the rest is not searched",
            },
            Limit {
                what: "request that is stored with an image, as JSON",
                value: Bytes(jobs::MAX_STORED_REQUEST_BYTES as u64),
                setting: None,
                response: "stored in part",
            },
            Limit {
                what: "files and chats of one user; administrators have no limit",
                value: Bytes(DEFAULT_USER_STORAGE_MIB << 20),
                setting: Some("PINHOLE_USER_STORAGE_MIB"),
                response: "413",
            },
        ],
    },
    Section {
        heading: "Chats and events",
        limits: &[
            Limit {
                what: "chats of one user",
                value: Count(store::MAX_CHATS as u64),
                setting: None,
                response: "400",
            },
            Limit {
                what: "messages in a chat",
                value: Count(store::MAX_MESSAGES as u64),
                setting: None,
                response: "400",
            },
            Limit {
                what: "chat that a client saves",
                value: Bytes(web::MAX_CHAT_BYTES as u64),
                setting: None,
                response: "413",
            },
            Limit {
                what: "searches of one user at the same time, of which one runs",
                value: Count(store::MAX_WAITING_SEARCHES as u64 + 1),
                setting: None,
                response: "429",
            },
            Limit {
                what: "background responses of one user at the same time",
                value: Count(chat::task::MAX_TASKS as u64),
                setting: None,
                response: "429",
            },
            Limit {
                what: "responses to one message, each of another model",
                value: Count(web::MAX_RESPONSES as u64),
                setting: None,
                response: "400",
            },
            Limit {
                what: "settings of one user's web client",
                value: Bytes(store::MAX_USER_SETTINGS_BYTES as u64),
                setting: None,
                response: "413",
            },
            Limit {
                what: "event streams of one user",
                value: Count(event::MAX_LISTENERS as u64),
                setting: None,
                response: "429",
            },
            Limit {
                what: "streams of engines' logs",
                value: Count(app::MAX_LOG_STREAMS as u64),
                setting: None,
                response: "503",
            },
        ],
    },
    Section {
        heading: "Accounts",
        limits: &[
            Limit {
                what: "password",
                value: ByteRange(
                    accounts::MIN_PASSWORD_BYTES as u64,
                    accounts::MAX_PASSWORD_BYTES as u64,
                ),
                setting: None,
                response: "400",
            },
            Limit {
                what: "sign-in attempts on one account",
                value: Rate(
                    accounts::MAX_ATTEMPTS_PER_ACCOUNT.get() as u64,
                    accounts::ATTEMPT_WINDOW,
                ),
                setting: None,
                response: "429 with `Retry-After`",
            },
            Limit {
                what: "sign-ins, sign-ups and setups from one IP address, such as a reverse proxy's",
                value: Rate(
                    accounts::MAX_ATTEMPTS_PER_IP.get() as u64,
                    accounts::ATTEMPT_WINDOW,
                ),
                setting: None,
                response: "429 with `Retry-After`",
            },
            Limit {
                what: "API keys of one user",
                value: Count(store::MAX_KEYS as u64),
                setting: None,
                response: "400",
            },
            Limit {
                what: "open sessions of one user",
                value: Count(store::MAX_SESSIONS as u64),
                setting: None,
                response: "the session that was not used for the longest time ends",
            },
        ],
    },
    Section {
        heading: "Engines and bindings",
        limits: &[
            Limit {
                what: "one component",
                value: Bytes(pinhole_sandbox::MAX_COMPONENT_BYTES),
                setting: None,
                response: "the component is refused",
            },
            Limit {
                what: "bindings in `PINHOLE_BINDINGS`",
                value: Count(jobs::MAX_BINDINGS as u64),
                setting: None,
                response: "the start fails, or 400 for a change",
            },
            Limit {
                what: "tests and verifications of engines by one administrator",
                value: Rate(jobs::MAX_VERIFICATIONS_PER_MINUTE as u64, MINUTE),
                setting: None,
                response: "429",
            },
            Limit {
                what: "time of one call in a test; `PINHOLE_JOB_TIMEOUT_SECS` can make it shorter",
                value: Time(jobs::MAX_QUERY_TIME),
                setting: None,
                response: "the test fails",
            },
        ],
    },
    Section {
        heading: "One call of an engine",
        limits: &[
            Limit {
                what: "memory, all linear memories and tables together",
                value: Bytes(CALL.memory_bytes as u64),
                setting: None,
                response: "the job fails",
            },
            Limit {
                what: "CPU time, host functions included",
                value: Time(CALL.running),
                setting: None,
                response: "the job fails",
            },
            Limit {
                what: "requests and WebSockets",
                value: Count(CALL.requests as u64),
                setting: None,
                response: "the request fails",
            },
            Limit {
                what: "one response",
                value: Bytes(CALL.response_bytes as u64),
                setting: None,
                response: "the request fails",
            },
        ],
    },
];
