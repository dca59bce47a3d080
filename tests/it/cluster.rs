//! Several hosts with one database and one Redis. Without a Redis of `cargo xtask test`, these tests do nothing.

mod changes;
mod chaos;
mod open_webui_settings;
mod outages;
mod rates;
mod redis_cluster;
mod redis_sentinel;
mod redis_server;
mod sharing;
mod stop;

use std::net::SocketAddr;

use pinhole_tests::TestServer;
use serde_json::{Value, json};

use crate::cut::Proxy;
use crate::events::EventStream;
use crate::events::socket_client::{emit, user_id};

/// Two hosts, the second of which reaches Redis through a proxy.
struct Hosts {
    first: TestServer,
    second: TestServer,
    proxy: Proxy,
    redis: redis::aio::MultiplexedConnection,
    /// Of the keys of this test.
    prefix: String,
    /// The administrator.
    user_id: String,
}

impl Hosts {
    /// `None` without a Redis.
    async fn start(variables: &[(&str, &str)]) -> Option<Self> {
        let Ok(url) = std::env::var("PINHOLE_TEST_REDIS") else {
            eprintln!("skipped: no Redis");
            return None;
        };
        let address: SocketAddr = url.strip_prefix("redis://").unwrap().parse().unwrap();
        let proxy = Proxy::start(address).await;
        let prefix = format!("test-{}", std::process::id());
        let proxied = format!("redis://{}", proxy.address);
        let with_redis = |redis| {
            let mut all = vec![
                ("IMAGE_GENERATION_ENGINE", "sketch"),
                ("REDIS_URL", redis),
                ("REDIS_KEY_PREFIX", prefix.as_str()),
            ];
            all.extend(variables);
            all
        };
        let first = TestServer::start(&with_redis(&url)).await;
        let second = first.another_host(&with_redis(&proxied)).await;
        let client = redis::Client::open(url.as_str()).unwrap();
        let hosts = Self {
            user_id: user_id(&first, &first.key).await,
            redis: client.get_multiplexed_async_connection().await.unwrap(),
            first,
            second,
            proxy,
            prefix,
        };
        wait_until_connected(&hosts.first, &hosts.second, &hosts.user_id).await;
        Some(hosts)
    }

    /// Emits an event with this number.
    fn emit(&self, host: &TestServer, number: usize) {
        let data = json!({"number": number});
        emit(host, &self.user_id, Some("c1"), "status", data);
    }

    /// Runs a command of Redis.
    async fn command<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::cmd(words[0]);
        for word in &words[1..] {
            command.arg(*word);
        }
        let mut connection = self.redis.clone();
        command.query_async(&mut connection).await.unwrap()
    }
}

/// Waits until events of each host reach the other one.
async fn wait_until_connected(first: &TestServer, second: &TestServer, user_id: &str) {
    for (from, to) in [(first, second), (second, first)] {
        let mut stream = EventStream::connect_as(to, "", None).await;
        let mut attempts = tokio::time::interval(std::time::Duration::from_millis(50));
        loop {
            tokio::select! {
                _ = stream.next() => break,
                _ = attempts.tick() => emit(from, user_id, None, "mark", json!({})),
            }
        }
    }
}

/// The number of the next event, or `None` if it is a gap. Marks are skipped.
async fn next_number(stream: &mut EventStream) -> Option<u64> {
    next_with_id(stream).await.1
}

/// The same with the id.
async fn next_with_id(stream: &mut EventStream) -> (String, Option<u64>) {
    loop {
        let (id, event) = stream.next().await;
        match event["data"]["type"].as_str() {
            Some("mark") => {}
            Some("pinhole:gap") => return (id, None),
            _ => return (id, Some(number_of(&event))),
        }
    }
}

fn number_of(event: &Value) -> u64 {
    event["data"]["data"]["number"].as_u64().unwrap()
}

/// The numbers of this many events.
async fn next_numbers(stream: &mut EventStream, count: usize) -> Vec<u64> {
    let mut numbers = Vec::new();
    for _ in 0..count {
        numbers.push(next_number(stream).await.expect("no gap"));
    }
    numbers
}
