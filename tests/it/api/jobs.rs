//! Operations of the jobs API.

use super::accounts::account;
use super::*;

const JOBS: &str = "/api/v1/jobs";

#[tokio::test(flavor = "multi_thread")]
async fn job_operations() {
    let api = Api::start(&[]).await;
    let create = |body: Value| api.ask(Method::POST, JOBS).json(&body);
    let good = json!({"prompt": "a fox", "size": "64x48", "seed": 7});
    let key = |request: ApiRequest| request.header("idempotency-key", "k");
    let job = api.case("good", key(create(good.clone()))).await;
    let path = format!("{JOBS}/{}", job["id"].as_str().unwrap());
    let ended = format!("{path}?wait=60");
    api.case("good", api.ask(Method::GET, &ended)).await;
    api.case("good_repeated", key(create(good))).await;
    api.case("other_body", key(create(json!({"prompt": "a dog"}))))
        .await;
    for (case, body) in [
        ("no_prompt", json!({})),
        ("unknown_field", json!({"prompt": "a fox", "image": "x"})),
        (
            "unknown_engine",
            json!({"prompt": "a fox", "engine": "none"}),
        ),
        (
            "no_such_file",
            json!({"prompt": "a fox", "sources": ["none"]}),
        ),
    ] {
        api.case(case, create(body)).await;
    }
    api.case("good", api.ask(Method::GET, JOBS)).await;
    let ended_of_all = format!("{JOBS}?mine=false&state=ended");
    api.case("good_of_all", api.ask(Method::GET, &ended_of_all))
        .await;
    api.case(
        "odd_state",
        api.ask(Method::GET, &format!("{JOBS}?state=odd")),
    )
    .await;
    api.case("good_ended", api.ask(Method::DELETE, &path)).await;
    let stop = "/api/v1/jobs/stop";
    api.case("good", api.ask(Method::POST, stop).json(&json!({})))
        .await;

    let (_, user) = account(&api, "ada", "user").await;
    let as_user = |method: Method, target: &str| api.ask_as(&user, method, target);
    api.case("somebody_elses", as_user(Method::GET, &path))
        .await;
    api.case("somebody_elses", as_user(Method::DELETE, &path))
        .await;
    api.case(
        "of_all",
        as_user(Method::GET, &format!("{JOBS}?mine=false")),
    )
    .await;
    let all = as_user(Method::POST, stop).json(&json!({"all": true}));
    api.case("of_all", all).await;
}
