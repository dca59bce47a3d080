//! Hosts whose clocks differ by minutes. Leases follow the clock of the database.

use pinhole_tests::postgres_server;

use super::*;
use crate::files::buckets::TestBucket;

const ACCOUNT: &str = r#"{"name": "A", "email": "a@example.com", "password": "correct horse battery", "role": "user"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn job_of_a_host_whose_clock_is_late_is_not_taken_while_it_runs() {
    let (Some(postgres), Ok(library)) = (postgres_server(), std::env::var("PINHOLE_TEST_FAKETIME"))
    else {
        eprintln!("skipped: no PostgreSQL or no faketime");
        return;
    };
    let database = TestDatabase::create_postgres(postgres).await;
    let comfy = Comfy::start().await;
    let bucket = TestBucket::gcs().await;
    let host = |difference| {
        Durable::with_comfy(&comfy)
            .with_database(&database)
            .with_bucket(&bucket)
            .with_variable("PINHOLE_DRAIN_SECS", "0")
            .with_variable("LD_PRELOAD", &library)
            .with_variable("FAKETIME", difference)
            .with_variable("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    };
    let (late, early) = (host("-10m"), host("+10m"));
    let late_server = late.start();
    late.start_job(&late_server, &json!({"prompt": "a fox"}))
        .await;
    comfy.wait_for_orders(1).await;
    early.share_key_of(&late);
    // Its start takes the jobs of all hosts that have ended.
    let early_server = early.start();

    // A session that begins in the future is one.
    let account: Value = serde_json::from_str(ACCOUNT).unwrap();
    early
        .post(&early_server, "/api/v1/auths/add", &account)
        .await;
    let session = early
        .post(&early_server, "/api/v1/auths/signin", &account)
        .await;
    let token = session["token"].as_str().unwrap();
    let request = http_client().get(format!("{}/api/v1/auths/", late_server.url));
    let response = request.bearer_auth(token).send().await.unwrap();
    assert_eq!(response.status(), 200);

    let (attempts, created) = ("SELECT attempt FROM jobs", "SELECT created_at FROM jobs");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = i64::try_from(now.unwrap().as_secs()).unwrap();
    let lateness = now - database.number(created).await;
    assert!((500..700).contains(&lateness), "{lateness} s");
    assert_eq!(database.number(attempts).await, 1);
    let looks = comfy.looks();
    late_server.shut_down().unwrap();
    comfy.wait_for_look_after(looks).await;
    comfy.finish();
    assert_done(&early.ended_job(&early_server).await, "handed over");
    assert_eq!(database.number(attempts).await, 2);
    assert_eq!((comfy.orders(), comfy.cancellations()), (1, 0));
}
