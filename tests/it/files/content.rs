//! Content: caching, ranges, download names, and long files.

use pinhole_tests::{TestServer, gif, long_image};

use super::{
    NOT_FOUND, assert_not_found, content_url, file_id, new_file, response_bytes, response_json,
    sha256_hex, upload,
};

#[tokio::test(flavor = "multi_thread")]
async fn if_none_match_returns_not_modified() {
    let server = TestServer::start(&[]).await;
    let image = gif(9);
    let url = content_url(&upload(&server, &server.key, "fox.gif", &image).await);
    let tag = format!("\"{}\"", sha256_hex(&image));
    let whole = server.get(&url).send().await.unwrap();
    assert_eq!(whole.headers()["etag"], tag);
    assert_eq!(whole.headers()["accept-ranges"], "bytes");
    assert_eq!(whole.bytes().await.unwrap(), image);
    for (cached_tag, status) in [
        (tag.clone(), 304),
        (format!("W/{tag}"), 304),
        (format!("\"another\", {tag}"), 304),
        ("*".to_owned(), 304),
        ("\"another\"".to_owned(), 200),
    ] {
        let request = server.get(&url).header("if-none-match", &cached_tag);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), status, "{cached_tag}");
        assert_eq!(response.headers()["etag"], tag);
        let cached = &response.headers()["cache-control"];
        assert_eq!(cached, "private, max-age=31536000, immutable");
        let typed = response.headers().contains_key("content-type");
        assert_eq!(typed, status == 200, "{cached_tag}");
        let sent = response.bytes().await.unwrap();
        assert_eq!(sent.is_empty(), status == 304, "{cached_tag}");
    }
    // A conditional request does not reveal a file of another user.
    let second = server.add_second_user().await;
    let foreign = server.client.get(server.url(&url)).bearer_auth(second);
    assert_not_found("foreign", foreign.header("if-none-match", "*")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn range_returns_partial_content() {
    let server = TestServer::start(&[]).await;
    let image = gif(9);
    let length = image.len();
    let url = content_url(&upload(&server, &server.key, "fox.gif", &image).await);
    for (range, first, last) in [
        ("bytes=0-0", 0, 0),
        ("bytes=3-7", 3, 7),
        ("bytes=5-", 5, length - 1),
        ("bytes=-4", length - 4, length - 1),
        ("bytes=0-99999", 0, length - 1),
    ] {
        let response = server.get(&url).header("range", range);
        let response = response.send().await.unwrap();
        assert_eq!(response.status(), 206, "{range}");
        let headers = response.headers().clone();
        let sent = format!("bytes {first}-{last}/{length}");
        assert_eq!(headers["content-range"], sent, "{range}");
        assert_eq!(headers["content-length"], (last - first + 1).to_string());
        assert_eq!(headers["content-type"], "image/gif");
        assert_eq!(headers["etag"], format!("\"{}\"", sha256_hex(&image)));
        assert_eq!(response.bytes().await.unwrap(), image[first..=last]);
    }
    for range in ["bytes=0-1,4-5", "bytes=7-3", "lines=1-2", "nonsense"] {
        let response = server.get(&url).header("range", range);
        let response = response.send().await.unwrap();
        assert_eq!(response.status(), 200, "{range}");
        assert_eq!(response.bytes().await.unwrap(), image, "{range}");
    }
    for range in [&format!("bytes={length}-"), "bytes=-0"] {
        let response = server.get(&url).header("range", range);
        let response = response.send().await.unwrap();
        assert_eq!(response.status(), 416, "{range}");
        let all = format!("bytes */{length}");
        assert_eq!(response.headers()["content-range"], all);
        assert_eq!(response.headers()["content-type"], "application/json");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn if_range_needs_strong_tag() {
    let server = TestServer::start(&[]).await;
    let image = gif(9);
    let url = content_url(&upload(&server, &server.key, "fox.gif", &image).await);
    let tag = format!("\"{}\"", sha256_hex(&image));
    for (started, status) in [
        (tag.as_str(), 206),
        ("\"another\"", 200),
        // A weak tag does not identify bytes, and files have no date.
        (&format!("W/{tag}"), 200),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 200),
    ] {
        let request = server.get(&url).header("range", "bytes=0-3");
        let response = request.header("if-range", started).send().await.unwrap();
        assert_eq!(response.status(), status, "{started}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn head_ignores_range() {
    let server = TestServer::start(&[]).await;
    let image = gif(9);
    let row = upload(&server, &server.key, "fox.gif", &image).await;
    let url = content_url(&row);
    let head = || {
        server
            .client
            .head(server.url(&url))
            .bearer_auth(&server.key)
    };
    let whole = server.get(&url).send().await.unwrap();
    let response = head().header("range", "bytes=0-3").send().await.unwrap();
    assert_eq!(response.status(), 200);
    let without_date = |from: &reqwest::Response| {
        let mut headers = from.headers().clone();
        headers.remove("date");
        headers
    };
    assert_eq!(without_date(&response), without_date(&whole));
    assert_eq!(
        response.headers()["content-length"],
        image.len().to_string()
    );
    assert!(response.bytes().await.unwrap().is_empty());
    let path = server.data_dir.path().join("files").join(file_id(&url));
    std::fs::remove_file(path).unwrap();
    assert_eq!(head().send().await.unwrap().status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn content_disposition_has_file_name() {
    let server = TestServer::start(&[]).await;
    let row = upload(&server, &server.key, "Füchse.gif", &gif(9)).await;
    let url = content_url(&row);
    let name = "filename=\"F_chse.gif\"; filename*=UTF-8''F%C3%BCchse.gif";
    for (path, kind) in [
        (url.clone(), "inline"),
        (format!("{url}/anything.png"), "inline"),
        (format!("{url}?attachment=true"), "attachment"),
        (format!("{url}/anything.png?attachment=1"), "attachment"),
        (format!("{url}?attachment=false"), "inline"),
    ] {
        let response = server.get(&path).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        let disposition = &response.headers()["content-disposition"];
        assert_eq!(disposition, &format!("{kind}; {name}"), "{path}");
        assert_eq!(response.bytes().await.unwrap(), gif(9), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn long_image_is_sent_whole_and_in_ranges() {
    let server = TestServer::start(&[]).await;
    let image = long_image(1_000_003);
    let url = content_url(&upload(&server, &server.key, "fox.gif", &image).await);
    assert_eq!(response_bytes(server.get(&url)).await, image);
    for (first, last) in [
        (0, 1_000_002),
        (262_143, 262_144),
        (262_144, 786_431),
        (7, 900_000),
    ] {
        let range = format!("bytes={first}-{last}");
        let part = response_bytes(server.get(&url).header("range", range)).await;
        assert!(part == image[first..=last], "{first}-{last}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn truncated_file_is_internal_error() {
    let server = TestServer::start(&[]).await;
    let url = content_url(&upload(&server, &server.key, "fox.gif", &gif(9)).await);
    let path = server.data_dir.path().join("files").join(file_id(&url));
    std::fs::write(path, b"GIF89a").unwrap();
    let (status, body) = response_json(server.get(&url)).await;
    assert_eq!(status, 500);
    assert_ne!(body["detail"], NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn file_without_hash_has_no_etag() {
    let server = TestServer::start(&[]).await;
    let row = upload(&server, &server.key, "fox.gif", &gif(9)).await;
    let store = &server.app.store;
    let mut file = store.file(row["id"].as_str().unwrap()).await;
    let file = file.as_mut().unwrap().as_mut().unwrap();
    store.delete_file(&file.id).await.unwrap();
    file.hash = String::new();
    store
        .insert_files(&[new_file(file.clone())], None)
        .await
        .unwrap();
    let thumbnail = format!("/api/v1/files/{}/thumbnail", file.id);
    for url in [&content_url(&row), &thumbnail] {
        let request = server.get(url).header("if-none-match", "\"\", *");
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200, "{url}");
        assert!(!response.headers().contains_key("etag"), "{url}");
    }
    let (_, stored_row) = response_json(server.get(&format!("/api/v1/files/{}", file.id))).await;
    assert!(stored_row["hash"].is_null(), "{stored_row}");
}
