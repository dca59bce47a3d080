//! A process that stalls until another one has taken its job. Both use one database, so it is PostgreSQL.

use pinhole_tests::postgres_server;

use super::*;
use crate::files::buckets::TestBucket;

#[tokio::test(flavor = "multi_thread")]
async fn stalled_process_writes_nothing_for_a_job_that_was_taken() {
    let Some(server) = postgres_server() else {
        eprintln!("skipped: PINHOLE_TEST_POSTGRES is not set");
        return;
    };
    let database = TestDatabase::create_postgres(server).await;
    let comfy = Comfy::start().await;
    let bucket = TestBucket::gcs().await;
    let durable = Durable::with_comfy(&comfy)
        .with_database(&database)
        .with_bucket(&bucket);
    let stalled = durable.start();
    durable
        .start_job(&stalled, &json!({"prompt": "a fox"}))
        .await;
    comfy.wait_for_orders(1).await;
    stalled.signal("STOP").unwrap();
    // The other one has a data directory of its own.
    let other = Durable::with_comfy(&comfy)
        .with_database(&database)
        .with_bucket(&bucket);
    other.share_key_of(&durable);
    let looks = comfy.looks();
    let second = other.start();
    comfy.wait_for_look_after(looks).await;
    comfy.finish();
    let job = other.ended_job(&second).await;
    assert_done(&job, "taken");
    stalled.signal("CONT").unwrap();
    let waiting = async {
        while !stalled.log().contains("was taken by another process") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap();
    assert_eq!(other.ended_job(&second).await, job);
    assert_eq!((comfy.orders(), comfy.cancellations()), (1, 0));
}
