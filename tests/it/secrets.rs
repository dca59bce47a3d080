//! Whatever an upstream repeats, wherever it repeats it: no secret reaches an engine, a person, a
//! file or the log.

mod chat;
mod engine_input;
mod engine_output;
mod stored_keys;

use std::process::Command;

use pinhole_tests::{
    FakeResponse, FakeUpstream, PIXEL, RecordedRequest, TestServer, engines, guests, program,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Made by chance, with the characters that base64's alphabets differ in.
const KEY: &str = "pk-7Qx~2/Vn?9>aLmZ4_tR8wYc";
/// What stands around a secret in an answer, and has to stay.
const AROUND: (&str, &str) = ("<before ", " after>");

/// A server with the engine `hostile`, and its upstream, which responds with `{}` until a test changes it.
struct SecretFixture {
    server: TestServer,
    upstream: FakeUpstream,
    engines: TempDir,
}

impl SecretFixture {
    async fn start() -> Self {
        Self::with(&[]).await
    }

    async fn with(variables: &[(&str, &str)]) -> Self {
        let upstream = FakeUpstream::json(200, json!({})).await;
        let engines = tempfile::tempdir().unwrap();
        for (directory, file) in [(guests(), "hostile.wasm"), (self::engines(), "sketch.wasm")] {
            std::fs::copy(directory.join(file), engines.path().join(file)).unwrap();
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
        }
    }

    /// Makes the upstream respond like this to each later request.
    fn respond(&self, respond: impl Fn(&RecordedRequest) -> FakeResponse + Send + Sync + 'static) {
        self.upstream.set_handler(move |request| {
            let response = respond(&request);
            async { response }
        });
    }

    /// From now on the upstream gives the secret in pieces that nobody recognises.
    fn respond_in_pieces(&self, text: &str) {
        let letters: Vec<_> = text.chars().collect();
        let pieces: Vec<String> = letters
            .chunks(5)
            .map(|piece| piece.iter().collect())
            .collect();
        self.respond(move |_| FakeResponse::json(200, &json!(pieces)));
    }

    /// A job, with its status and everything that its answer says.
    async fn generate(&self, prompt: &str) -> (u16, Value) {
        let body = json!({"prompt": prompt});
        self.server.post_json("/v1/images/generations", &body).await
    }

    /// What the engine saw: it says it backwards.
    async fn visible_to_engine(&self, how: &str) -> String {
        let (status, response) = self.generate(&format!("see {how}")).await;
        let said = response["error"]["message"].as_str();
        let said = said.unwrap_or_else(|| panic!("{how}: {status} {response}"));
        said.chars().rev().collect()
    }
}

/// Fails where eight characters of the key, or of any spelling of it, stand in the text.
#[track_caller]
fn assert_no_key(text: &str) {
    for (_, spelled) in key_encodings() {
        let window = if spelled == KEY { 8 } else { 24 };
        let letters: Vec<_> = spelled.chars().collect();
        for window in letters.windows(window.min(letters.len())) {
            let window: String = window.iter().collect();
            assert!(!text.contains(&window), "{window} is in {text}");
        }
    }
}

/// The key in every spelling that is looked for, none of which JSON or a header would change.
fn key_encodings() -> Vec<(&'static str, String)> {
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
fn surrounded(spelled: &str) -> String {
    format!("{}{spelled}{}", AROUND.0, AROUND.1)
}
