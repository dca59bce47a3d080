//! What an engine reads from a response that reflects its key.

use futures_util::SinkExt;
use tokio_tungstenite::tungstenite::Message;

use std::sync::Arc;

use super::*;

/// A response with this form of the key in the place that `see HOW` reads.
fn reflection(how: &str, encoded: &str) -> FakeResponse {
    let text = surrounded(encoded);
    match how {
        "headers" => FakeResponse::json(200, &json!({})).header("x-echo", &text),
        "json" => FakeResponse::json(200, &json!({"nested": [{ &text: text }]})),
        "at" => FakeResponse::json(200, &json!({ "echo": text })),
        "event" => {
            let event = json!({ "echo": text });
            FakeResponse::typed(200, "text/event-stream", format!("data: {event}\n\n"))
        }
        "picture" => FakeResponse::typed(200, "image/png", image(&text)),
        "frame" => {
            let frame = json!({ "echo": text }).to_string();
            FakeResponse::web_socket(|mut socket| async move {
                socket.send(Message::text(frame)).await.ok();
            })
        }
        "message" => FakeResponse::web_socket(|mut socket| async move {
            let message = format!("\0\0\0\x01{text}");
            socket
                .send(Message::binary(message.into_bytes()))
                .await
                .ok();
        }),
        _ => FakeResponse::typed(500, "text/plain", text),
    }
}

/// A PNG whose compressed pixels are this text.
fn image(text: &str) -> Vec<u8> {
    let (head, end) = (&PIXEL[..33], &PIXEL[PIXEL.len() - 12..]);
    let length = u32::try_from(text.len()).unwrap().to_be_bytes();
    [head, &length, b"IDAT", text.as_bytes(), &[0; 4], end].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn reflected_key_is_redacted_in_every_channel_and_encoding() {
    let fixture = SecretFixture::start().await;
    for how in [
        "headers", "json", "text", "at", "event", "picture", "frame", "message",
    ] {
        for (name, encoded) in key_encodings() {
            fixture.respond(move |_| reflection(how, &encoded));
            let engine_text = fixture.visible_to_engine(how).await;
            assert_no_key(&engine_text);
            let visible = |text: &str| match how {
                "picture" | "message" => text.replace(' ', ""),
                _ => text.to_owned(),
            };
            assert!(
                engine_text.contains(&visible(AROUND.0))
                    && engine_text.contains(&visible(AROUND.1)),
                "{how}, {name}: {engine_text}"
            );
            assert!(
                engine_text.contains("********"),
                "{how}, {name}: {engine_text}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn response_without_secret_is_unchanged() {
    let fixture = SecretFixture::start().await;
    // Seven consecutive bytes do not count as a secret.
    let harmless = format!("{}\u{2026}{} 100% \\o/ %41", &KEY[..7], &KEY[8..15]);
    for how in ["json", "text", "at", "event", "frame"] {
        let text = harmless.clone();
        fixture.respond(move |_| reflection(how, &text));
        // JSON escapes the backslash.
        let engine_text = fixture.visible_to_engine(how).await;
        let engine_text = engine_text.replace("\\\\", "\\");
        assert!(
            engine_text.contains(&surrounded(&harmless)),
            "{how}: {engine_text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn escaped_json_is_redacted() {
    let fixture = SecretFixture::start().await;
    let escaped: String = KEY
        .chars()
        .map(|it| format!("\\u{:04x}", it as u32))
        .collect();
    let mixed = KEY
        .replace('/', "\\/")
        .replace('x', "\\u0078")
        .replace('Q', "%51");
    for encoded in [escaped, mixed] {
        let length = encoded.len();
        fixture.respond(move |_| reflection("text", &encoded));
        assert_eq!(
            fixture.visible_to_engine("text").await,
            surrounded(&"*".repeat(length))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn engine_settings_omit_secret() {
    let fixture = SecretFixture::start().await;
    let (_, response) = fixture.generate("settings").await;
    let message = response["error"]["message"].as_str().unwrap();
    assert!(message.contains("\"api-key\":null"), "{message}");
    assert_no_key(&response.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn job_uses_key_of_its_start() {
    let fixture = SecretFixture::start().await;
    let (arrived, started) = tokio::sync::watch::channel(0);
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    // The upstream delays its first response until the key has changed.
    let waits = gate.clone();
    let upstream = FakeUpstream::start(move |text: RecordedRequest| {
        let (arrived, waits) = (arrived.clone(), waits.clone());
        async move {
            arrived.send_modify(|count| *count += 1);
            if text.target.ends_with("/first") {
                waits.acquire().await.unwrap().forget();
            }
            FakeResponse::json(200, &json!({}))
        }
    })
    .await;
    let set = json!({"HOSTILE_BASE_URL": upstream.url()});
    assert_eq!(
        fixture.server.post_json("/api/v1/settings", &set).await.0,
        200
    );
    let next = "another-Key-0815-4711";
    let changing = async {
        let mut started = started;
        started.wait_for(|count| *count > 0).await.unwrap();
        let new_key = json!({"HOSTILE_API_KEY": next});
        assert_eq!(
            fixture
                .server
                .post_json("/api/v1/settings", &new_key)
                .await
                .0,
            200
        );
        gate.add_permits(2);
    };
    let (response, ()) = tokio::join!(fixture.generate("twice"), changing);
    assert_eq!(response.0, 200, "{}", response.1);
    assert_eq!(fixture.generate("twice").await.0, 200);
    let credentials: Vec<_> = upstream
        .requests()
        .iter()
        .map(|text| text.header("authorization").to_owned())
        .collect();
    let (old, new) = (format!("Bearer {KEY}"), format!("Bearer {next}"));
    assert_eq!(credentials, [old.clone(), old, new.clone(), new]);
}
