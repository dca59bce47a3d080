//! A Redis Cluster of one server, which has all slots. The client still refuses what crosses slots.

use super::redis_server::{RedisServer, free_port};
use super::*;

/// Users whose keys are in different slots, with great probability.
const OTHER_USERS: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn events_of_several_users_reach_other_hosts() {
    if std::env::var("PINHOLE_TEST_REDIS").is_err() {
        eprintln!("skipped: no Redis");
        return;
    }
    let bus_port = free_port().to_string();
    let cluster = RedisServer::start(&["--cluster-enabled", "yes", "--cluster-port", &bus_port]);
    let mut add = redis::cmd("CLUSTER");
    add.arg("ADDSLOTSRANGE").arg(0).arg(16_383);
    add.exec_async(&mut cluster.connect().await).await.unwrap();
    cluster
        .wait_for(&["CLUSTER", "INFO"], "cluster_state:ok")
        .await;
    let url = cluster.url();
    let variables = [
        ("IMAGE_GENERATION_ENGINE", "sketch"),
        ("REDIS_URL", url.as_str()),
        ("REDIS_CLUSTER", "true"),
    ];
    let first = TestServer::start(&variables).await;
    let second = first.another_host(&variables).await;
    let user_id = user_id(&first, &first.key).await;
    wait_until_connected(&first, &second, &user_id).await;
    let mut stream = EventStream::connect_as(&second, "", None).await;
    // They are sent in one step.
    for number in 1..=20 {
        for other in 0..OTHER_USERS {
            let other = format!("user-{other}");
            emit(&first, &other, Some("c1"), "status", json!({}));
        }
        let data = json!({"number": number});
        emit(&first, &user_id, Some("c1"), "status", data);
    }
    let numbers = next_numbers(&mut stream, 20).await;
    assert_eq!(numbers, (1..=20).collect::<Vec<u64>>());
}
