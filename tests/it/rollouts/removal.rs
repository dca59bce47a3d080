//! Removal of an engine, and the jobs that still run with it.

use pinhole_tests::{FakeResponse, FakeUpstream};
use tokio::sync::Semaphore;

use super::*;

/// A server whose engine's upstream responds to `/allowed/slow` when the test lets it.
struct RemovalFixture {
    rollout: RolloutFixture,
    upstream: FakeUpstream,
    responses: Arc<Semaphore>,
}

impl RemovalFixture {
    async fn new() -> Self {
        let responses = Arc::new(Semaphore::new(0));
        let allowed = responses.clone();
        let upstream = FakeUpstream::start(move |request| {
            let is_slow = !request.line().ends_with("/allowed/stopped");
            let allowed = allowed.clone();
            async move {
                if is_slow {
                    allowed.acquire().await.unwrap().forget();
                }
                FakeResponse::json(200, &json!({}))
            }
        })
        .await;
        let variables = [("HOSTILE_BASE_URL", &*upstream.url())];
        Self {
            rollout: RolloutFixture::new(&variables).await,
            upstream,
            responses,
        }
    }

    /// Starts a job, and waits until it has sent its first request.
    async fn start_job(&self, prompt: &str) -> tokio::task::JoinHandle<(u16, String)> {
        let known = self.upstream.requests().len();
        let request = self
            .rollout
            .server
            .post("/v1/images/generations", &json!({"prompt": prompt}));
        let job = tokio::spawn(async move {
            let response = request.send().await.unwrap();
            (response.status().as_u16(), response.text().await.unwrap())
        });
        self.upstream.wait_for_requests(known + 1).await;
        job
    }

    async fn remove(&self, query: &str) -> u16 {
        let server = &self.rollout.server;
        let url = server.url(&format!("/api/v1/engines/hostile{query}"));
        let removal = server.client.delete(url).bearer_auth(&server.key);
        removal.send().await.unwrap().status().as_u16()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_a_removed_engine_finish() {
    let fixture = RemovalFixture::new().await;
    let job = fixture.start_job("ask").await;
    assert_eq!(fixture.remove("").await, 409);
    assert_eq!(fixture.remove("?force=true").await, 200);
    assert_eq!(fixture.rollout.generate("picture").await.0, 400);
    fixture.responses.add_permits(1);
    let (status, response) = job.await.unwrap();
    assert_eq!(status, 200, "{response}");
}

/// The engine can still ask its upstream to stop, and the removal waits for that.
#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_an_engine_that_is_removed_now_are_stopped_with_their_grace() {
    let fixture = RemovalFixture::new().await;
    let old = fixture.start_job("wait").await;
    // One of each version.
    fixture.rollout.install(hostile("again")).await.unwrap();
    let new = fixture.start_job("wait").await;
    assert_eq!(fixture.remove("?force=true&now=true").await, 200);
    let lines = fixture.upstream.request_lines();
    let stops = lines.iter().filter(|it| it.ends_with("/allowed/stopped"));
    assert_eq!(stops.count(), 2, "{lines:?}");
    for job in [old, new] {
        let (status, response) = job.await.unwrap();
        assert!(
            status >= 400 && response.contains("the engine was removed"),
            "{response}"
        );
    }
    let serving = fixture.rollout.releases().engines();
    assert!(serving.get("hostile").is_none());
    // Later jobs run.
    fixture.rollout.install(hostile("plain")).await.unwrap();
    assert_eq!(fixture.rollout.generate("picture").await.0, 200);
}
