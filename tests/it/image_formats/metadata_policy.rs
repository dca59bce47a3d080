//! Metadata of images that pass through a server.

use pinhole_tests::{EngineFixture, FakeResponse, TestServer};
use serde_json::{Value, json};

use super::{SECRET, contains, contains_secret, sample_file};

const KEY: &str = "4711-secret";

async fn openai_fixture(variables: &[(&str, &str)]) -> EngineFixture {
    let all = [
        ("IMAGES_OPENAI_API_BASE_URL", "{upstream}/v1"),
        ("IMAGES_OPENAI_API_KEY", "{secret}"),
    ];
    EngineFixture::start("openai", KEY, &[&all, variables].concat()).await
}

fn images_response(images: &[&[u8]]) -> FakeResponse {
    let entries = images
        .iter()
        .map(|bytes| json!({"b64_json": base64_simd::STANDARD.encode_to_string(bytes)}));
    FakeResponse::json(
        200,
        &json!({"created": 1, "data": entries.collect::<Vec<_>>()}),
    )
}

fn generation_request() -> Value {
    json!({"prompt": "a fox", "model": "m"})
}

fn data_url(bytes: &[u8]) -> String {
    let text = base64_simd::STANDARD.encode_to_string(bytes);
    format!("data:image/png;base64,{text}")
}

#[tokio::test(flavor = "multi_thread")]
async fn generated_image_metadata_follows_setting() {
    let notes = sample_file("notes.png");
    let has_profile = |bytes: &[u8]| contains(bytes, b"iCCP");
    for (setting, profile) in [("", true), ("essential", true), ("strip", false)] {
        let fixture = openai_fixture(&[("PINHOLE_IMAGE_METADATA", setting)]).await;
        let generated = fixture
            .generate([images_response(&[&notes])], &generation_request())
            .await
            .images();
        assert!(
            !contains_secret(&generated[0]) && !contains(&generated[0], b"zTXt"),
            "{setting}"
        );
        assert_eq!(has_profile(&generated[0]), profile, "{setting}");
    }
    // Under `keep`, metadata with a secret is removed, and so are a program's other text chunks.
    let fixture = openai_fixture(&[("PINHOLE_IMAGE_METADATA", "keep")]).await;
    let generated = fixture
        .generate([images_response(&[&notes])], &generation_request())
        .await
        .images();
    assert!(!contains_secret(&generated[0]) && !contains(&generated[0], b"zTXt"));
    let other = String::from_utf8_lossy(SECRET).replace("4711", "1147");
    let mut harmless = sample_file("film.gif").to_vec();
    while let Some(at) = harmless.windows(SECRET.len()).position(|it| it == SECRET) {
        harmless[at..at + SECRET.len()].copy_from_slice(&other.as_bytes().to_ascii_uppercase());
    }
    let unchanged = fixture
        .generate([images_response(&[&harmless])], &generation_request())
        .await
        .images();
    assert!(unchanged[0] == harmless);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_metadata_policy_is_refused() {
    let server = TestServer::start(&[]).await;
    let body = json!({"PINHOLE_IMAGE_METADATA": "some"});
    let (status, reply) = server.post_json("/api/v1/settings", &body).await;
    assert_eq!(status, 400, "{reply}");
    let detail = reply["detail"].as_str().unwrap();
    assert!(
        detail.contains("it must be essential, strip or keep"),
        "{detail}"
    );
    let valid = json!({"PINHOLE_IMAGE_METADATA": "keep"});
    assert_eq!(server.post_json("/api/v1/settings", &valid).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn source_metadata_stays_in_file_and_reaches_no_upstream() {
    let fixture = openai_fixture(&[("PINHOLE_IMAGE_METADATA", "keep")]).await;
    let server = &fixture.server;
    let phone = sample_file("phone.jpg");
    let body = json!({"prompt": "bluer", "images": [{"image_url": data_url(&phone)}]});
    let status = server.post_json("/v1/images/edits", &body).await.0;
    // The fixture has no response for the edit; only the request matters.
    assert_eq!(status, 502);
    let requests = fixture.upstream.requests();
    let edit = &requests
        .iter()
        .find(|it| it.target == "/v1/images/edits")
        .unwrap()
        .body;
    assert!(contains(edit, b"\xff\xd8\xff") && !contains_secret(edit));
    assert!(!contains(edit, b"Exif\0") && !contains(edit, b"mp42"));

    let form = b"--x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.jpg\"\r\n\r\n";
    let form = [form, &phone[..], b"\r\n--x--\r\n"].concat();
    let request = server.client.post(server.url("/api/v1/files/"));
    let request = request.bearer_auth(&server.key).body(form);
    let request = request.header("content-type", "multipart/form-data; boundary=x");
    let row: Value =
        serde_json::from_slice(&request.send().await.unwrap().bytes().await.unwrap()).unwrap();
    let url = format!("/api/v1/files/{}/content", row["id"].as_str().unwrap());
    let bytes = server
        .get(&url)
        .send()
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    assert!(phone.starts_with(&bytes) && contains(&bytes, b"Exif\0"));
    assert!(
        !contains(&bytes, b"mp42"),
        "what follows the end is cut off"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn result_with_extra_or_missing_bytes_is_refused() {
    let fixture = openai_fixture(&[]).await;
    let plain = sample_file("plain.png");
    let archive = [&plain[..], b"PK\x03\x04"].concat();
    let half = &plain[..plain.len() / 2];
    for (image, expected) in [
        (&archive[..], "after its end"),
        (half, "truncated"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a PNG"),
    ] {
        let exchange = fixture
            .generate([images_response(&[image])], &generation_request())
            .await;
        let (status, code, _, message) = exchange.error();
        assert_eq!((status, code), (502, "protocol"), "{message}");
        assert!(message.contains(expected), "{message}");
    }
    assert_eq!(fixture.server.stored_files(), 0);
}
