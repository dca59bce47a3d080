//! The engine `openai`: what its upstream is asked, and what its answers become.

/// A request and its reply as the official client recorded them. It stands above the module that
/// uses it too.
macro_rules! recorded {
    ($name:literal) => {
        serde_json::from_str::<Value>(include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/data/openai/",
            $name,
            ".json"
        )))
        .unwrap()
    };
}

mod refused;

use std::process::Command;

use pinhole_tests::{Answer, PIXEL, Played, Stage, Upstream, engines, gif, pixel_base64, program};
use serde_json::{Value, json};

/// Not in the shape of OpenAI's keys, so that nothing recognises it by its looks.
const KEY: &str = "open-sesame-7391";

/// A stage with an upstream at `/v1` and the model `gpt-image-2`, unless the variables say otherwise.
async fn stage(variables: &[(&str, &str)]) -> Stage {
    let mut all = vec![
        ("IMAGE_GENERATION_MODEL", "gpt-image-2"),
        ("IMAGES_OPENAI_API_BASE_URL", "{upstream}/v1"),
        ("IMAGES_OPENAI_API_KEY", "{secret}"),
    ];
    all.extend(variables);
    Stage::start("openai", KEY, &all).await
}

/// An answer with these pictures.
fn success(pictures: &[&[u8]]) -> Answer {
    let item = |bytes: &&[u8]| json!({"b64_json": base64_simd::STANDARD.encode_to_string(bytes)});
    let data: Vec<Value> = pictures.iter().map(item).collect();
    Answer::json(200, &json!({"created": 1_713_833_628, "data": data}))
}

