//! A Redis Cluster of one server, which has all slots. The client still refuses what crosses slots.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::*;

/// Users whose keys are in different slots, with great probability.
const OTHER_USERS: usize = 8;

/// A running server. Dropping it kills the process.
struct RedisCluster {
    child: Child,
    port: u16,
    _directory: tempfile::TempDir,
}

impl RedisCluster {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let [port, bus_port] = [free_port(), free_port()];
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
            .args(["--cluster-enabled", "yes"])
            .args(["--cluster-port", &bus_port.to_string()])
            .args(["--save", "", "--appendonly", "no"])
            .current_dir(directory.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let cluster = Self {
            child,
            port,
            _directory: directory,
        };
        cluster.wait_until_ready().await;
        cluster
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Gives the server all slots, and waits until it serves.
    async fn wait_until_ready(&self) {
        let client = redis::Client::open(self.url()).unwrap();
        let mut attempts = tokio::time::interval(Duration::from_millis(50));
        let mut connection = loop {
            attempts.tick().await;
            if let Ok(connection) = client.get_multiplexed_async_connection().await {
                break connection;
            }
        };
        let mut add = redis::cmd("CLUSTER");
        add.arg("ADDSLOTSRANGE").arg(0).arg(16_383);
        add.exec_async(&mut connection).await.unwrap();
        loop {
            attempts.tick().await;
            let mut info = redis::cmd("CLUSTER");
            let state: String = info.arg("INFO").query_async(&mut connection).await.unwrap();
            if state.contains("cluster_state:ok") {
                return;
            }
        }
    }
}

impl Drop for RedisCluster {
    fn drop(&mut self) {
        // Both fail only if it has stopped already.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_several_users_reach_other_hosts() {
    if std::env::var("PINHOLE_TEST_REDIS").is_err() {
        eprintln!("skipped: no Redis");
        return;
    }
    let cluster = RedisCluster::start().await;
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
