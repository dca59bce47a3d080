//! T: what users and clients do to a server: floods of jobs, thumbnails and queries, bindings of other groups,
//! and orders that are repeated.

use anyhow::{Context, Result, bail, ensure};
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::{self, FuturesUnordered};
use http::StatusCode;
use pinhole_egress::Destination;
use pinhole_ground::guard::Guard;
use pinhole_tests::{FakeResponse, RecordedRequest};
use serde_json::{Value, json};

use crate::case::AttackCase;
use crate::image;
use crate::target::{AttackTarget, ClientRequest, IMAGES_PATH, Response};

pub(crate) const CASES: &[AttackCase] = &[
    AttackCase::new(
        "T35-two-greedy-users",
        "two users who occupy all that they can do not starve a third",
        |target| Box::pin(two_greedy_users(target)),
    )
    .guarded_by(&[Guard::UserShare])
    .on_own_server(),
    AttackCase::new(
        "T36-thumbnails",
        "one user's many thumbnails do not delay those of another user",
        |target| Box::pin(thumbnails(target)),
    )
    .guarded_by(&[Guard::UserShare])
    .on_own_server(),
    AttackCase::new(
        "T37-model-lists",
        "a flood of requests for the list of models is refused, and costs the operator one request",
        |target| Box::pin(model_lists(target)),
    )
    .guarded_by(&[Guard::QueryRate])
    .on_own_server(),
    AttackCase::new(
        "T37-verifications",
        "an administrator's account verifies engines at a limited rate",
        |target| Box::pin(verifications(target)),
    )
    .guarded_by(&[Guard::QueryRate])
    .on_own_server(),
    AttackCase::new(
        "T38-models-of-a-binding",
        "a user neither sees the models of a binding of another group nor uses it",
        |target| Box::pin(models_of_binding(target)),
    )
    .guarded_by(&[Guard::BindingGroups])
    .on_own_server(),
    AttackCase::new(
        "T39-second-order",
        "an order that may be charged is sent to no other upstream, and its response forbids clients to repeat it",
        |target| Box::pin(second_order(target)),
    )
    .guarded_by(&[Guard::SecondOrder])
    .on_own_server(),
];

async fn generate_as(target: &AttackTarget, user: &Destination, body: &Value) -> Result<Response> {
    let request = ClientRequest::json(IMAGES_PATH, body);
    target.client.send_as(user, request).await
}

async fn two_greedy_users(target: &AttackTarget) -> Result<()> {
    let (greedy, third) = (
        target.add_user("greedy").await?,
        target.add_user("third").await?,
    );
    target.hold_waiting_jobs();
    let wait = json!({"prompt": "wait", "engine": "hostile"});
    let jobs = async {
        let of_first = join_all((0..30).map(|_| target.generate("wait")));
        let of_second = join_all((0..30).map(|_| generate_as(target, &greedy, &wait)));
        tokio::join!(of_first, of_second)
    };
    let of_third = async {
        // Of the 12 slots that the engine may use, 3 are for users without a running job.
        target.upstream.wait_for_requests(9).await;
        let ask = json!({"prompt": "ask", "engine": "hostile"});
        for _ in 0..5 {
            let response = generate_as(target, &third, &ask).await?;
            ensure!(response.status == StatusCode::OK, "{}", response.text());
        }
        anyhow::Ok(())
    };
    tokio::pin!(jobs, of_third);
    tokio::select! {
        _ = &mut jobs => bail!("the third user got no image before the jobs of the others ended"),
        generated = &mut of_third => generated?,
    }
    jobs.await;
    Ok(())
}

async fn thumbnails(target: &AttackTarget) -> Result<()> {
    /// Images whose thumbnails the first user requests, each in four sizes.
    const IMAGES: usize = 10;
    /// Thumbnails that may be finished before the other user's: two are in work, and two begin while the other
    /// user's request arrives.
    const MAX_EARLIER: usize = 12;
    let other = target.add_user("viewer").await?;
    let picture = image::large_png()?;
    let mut paths = Vec::new();
    for _ in 0..IMAGES {
        paths.push(image::store(target, "large.png", &picture).await?);
    }
    let of_other = image::store_as(target, &other, "large.png", &picture).await?;
    let thumbnail = async |path: String| target.client.get(&path).await;
    let mut many: FuturesUnordered<_> = paths
        .iter()
        .flat_map(|path| [128, 256, 512, 1024].map(|size| format!("{path}/thumbnail?size={size}")))
        .map(thumbnail)
        .collect();
    // All of them wait as soon as the first one is finished.
    many.next().await.context("there are thumbnails")??;
    let thumbnail_path = format!("{of_other}/thumbnail");
    let request = ClientRequest::get(&thumbnail_path);
    let mut of_second_user = std::pin::pin!(target.client.send_as(&other, request));
    let mut earlier = 0;
    let response = loop {
        tokio::select! {
            response = &mut of_second_user => break response?,
            Some(_) = many.next() => earlier += 1,
        }
    };
    ensure!(response.status == StatusCode::OK, "{}", response.text());
    ensure!(
        earlier <= MAX_EARLIER,
        "the other user waited for {earlier} thumbnails"
    );
    while many.next().await.is_some() {}
    for path in paths.iter().chain([&of_other]) {
        image::remove(target, path).await?;
    }
    Ok(())
}

