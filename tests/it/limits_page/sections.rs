//! The rows of the page.

use std::time::Duration;

use pinhole::config::{DEFAULT_COMPILE_MIB, DEFAULT_COMPILE_SECS, DEFAULT_JOB_SECS, DEFAULT_SLOTS};
use pinhole::{accounts, chat, files, jobs, store, web};
use pinhole_sandbox::Limits;

use super::Value::{Bytes, Count, Pixels, Text, Time};
use super::{Limit, Section};

const CALL: Limits = Limits::job(Duration::from_secs(DEFAULT_JOB_SECS));

pub(super) const SECTIONS: &[Section] = &[
    Section {
        heading: "Requests",
        limits: &[
            Limit {
                what: "body of a request",
                value: Bytes(web::MAX_BODY_BYTES as u64),
                setting: None,
                response: "413",
            },
            Limit {
                what: "body of a chat completion request",
                value: Bytes(web::MAX_COMPLETION_BODY_BYTES as u64),
                setting: None,
                response: "413",
            },
            Limit {
                what: "memory that requests and jobs hold; of one user, as much as is free",
                value: Text("half of the machine's"),
                setting: Some("PINHOLE_MEMORY_MIB"),
                response: "413, 429 or 503",
            },
            Limit {
                what: "body of an image edit",
                value: Bytes(web::MAX_EDIT_BODY_BYTES as u64),
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
                what: "width and height that a request may name",
                value: Count(jobs::MAX_SIDE as u64),
                setting: None,
                response: "400",
            },
            Limit {
                what: "width times height that a request may name",
                value: Pixels(jobs::MAX_PIXELS),
                setting: None,
                response: "400",
            },
            Limit {
                what: "steps",
                value: Count(jobs::MAX_STEPS as u64),
                setting: None,
                response: "400",
            },
            Limit {
                what: "engine parameters, as JSON",
                value: Bytes(jobs::MAX_PARAMETERS_BYTES as u64),
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
                what: "jobs that run at the same time",
                value: Count(DEFAULT_SLOTS as u64),
                setting: Some("PINHOLE_SLOTS"),
                response: "the job waits",
            },
            Limit {
                what: "running jobs of one user",
                value: Text("half of `PINHOLE_SLOTS`"),
                setting: Some("PINHOLE_SLOTS_PER_USER"),
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
                response: "the job is canceled: 504; 400 on `/api/v1/images`",
            },
            Limit {
                what: "pause in an upstream's response; between events five times as long",
                value: Time(pinhole_egress::DEFAULT_SILENCE),
                setting: Some("PINHOLE_UPSTREAM_SILENCE_SECS"),
                response: "the engine's request fails",
            },
        ],
    },
    Section {
        heading: "Images and files",
        limits: &[
            Limit {
                what: "one image: upload, source, or result of a job",
                value: Bytes(files::UPLOAD_LIMITS.max_bytes as u64),
                setting: None,
                response: "413 in a form, 400 in JSON; a result is dropped",
            },
            Limit {
                what: "width times height of one image",
                value: Pixels(files::UPLOAD_LIMITS.max_pixels),
                setting: None,
                response: "400; a result is dropped",
            },
            Limit {
                what: "duration of an upload",
                value: Time(web::MAX_UPLOAD_TIME),
                setting: None,
                response: "408",
            },
            Limit {
                what: "retention of files",
                value: Text("unlimited"),
                setting: Some("PINHOLE_FILE_RETENTION_DAYS"),
                response: "the file is removed at start or within an hour",
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
                what: "running background responses of one user",
                value: Count(chat::task::MAX_TASKS as u64),
                setting: None,
                response: "429",
            },
            Limit {
                what: "running background responses in all",
                value: Count(chat::task::MAX_ALL_TASKS as u64),
                setting: None,
                response: "503",
            },
            Limit {
                what: "open event streams of one user",
                value: Count(chat::event::MAX_LISTENERS as u64),
                setting: None,
                response: "429",
            },
            Limit {
                what: "open event streams in all",
                value: Count(chat::event::MAX_ALL_LISTENERS as u64),
                setting: None,
                response: "503",
            },
        ],
    },
    Section {
        heading: "Accounts",
        limits: &[
            Limit {
                what: "password, at least",
                value: Bytes(accounts::MIN_PASSWORD_BYTES as u64),
                setting: None,
                response: "400",
            },
            Limit {
                what: "password, at most",
                value: Bytes(accounts::MAX_PASSWORD_BYTES as u64),
                setting: None,
                response: "400",
            },
            Limit {
                what: "period in which sign-in attempts are counted",
                value: Time(accounts::ATTEMPT_WINDOW),
                setting: None,
                response: "",
            },
            Limit {
                what: "attempts on one account in that period",
                value: Count(accounts::MAX_ATTEMPTS_PER_ACCOUNT as u64),
                setting: None,
                response: "429 with `Retry-After`",
            },
            Limit {
                what: "sign-ins and sign-ups from one IP address in that period; a reverse proxy counts as one IP address",
                value: Count(accounts::MAX_ATTEMPTS_PER_IP as u64),
                setting: None,
                response: "429 with `Retry-After`",
            },
        ],
    },
    Section {
        heading: "Engines and bindings",
        limits: &[
            Limit {
                what: "components in the engine directory",
                value: Count(pinhole_sandbox::MAX_FILES as u64),
                setting: None,
                response: "later ones, in alphabetical order, are refused",
            },
            Limit {
                what: "one component",
                value: Bytes(pinhole_sandbox::MAX_COMPONENT_BYTES),
                setting: None,
                response: "the component is refused",
            },
            Limit {
                what: "CPU time to compile one component",
                value: Time(Duration::from_secs(DEFAULT_COMPILE_SECS)),
                setting: Some("PINHOLE_COMPILE_SECS"),
                response: "the component is refused",
            },
            Limit {
                what: "memory to compile one component",
                value: Bytes(DEFAULT_COMPILE_MIB << 20),
                setting: Some("PINHOLE_COMPILE_MIB"),
                response: "the component is refused",
            },
            Limit {
                what: "bindings in `PINHOLE_BINDINGS`",
                value: Count(jobs::MAX_BINDINGS as u64),
                setting: None,
                response: "the start fails, or 400 for a change",
            },
            Limit {
                what: "names in `PINHOLE_FALLBACKS`",
                value: Count(jobs::MAX_FALLBACKS as u64),
                setting: None,
                response: "the start fails, or 400 for a change",
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
                what: "time after cancellation to stop the upstream",
                value: Time(CALL.grace),
                setting: None,
                response: "the instance is dropped",
            },
            Limit {
                what: "calls of host functions",
                value: Count(CALL.host_calls as u64),
                setting: None,
                response: "the job fails",
            },
            Limit {
                what: "data copied between guest and host",
                value: Bytes(CALL.copied_bytes as u64),
                setting: None,
                response: "the job fails",
            },
            Limit {
                what: "open handles",
                value: Count(CALL.handles as u64),
                setting: None,
                response: "the job fails",
            },
            Limit {
                what: "log lines",
                value: Bytes(CALL.log_bytes as u64),
                setting: None,
                response: "later lines are dropped",
            },
            Limit {
                what: "requests and WebSockets",
                value: Count(CALL.requests as u64),
                setting: None,
                response: "the request fails",
            },
            Limit {
                what: "concurrent requests, event streams and WebSockets",
                value: Count(CALL.connections as u64),
                setting: None,
                response: "the request fails",
            },
            Limit {
                what: "one request body, or one WebSocket message sent",
                value: Bytes(CALL.request_bytes as u64),
                setting: None,
                response: "the request fails",
            },
            Limit {
                what: "all request bodies and messages sent",
                value: Bytes(CALL.sent_bytes as u64),
                setting: None,
                response: "the request fails",
            },
            Limit {
                what: "one response",
                value: Bytes(CALL.response_bytes as u64),
                setting: None,
                response: "the request fails",
            },
            Limit {
                what: "bodies and images held at the same time",
                value: Bytes(CALL.held_bytes as u64),
                setting: None,
                response: "the job fails",
            },
            Limit {
                what: "bodies and images received in all",
                value: Bytes(CALL.taken_bytes as u64),
                setting: None,
                response: "the job fails",
            },
        ],
    },
];
