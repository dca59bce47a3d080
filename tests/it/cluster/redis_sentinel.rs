//! Redis with a replica and a sentinel, which replaces a primary that is lost.

use super::redis_server::RedisServer;
use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn hosts_follow_the_primary_that_the_sentinel_names() {
    if std::env::var("PINHOLE_TEST_REDIS").is_err() {
        eprintln!("skipped: no Redis");
        return;
    }
    let primary = RedisServer::start(&[]);
    let source = format!("127.0.0.1 {}", primary.port);
    let replica = RedisServer::start(&["--replicaof", &source]);
    replica
        .wait_for(&["INFO", "replication"], "master_link_status:up")
        .await;
    let sentinel = RedisServer::start_sentinel(primary.port);
    let replica_port = replica.port.to_string();
    sentinel
        .wait_for(&["SENTINEL", "REPLICAS", "main"], &replica_port)
        .await;
    let sentinel_port = sentinel.port.to_string();
    // The name of the primary is where other URLs have a host.
    let variables = [
        ("IMAGE_GENERATION_ENGINE", "sketch"),
        ("REDIS_URL", "redis://main:6379/0"),
        ("REDIS_SENTINEL_HOSTS", "127.0.0.1"),
        ("REDIS_SENTINEL_PORT", sentinel_port.as_str()),
    ];
    let first = TestServer::start(&variables).await;
    let second = first.another_host(&variables).await;
    let user_id = user_id(&first, &first.key).await;
    wait_until_connected(&first, &second, &user_id).await;

    drop(primary);
    replica
        .wait_for(&["INFO", "replication"], "role:master")
        .await;
    wait_until_connected(&first, &second, &user_id).await;
    let mut stream = EventStream::connect_as(&second, "", None).await;
    for number in 1..=20 {
        let data = json!({"number": number});
        emit(&first, &user_id, Some("c1"), "status", data);
    }
    let mut numbers = Vec::new();
    while numbers.len() < 20 {
        // Marks that were emitted before it connected may be a gap.
        numbers.extend(next_number(&mut stream).await);
    }
    assert_eq!(numbers, (1..=20).collect::<Vec<u64>>());
}
