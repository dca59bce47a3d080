//! `pinhole import open-webui`: from SQLite and PostgreSQL, again, from damaged rows, and as a dry run.

mod damage;
mod source;

use std::os::unix::fs::PermissionsExt;

use pinhole_tests::{gif, http_client, long_image};
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;

use super::*;
use source::Source;

/// The password of the fixture's users.
const PASSWORD: &str = "correct horse";
/// Ada's API key.
const KEY: &str = "sk-0f8fad5bd9cb469fa16570867728950e";
/// The id of a generated image of Ada.
const IMAGE: &str = "7c9e6679-7425-40de-944b-e07fc1f90ae7";
/// The id of an upload of Ada.
const UPLOAD: &str = "550e8400-e29b-41d4-a716-446655440000";
const CHAT: &str = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";

fn import(program: &Program, source: &Source, more: &[&str]) -> CommandOutput {
    let (database, uploads) = (source.url(), source.uploads());
    let mut arguments = vec![
        "import",
        "open-webui",
        "--database",
        &database,
        "--uploads",
        &uploads,
    ];
    arguments.extend(more);
    program.run(&arguments)
}

/// The report of an import.
#[track_caller]
fn report(output: &CommandOutput) -> Value {
    assert_eq!(output.code, Some(0), "{output:?}");
    assert_eq!(output.messages(), "", "{output:?}");
    serde_json::from_str(&output.out).unwrap()
}

/// Found, imported, existing and skipped rows of a kind.
fn counts(report: &Value, kind: &str) -> [u64; 4] {
    ["found", "imported", "exists", "skipped"]
        .map(|name| report["counts"][kind][name].as_u64().unwrap())
}

/// The reason of the only finding about this row.
#[track_caller]
fn reason<'a>(report: &'a Value, kind: &str, id: &str) -> &'a str {
    let findings = report["findings"].as_array().unwrap();
    let mut about = findings
        .iter()
        .filter(|it| it["kind"] == kind && it["id"] == id);
    let (Some(finding), None) = (about.next(), about.next()) else {
        panic!("{kind} {id}: {findings:?}")
    };
    finding["reason"].as_str().unwrap()
}

