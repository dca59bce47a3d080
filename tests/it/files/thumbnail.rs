//! Thumbnails.

use bytes::Bytes;
use pinhole::files::{THUMBNAIL_SIZES, UPLOAD_LIMITS};
use pinhole_images::Image;
use pinhole_tests::{PIXEL, TestServer, file_path, gif, long_image};
use serde_json::json;

use super::{assert_not_found, file_id, response_json, upload};

/// Generates an image of this size. Returns the URL of its thumbnails.
async fn generate_image(server: &TestServer, size: &str) -> String {
    let body = json!({"prompt": "a fox", "size": size, "response_format": "url"});
    let (status, response) = server.post_json("/v1/images/generations", &body).await;
    assert_eq!(status, 200, "{response}");
    let path = file_path(response["data"][0]["url"].as_str().unwrap());
    let id = file_id(&path);
    format!("/api/v1/files/{id}/thumbnail")
}

fn type_and_size(bytes: Bytes) -> (&'static str, (u32, u32)) {
    let image = Image::from_bytes(bytes, UPLOAD_LIMITS).unwrap();
    (image.media_type(), image.size())
}

#[tokio::test(flavor = "multi_thread")]
async fn thumbnail_has_requested_size() {
    let server = TestServer::start(&[]).await;
    let url = generate_image(&server, "600x300").await;
    for (query, size) in [
        ("", (256, 128)),
        ("?size=128", (128, 64)),
        ("?size=256", (256, 128)),
        ("?size=512", (512, 256)),
        ("?size=1024", (600, 300)),
    ] {
        let response = server.get(&format!("{url}{query}")).send().await.unwrap();
        assert_eq!(response.status(), 200, "{query}");
        let headers = response.headers().clone();
        let (media_type, measured) = type_and_size(response.bytes().await.unwrap());
        assert_eq!(measured, size, "{query}");
        for (name, value) in [
            ("content-type", media_type),
            ("x-content-type-options", "nosniff"),
            ("content-security-policy", "default-src 'none'; sandbox"),
            ("cross-origin-resource-policy", "same-site"),
            ("content-disposition", "inline"),
            ("cache-control", "private, max-age=31536000, immutable"),
        ] {
            assert_eq!(headers[name], value);
        }
    }
    for size in ["0", "255", "257", "4096", "-1", "x", "", "99999999999"] {
        let (status, body) = response_json(server.get(&format!("{url}?size={size}"))).await;
        assert_eq!(status, 400, "{size}");
        assert!(body["detail"].is_string(), "{body}");
    }
    let (_, body) = response_json(server.get(&format!("{url}?size=300"))).await;
    let expected = json!({"detail": "size must be one of 128, 256, 512, 1024"});
    assert_eq!(body, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn thumbnail_is_created_once() {
    let server = TestServer::start(&[]).await;
    let url = generate_image(&server, "600x300").await;
    let first = server.get(&url).send().await.unwrap();
    let tag = first.headers()["etag"].clone();
    let first = first.bytes().await.unwrap();
    assert_eq!(server.stored_files(), 2);
    // The image itself is not needed again.
    let image = url.split('/').nth(4).unwrap();
    let image = server.data_dir.path().join("files").join(image);
    std::fs::remove_file(image).unwrap();
    let second = server.get(&url).send().await.unwrap();
    assert_eq!(second.bytes().await.unwrap(), first);
    let conditional = server.get(&url).header("if-none-match", &tag);
    assert_eq!(conditional.send().await.unwrap().status(), 304);
    let other = server.get(&format!("{url}?size=128"));
    assert_not_found("cannot be made", other.header("if-none-match", &tag)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_thumbnail_requests_share_result() {
    let server = TestServer::start(&[]).await;
    let url = generate_image(&server, "600x300").await;
    let requests = (0..8).map(|_| async {
        let response = server.get(&url).send().await.unwrap();
        assert_eq!(response.status(), 200);
        response.bytes().await.unwrap()
    });
    let thumbnails = futures_util::future::join_all(requests).await;
    assert!(thumbnails.iter().all(|bytes| *bytes == thumbnails[0]));
    assert_eq!(server.stored_files(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn undecodable_image_has_no_thumbnail() {
    let server = TestServer::start(&[]).await;
    // A complete file whose pixels are invalid.
    let broken = &long_image(200);
    // 63 million pixels, according to its header: too many to decode, but not too many to store.
    let mut vast = gif(0);
    vast[6..10].copy_from_slice(&[0, 0x20, 0, 0x1e]);
    for (case, image) in [("broken", broken), ("vast", &vast)] {
        let row = upload(&server, &server.key, "fox.gif", image).await;
        let url = format!("/api/v1/files/{}/thumbnail", row["id"].as_str().unwrap());
        let (status, body) = response_json(server.get(&url)).await;
        assert_eq!(status, 422, "{case}");
        let detail = body["detail"].as_str().unwrap();
        assert!(
            detail.starts_with("cannot create a thumbnail of this image: "),
            "{detail}"
        );
    }
    assert_eq!(server.stored_files(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn thumbnail_of_other_user_is_not_found() {
    let server = TestServer::start(&[]).await;
    let row = upload(&server, &server.key, "pixel.png", PIXEL).await;
    let url = format!("/api/v1/files/{}/thumbnail", row["id"].as_str().unwrap());
    assert_eq!(server.get(&url).send().await.unwrap().status(), 200);
    let second = server.add_second_user().await;
    for size in THUMBNAIL_SIZES {
        let url = server.url(&format!("{url}?size={size}"));
        assert_not_found("foreign", server.client.get(url).bearer_auth(second)).await;
    }
    let anonymous = server.client.get(server.url(&url)).send().await.unwrap();
    assert_eq!(anonymous.status(), 401);
}
