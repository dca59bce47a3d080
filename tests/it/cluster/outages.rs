//! Redis that is lost and comes back.

use std::time::Duration;

use pinhole::cluster::MAX_STREAM_ENTRIES;
use tokio::time::Instant;

use super::*;
use crate::cut::Network;

/// Events after which Redis has removed the oldest: it removes them in groups of 100.
const MANY: usize = 2 * MAX_STREAM_ENTRIES;

#[tokio::test(flavor = "multi_thread")]
async fn events_of_an_outage_arrive_when_redis_is_back() {
    let Some(hosts) = Hosts::start(&[]).await else {
        return;
    };
    let mut first = EventStream::connect_as(&hosts.first, "", None).await;
    let mut second = EventStream::connect_as(&hosts.second, "", None).await;
    hosts.emit(&hosts.first, 1);
    assert_eq!(next_number(&mut first).await, Some(1));
    assert_eq!(next_number(&mut second).await, Some(1));
    for network in [Network::Cut, Network::BlackHole] {
        hosts.proxy.set(network);
        hosts.emit(&hosts.first, 2);
        assert_eq!(next_number(&mut first).await, Some(2));
        hosts.emit(&hosts.second, 3);
        // Own events need no Redis.
        assert_eq!(next_number(&mut second).await, Some(3), "{network:?}");
        hosts.proxy.set(Network::Open);
        assert_eq!(next_number(&mut second).await, Some(2), "{network:?}");
        assert_eq!(next_number(&mut first).await, Some(3), "{network:?}");
        hosts.emit(&hosts.first, 4);
        assert_eq!(next_number(&mut first).await, Some(4));
        assert_eq!(next_number(&mut second).await, Some(4));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn host_that_missed_too_many_events_reports_a_gap() {
    let Some(hosts) = Hosts::start(&[]).await else {
        return;
    };
    let mut first = EventStream::connect_as(&hosts.first, "", None).await;
    let mut second = EventStream::connect_as(&hosts.second, "", None).await;
    hosts.emit(&hosts.first, 1);
    let (id, _) = next_with_id(&mut second).await;
    hosts.proxy.set(Network::Cut);
    for number in 2..MANY {
        hosts.emit(&hosts.first, number);
    }
    // Redis has all of them once the first host gets the event of a third one.
    while next_number(&mut first).await != Some(MANY as u64 - 1) {}
    let key = format!("{}:pinhole:events:{{{}}}", hosts.prefix, hosts.user_id);
    let newest = async || -> String {
        let found: Vec<(String, Vec<String>)> = hosts
            .command(&["XREVRANGE", &key, "+", "-", "COUNT", "1"])
            .await;
        found[0].1[1].clone()
    };
    let last = format!("{{\"number\":{}}}", MANY - 1);
    while !newest().await.contains(&last) {}
    hosts.proxy.set(Network::Open);
    assert_eq!(next_number(&mut second).await, None);
    hosts.emit(&hosts.first, 5_000);
    while next_number(&mut second).await != Some(5_000) {}
    // The same for a client that comes back.
    let mut back = EventStream::connect_as(&hosts.first, "", Some(&id)).await;
    assert_eq!(next_number(&mut back).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_or_waits_while_redis_does_not_respond() {
    let Some(hosts) = Hosts::start(&[]).await else {
        return;
    };
    for network in [Network::BlackHole, Network::Cut] {
        hosts.proxy.set(network);
        let start = Instant::now();
        // Each is counted. If each waited for Redis, they would need 25 s.
        for _ in 0..100 {
            let (status, _) = hosts
                .second
                .post_json("/api/v1/images/generations", &json!({}))
                .await;
            assert_eq!(status, 422, "{network:?}");
        }
        assert!(start.elapsed() < Duration::from_secs(15), "{network:?}");
        let body = json!({"prompt": "a fox", "size": "64x64"});
        let (status, image) = hosts
            .second
            .post_json("/api/v1/images/generations", &body)
            .await;
        assert_eq!(status, 200, "{network:?}: {image}");
        assert_eq!(
            hosts.second.get("/ready").send().await.unwrap().status(),
            200
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_reach_their_own_host_without_redis() {
    let unused = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", unused.local_addr().unwrap());
    drop(unused);
    let variables = [
        ("REDIS_URL", url.as_str()),
        ("IMAGE_GENERATION_ENGINE", "sketch"),
    ];
    let server = TestServer::start(&variables).await;
    let user_id = user_id(&server, &server.key).await;
    let mut stream = EventStream::connect_as(&server, "", None).await;
    emit(&server, &user_id, None, "status", json!({"number": 1}));
    let (id, number) = next_with_id(&mut stream).await;
    assert_eq!(number, Some(1));
    emit(&server, &user_id, None, "status", json!({"number": 2}));
    let mut resumed = EventStream::connect_as(&server, "", Some(&id)).await;
    assert_eq!(next_number(&mut resumed).await, Some(2));
}
