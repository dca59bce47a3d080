//! Secrets that an upstream reflects are redacted before an engine, a user, a file or the log gets them.

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

/// Random, with the characters in which the base64 alphabets differ.
const KEY: &str = "pk-7Qx~2/Vn?9>aLmZ4_tR8wYc";
/// The text around a secret in a response, which redaction must not change.
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

    /// Makes the upstream send this text in pieces that redaction cannot recognize.
    fn respond_in_pieces(&self, text: &str) {
        let letters: Vec<_> = text.chars().collect();
        let pieces: Vec<String> = letters
            .chunks(5)
            .map(|piece| piece.iter().collect())
            .collect();
        self.respond(move |_| FakeResponse::json(200, &json!(pieces)));
    }

    /// Runs a job. Returns the status and JSON of the response.
    async fn generate(&self, prompt: &str) -> (u16, Value) {
        let body = json!({"prompt": prompt});
        self.server.post_json("/v1/images/generations", &body).await
    }

    /// The text that the engine saw, which it returns reversed.
    async fn visible_to_engine(&self, how: &str) -> String {
        let (status, response) = self.generate(&format!("see {how}")).await;
        let message = response["error"]["message"].as_str();
        let message = message.unwrap_or_else(|| panic!("{how}: {status} {response}"));
        message.chars().rev().collect()
    }
}

/// Fails if the text contains eight characters of the key, or part of an encoded form of it.
#[track_caller]
fn assert_no_key(text: &str) {
    for (_, encoded) in key_encodings() {
        let length = if encoded == KEY { 8 } else { 24 };
        let letters: Vec<_> = encoded.chars().collect();
        for part in letters.windows(length.min(letters.len())) {
            let part: String = part.iter().collect();
            assert!(!text.contains(&part), "{part} is in {text}");
        }
    }
}

/// The key in each encoding that redaction recognizes and that JSON and headers leave unchanged.
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

/// The text between the parts of [`AROUND`].
fn surrounded(encoded: &str) -> String {
    format!("{}{encoded}{}", AROUND.0, AROUND.1)
}
