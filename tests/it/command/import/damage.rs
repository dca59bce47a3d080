//! Databases with damaged and hostile rows, and those that are not of Open WebUI.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn damaged_rows_are_skipped_and_named() {
    let mut source = Source::sqlite().await;
    source
        .user("ada", "ada@example.com", "admin", PASSWORD)
        .await;
    source.user("../x", "x@example.com", "user", PASSWORD).await;
    source.user("no-email", "nothing", "user", PASSWORD).await;
    source
        .user("root", "root@example.com", "root", PASSWORD)
        .await;
    source
        .user("twice", "ADA@example.com", "user", PASSWORD)
        .await;
    source
        .user("old", "old@example.com", "user", PASSWORD)
        .await;
    source
        .user("off", "off@example.com", "user", PASSWORD)
        .await;
    source
        .user("blob", "blob@example.com", "user", PASSWORD)
        .await;
    for statement in [
        "UPDATE auth SET password = '$2b$31$lm3ulKqhzQA.wCe.OtmZmuoB5vFDCvKGWCnIPVDt1UaRYRGsHjuTO' WHERE id = 'old'",
        "UPDATE auth SET active = FALSE WHERE id = 'off'",
        "UPDATE \"user\" SET name = x'ff' WHERE id = 'blob'",
        "INSERT INTO \"user\" (id, email, role, name) VALUES (CAST(x'fe' AS TEXT), 'y@example.com', 'user', 'y')",
        "INSERT INTO \"user\" (id, email, role, name) VALUES (x'61', 'z@example.com', 'user', 'z')",
        "INSERT INTO api_key (id, user_id, key, created_at, updated_at) VALUES
            ('short', 'ada', 'sk-1', 5, 5), ('odd', 'ada', 'no-0f8fad5bd9cb469fa16570867728950e', 5, 5),
            ('orphan', 'nobody', 'sk-1f8fad5bd9cb469fa16570867728950e', 5, 5)",
        "INSERT INTO api_key (id, user_id, key, expires_at, created_at, updated_at) VALUES
            ('expired', 'ada', 'sk-2f8fad5bd9cb469fa16570867728950e', 9, 5, 5)",
    ] {
        source.run(statement).await;
    }
    source.group("", "{}", &[]).await;
    source
        .group("odd", "{\"features\": 5}", &["ada", "missing"])
        .await;
    let meta = json!({"content_type": "image/png"});
    source
        .file("orphan", "nobody", "a.png", &meta, Some(&gif(1)))
        .await;
    source.file("lost", "ada", "b.png", &meta, None).await;
    source
        .file("text", "ada", "c.png", &meta, Some(b"<html>"))
        .await;
    source
        .file(
            "document",
            "ada",
            "d.pdf",
            &json!({"content_type": "application/pdf"}),
            Some(b"%PDF"),
        )
        .await;
    source
        .file("a/b", "ada", "e.png", &meta, Some(&gif(1)))
        .await;
    source
        .file(
            "long",
            "ada",
            "f.png",
            &meta,
            Some(&vec![0; (32 << 20) + 1]),
        )
        .await;
    source.file("outside", "ada", "g.png", &meta, None).await;
    let secret = source.directory().join("secret.gif");
    fs::write(&secret, gif(3)).unwrap();
    std::os::unix::fs::symlink(&secret, Path::new(&source.uploads()).join("outside_g.png"))
        .unwrap();
    source.file("above", "ada", "h.png", &meta, None).await;
    source
        .run("UPDATE \"file\" SET path = '/app/uploads/..' WHERE id = 'above'")
        .await;
    for (id, user, chat) in [
        ("orphan", "nobody", "{}".to_owned()),
        ("shared", "shared-x", "{}".to_owned()),
        ("broken", "ada", "{\"history\"".to_owned()),
        ("number", "ada", "5".to_owned()),
        ("deep", "ada", "[".repeat(100_000)),
        (
            "wide",
            "ada",
            format!("{{\"x\": [{}0]}}", "0,".repeat(300_000)),
        ),
        (
            "huge",
            "ada",
            format!("{{\"x\": \"{}\"}}", "x".repeat(17 << 20)),
        ),
        ("empty", "ada", "{}".to_owned()),
        (
            "partial",
            "ada",
            json!({"history": {"currentId": "m", "messages": {
                "m": {"role": "user", "content": "hello"}, "n": {"statusHistory": []},
            }}})
            .to_string(),
        ),
    ] {
        source.chat(id, user, "title\n\u{202e}", &chat).await;
    }
    source.settings(&json!({
        "image_generation": {"size": "huge", "steps": -5, "model": "m", "automatic1111": {"api_auth": {"a": 1}}},
    })).await;

    let program = Program::new(&["sketch", "automatic1111"]);
    let tried = report(&import(&program, &source, &["--dry-run", "--json"]));
    let imported = report(&import(&program, &source, &["--json"]));
    assert_eq!(tried["findings"], imported["findings"]);
    assert_eq!(counts(&imported, "api_keys"), [4, 0, 0, 4]);
    assert_eq!(counts(&imported, "groups"), [2, 1, 0, 1]);
    assert_eq!(counts(&imported, "memberships"), [2, 1, 0, 1]);
    assert_eq!(counts(&imported, "images"), [8, 0, 0, 8]);
    assert_eq!(counts(&imported, "chats"), [9, 2, 0, 7]);
    assert_eq!(counts(&imported, "settings"), [4, 1, 0, 3]);
    for (kind, id, expected) in [
        ("users", "../x", "its id is not"),
        ("users", "no-email", "no valid email"),
        ("users", "root", "no role of admin"),
        (
            "users",
            "twice",
            "another user of this server has its email",
        ),
        ("users", "old", "no password that can be imported"),
        ("users", "off", "the role pending"),
        ("users", "blob", "is not text"),
        ("users", "", "is not text"),
        ("api_keys", "short", "at least 21 characters"),
        ("api_keys", "odd", "at least 21 characters"),
        ("api_keys", "orphan", "was not imported"),
        ("api_keys", "expired", "it has expired"),
        ("images", "orphan", "its owner was not imported"),
        ("images", "lost", "not in the directory of uploads"),
        ("images", "text", "it is not an image"),
        ("images", "document", "it is not an image"),
        ("images", "a/b", "its id is not"),
        ("images", "long", "more than the 33554432 allowed"),
        ("images", "outside", "are not a file"),
        ("images", "above", "no path"),
        ("chats", "orphan", "was not imported"),
        ("chats", "shared", "the copy of a shared chat"),
        ("chats", "broken", "not that of a chat"),
        ("chats", "number", "not that of a chat"),
        ("chats", "deep", "its JSON is refused"),
        ("chats", "wide", "its JSON is refused"),
        ("chats", "huge", "more than the 16777216 allowed"),
        ("chats", "partial", "1 message(s) without a role"),
        ("settings", "image_generation.size", "IMAGE_SIZE"),
        ("settings", "image_generation.steps", "IMAGE_STEPS"),
        (
            "settings",
            "image_generation.automatic1111.api_auth",
            "must be a string",
        ),
    ] {
        let reason = reason(&imported, kind, id);
        assert!(reason.contains(expected), "{kind} {id}: {reason}");
    }
    let server = program.serve();
    assert_eq!(sign_in(&server, "old@example.com", PASSWORD), Err(400));
    let session = sign_in(&server, "ada@example.com", PASSWORD).unwrap();
    let chats = get_json(&server, "/api/v1/chats/pinned", &session).await;
    let titles: Vec<_> = chats
        .as_array()
        .unwrap()
        .iter()
        .map(|chat| &chat["title"])
        .collect();
    assert_eq!(titles, [&json!("title "); 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn import_refuses_a_wrong_source_in_one_line() {
    let mut source = Source::sqlite().await;
    let program = Program::new(&["sketch"]);
    let uploads = source.uploads();
    for (code, database, expected) in [
        (
            2,
            "mysql://root:hunter2@localhost/x",
            "only sqlite:// and postgresql:// are supported",
        ),
        (
            2,
            "postgresql://root:hunter2@localhost:port/x",
            "it needs the form postgresql://",
        ),
        (
            1,
            "postgresql://root:hunter2@127.0.0.1:9/x",
            "cannot open the Open WebUI database x on 127.0.0.1:9: check --database",
        ),
        (
            1,
            "sqlite:////missing/webui.db",
            "cannot open the Open WebUI database /missing/webui.db",
        ),
        (
            1,
            "missing.db",
            "cannot open the Open WebUI database missing.db",
        ),
    ] {
        let arguments = [
            "import",
            "open-webui",
            "--database",
            database,
            "--uploads",
            &uploads,
        ];
        let message = program.run(&arguments).failed(code);
        assert!(message.contains(expected), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
    let url = source.url();
    let arguments = [
        "import",
        "open-webui",
        "--database",
        &url,
        "--uploads",
        "missing",
    ];
    let message = program.run(&arguments).failed(1);
    assert!(
        message.contains("set --uploads to the directory uploads"),
        "{message}"
    );
    source.run("DROP TABLE group_member").await;
    let unknown = import(&program, &source, &[]).failed(1);
    assert!(
        unknown.contains("it is not one of Open WebUI 0.6.43 or later"),
        "{unknown}"
    );
}