/// The one request came with the key, to the generations of `base`, and with this body.
fn check_request(played: &Played, base: &str, body: &Value) {
    for seen in &played.seen {
        assert_eq!(seen.line(), format!("POST {base}/images/generations"));
        assert_eq!(seen.header("authorization"), format!("Bearer {KEY}"));
        assert_eq!(seen.header("content-type"), "application/json");
        assert_eq!(seen.json(), *body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_and_a_prompt_are_sent_and_nothing_else() {
    let stage = stage(&[]).await;
    let exchange = recorded!("generate-minimal");
    let sent = &exchange["sent"]["json"];
    let played = stage.play([Answer::recorded(&exchange)], sent).await;

    check_request(&played, "/v1", sent);
    assert_eq!(exchange["sent"]["target"], played.request().target);
    for absent in ["cookie", "referer", "accept-encoding", "x-forwarded-for"] {
        assert_eq!(played.request().header(absent), "", "{absent}");
    }
    let picture = &exchange["reply"]["body"]["data"][0]["b64_json"];
    assert_eq!(played.body["data"], json!([{"b64_json": picture}]));
    assert_eq!(played.body["output_format"], "png");
    assert_eq!(stage.server.stored(), 0);

    let settings = json!({"prompt": "a red fox"});
    let played = stage.play([success(&[PIXEL])], &settings).await;
    let body = json!({"model": "gpt-image-2", "prompt": "a red fox"});
    check_request(&played, "/v1", &body);
    assert_eq!(played.pictures(), [PIXEL]);
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_was_asked_for_is_sent_as_it_was_typed() {
    let stage = stage(&[]).await;
    let asked = json!({
        "model": "gpt-image-2", "prompt": "a red fox", "size": "1536x1024", "n": 2,
        "quality": "high", "background": "transparent", "output_format": "webp",
        "output_compression": 80,
    });
    let two = success(&[PIXEL, &gif(9)]);
    let played = stage.play([two], &asked).await;
    check_request(&played, "/v1", &asked);
    assert_eq!(played.pictures(), [PIXEL.to_vec(), gif(9)]);

    // The official client's body, but for the end user's name, which stays here.
    let exchange = recorded!("generate-full");
    let mut sent = exchange["sent"]["json"].clone();
    let played = stage.play([Answer::recorded(&exchange)], &sent).await;
    sent.as_object_mut().unwrap().remove("safety_identifier");
    check_request(&played, "/v1", &sent);
    assert_eq!(played.pictures().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn dall_e_3_is_asked_for_bytes_and_its_own_prompt_is_told() {
    let stage = stage(&[]).await;
    let revised = "A red fox in the snow, at dusk.";
    let item = json!({"b64_json": pixel_base64(), "revised_prompt": revised});
    let answer = || Answer::json(200, &json!({"created": 1, "data": [item]}));
    let asked = json!({"model": "dall-e-3", "prompt": "a red fox", "style": "vivid"});
    let played = stage.play([answer()], &asked).await;
    let mut body = asked.clone();
    body["response_format"] = "b64_json".into();
    check_request(&played, "/v1", &body);
    assert_eq!(played.pictures(), [PIXEL]);
    assert_eq!(played.body["data"][0]["revised_prompt"], revised);

    // What the client wants for itself changes nothing upstream.
    let mut asked = asked;
    asked["response_format"] = "url".into();
    let played = stage.play([answer()], &asked).await;
    check_request(&played, "/v1", &body);
    assert_eq!(played.status, 200, "{}", played.body);
    let url = played.body["data"][0]["url"].as_str().unwrap();
    let kept = stage.server.get(url).send().await.unwrap();
    assert_eq!(kept.bytes().await.unwrap(), PIXEL);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_pictures_of_dall_e_3_are_several_requests() {
    let stage = stage(&[]).await;
    let body = json!({
        "model": "dall-e-3", "prompt": "a red fox", "response_format": "b64_json",
    });
    let asked = |count: u32| json!({"model": "dall-e-3", "prompt": "a red fox", "n": count});
    let answers = [(); 3].map(|()| success(&[PIXEL]));
    let played = stage.play(answers, &asked(3)).await;
    check_request(&played, "/v1", &body);
    assert_eq!(played.pictures(), [PIXEL; 3]);

    // Some came: they are given, with a word about the others.
    let limit = || Answer::recorded(&recorded!("refused-rate"));
    let mut request = asked(3);
    request["response_format"] = "url".into();
    let played = stage
        .play([success(&[PIXEL]), limit(), limit()], &request)
        .await;
    assert_eq!(played.body["data"].as_array().unwrap().len(), 1);
    let notes = stage.details(&played).await["notes"].clone();
    let reason = "Rate limit reached for gpt-image-2 on images per min. Limit: 5/1min.";
    assert_eq!(notes, json!(["1 of 3 images came", reason, reason]));

    // None of the first round came: there is no second one.
    let played = stage
        .play([limit(), limit(), limit(), limit()], &asked(10))
        .await;
    check_request(&played, "/v1", &body);
    assert_eq!(played.error(), (429, "rate_limit_exceeded", None, reason));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_size_becomes_one_that_the_model_has() {
    let stage = stage(&[]).await;
    for (model, asked, sent) in [
        ("gpt-image-1.5", "512x512", "1024x1024"),
        ("gpt-image-1.5", "1280x720", "1536x1024"),
        ("gpt-image-1-mini", "800x1200", "1024x1536"),
        ("gpt-image-2.5-flare", "1000x1000", "1008x1008"),
        ("dall-e-3", "1920x1080", "1792x1024"),
        ("somebody-elses", "333x444", "333x444"),
    ] {
        let asked = json!({
            "model": model, "prompt": "x", "size": asked, "response_format": "url",
        });
        let played = stage.play([success(&[PIXEL])], &asked).await;
        let request = played.request().json();
        assert_eq!(
            (&request["model"], &request["size"]),
            (&json!(model), &json!(sent))
        );
        let details = stage.details(&played).await;
        let changed = asked["size"] != sent;
        assert_eq!(details["sent_size"] == sent, changed, "{details}");
    }
    let asked = json!({"prompt": "x", "size": "3000x100"});
    let played = stage.play([], &asked).await;
    let (status, _, param, message) = played.error();
    assert_eq!((status, param), (400, Some("size")), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_at_an_address_is_fetched_without_the_key() {
    let stage = stage(&[]).await;
    let address = format!("{}/pictures/x.png?sig=1&x=%20", stage.upstream.url());
    let item = json!({"url": address, "revised_prompt": "A red fox."});
    let answer = Answer::json(200, &json!({"created": 1, "data": [item]}));
    let picture = Answer::typed(200, "application/octet-stream", PIXEL);
    let asked = json!({"model": "dall-e-3", "prompt": "a red fox"});
    let played = stage.play([answer, picture], &asked).await;

    assert_eq!(played.pictures(), [PIXEL]);
    assert_eq!(played.body["data"][0]["revised_prompt"], "A red fox.");
    let [generation, fetch] = played.seen.as_slice() else {
        panic!("{:?}", played.seen);
    };
    assert_eq!(generation.header("authorization"), format!("Bearer {KEY}"));
    assert_eq!(fetch.line(), "GET /pictures/x.png?sig=1&x=%20");
    assert_eq!(fetch.header("authorization"), "");
    assert!(!format!("{fetch:?}").contains(KEY));
    assert!(fetch.body.is_empty());

    // What lies there is looked at like any other picture.
    let answer = Answer::json(200, &json!({"data": [{"url": address}]}));
    let page = Answer::typed(200, "image/png", "<html>gone</html>");
    let played = stage.play([answer, page], &asked).await;
    let (status, code, ..) = played.error();
    assert_eq!((status, code), (502, "protocol"));
    assert_eq!(stage.server.stored(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_at_any_other_address_is_not_fetched() {
    let stage = stage(&[]).await;
    let other = Upstream::json(200, json!({})).await;
    let port = stage.upstream.address.port();
    for address in [
        format!("{}/x.png", other.url()),
        format!("http://localhost:{}/x.png", other.address.port()),
        format!("http://[::ffff:127.0.0.1]:{}/x.png", other.address.port()),
        // The granted host and port, but in other words.
        format!("http://localhost:{port}/x.png"),
        format!("http://{KEY}@127.0.0.1:{port}/x.png"),
        format!("http://127.1:{port}/x.png"),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "http://192.168.0.1/x.png".to_owned(),
        "file:///etc/passwd".to_owned(),
        "gs://bucket/x.png".to_owned(),
        "/x.png".to_owned(),
        "x".to_owned(),
    ] {
        let answer = Answer::json(200, &json!({"data": [{"url": address}]}));
        let played = stage.play([answer], &json!({"prompt": "a red fox"})).await;
        let expected = "the picture's address may not be fetched";
        assert_eq!(
            played.error(),
            (502, "forbidden", None, expected),
            "{address}"
        );
        check_request(
            &played,
            "/v1",
            &json!({"model": "gpt-image-2", "prompt": "a red fox"}),
        );
    }
    assert!(other.seen().is_empty(), "{:?}", other.lines());
    assert_eq!(stage.server.stored(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_url_is_joined_by_one_slash() {
    for (base, joined) in [
        ("{upstream}/v1/", "/v1"),
        ("{upstream}", ""),
        ("{upstream}/", ""),
    ] {
        let stage = stage(&[("IMAGES_OPENAI_API_BASE_URL", base)]).await;
        let played = stage
            .play([success(&[PIXEL])], &json!({"prompt": "a red fox"}))
            .await;
        check_request(
            &played,
            joined,
            &json!({"model": "gpt-image-2", "prompt": "a red fox"}),
        );
        assert_eq!(played.pictures(), [PIXEL], "{base}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_classic_azure_address_is_asked_with_its_version() {
    let exchange = recorded!("generate-azure");
    let sent = &exchange["sent"];
    let stage = stage(&[
        (
            "IMAGES_OPENAI_API_BASE_URL",
            "{upstream}/openai/deployments/my-deployment",
        ),
        ("IMAGES_OPENAI_API_VERSION", "2025-04-01-preview"),
        ("IMAGE_GENERATION_MODEL", "my-deployment"),
    ])
    .await;
    let asked = json!({"prompt": "x", "size": "1024x1024"});
    let played = stage.play([Answer::recorded(&exchange)], &asked).await;
    let request = played.request();
    assert_eq!(request.target, sent["target"].as_str().unwrap());
    assert_eq!(request.json(), sent["json"]);
    assert_eq!(request.header("authorization"), format!("Bearer {KEY}"));
    assert_eq!(played.pictures().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_parameters_have_the_last_word() {
    let parameters = json!({
        "quality": "low", "size": "256x256", "background": null, "model": "dall-e-2", "extra": {"a": [1]},
    })
    .to_string();
    for variable in ["IMAGES_OPENAI_PARAMS", "IMAGES_OPENAI_API_PARAMS"] {
        let stage = stage(&[(variable, &parameters)]).await;
        let asked = json!({
            "prompt": "a red fox", "quality": "high", "background": "opaque", "size": "1024x1024",
            "moderation": "low",
        });
        let played = stage.play([success(&[PIXEL])], &asked).await;
        let body = json!({
            "model": "dall-e-2", "prompt": "a red fox", "quality": "low", "size": "256x256",
            "moderation": "low", "extra": {"a": [1]}, "response_format": "b64_json",
        });
        check_request(&played, "/v1", &body);
        assert_eq!(played.pictures(), [PIXEL], "{variable}");
    }
    for (parameters, field) in [
        ("[1]", "params"),
        ("{", "params"),
        ("{\"stream\":true}", "stream"),
    ] {
        let stage = stage(&[("IMAGES_OPENAI_PARAMS", parameters)]).await;
        let played = stage.play([], &json!({"prompt": "a red fox"})).await;
        let (status, _, param, message) = played.error();
        assert_eq!((status, param), (400, Some(field)), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_none_is_sent() {
    let stage = stage(&[("IMAGES_OPENAI_API_KEY", "")]).await;
    let played = stage
        .play([success(&[PIXEL])], &json!({"prompt": "a red fox"}))
        .await;
    assert!(!played.request().headers.contains_key("authorization"));
    assert_eq!(played.pictures(), [PIXEL]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_is_not_in_what_describes_the_engine() {
    let stage = stage(&[]).await;
    let engine = stage.server.app.jobs.engines.get("openai").unwrap();
    let destination = &engine.generating.upstreams["api"].destination;
    let described = format!(
        "{:?} {:?} {:?} {:?} {}",
        engine.generating.settings.values(),
        engine.description,
        engine.generating.upstreams,
        destination,
        destination.origin(),
    );
    assert!(described.contains("base-url") && described.contains("Destination("));
    assert!(!described.contains(KEY), "{described}");

    let data = tempfile::tempdir().unwrap();
    let listed = Command::new(program())
        .args(["engine", "list"])
        .env_clear()
        .env("PINHOLE_DATA", data.path())
        .env("PINHOLE_ENGINES", engines())
        .env("PINHOLE_LOG", "pinhole=trace")
        .env("IMAGES_OPENAI_API_BASE_URL", stage.upstream.url())
        .env("IMAGES_OPENAI_API_KEY", KEY)
        .output()
        .unwrap();
    let text = String::from_utf8([listed.stdout, listed.stderr].concat()).unwrap();
    assert!(
        listed.status.success() && text.contains(&stage.upstream.url()),
        "{text}"
    );
    assert!(!text.contains(KEY), "{text}");
    assert!(stage.upstream.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_the_address_is_refused_and_not_repeated() {
    for base in [
        "{upstream}/v1?key={secret}",
        "{upstream}/v1#{secret}",
        "http://{secret}@127.0.0.1:9/v1",
        "http://me:{secret}@127.0.0.1:9/v1",
        "ftp://127.0.0.1/{secret}",
    ] {
        let stage = stage(&[("IMAGES_OPENAI_API_BASE_URL", base)]).await;
        // The stage looks for the key in the answer.
        let played = stage.play([], &json!({"prompt": "a red fox"})).await;
        let (status, _, param, message) = played.error();
        assert_eq!((status, param), (400, Some("engine")), "{message}");
        let refused = stage.server.app.jobs.engines.refused();
        assert!(refused[0].reason.contains("base-url"), "{refused:?}");
        assert!(!refused[0].reason.contains(KEY), "{refused:?}");
    }
}
