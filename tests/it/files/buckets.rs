//! The same files in a bucket of each provider: Google Cloud Storage as a script of ours, S3 and Azure as the servers
//! that `cargo xtask test` starts.

mod fake_gcs;
mod hostile_bucket;
mod lost_bucket;
mod redirects;
mod test_bucket;

use std::time::{Duration, SystemTime};

use http::Method;
use pinhole::config::Config;
use pinhole::files::{Confirmation, CopyMode, Storage, Sweep};
use pinhole_ground::data_dir;
use pinhole_tests::{TestServer, environment, gif, program};

use super::{content_url, form, generate_image, response_bytes, upload};
use fake_gcs::FakeGcs;
pub(crate) use test_bucket::TestBucket;

/// Runs these tests with each provider that is there.
macro_rules! with_each_provider {
    ($($test:ident),* $(,)?) => {$(
        mod $test {
            use super::TestBucket;

            #[tokio::test(flavor = "multi_thread")]
            async fn gcs() {
                super::$test(TestBucket::gcs().await).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn s3() {
                if let Some(bucket) = TestBucket::s3().await {
                    super::$test(bucket).await;
                }
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn azure() {
                if let Some(bucket) = TestBucket::azure().await {
                    super::$test(bucket).await;
                }
            }
        }
    )*};
}

with_each_provider!(
    bucket_stores_what_a_directory_stores,
    bucket_is_checked_and_swept,
    copy_continues_and_moves_a_server,
);

/// The objects of images and thumbnails in the bucket.
async fn count_objects(bucket: &TestBucket) -> u64 {
    let empty = tempfile::tempdir().unwrap();
    let config = Config::new(environment(&empty, &bucket.variables())).unwrap();
    let open = |provider: &str| {
        let data = data_dir::open(empty.path()).unwrap();
        Storage::open(data, &config.storage_provider_named(provider).unwrap()).unwrap()
    };
    let counts = open(bucket.provider())
        .copy_to(&open("local"), CopyMode::DryRun, |_, _| {})
        .await;
    counts.unwrap().copied
}

async fn bucket_stores_what_a_directory_stores(bucket: TestBucket) {
    let server = TestServer::start(&bucket.variables()).await;
    let row = upload(&server, &server.key, "fox.gif", &gif(9)).await;
    let url = content_url(&row);
    assert_eq!(response_bytes(server.get(&url)).await, gif(9));
    let part = server.get(&url).header("range", "bytes=6-7").send().await;
    let part = part.unwrap();
    assert_eq!(part.status(), 206);
    let range = format!("bytes 6-7/{}", gif(9).len());
    assert_eq!(part.headers()["content-range"], range.as_str());
    assert_eq!(part.bytes().await.unwrap(), gif(9)[6..8]);
    let head = server
        .client
        .head(server.url(&url))
        .bearer_auth(&server.key);
    let head = head.send().await.unwrap();
    assert_eq!(head.status(), 200);
    assert_eq!(head.headers()["content-length"], gif(9).len().to_string());

    let thumbnail = url.replace("/content", "/thumbnail");
    let first = response_bytes(server.get(&thumbnail)).await;
    assert_eq!(response_bytes(server.get(&thumbnail)).await, first);
    assert_eq!(count_objects(&bucket).await, 2);

    let generated = generate_image(&server, &server.key).await;
    let png = response_bytes(server.get(&generated)).await;
    assert!(png.starts_with(b"\x89PNG\r\n\x1a\n"));
    let zip = format!("/api/v1/gallery/zip?ids={}", super::file_id(&generated));
    let zip = response_bytes(server.get(&zip)).await;
    assert!(zip.windows(png.len()).any(|bytes| bytes == png));
    assert!(!server.data_dir.path().join("files").exists());

    let server = server.restart(&bucket.variables()).await;
    assert_eq!(response_bytes(server.get(&generated)).await, png);
    for (path, status) in [(&url, 200), (&url, 404)] {
        let file = path.strip_suffix("/content").unwrap();
        let delete = server.client.request(Method::DELETE, server.url(file));
        let deleted = delete.bearer_auth(&server.key).send().await.unwrap();
        assert_eq!(deleted.status(), status);
    }
    assert_eq!(server.get(&url).send().await.unwrap().status(), 404);
    assert_eq!(count_objects(&bucket).await, 1);
}

async fn bucket_is_checked_and_swept(bucket: TestBucket) {
    let server = TestServer::start(&bucket.variables()).await;
    for width in 1..=5 {
        upload(&server, &server.key, "fox.gif", &gif(width)).await;
    }
    // Young objects are no orphans.
    let files = &server.app.files;
    let sweep = files.clean_up(None, Confirmation::None).await.unwrap();
    assert_eq!((sweep.expired, sweep.orphaned), (0, 0));
    files.check_bucket().await;
    assert!(files.is_available());
    let retention = Some(Duration::ZERO);
    let confirmed = files.clean_up(retention, Confirmation::Administrator).await;
    // Files of this second are not older than it.
    let Sweep { expired, orphaned } = confirmed.unwrap();
    assert_eq!(count_objects(&bucket).await, 5 - expired);
    assert_eq!(orphaned, 0);
}

async fn copy_continues_and_moves_a_server(bucket: TestBucket) {
    let server = TestServer::start(&[]).await;
    let rows = [
        upload(&server, &server.key, "fox.gif", &gif(1)).await,
        upload(&server, &server.key, "hen.gif", &gif(2)).await,
    ];
    let copy = async |from: &str, to: &str, option: &str| {
        let mut command = tokio::process::Command::new(program());
        command
            .args(["files", "copy", "--from", from, "--to", to])
            .args(Some(option).filter(|it| !it.is_empty()))
            .env_clear()
            .env("PINHOLE_DATA", server.data_dir.path())
            .envs(bucket.variables());
        let output = command.output().await.unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    let name = bucket.provider();
    for (option, expected) in [
        (
            "--dry-run",
            "would copy 2 file(s) of 1 MiB; 0 present, 0 failed, 0 ignored\n",
        ),
        (
            "",
            "copied 2 file(s) of 1 MiB; 0 present, 0 failed, 0 ignored\n",
        ),
        (
            "",
            "copied 0 file(s) of 0 MiB; 2 present, 0 failed, 0 ignored\n",
        ),
    ] {
        let copied = copy("local", name, option).await;
        assert_eq!(copied, (Some(0), expected.to_owned()), "{name}");
    }
    let directory = server.data_dir.path().join("files");
    std::fs::remove_dir_all(&directory).unwrap();
    let copied = copy(name, "local", "").await;
    let expected = "copied 2 file(s) of 1 MiB; 0 present, 0 failed, 0 ignored\n";
    assert_eq!(copied, (Some(0), expected.to_owned()));
    std::fs::remove_dir_all(&directory).unwrap();
    let (code, text) = copy("local", "local", "").await;
    assert_eq!((code, text.lines().count()), (Some(1), 1), "{text}");

    let server = server.restart(&bucket.variables()).await;
    for (row, width) in rows.iter().zip([1, 2]) {
        let bytes = response_bytes(server.get(&content_url(row))).await;
        assert_eq!(bytes, gif(width));
    }
    // The bucket has the id of the database.
    let expired = server
        .app
        .files
        .clean_up(Some(Duration::ZERO), Confirmation::None);
    expired.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sweep_of_a_shared_bucket_removes_only_own_old_orphans() {
    let gcs = FakeGcs::start().await;
    let bucket = TestBucket::of_gcs(gcs.clone());
    let server = TestServer::start(&bucket.variables()).await;
    let row = upload(&server, &server.key, "fox.gif", &gif(9)).await;
    gcs.set_age(row["id"].as_str().unwrap(), super::sweep::HOUR * 2);
    let id = "00000000-0000-4000-8000-000000000000";
    let own = [id.to_owned(), format!("{id}.256")];
    let others = [
        format!("{id}_fox.png"),
        format!("backup/{id}"),
        format!("{id}.300"),
        "note".to_owned(),
    ];
    let old = SystemTime::now() - super::sweep::HOUR * 2;
    for name in own.iter().chain(&others) {
        gcs.insert(name, b"x", old);
    }
    let young = "11111111-0000-4000-8000-000000000000";
    gcs.insert(young, b"x", SystemTime::now());
    let files = &server.app.files;
    let sweep = files.clean_up(None, Confirmation::None).await.unwrap();
    assert_eq!((sweep.expired, sweep.orphaned), (0, 2));
    let names = gcs.names();
    assert!(own.iter().all(|name| !names.contains(name)), "{names:?}");
    let remaining = others.iter().map(String::as_str).chain([young]);
    for name in remaining {
        assert!(names.iter().any(|it| it == name), "{name}");
    }
    assert_eq!(response_bytes(server.get(&content_url(&row))).await, gif(9));
}

#[tokio::test(flavor = "multi_thread")]
async fn bucket_of_another_database_is_not_swept_or_copied_to() {
    let gcs = FakeGcs::start().await;
    let bucket = TestBucket::of_gcs(gcs.clone());
    let first = TestServer::start(&bucket.variables()).await;
    let row = upload(&first, &first.key, "fox.gif", &gif(9)).await;
    let id = row["id"].as_str().unwrap();
    gcs.set_age(id, super::sweep::HOUR * 2);
    let second = TestServer::start(&bucket.variables()).await;
    let sweep = second.app.files.clean_up(None, Confirmation::None).await;
    let error = sweep.unwrap_err().to_string();
    let expected = "the bucket belongs to another database";
    assert!(error.contains(expected), "{error}");
    assert!(gcs.names().iter().any(|name| name == id));
    let output = tokio::process::Command::new(program())
        .args(["files", "copy", "--from", "local", "--to", "gcs"])
        .env_clear()
        .env("PINHOLE_DATA", second.data_dir.path())
        .envs(bucket.variables())
        .output();
    let message = String::from_utf8(output.await.unwrap().stderr).unwrap();
    assert!(
        message.contains("has the files of another database"),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_with_prefixes_share_a_bucket() {
    let Some(bucket) = TestBucket::s3().await else {
        return;
    };
    let with_prefix = |prefix: &'static str| bucket.with("S3_KEY_PREFIX", prefix);
    let (first, second) = (with_prefix("a/first"), with_prefix("second"));
    let server = TestServer::start(&first.variables()).await;
    let row = upload(&server, &server.key, "fox.gif", &gif(9)).await;
    let other = TestServer::start(&second.variables()).await;
    upload(&other, &other.key, "hen.gif", &gif(7)).await;
    assert_eq!(count_objects(&first).await, 1);
    assert_eq!(count_objects(&second).await, 1);
    assert_eq!(count_objects(&bucket).await, 0);
    assert_eq!(response_bytes(server.get(&content_url(&row))).await, gif(9));
    let sweep = other.app.files.clean_up(None, Confirmation::None).await;
    sweep.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn bucket_without_conditional_writes_is_used_without_them() {
    let gcs = FakeGcs::start().await;
    gcs.refuse_conditions();
    let bucket = TestBucket::of_gcs(gcs.clone());
    let server = TestServer::start(&bucket.variables()).await;
    for width in [1, 2] {
        let row = upload(&server, &server.key, "fox.gif", &gif(width)).await;
        let bytes = response_bytes(server.get(&content_url(&row))).await;
        assert_eq!(bytes, gif(width));
    }
}

/// An upload whose result is not a file.
async fn failed_upload(server: &TestServer) -> reqwest::Response {
    let body = form(&[("file", Some("fox.gif"), &gif(3))]);
    let request = super::post_form(server, &server.key, body);
    request.send().await.unwrap()
}
