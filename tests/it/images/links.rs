//! Links to images: who may open them, at which URL, and for how long.

use pinhole_tests::{FakeUpstream, TestServer, file_path, pixel_base64};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{GENERATIONS, generate};

fn url_request() -> Value {
    json!({"prompt": "a fox", "size": "8x8", "response_format": "url"})
}

/// Generates an image with these headers. Returns its link.
async fn link_with(server: &TestServer, headers: &[(&str, &str)]) -> String {
    let mut request = server.post(GENERATIONS, &url_request());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    let body: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    body["data"][0]["url"].as_str().unwrap().to_owned()
}

async fn status_of(server: &TestServer, url: &str) -> StatusCode {
    server.client.get(url).send().await.unwrap().status()
}

#[tokio::test(flavor = "multi_thread")]
async fn link_works_without_key_and_on_pages_of_other_sites() {
    let server = TestServer::start(&[("PINHOLE_LINK_LIFETIME", "1h")]).await;
    let link = link_with(&server, &[]).await;
    let start = server.url("/api/v1/files/");
    assert!(
        link.starts_with(&start) && link.ends_with("/image.png"),
        "{link}"
    );
    let response = server.client.get(&link).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let headers = response.headers();
    assert_eq!(headers["content-type"], "image/png");
    assert_eq!(headers["cross-origin-resource-policy"], "cross-origin");
    let max_age = headers["cache-control"].to_str().unwrap();
    let secs: u64 = max_age.rsplit('=').next().unwrap().parse().unwrap();
    assert!((3590..=3600).contains(&secs), "{max_age}");
    assert!(response.bytes().await.unwrap().starts_with(b"\x89PNG"));
    let download = server.client.get(format!("{link}?attachment=true"));
    let download = download.send().await.unwrap();
    let disposition = &download.headers()["content-disposition"];
    assert!(disposition.to_str().unwrap().starts_with("attachment"));
    let head = server.client.head(&link).send().await.unwrap();
    assert_eq!(head.status(), 200);

    // The file's own path still needs the key.
    let path = server.url(&file_path(&link));
    assert_eq!(status_of(&server, &path).await, 401);
    let with_key = server.get(&file_path(&link)).build().unwrap();
    let id = with_key.url().path().split('/').nth(4).unwrap().to_owned();
    let url = server.url(&format!("/api/v1/files/{id}"));
    let removal = server.client.delete(url).bearer_auth(&server.key);
    assert_eq!(removal.send().await.unwrap().status(), 200);
    assert_eq!(status_of(&server, &link).await, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn link_of_another_file_time_or_server_is_refused() {
    let server = TestServer::start(&[]).await;
    let (link, other) = (link_with(&server, &[]).await, link_with(&server, &[]).await);
    let parts: Vec<&str> = link.rsplitn(4, '/').collect();
    let [name, signature, expires, file] = parts[..] else {
        panic!("{link}");
    };
    let other_file = other.rsplitn(4, '/').last().unwrap();
    let later = expires.parse::<i64>().unwrap() + 1;
    for forged in [
        format!("{other_file}/{expires}/{signature}/{name}"),
        format!("{file}/{later}/{signature}/{name}"),
        format!("{file}/{expires}/{}/{name}", "A".repeat(43)),
    ] {
        assert_eq!(status_of(&server, &forged).await, 403, "{forged}");
    }
    // Any name is part of no secret.
    let renamed = format!("{file}/{expires}/{signature}/fox.png");
    assert_eq!(status_of(&server, &renamed).await, 200);
    // Links live as long as the secret.
    let path = link.strip_prefix(&server.url("")).unwrap().to_owned();
    let server = server.restart(&[]).await;
    assert_eq!(status_of(&server, &server.url(&path)).await, 200);
    let secret = [("WEBUI_SECRET_KEY", "another secret of the operator")];
    let server = server.restart(&secret).await;
    assert_eq!(status_of(&server, &server.url(&path)).await, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn link_is_below_the_public_url_or_the_requested_host() {
    let forwarded = [
        ("host", "images.example"),
        ("x-forwarded-host", "proxy.example"),
        ("x-forwarded-proto", "https"),
    ];
    let check = async |variables: &[(&str, &str)], headers: &[(&str, &str)], expected: &str| {
        let server = TestServer::start(variables).await;
        let link = link_with(&server, headers).await;
        let start = format!("{expected}/api/v1/files/");
        assert!(link.starts_with(&start), "{variables:?}: {link}");
    };
    check(&[], &forwarded, "http://images.example").await;
    let proxy = ("PINHOLE_TRUSTED_PROXIES", "127.0.0.1");
    check(&[proxy], &forwarded, "https://proxy.example").await;
    check(&[proxy], &forwarded[..1], "http://images.example").await;
    let url = ("WEBUI_URL", "https://public.example/");
    check(&[proxy, url], &forwarded, "https://public.example").await;
    // An invalid host makes a relative link.
    check(&[], &[("host", "ada@images.example")], "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_links_are_checked_when_they_are_stored() {
    let server = TestServer::start(&[]).await;
    for (name, value) in [
        ("WEBUI_URL", "images.example"),
        ("PINHOLE_LINK_LIFETIME", "forever"),
        ("PINHOLE_RESPONSE_FORMAT", "base64"),
    ] {
        let (status, refused) = server
            .post_json("/api/v1/settings", &json!({ name: value }))
            .await;
        assert_eq!(status, 400, "{refused}");
        assert!(refused.to_string().contains(name), "{refused}");
    }
    let stored = json!({"WEBUI_URL": "https://stored.example", "PINHOLE_RESPONSE_FORMAT": "url"});
    let (status, response) = server.post_json("/api/v1/settings", &stored).await;
    assert_eq!(status, 200, "{response}");
    let made = generate(&server, json!({"prompt": "a fox", "size": "8x8"})).await;
    let url = made["data"][0]["url"].as_str().unwrap();
    assert!(
        url.starts_with("https://stored.example/api/v1/files/"),
        "{url}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn model_decides_the_format_as_at_openai() {
    let response = json!({"created": 1, "data": [{"b64_json": pixel_base64()}]});
    let upstream = FakeUpstream::json(200, response).await;
    let base = format!("{}/v1", upstream.url());
    let check = async |settings: &[(&str, &str)], more: Value, member: &str| {
        let mut variables = vec![("IMAGES_OPENAI_API_BASE_URL", base.as_str())];
        variables.extend(settings);
        let server = TestServer::with_engine("openai", &variables).await;
        let mut body = json!({"prompt": "a fox"});
        let more = more.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(more);
        let made = generate(&server, body.clone()).await;
        let members: Vec<&String> = made["data"][0].as_object().unwrap().keys().collect();
        assert_eq!(members, [member], "{settings:?} {body}");
    };
    check(&[], json!({"model": "dall-e-3"}), "url").await;
    check(&[], json!({"model": "gpt-image-1"}), "b64_json").await;
    check(&[], json!({"model": "flux"}), "b64_json").await;
    let base64 = json!({"model": "dall-e-3", "response_format": "b64_json"});
    check(&[], base64, "b64_json").await;
    let urls = [("PINHOLE_RESPONSE_FORMAT", "url")];
    check(&urls, json!({"model": "flux"}), "url").await;
    check(&urls, json!({"model": "gpt-image-1"}), "b64_json").await;
    let default = [("IMAGE_GENERATION_MODEL", "dall-e-2")];
    check(&default, json!({}), "url").await;
}
