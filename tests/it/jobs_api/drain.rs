//! Servers that receive the signal to shut down while jobs run.

use super::durable::{Comfy, Durable, assert_done};
use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn server_lets_its_jobs_end_and_accepts_no_others() {
    let comfy = Comfy::start().await;
    let durable = Durable::with_comfy(&comfy);
    let server = durable.start();
    durable
        .start_job(&server, &json!({"prompt": "a fox"}))
        .await;
    comfy.wait_for_orders(1).await;
    let is_ready = async || {
        let response = durable
            .request(&server, http::Method::GET, "/ready")
            .send()
            .await;
        response.unwrap().status() == 200
    };
    assert!(is_ready().await);
    server.signal("TERM").unwrap();
    while is_ready().await {}
    let request = durable.request(&server, http::Method::POST, JOBS);
    let refused = request
        .body(json!({"prompt": "b"}).to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(refused.status(), 503);
    comfy.finish();
    assert_done(&durable.ended_job(&server).await, "drain");
    server.wait().unwrap();
    let next = durable.start();
    assert_done(&durable.ended_job(&next).await, "next");
    assert_eq!((comfy.orders(), comfy.cancellations()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn job_that_can_continue_is_handed_over_without_a_word_to_its_upstream() {
    let comfy = Comfy::start().await;
    let durable = Durable::with_comfy(&comfy).with_variable("PINHOLE_DRAIN_SECS", "0");
    for stops in 1..=4 {
        let looks = comfy.looks();
        let server = durable.start();
        if stops == 1 {
            durable
                .start_job(&server, &json!({"prompt": "a fox"}))
                .await;
            comfy.wait_for_orders(1).await;
        } else {
            comfy.wait_for_look_after(looks).await;
        }
        server.shut_down().unwrap();
    }
    comfy.finish();
    let next = durable.start();
    assert_done(&durable.ended_job(&next).await, "handed over");
    assert_eq!((comfy.orders(), comfy.cancellations()), (1, 0));
}