async fn model_lists(target: &AttackTarget) -> Result<()> {
    let user = target.add_user("lister").await?;
    target.set("IMAGE_GENERATION_ENGINE", "hostile").await?;
    // The engine requests its list from the upstream.
    target.set("HOSTILE_NOTE", "models").await?;
    target
        .upstream
        .set_handler(|_: RecordedRequest| async { FakeResponse::json(200, &json!(["a-model"])) });
    let list = || {
        target
            .client
            .send_as(&user, ClientRequest::get("/v1/models"))
    };
    let mut refused = 0;
    // Fewer at the same time than the connections of the server.
    let mut responses = stream::iter((0..400).map(|_| list())).buffer_unordered(100);
    while let Some(response) = responses.next().await {
        let response = response?;
        match response.status {
            StatusCode::OK => {}
            StatusCode::TOO_MANY_REQUESTS if !response.header("retry-after").is_empty() => {
                refused += 1
            }
            status => bail!("the list has status {status}: {}", response.text()),
        }
    }
    ensure!(refused > 0, "no request was refused");
    // The language models' list comes from the same upstream.
    let mut lists = target.upstream.request_lines();
    lists.retain(|line| line == "GET /allowed/models");
    ensure!(
        lists.len() == 1,
        "the operator's key was used {} times",
        lists.len()
    );
    Ok(())
}

async fn verifications(target: &AttackTarget) -> Result<()> {
    let body = json!({"engine": "hostile", "url": target.upstream.url()});
    let verify = || target.client.post("/api/v1/images/verify", &body);
    let mut refused = 0;
    for response in join_all((0..40).map(|_| verify())).await {
        if response?.status == StatusCode::TOO_MANY_REQUESTS {
            refused += 1;
        }
    }
    ensure!(refused > 0, "no verification was refused");
    Ok(())
}

async fn models_of_binding(target: &AttackTarget) -> Result<()> {
    const MODEL: &str = "model-of-the-vault";
    let user = target.add_user("outsider").await?;
    let bindings = json!({"vault": {"engine": "hostile", "groups": ["Insiders"], "model": MODEL}});
    target.set("PINHOLE_BINDINGS", bindings.to_string()).await?;
    let chosen = target.set("IMAGE_GENERATION_ENGINE", "vault").await?;
    chosen.require_success("choosing the binding")?;
    for path in ["/v1/models", "/api/v1/images/models"] {
        let response = target
            .client
            .send_as(&user, ClientRequest::get(path))
            .await?;
        ensure!(
            !response.text().contains(MODEL),
            "{path} shows the model: {}",
            response.text()
        );
    }
    for body in [
        json!({"prompt": "ask"}),
        json!({"prompt": "ask", "engine": "vault"}),
    ] {
        let response = generate_as(target, &user, &body).await?;
        ensure!(
            response.status == StatusCode::BAD_REQUEST,
            "the binding served another group: {}",
            response.status
        );
    }
    let requests = target.upstream.request_lines();
    ensure!(requests.is_empty(), "the upstream received {requests:?}");
    Ok(())
}

async fn second_order(target: &AttackTarget) -> Result<()> {
    target.set("IMAGE_GENERATION_ENGINE", "hostile").await?;
    let fallback = target.set("PINHOLE_FALLBACKS", "sketch").await?;
    fallback.require_success("setting a fallback")?;
    let body = json!({"prompt": "order"});
    for status in [500, 502, 504, 524, 0] {
        target.reset_upstreams();
        target
            .upstream
            .set_handler(move |_: RecordedRequest| async move {
                match status {
                    0 => FakeResponse::disconnect(),
                    status => FakeResponse::json(status, &json!({})),
                }
            });
        let response = target.client.post(IMAGES_PATH, &body).await?;
        let orders = target.upstream.request_lines();
        ensure!(
            orders == ["POST /orders"],
            "{status}: the upstream received {orders:?}"
        );
        ensure!(
            !response.status.is_success(),
            "{status}: another engine carried out the order"
        );
        ensure!(
            response.header("x-should-retry") == "false",
            "{status}: clients may repeat the order: {:?}",
            response.headers
        );
    }
    Ok(())
}