/// JSON of a response to a request with this credential.
async fn get_json(server: &RunningServer, path: &str, credential: &str) -> Value {
    let request = http_client().get(format!("http://{}{path}", server.address()));
    let response = request.bearer_auth(credential).send().await.unwrap();
    assert_eq!(response.status(), 200, "{path}");
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

/// Signs in. Returns the session.
fn sign_in(server: &RunningServer, email: &str, password: &str) -> Result<String, u16> {
    let body = json!({"email": email, "password": password}).to_string();
    let (status, response) = http(server.address(), "POST", "/api/v1/auths/signin", "", &body);
    let (_, json) = response.split_once("\r\n\r\n").unwrap();
    match status {
        200 => {
            let json: Value = serde_json::from_str(json).unwrap();
            Ok(json["token"].as_str().unwrap().to_owned())
        }
        status => Err(status),
    }
}

/// Two users, a group, an upload, a generated image and a chat that shows both, and image settings.
async fn fill(source: &mut Source) {
    let ada = source
        .user("ada", "Ada@Example.com", "admin", PASSWORD)
        .await;
    source
        .user("bob", "bob@example.com", "user", PASSWORD)
        .await;
    source.run(&format!(
        "INSERT INTO api_key (id, user_id, key, created_at, updated_at) VALUES ('key_ada', '{ada}', '{KEY}', 5, 5)"
    )).await;
    source
        .group(
            "painters",
            r#"{"features": {"image_generation": true}}"#,
            &["bob"],
        )
        .await;
    let generated = json!({
        "name": "generated-image.png", "content_type": "image/png", "size": 1,
        "data": {"prompt": "a red fox", "model": "gpt-image-1", "chat_id": CHAT, "message_id": "a2"},
    });
    source
        .file(
            IMAGE,
            "ada",
            "generated-image.png",
            &generated,
            Some(&gif(7)),
        )
        .await;
    let upload = json!({"name": "hen.png", "content_type": "image/png", "size": 1, "data": {}});
    source
        .file(UPLOAD, "ada", "hen.png", &upload, Some(&long_image(2000)))
        .await;
    let chat = json!({
        "id": "", "title": "old title", "models": ["gpt"], "params": {}, "files": [], "tags": [], "timestamp": 9,
        "messages": [],
        "history": {"currentId": "a2", "messages": {
            "u1": {
                "id": "u1", "parentId": null, "childrenIds": ["a2"], "role": "user", "content": "draw a fox",
                "files": [{"type": "file", "id": UPLOAD, "url": UPLOAD, "name": "hen.png", "content_type": "image/png"}],
            },
            "a2": {
                "id": "a2", "parentId": "u1", "childrenIds": [], "role": "assistant", "content": "here", "done": true,
                "statusHistory": [{"description": "Creating image", "done": false}, {"description": "Image created", "done": true}],
                "files": [{"type": "image", "url": format!("/api/v1/files/{IMAGE}/content")}],
            },
        }},
    });
    source
        .chat(CHAT, "ada", "A fox's portrait", &chat.to_string())
        .await;
    source
        .settings(&json!({
            "version": 0,
            "ui": {"enable_signup": true},
            "image_generation": {
                "enable": true, "engine": "sketch", "size": "64x48", "steps": 7,
                "openai": {"api_base_url": "http://127.0.0.1:9/v1", "api_key": "sk-secret-4711"},
            },
            "user": {"permissions": {"features": {"image_generation": false}}},
        }))
        .await;
}

/// Imports from a database of either kind, and checks by HTTP that people find everything.
async fn people_find_everything(mut source: Source) {
    fill(&mut source).await;
    let program = Program::new(&["sketch", "openai"]);
    drop(program.serve());

    // A dry run reports the same and writes nothing.
    let before = snapshot(&program.path("data"));
    let tried = report(&import(&program, &source, &["--dry-run", "--json"]));
    assert_eq!(snapshot(&program.path("data")), before);
    let imported = report(&import(&program, &source, &["--json"]));
    for name in ["counts", "findings"] {
        assert_eq!(tried[name], imported[name], "{name}");
    }
    for (kind, expected) in [
        ("users", [2, 2, 0, 0]),
        ("api_keys", [1, 1, 0, 0]),
        ("groups", [1, 1, 0, 0]),
        ("memberships", [1, 1, 0, 0]),
        ("images", [2, 2, 0, 0]),
        ("chats", [1, 1, 0, 0]),
        ("settings", [7, 7, 0, 0]),
    ] {
        assert_eq!(counts(&imported, kind), expected, "{kind}: {imported}");
    }
    assert_eq!(imported["findings"], json!([]));

    let server = program.serve();
    assert_eq!(sign_in(&server, "ada@example.com", "wrong horse"), Err(400));
    let session = sign_in(&server, "ada@example.com", PASSWORD).unwrap();
    let me = get_json(&server, "/api/v1/auths/", &session).await;
    assert_eq!(
        (&me["id"], &me["role"], &me["name"]),
        (&json!("ada"), &json!("admin"), &json!("ada"))
    );
    let path = format!("/api/v1/chats/{CHAT}");
    let chat = get_json(&server, &path, &session).await;
    assert_eq!(chat["title"], "A fox's portrait");
    assert_eq!(
        (&chat["created_at"], &chat["updated_at"], &chat["pinned"]),
        (&json!(1000), &json!(2000), &json!(true))
    );
    let message = &chat["chat"]["history"]["messages"]["a2"];
    assert_eq!(
        (&message["content"], &message["parentId"]),
        (&json!("here"), &json!("u1"))
    );
    assert_eq!(message["statusHistory"][1]["description"], "Image created");
    let url = message["files"][0]["url"].as_str().unwrap();
    let image = http_client()
        .get(format!("http://{}{url}", server.address()))
        .bearer_auth(&session);
    let image = image.send().await.unwrap();
    assert_eq!(image.headers()["content-type"], "image/gif");
    assert_eq!(image.bytes().await.unwrap(), gif(7));
    let gallery = get_json(&server, "/api/v1/gallery?q=red%20fox", &session).await;
    let found = &gallery["images"][0];
    assert_eq!(
        (&found["id"], &found["model"], &found["chat_id"]),
        (&json!(IMAGE), &json!("gpt-image-1"), &json!(CHAT))
    );
    // The old API key works, and the session was not needed for it.
    let with_key = get_json(&server, "/api/v1/auths/", KEY).await;
    assert_eq!(with_key["id"], "ada");
    // Bob may create images as a member of the group only.
    let bob = sign_in(&server, "bob@example.com", PASSWORD).unwrap();
    let request = r#"{"prompt": "a fox"}"#;
    let images = "/api/v1/images/generations";
    assert_eq!(http(server.address(), "POST", images, &bob, request).0, 200);
    assert_eq!(http(server.address(), "GET", &path, &bob, "").0, 401);
    // The password has another hash now, and the sessions of before are valid.
    assert_eq!(
        get_json(&server, "/api/v1/auths/", &session).await["id"],
        "ada"
    );
    sign_in(&server, "ada@example.com", PASSWORD).unwrap();
    drop(server);

    let options = SqliteConnectOptions::new().filename(program.path("data/pinhole.db"));
    let mut database = options.connect().await.unwrap();
    let hashes: Vec<String> = sqlx::query_scalar("SELECT password FROM accounts")
        .fetch_all(&mut database)
        .await
        .unwrap();
    assert!(
        hashes.iter().all(|hash| hash.starts_with("$argon2id$")),
        "{hashes:?}"
    );
    let secret: String = sqlx::query_scalar(
        "SELECT value FROM settings WHERE path = 'image_generation.openai.api_key'",
    )
    .fetch_one(&mut database)
    .await
    .unwrap();
    assert!(!secret.contains("4711"));
    drop(database);
    let shown = program
        .run(&["config", "get", "IMAGES_OPENAI_API_KEY"])
        .done();
    assert_eq!(shown, ["********"]);
    assert_eq!(
        program.run(&["config", "get", "IMAGE_SIZE"]).done(),
        ["64x48"]
    );

    // A second import adds only what is new.
    source
        .user("eve", "eve@example.com", "pending", PASSWORD)
        .await;
    let again = report(&import(&program, &source, &["--json"]));
    assert_eq!(counts(&again, "users"), [3, 1, 2, 0]);
    for (kind, existing) in [
        ("api_keys", 1),
        ("groups", 1),
        ("memberships", 1),
        ("images", 2),
        ("chats", 1),
        ("settings", 7),
    ] {
        assert_eq!(counts(&again, kind), [existing, 0, existing, 0], "{kind}");
    }
    source.remove().await;
}

/// The paths, modes and bytes of all files, without those that locks, logs and open databases change.
fn snapshot(directory: &Path) -> Vec<(PathBuf, u32, Vec<u8>)> {
    let mut files = Vec::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(parent) = waiting.pop() {
        for entry in fs::read_dir(parent).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() {
                waiting.push(entry.path());
            } else if metadata.is_file() && !["-shm", "-wal"].iter().any(|end| name.ends_with(end))
            {
                let bytes = fs::read(entry.path()).unwrap();
                files.push((entry.path(), metadata.permissions().mode(), bytes));
            }
        }
    }
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn people_find_everything_after_an_import_from_sqlite() {
    people_find_everything(Source::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_find_everything_after_an_import_from_postgresql() {
    let Some(source) = Source::postgres().await else {
        println!("skipped: PINHOLE_TEST_POSTGRES is not set");
        return;
    };
    people_find_everything(source).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn import_changes_nothing_of_the_source() {
    let mut source = Source::sqlite().await;
    fill(&mut source).await;
    source.close().await;
    let before = snapshot(source.directory());
    let program = Program::new(&["sketch"]);
    report(&import(&program, &source, &["--dry-run", "--json"]));
    assert!(!program.path("data").exists());
    report(&import(&program, &source, &["--json"]));
    assert_eq!(snapshot(source.directory()), before);
    // A later sign-up does not become an administrator.
    let program = program.with("ENABLE_SIGNUP", "true");
    let server = program.serve();
    let body = json!({"name": "Mallory", "email": "m@example.com", "password": "correct horse"})
        .to_string();
    let (status, response) = http(server.address(), "POST", "/api/v1/auths/signup", "", &body);
    assert!(
        status == 200 && response.contains("\"role\":\"pending\""),
        "{response}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn import_reads_the_settings_of_later_releases() {
    let mut source = Source::sqlite().await;
    source
        .user("ada", "ada@example.com", "admin", PASSWORD)
        .await;
    for statement in [
        "DROP TABLE config",
        "CREATE TABLE config (key TEXT PRIMARY KEY, value JSON, updated_at BIGINT)",
        "INSERT INTO config (key, value) VALUES ('image_generation.size', '\"64x48\"'),
             ('user.permissions', '{\"features\": {\"image_generation\": false}}'), ('auth.enable_api_keys', 'false')",
    ] {
        source.run(statement).await;
    }
    source.run(&format!(
        "INSERT INTO api_key (id, user_id, key, created_at, updated_at) VALUES ('k', 'ada', '{KEY}', 5, 5)"
    )).await;
    let program = Program::new(&["sketch"]);
    let imported = report(&import(&program, &source, &["--json"]));
    assert_eq!(counts(&imported, "settings"), [2, 2, 0, 0]);
    assert_eq!(
        reason(&imported, "api_keys", "k"),
        "Open WebUI has API keys disabled"
    );
    let name = "USER_PERMISSIONS_FEATURES_IMAGE_GENERATION";
    assert_eq!(program.run(&["config", "get", name]).done(), ["false"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn import_prints_a_table() {
    let mut source = Source::sqlite().await;
    fill(&mut source).await;
    source
        .user("root", "root@example.com", "root", PASSWORD)
        .await;
    let program = Program::new(&["sketch", "openai"]);
    let lines = import(
        &program,
        &source,
        &["--dry-run", "--skip-keys", "--skip-settings"],
    )
    .done();
    assert!(lines[0].starts_with("Open WebUI database: /"), "{lines:?}");
    assert_eq!(
        lines[1],
        "                 found  imported    exists   skipped"
    );
    assert_eq!(
        lines[2],
        "users                3         2         0         1"
    );
    assert_eq!(
        lines[3],
        "API keys             0         0         0         0"
    );
    assert_eq!(
        lines[9],
        "skipped user root: it has no valid email, or no role of admin, user and pending"
    );
    assert_eq!(lines[10], "dry run: nothing was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn import_needs_a_stopped_server() {
    let mut source = Source::sqlite().await;
    fill(&mut source).await;
    let program = Program::new(&["sketch"]);
    let server = program.serve();
    let message = import(&program, &source, &[]).failed(1);
    assert!(
        message.contains("stop the server before an import"),
        "{message}"
    );
    // A dry run works meanwhile.
    let tried = report(&import(
        &program,
        &source,
        &["--dry-run", "--json", "--skip-settings"],
    ));
    assert_eq!(counts(&tried, "users"), [2, 2, 0, 0]);
    let users = get_json(&server, "/api/v1/users/", &server.key()).await;
    assert_eq!(users["total"], 1);
}
