//! Operations of stored files.

use pinhole::files::link::FileLinks;
use pinhole_tests::PIXEL;

use super::*;

/// A form with one part, as browsers write it.
fn form(name: &str, bytes: &[u8]) -> Vec<u8> {
    let head = format!(
        "--limit\r\ncontent-disposition: form-data; name=\"{name}\"; filename=\"fox.png\"\r\n\r\n"
    );
    [head.as_bytes(), bytes, b"\r\n--limit--\r\n"].concat()
}

const FORM: &str = "multipart/form-data; boundary=limit";
const FILES: &str = "/api/v1/files/";

#[tokio::test(flavor = "multi_thread")]
async fn file_operations() {
    let api = Api::start(&[]).await;
    let upload = |body: Vec<u8>| api.ask(Method::POST, FILES).body(FORM, body);
    let file = api.case("good", upload(form("file", PIXEL))).await;
    api.case("no_picture", upload(form("file", b"<svg/>")))
        .await;
    api.case("no_file", upload(form("other", PIXEL))).await;
    api.case("no_form", api.ask(Method::POST, FILES).json(&json!({})))
        .await;
    let long = vec![0; (32 << 20) + 1];
    api.case("too_large", upload(form("file", &long))).await;
    api.case("good", api.ask(Method::GET, FILES)).await;
    for (case, query) in [("no_limit", "?limit=0"), ("page_no_number", "?page=x")] {
        api.case(case, api.ask(Method::GET, &format!("{FILES}{query}")))
            .await;
    }
    let path = format!("{FILES}{}", file["id"].as_str().unwrap());
    let get = |rest: &str| api.ask(Method::GET, &format!("{path}{rest}"));
    api.case("good", get("")).await;
    api.case("good", get("/content")).await;
    api.case("good_to_be_saved", get("/content?attachment=true"))
        .await;
    api.case("good_range", get("/content").header("range", "bytes=1-3"))
        .await;
    api.case(
        "range_behind_the_end",
        get("/content").header("range", "bytes=9999-"),
    )
    .await;
    let hash = file["hash"].as_str().unwrap();
    let known = format!("\"{hash}\"");
    api.case(
        "good_known_already",
        get("/content").header("if-none-match", &known),
    )
    .await;
    api.case("good", get("/content/any-name.png")).await;
    api.case("good", get("/thumbnail?size=256")).await;
    api.case("odd_size", get("/thumbnail?size=7")).await;
    let row = api.server.app.store.file(file["id"].as_str().unwrap());
    let links = FileLinks {
        signer: api.server.app.accounts.links.clone(),
        base_url: String::new(),
        lifetime_secs: 3600,
    };
    let link = links.url(&row.await.unwrap().unwrap());
    let open = |url: &str| api.ask_without_key(Method::GET, url);
    api.case("good", open(&link)).await;
    let forged = format!("{path}/content/1/AAAA/image.png");
    api.case("forged", open(&forged)).await;
    let second_user = api.server.add_second_user().await;
    for rest in ["", "/content", "/content/x.png", "/thumbnail"] {
        let path = format!("{path}{rest}");
        api.case(
            "somebody_elses",
            api.ask_as(second_user, Method::GET, &path),
        )
        .await;
    }
    api.case(
        "somebody_elses",
        api.ask_as(second_user, Method::DELETE, &path),
    )
    .await;
    api.case("good", api.ask(Method::DELETE, &path)).await;
    api.case("not_found", api.ask(Method::DELETE, &path)).await;
    api.case("not_found", open(&link)).await;
    let search = |name: &str| api.ask(Method::GET, &format!("{FILES}search?filename={name}"));
    api.case("good", upload(form("file", PIXEL))).await;
    api.case("good", search("fox*")).await;
    api.case("not_found", search("hen*")).await;
    api.case("good", api.ask(Method::DELETE, &format!("{FILES}all")))
        .await;
}
