//! `docs/reference/limits.md`: the limits that a user can meet, written from the constants of the code.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use pinhole::config::{
    Config, DEFAULT_COMPILE_MIB, DEFAULT_COMPILE_SECS, DEFAULT_JOB_SECS, DEFAULT_SLOTS,
};
use pinhole::{accounts, chat, files, jobs, store, web};
use pinhole_sandbox::Limits;
use pinhole_tests::environment;

use Value::{Bytes, Count, Pixels, Text, Time};

const HEAD: &str = "\
# Limits

The limits that users, operators and engine authors can meet. A test writes this page from the constants of the code. Limits
of one area only are in its page: [chat](../concepts/chat.md), [chats](../concepts/chats.md), [events](../concepts/events.md),
[images](../concepts/images.md), [files](../concepts/files.md), [image API](image-api.md). A variable in the second column changes the limit.
";

/// One row of the page.
struct Limit {
    what: &'static str,
    value: Value,
    /// The environment variable that changes it. The value is then its default.
    setting: Option<&'static str>,
    /// What happens beyond the limit.
    response: &'static str,
}

/// A limit's value with its unit.
#[derive(Clone, Copy)]
enum Value {
    Bytes(u64),
    Count(u64),
    Pixels(u64),
    Time(Duration),
    Text(&'static str),
}

struct Section {
    heading: &'static str,
    limits: &'static [Limit],
}

const CALL: Limits = Limits::job(Duration::from_secs(DEFAULT_JOB_SECS));

const SECTIONS: &[Section] = &[
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
                what: "concurrent uploads of all users together",
                value: Bytes(files::MAX_UPLOADING_BYTES as u64),
                setting: None,
                response: "503",
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

/// Formats a value with the largest unit that gives a whole number.
fn format_value(value: Value) -> String {
    match value {
        Bytes(bytes) => {
            let unit = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")]
                .into_iter()
                .find(|(size, _)| bytes > 0 && bytes % size == 0);
            match unit {
                Some((size, name)) => format!("{} {name}", group_digits(bytes / size)),
                None => format!("{} bytes", group_digits(bytes)),
            }
        }
        Count(count) => group_digits(count),
        Pixels(pixels) => format!("{} pixels", group_digits(pixels)),
        Time(time) => {
            let secs = time.as_secs();
            if time.subsec_millis() != 0 {
                format!("{} ms", time.as_millis())
            } else if secs > 60 && secs % 60 == 0 {
                format!("{} min", secs / 60)
            } else {
                format!("{secs} s")
            }
        }
        Text(text) => text.to_owned(),
    }
}

/// 33554432 as 33 554 432.
fn group_digits(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

fn render_page() -> String {
    let mut page = HEAD.to_owned();
    for section in SECTIONS {
        write!(
            page,
            "\n## {}\n\n| what | limit | beyond it |\n|---|---|---|\n",
            section.heading
        )
        .unwrap();
        for limit in section.limits {
            let value = format_value(limit.value);
            let value = match limit.setting {
                Some(setting) => format!("{value}, `{setting}`"),
                None => value,
            };
            writeln!(page, "| {} | {value} | {} |", limit.what, limit.response).unwrap();
        }
    }
    page
}

#[test]
fn limits_page_is_current() {
    let page = render_page();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/limits.md");
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    if written != page {
        std::fs::write(&path, page).unwrap();
        panic!(
            "docs/reference/limits.md was out of date and has been rewritten: review and commit it"
        );
    }
}

#[test]
fn limits_page_names_each_limit_once_and_only_real_variables() {
    let mut names = BTreeSet::new();
    for limit in SECTIONS.iter().flat_map(|section| section.limits) {
        assert!(names.insert(limit.what), "{} is listed twice", limit.what);
        let Some(setting) = limit.setting else {
            continue;
        };
        let data = tempfile::tempdir().unwrap();
        let error = Config::new(environment(&data, &[(setting, "not a number")])).err();
        let message = error.map(|error| error.to_string()).unwrap_or_default();
        assert!(
            message.contains(setting),
            "{setting} is not read: {message}"
        );
    }
}

#[test]
fn limit_values_have_their_largest_whole_unit() {
    for (value, expected) in [
        (Bytes(32 << 20), "32 MiB"),
        (Bytes(1 << 30), "1 GiB"),
        (Bytes(64 << 10), "64 KiB"),
        (Bytes(32_000), "32 000 bytes"),
        (Bytes(0), "0 bytes"),
        (Count(10_000), "10 000"),
        (Count(5), "5"),
        (Pixels(4096 * 4096), "16 777 216 pixels"),
        (Time(Duration::from_secs(600)), "10 min"),
        (Time(Duration::from_secs(60)), "60 s"),
        (Time(Duration::from_secs(90)), "90 s"),
        (Time(Duration::from_millis(50)), "50 ms"),
        (Text("unlimited"), "unlimited"),
    ] {
        assert_eq!(format_value(value), expected);
    }
}
