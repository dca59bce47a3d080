//! A bucket that fails while the server runs.

use pinhole_tests::{FakeUpstream, TestServer, gif, pixel_base64};
use serde_json::{Value, json};

use super::super::{content_url, response_bytes, response_json, upload};
use super::fake_gcs::FakeGcs;
use super::test_bucket::TestBucket;
use super::{count_objects, failed_upload};

/// A server that makes images with an upstream and stores them in a bucket.
struct LostBucketTest {
    gcs: FakeGcs,
    upstream: FakeUpstream,
    bucket: TestBucket,
    server: TestServer,
}

impl LostBucketTest {
    async fn start() -> Self {
        let gcs = FakeGcs::start().await;
        let image = json!({"created": 1, "data": [{"b64_json": pixel_base64()}]});
        let upstream = FakeUpstream::json(200, image).await;
        let bucket = TestBucket::of_gcs(gcs.clone())
            .with("IMAGES_OPENAI_API_BASE_URL", &upstream.url())
            .with("IMAGES_OPENAI_API_KEY", "k");
        let server = TestServer::with_engine("openai", &bucket.variables()).await;
        Self {
            gcs,
            upstream,
            bucket,
            server,
        }
    }

    async fn generate(&self) -> reqwest::Response {
        let body = json!({"prompt": "a fox", "response_format": "url"});
        let request = self.server.post("/v1/images/generations", &body);
        request.send().await.unwrap()
    }

    /// Lets the checks fail until the bucket is lost.
    async fn lose(&self) {
        self.gcs.fail(503);
        for _ in 0..3 {
            assert!(self.server.app.files.is_available());
            self.server.app.files.check_bucket().await;
        }
        assert!(!self.server.app.files.is_available());
    }
}

async fn text(response: reqwest::Response) -> String {
    response.text().await.unwrap()
}

fn assert_retry_later(response: &reqwest::Response) {
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "10");
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_bucket_refuses_images_before_the_upstream_is_asked_and_recovers() {
    let test = LostBucketTest::start().await;
    let server = &test.server;
    let row = upload(server, &server.key, "fox.gif", &gif(9)).await;
    let content = content_url(&row);
    test.lose().await;
    let refused = test.generate().await;
    assert_retry_later(&refused);
    let refused = text(refused).await;
    assert!(
        refused.contains("cannot reach its image storage"),
        "{refused}"
    );
    assert_eq!(test.upstream.requests().len(), 0);
    assert_retry_later(&failed_upload(server).await);
    let requests = test.gcs.upstream.requests().len();
    for path in [&content, &content.replace("/content", "/thumbnail")] {
        let response = server.get(path).send().await.unwrap();
        assert_retry_later(&response);
    }
    // Nothing waits for a bucket that is lost.
    assert_eq!(test.gcs.upstream.requests().len(), requests);
    let (status, ready) = response_json(server.get("/ready")).await;
    assert_eq!(status, 503);
    let reason = "the bucket of the images cannot be used";
    assert_eq!(ready, json!({"status": false, "reason": reason}));

    test.gcs.upstream.reset();
    server.app.files.check_bucket().await;
    assert_eq!(test.generate().await.status(), 200);
    assert_eq!(test.upstream.requests().len(), 1);
    assert_eq!(response_bytes(server.get(&content)).await, gif(9));
    assert_eq!(server.get("/ready").send().await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn image_that_the_bucket_does_not_take_is_delivered_and_stored_later() {
    let test = LostBucketTest::start().await;
    test.gcs.fail(503);
    let response = test.generate().await;
    assert_eq!(response.status(), 200);
    let response: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    let url = pinhole_tests::file_path(response["data"][0]["url"].as_str().unwrap());
    let image = response_bytes(test.server.get(&url)).await;
    test.gcs.upstream.reset();
    test.server.app.files.store_spooled().await;
    assert_eq!(count_objects(&test.bucket).await, 1);
    assert_eq!(response_bytes(test.server.get(&url)).await, image);
}

#[tokio::test(flavor = "multi_thread")]
async fn bucket_that_only_refuses_writes_is_lost_too() {
    let test = LostBucketTest::start().await;
    let server = &test.server;
    upload(server, &server.key, "fox.gif", &gif(9)).await;
    server.app.files.check_bucket().await;
    test.gcs.refuse_writes();
    assert_retry_later(&failed_upload(server).await);
    for _ in 0..2 {
        server.app.files.check_bucket().await;
    }
    assert!(!server.app.files.is_available());
    assert_retry_later(&test.generate().await);
    assert_eq!(test.upstream.requests().len(), 0);
    test.gcs.upstream.reset();
    server.app.files.check_bucket().await;
    assert!(server.app.files.is_available());
}
