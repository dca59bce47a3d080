//! Whatever an upstream repeats, wherever it repeats it: no secret reaches an engine, a person, a
//! file or the log.

mod chat;
mod guest;
mod kept;
mod told;

use std::process::Command;
use std::sync::{Arc, Mutex};

use pinhole_tests::{FakeResponse, PIXEL, RecordedRequest, TestServer, FakeUpstream, engines, guests, program};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Made by chance, with the characters that base64's alphabets differ in.
const KEY: &str = "pk-7Qx~2/Vn?9>aLmZ4_tR8wYc";
/// What stands around a secret in an answer, and has to stay.
const AROUND: (&str, &str) = ("<before ", " after>");

/// What an upstream answers to a request.
type Answering = Box<dyn Fn(&RecordedRequest) -> FakeResponse + Send>;

/// A server with the engine `hostile`, and its upstream, which answers by path.
struct Place {
    server: TestServer,
    upstream: FakeUpstream,
    engines: TempDir,
    answer: Arc<Mutex<Answering>>,
}

impl Place {
    async fn start() -> Self {
        Self::with(&[]).await
    }

    async fn with(variables: &[(&str, &str)]) -> Self {
        let quiet: Answering = Box::new(|_| FakeResponse::json(200, &json!({})));
        let answer = Arc::new(Mutex::new(quiet));
        let answers = answer.clone();
        let upstream = FakeUpstream::start(move |seen| {
            let answer = answers.lock().unwrap()(&seen);
            async { answer }
        })
        .await;
        let engines = tempfile::tempdir().unwrap();
        for (folder, file) in [(guests(), "hostile.wasm"), (self::engines(), "sketch.wasm")] {
            std::fs::copy(folder.join(file), engines.path().join(file)).unwrap();
        }
        let url = upstream.url();
        let defaults = [
            ("PINHOLE_ENGINES", engines.path().to_str().unwrap()),
            ("IMAGE_GENERATION_ENGINE", "hostile"),
            ("HOSTILE_BASE_URL", &url),
            ("HOSTILE_API_KEY", KEY),
        ];
        let server = TestServer::start(&[&defaults, variables].concat()).await;
        Self {
            server,
            upstream,
            engines,
            answer,
        }
    }

    /// From now on the upstream answers so.
    fn answers(&self, answer: impl Fn(&RecordedRequest) -> FakeResponse + Send + 'static) {
        *self.answer.lock().unwrap() = Box::new(answer);
    }

    /// From now on the upstream gives the secret in pieces that nobody recognises.
    fn gives_pieces(&self, text: &str) {
        let letters: Vec<_> = text.chars().collect();
        let pieces: Vec<String> = letters
            .chunks(5)
            .map(|piece| piece.iter().collect())
            .collect();
        self.answers(move |_| FakeResponse::json(200, &json!(pieces)));
    }

    /// A job, with its status and everything that its answer says.
    async fn draw(&self, prompt: &str) -> (u16, Value) {
        let body = json!({"prompt": prompt});
        self.server.post_json("/v1/images/generations", &body).await
    }

    /// What the engine saw: it says it backwards.
    async fn sees(&self, how: &str) -> String {
        let (status, answer) = self.draw(&format!("see {how}")).await;
        let said = answer["error"]["message"].as_str();
        let said = said.unwrap_or_else(|| panic!("{how}: {status} {answer}"));
        said.chars().rev().collect()
    }
}

/// Fails where eight characters of the key, or of any spelling of it, stand in the text.
#[track_caller]
fn check(text: &str) {
    for (_, spelled) in spellings() {
        let window = if spelled == KEY { 8 } else { 24 };
        let letters: Vec<_> = spelled.chars().collect();
        for window in letters.windows(window.min(letters.len())) {
            let window: String = window.iter().collect();
            assert!(!text.contains(&window), "{window} is in {text}");
        }
    }
}

/// The key in every spelling that is looked for, none of which JSON or a header would change.
fn spellings() -> Vec<(&'static str, String)> {
    let each = |how: &dyn Fn(u8) -> String| KEY.bytes().map(how).collect::<String>();
    vec![
        ("plain", KEY.to_owned()),
        ("percent", each(&|byte| format!("%{byte:02x}"))),
        ("hex", each(&|byte| format!("{byte:02X}"))),
        ("base64", base64_simd::STANDARD.encode_to_string(KEY)),
        (
            "url-base64",
            base64_simd::URL_SAFE_NO_PAD.encode_to_string(format!("u:{KEY}")),
        ),
    ]
}

/// JSON whose one text is this.
fn around(spelled: &str) -> String {
    format!("{}{spelled}{}", AROUND.0, AROUND.1)
}
