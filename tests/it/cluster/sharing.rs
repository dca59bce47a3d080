//! Events reach listeners of all hosts, once and in order, and ids are valid on all hosts.

use pinhole::event::{COMPLETION, PROGRESS};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn events_reach_listeners_of_both_hosts_once_and_in_order() {
    let Some(hosts) = Hosts::start(&[]).await else {
        return;
    };
    let mut own = EventStream::connect_as(&hosts.first, "", None).await;
    let mut other = EventStream::connect_as(&hosts.second, "?chat_id=c1", None).await;
    for number in 1..=20 {
        hosts.emit(&hosts.first, number);
    }
    hosts.emit(&hosts.second, 21);
    let expected: Vec<u64> = (1..=20).collect();
    let mut of_own = next_numbers(&mut own, 21).await;
    // The event of the other host comes at any time.
    of_own.retain(|it| *it != 21);
    assert_eq!(of_own, expected);
    let mut of_other = next_numbers(&mut other, 21).await;
    of_other.retain(|it| *it != 21);
    assert_eq!(of_other, expected);
    // Nothing came twice.
    hosts.emit(&hosts.first, 22);
    assert_eq!(next_number(&mut own).await, Some(22));
    assert_eq!(next_number(&mut other).await, Some(22));
}

#[tokio::test(flavor = "multi_thread")]
async fn client_continues_on_another_host_without_loss_and_repetition() {
    let Some(hosts) = Hosts::start(&[]).await else {
        return;
    };
    let mut stream = EventStream::connect_as(&hosts.first, "", None).await;
    for number in 1..=5 {
        hosts.emit(&hosts.first, number);
    }
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(next_with_id(&mut stream).await);
    }
    drop(stream);
    let (id, number) = seen.pop().unwrap();
    assert_eq!(number, Some(3));
    let mut moved = EventStream::connect_as(&hosts.second, "", Some(&id)).await;
    hosts.emit(&hosts.first, 6);
    assert_eq!(next_numbers(&mut moved, 2).await, [4, 5]);
    let (moved_id, sixth) = next_with_id(&mut moved).await;
    assert_eq!(sixth, Some(6));
    drop(moved);
    // No client listens meanwhile.
    hosts.emit(&hosts.second, 7);
    hosts.emit(&hosts.second, 8);
    for host in [&hosts.first, &hosts.second] {
        let mut back = EventStream::connect_as(host, "", Some(&moved_id)).await;
        assert_eq!(next_numbers(&mut back, 2).await, [7, 8]);
    }
    // An id of an earlier event of the replay.
    let (first_id, _) = seen.remove(0);
    let mut again = EventStream::connect_as(&hosts.second, "", Some(&first_id)).await;
    assert_eq!(next_numbers(&mut again, 7).await, [2, 3, 4, 5, 6, 7, 8]);
}

#[tokio::test(flavor = "multi_thread")]
async fn newest_state_of_a_message_is_replayed_on_another_host() {
    let Some(hosts) = Hosts::start(&[]).await else {
        return;
    };
    let mut stream = EventStream::connect_as(&hosts.first, "", None).await;
    hosts.emit(&hosts.first, 1);
    let (id, _) = next_with_id(&mut stream).await;
    let emit_state = |kind, data| emit(&hosts.first, &hosts.user_id, Some("c1"), kind, data);
    for number in 2..=40 {
        emit_state(PROGRESS, json!({"number": number}));
        emit_state(COMPLETION, json!({"number": 100 + number}));
    }
    // The text is a later event of the message: no progress is left.
    let mut moved = EventStream::connect_as(&hosts.second, "", Some(&id)).await;
    assert_eq!(next_number(&mut moved).await, Some(140));
    emit_state(COMPLETION, json!({"number": 200, "done": true}));
    let mut late = EventStream::connect_as(&hosts.second, "", Some(&id)).await;
    assert_eq!(next_number(&mut late).await, Some(200));
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_data_in_redis_harms_nothing() {
    let Some(hosts) = Hosts::start(&[]).await else {
        return;
    };
    let (prefix, user) = (&hosts.prefix, &hosts.user_id);
    let mut other = EventStream::connect_as(&hosts.second, "", None).await;
    hosts.emit(&hosts.first, 1);
    let (id, _) = next_with_id(&mut other).await;
    let channels = [
        format!("{prefix}:pinhole:e:{user}"),
        format!("{prefix}:pinhole:e:unknown"),
        format!("{prefix}:pinhole:changed"),
        format!("{prefix}:tasks:commands"),
    ];
    let deep = format!(r#"5-5 {{"o":"x","n":1,"e":{}"#, "[".repeat(100_000));
    for channel in &channels {
        for message in [
            "",
            "x",
            "- {}",
            "99-1 null",
            "\u{0}",
            r#"{"action":"stop"}"#,
            r#"{"action":"stopped","request":"x","count":18446744073709551615}"#,
            r#"{"action":5}"#,
            &deep,
        ] {
            hosts.command::<i64>(&["PUBLISH", channel, message]).await;
        }
    }
    // An event with a line end and without the usual fields.
    let foreign = "- {\"o\":\"x\",\"n\":1,\"e\":{\"data\":\r\n{\"type\":\"status\",\"data\":{\"number\":2}}}}";
    hosts
        .command::<i64>(&["PUBLISH", &channels[0], foreign])
        .await;
    assert_eq!(next_number(&mut other).await, Some(2));
    let stream = format!("{prefix}:pinhole:events:{{{user}}}");
    hosts
        .command::<String>(&["XADD", &stream, "*", "e", "not JSON"])
        .await;
    hosts
        .command::<String>(&["XADD", &stream, "*", "x", "\u{1}"])
        .await;
    hosts.emit(&hosts.first, 3);
    assert_eq!(next_number(&mut other).await, Some(3));
    let mut replayed = EventStream::connect_as(&hosts.first, "", Some(&id)).await;
    assert_eq!(next_number(&mut replayed).await, Some(3));
    // A key of another type: the events that cannot be stored are a gap.
    hosts.command::<i64>(&["DEL", &stream]).await;
    hosts.command::<String>(&["SET", &stream, "x"]).await;
    let mut without = EventStream::connect_as(&hosts.first, "", Some(&id)).await;
    assert_eq!(next_number(&mut without).await, None);
    hosts.emit(&hosts.first, 4);
    hosts.command::<i64>(&["DEL", &stream]).await;
    // Stored if the key was removed before.
    let fourth = next_number(&mut other).await;
    assert!(matches!(fourth, None | Some(4)), "{fourth:?}");
    hosts.emit(&hosts.first, 5);
    assert_eq!(next_number(&mut other).await, Some(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn long_event_is_published_and_stored_as_a_gap() {
    let Some(hosts) = Hosts::start(&[]).await else {
        return;
    };
    let mut other = EventStream::connect_as(&hosts.second, "", None).await;
    hosts.emit(&hosts.first, 1);
    let (id, _) = next_with_id(&mut other).await;
    let long = "x".repeat(pinhole::cluster::MAX_STORED_EVENT_BYTES);
    let data = json!({"number": 2, "text": long});
    emit(&hosts.first, &hosts.user_id, None, "status", data);
    assert_eq!(next_number(&mut other).await, Some(2));
    let mut replayed = EventStream::connect_as(&hosts.second, "", Some(&id)).await;
    assert_eq!(next_number(&mut replayed).await, None);
}
