//! More than one user's share.

use std::time::Duration;

use anyhow::{Result, ensure};
use futures_util::future::join_all;
use pinhole_tests::RawStep;
use serde_json::json;
use tokio::time::timeout;

use super::raw_client::{RawClient, add_user, bearer, request};
use crate::target::{AttackTarget, IMAGES_PATH};

const CHAT_PATH: &str = "/v1/chat/completions";
const JSON: &str = "content-type: application/json\r\n";
/// Requests of one user: more than the server accepts in a minute.
const MANY_REQUESTS: usize = 4_500;
/// Requests of each of several connections.
const REQUESTS_PER_CONNECTION: usize = 500;
/// Chat completions of one user at the same time.
const MANY_CHATS: usize = 40;
/// How many of them may run.
const MAX_CHATS: usize = 20;
/// How long the server may take to refuse.
const REFUSAL_TIME: Duration = Duration::from_secs(10);

pub(super) async fn requests(target: &AttackTarget) -> Result<()> {
    let key = bearer(&add_user(target, "flooding").await?);
    let connections = MANY_REQUESTS / REQUESTS_PER_CONNECTION;
    // Neither is valid, so none costs the operator anything.
    let chat = request(&format!("POST {CHAT_PATH}"), &key, JSON, "{}");
    let image = request(&format!("POST {IMAGES_PATH}"), &key, JSON, "{}");
    let refused = join_all((0..connections).map(async |number| {
        let mut client = RawClient::connect(target, "127.0.0.1").await?;
        let request = if number % 2 == 0 { &chat } else { &image };
        let mut refused = 0;
        for _ in 0..REQUESTS_PER_CONNECTION {
            client.send(request).await;
            let (status, _) = client.response().await?;
            refused += usize::from(status == 429);
        }
        anyhow::Ok(refused)
    }));
    let refused: Vec<usize> = refused.await.into_iter().collect::<Result<_>>()?;
    ensure!(
        refused.iter().sum::<usize>() > 0,
        "{MANY_REQUESTS} requests of one user were not limited"
    );
    Ok(())
}

pub(super) async fn chats_at_once(target: &AttackTarget) -> Result<()> {
    target.upstream.set_raw(vec![RawStep::Hold]);
    let key = bearer(&add_user(target, "talkative").await?);
    let body =
        json!({"model": "m", "messages": [{"role": "user", "content": "a fox"}]}).to_string();
    let chat = request(&format!("POST {CHAT_PATH}"), &key, JSON, &body);
    let mut clients = Vec::new();
    for _ in 0..MANY_CHATS {
        let mut client = RawClient::connect(target, "127.0.0.1").await?;
        client.send(&chat).await;
        clients.push(client);
    }
    let responses = join_all(
        clients
            .iter_mut()
            .map(|client| timeout(REFUSAL_TIME, client.response())),
    );
    let mut refused = 0;
    for response in responses.await.into_iter().flatten() {
        let (status, refusal) = response?;
        let refusal = String::from_utf8_lossy(&refusal);
        ensure!(status == 429, "{status} {refusal}");
        refused += 1;
    }
    let running = MANY_CHATS - refused;
    ensure!(
        running <= MAX_CHATS,
        "{running} chat completions run at once"
    );
    Ok(())
}

pub(super) async fn choices(target: &AttackTarget) -> Result<()> {
    for (field, number) in [("n", 50), ("n", 11), ("best_of", 50)] {
        let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "a fox"}]});
        if let Some(fields) = body.as_object_mut() {
            fields.insert(field.to_owned(), number.into());
        }
        let response = target.client.post(CHAT_PATH, &body).await?;
        ensure!(
            response.status == 400,
            "{}: {}",
            response.status,
            response.text()
        );
    }
    let requests = target.upstream.requests();
    ensure!(requests.is_empty(), "the language model got {requests:?}");
    Ok(())
}
