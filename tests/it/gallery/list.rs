//! Pages, filters and search.

use pinhole::store::GalleryFields;
use pinhole_tests::TestServer;
use serde_json::{Value, json};

use super::{GALLERY, generate, get, images, names, new_file, post, upload, user_id};

/// Adds rows of the administrator, each with a name, a prompt and a binding; the first is the oldest.
async fn add(server: &TestServer, rows: &[(&str, &str, &str)]) {
    let owner = user_id(server, &server.key).await;
    let mut files = Vec::new();
    for ((name, prompt, binding), number) in rows.iter().zip(1..) {
        let mut file = new_file(&format!("id-{number}"), &owner, name, number);
        file.gallery = GalleryFields {
            is_generated: !binding.is_empty(),
            binding: (*binding).to_owned(),
            engine: binding.split('-').next().unwrap().to_owned(),
            model: format!("{binding}-1"),
            prompt: (*prompt).to_owned(),
            ..GalleryFields::default()
        };
        files.push(file);
    }
    server.app.store.insert_files(&files, None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_have_each_image_once_newest_first() {
    let server = TestServer::with_engine("sketch", &[]).await;
    let owner = user_id(&server, &server.key).await;
    // Of many images of one second, a page ends in the middle.
    let files: Vec<_> = (0..25)
        .map(|number| {
            let id = format!("{:02}", 7 * number % 25);
            new_file(&id, &owner, &id, 100 + i64::from(number / 10))
        })
        .collect();
    server.app.store.insert_files(&files, None).await.unwrap();
    let (mut found, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let path = format!("{GALLERY}?limit=4{cursor}");
        let (status, page) = get(&server, &server.key, &path).await;
        assert_eq!(status, 200, "{page}");
        found.extend(page["images"].as_array().unwrap().clone());
        pages += 1;
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!((found.len(), pages), (25, 7));
    let keys: Vec<(i64, &str)> = found
        .iter()
        .map(|it| {
            (
                it["created_at"].as_i64().unwrap(),
                it["id"].as_str().unwrap(),
            )
        })
        .collect();
    let mut sorted = keys.clone();
    sorted.sort();
    sorted.reverse();
    sorted.dedup();
    assert_eq!(keys, sorted);
    // The last page of exactly its length has no next one.
    let (_, page) = get(&server, &server.key, &format!("{GALLERY}?limit=25")).await;
    assert_eq!(page["next"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_select_images() {
    let server = TestServer::with_engine("sketch", &[]).await;
    add(
        &server,
        &[
            ("a.png", "A red fox, 50% off", "sketch"),
            ("b.png", "Ein FÜCHSE-Rudel", "comfyui-fast"),
            ("c.png", "a hen_house", "comfyui"),
            ("Fox.png", "", ""),
        ],
    )
    .await;
    let star = json!({"ids": ["id-1", "id-4"], "starred": true});
    post(&server, &server.key, &format!("{GALLERY}/star"), star).await;
    for (query, expected) in [
        ("", &["Fox.png", "c.png", "b.png", "a.png"][..]),
        ("q=", &["Fox.png", "c.png", "b.png", "a.png"]),
        ("q=FOX", &["Fox.png", "a.png"]),
        ("q=f%C3%BCchse", &["b.png"]),
        ("q=50%25", &["a.png"]),
        ("q=hen_", &["c.png"]),
        ("q=%25", &["a.png"]),
        ("q=_", &["c.png"]),
        ("q=red%20fox", &["a.png"]),
        ("q=red%20hen", &[]),
        ("engine=sketch", &["a.png"]),
        // The name of a binding, or of its engine.
        ("engine=comfyui", &["c.png", "b.png"]),
        ("engine=comfyui-fast", &["b.png"]),
        ("model=comfyui-1", &["c.png"]),
        ("from=2&to=3", &["c.png", "b.png"]),
        ("to=1", &["a.png"]),
        ("starred=true", &["Fox.png", "a.png"]),
        ("starred=false", &["Fox.png", "c.png", "b.png", "a.png"]),
        ("kind=uploaded", &["Fox.png"]),
        ("kind=generated&starred=true", &["a.png"]),
        ("q=fox&kind=generated&engine=sketch&from=1", &["a.png"]),
        ("q='%20OR%201=1--", &[]),
    ] {
        assert_eq!(
            names(&server, &server.key, query).await,
            expected,
            "{query}"
        );
    }
    let (_, facets) = get(&server, &server.key, &format!("{GALLERY}/facets")).await;
    let expected = json!({
        "engines": ["comfyui", "comfyui-fast", "sketch"],
        "models": ["-1", "comfyui-1", "comfyui-fast-1", "sketch-1"],
        "total": 4,
    });
    assert_eq!(facets, expected);
    // With a cursor, too.
    let (_, page) = get(&server, &server.key, &format!("{GALLERY}?q=fox&limit=1")).await;
    let next = page["next"].as_str().unwrap();
    let query = format!("q=fox&limit=1&cursor={next}");
    assert_eq!(names(&server, &server.key, &query).await, ["a.png"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_parameters_are_refused() {
    let server = TestServer::with_engine("sketch", &[]).await;
    for (query, part) in [
        ("limit=0".to_owned(), "limit must be"),
        ("limit=201".to_owned(), "limit must be"),
        ("limit=x".to_owned(), "limit"),
        ("cursor=x".to_owned(), "cursor is invalid"),
        (format!("cursor={}", "a".repeat(400)), "cursor is invalid"),
        (
            format!("q={}", "x".repeat(201)),
            "q is longer than 200 bytes",
        ),
        (format!("engine={}", "x".repeat(513)), "engine is longer"),
        (format!("model={}", "x".repeat(513)), "model is longer"),
        (format!("chat_id={}", "x".repeat(513)), "chat_id is longer"),
        ("from=x".to_owned(), "from"),
        ("starred=perhaps".to_owned(), "starred"),
        ("kind=stolen".to_owned(), "kind"),
    ] {
        let (status, refusal) = get(&server, &server.key, &format!("{GALLERY}?{query}")).await;
        let detail = refusal["detail"].as_str().unwrap();
        assert_eq!(status, 400, "{query}: {detail}");
        assert!(detail.contains(part), "{query}: {detail}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn generated_images_are_found_by_their_prompt() {
    let server = TestServer::with_engine("sketch", &[]).await;
    for prompt in ["a red fox", "a blue hen"] {
        let body = json!({"prompt": prompt, "size": "64x48", "model": "small"});
        generate(&server, &server.key, body).await;
    }
    upload(&server, &server.key, "hen.gif").await;
    assert_eq!(names(&server, &server.key, "q=HEN").await.len(), 2);
    let found = images(&server, &server.key, "q=fox&model=small&engine=sketch").await;
    assert_eq!(found[0]["prompt"], "a red fox");
    assert_eq!(found[0]["model"], "small");
    let (_, facets) = get(&server, &server.key, &format!("{GALLERY}/facets")).await;
    let expected = json!({"engines": ["sketch"], "models": ["small"], "total": 3});
    assert_eq!(facets, expected);
}
