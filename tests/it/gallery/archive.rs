//! Images as a ZIP archive.

use std::io::{Cursor, Read};

use bytes::Bytes;
use pinhole_tests::{TestServer, gif, long_image};
use zip::{CompressionMethod, ZipArchive};

use super::{GALLERY, get, new_file, upload, upload_bytes, user_id};

async fn server() -> TestServer {
    TestServer::with_engine("sketch", &[]).await
}

async fn download(server: &TestServer, ids: &[&str]) -> Bytes {
    let path = format!("{GALLERY}/zip?ids={}", ids.join(","));
    let response = server.get(&path).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let headers = response.headers();
    assert_eq!(headers["content-type"], "application/zip");
    let disposition = "attachment; filename=\"images.zip\"";
    assert_eq!(headers["content-disposition"], disposition);
    assert_eq!(headers["x-content-type-options"], "nosniff");
    response.bytes().await.unwrap()
}

/// The names and bytes of an archive's entries.
fn entries(bytes: &Bytes) -> Vec<(String, Vec<u8>)> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).unwrap();
    let mut entries = Vec::new();
    for index in 0..archive.len() {
        let mut file = archive.by_index(index).unwrap();
        assert_eq!(file.compression(), CompressionMethod::Stored);
        assert!(file.last_modified().unwrap().year() > 2023);
        let mut content = Vec::new();
        file.read_to_end(&mut content).unwrap();
        entries.push((file.name().unwrap().into_owned(), content));
    }
    entries
}

#[tokio::test(flavor = "multi_thread")]
async fn archive_has_the_images_in_order_with_unique_names() {
    let server = server().await;
    let large = long_image(3 << 20);
    let first = upload_bytes(&server, &server.key, "fox.png", &large).await;
    let second = upload_bytes(&server, &server.key, "Fox.gif", &gif(8)).await;
    let third = upload_bytes(&server, &server.key, "fox.gif", &gif(7)).await;
    let bytes = download(&server, &[&first, &second, &third, &second]).await;
    let expected = [
        ("fox.png".to_owned(), large),
        ("Fox.gif".to_owned(), gif(8)),
        ("fox (2).gif".to_owned(), gif(7)),
    ];
    assert!(entries(&bytes) == expected);
    assert_eq!(server.app.memory.held_bytes(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn entry_name_has_no_path() {
    let server = server().await;
    let id = upload(&server, &server.key, "fox.gif").await;
    for (name, expected) in [
        ("../../etc/passwd", "passwd.gif"),
        ("/etc/cron.d/job", "job.gif"),
        ("..\\..\\start.bat", "start.bat.gif"),
        ("C:\\windows\\x.gif", "x.gif"),
        ("..", "image.gif"),
        ("aux.gif", "_aux.gif"),
    ] {
        let rename = "UPDATE files SET name = $1";
        server.database.execute(rename, &[name]).await;
        let found = entries(&download(&server, &[&id]).await);
        assert_eq!(found[0].0, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn archive_of_another_users_image_is_not_found() {
    let server = server().await;
    let second = server.add_second_user().await;
    let mine = upload(&server, &server.key, "fox.gif").await;
    let theirs = upload(&server, second, "hen.gif").await;
    for (key, ids) in [
        (second, mine.clone()),
        (second, format!("{theirs},{mine}")),
        (server.key.as_str(), theirs.clone()),
        (server.key.as_str(), format!("{mine},unknown")),
    ] {
        let (status, refusal) = get(&server, key, &format!("{GALLERY}/zip?ids={ids}")).await;
        assert_eq!(status, 404, "{refusal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn archive_needs_one_to_a_hundred_images() {
    let server = server().await;
    let many: Vec<String> = (0..101).map(|number| number.to_string()).collect();
    for (ids, part) in [
        (String::new(), "name at least one image"),
        (",,".to_owned(), "name at least one image"),
        (many.join(","), "more than 100 ids"),
    ] {
        let path = format!("{GALLERY}/zip?ids={ids}");
        let (status, refusal) = get(&server, &server.key, &path).await;
        let detail = refusal["detail"].as_str().unwrap();
        assert_eq!(status, 400, "{detail}");
        assert!(detail.contains(part), "{detail}");
    }
    let missing = get(&server, &server.key, &format!("{GALLERY}/zip")).await;
    assert_eq!(missing.0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn archive_without_the_bytes_of_an_image_is_refused_by_name() {
    let server = server().await;
    let owner = user_id(&server, &server.key).await;
    let file = new_file("lost", &owner, "fox.png", 1);
    server.app.store.insert_files(&[file], None).await.unwrap();
    let (status, refusal) = get(&server, &server.key, &format!("{GALLERY}/zip?ids=lost")).await;
    assert_eq!(status, 404);
    let detail = "the bytes of image lost (fox.png) are missing: leave it out";
    assert_eq!(refusal["detail"], detail);
}
