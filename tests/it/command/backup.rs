//! `pinhole backup` and `pinhole restore`: a consistent copy of a running server, and archives from outside.

mod damage;

use std::os::unix::fs::PermissionsExt;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Row};

use super::*;

/// Clients that create and delete while backups are made.
const CLIENTS: usize = 8;
/// Images before the first backup.
const SEEDED_IMAGES: usize = 200;
/// Backups while clients write.
const BACKUPS: usize = 3;
/// Images that are deleted while a backup waits, far more than pipes and buffers hold.
const DELETED_IMAGES: usize = 20;
const DELETED_BYTES: usize = 500_000;
/// The last entry of an archive.
const LIST: &str = "pinhole-backup-list.jsonl";

/// The JSON body of a response.
fn body(response: &str) -> Value {
    let (_, body) = response.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap_or_default()
}

/// Generates an image. Returns its URL.
fn generate(address: SocketAddr, key: &str) -> String {
    let request = r#"{"prompt": "a fox", "size": "16x16"}"#;
    let path = "/api/v1/images/generations";
    let (status, response) = http(address, "POST", path, key, request);
    assert_eq!(status, 200, "{response}");
    body(&response)[0]["url"].as_str().unwrap().to_owned()
}

/// Stores a chat with an image. Returns its id.
fn create_chat(address: SocketAddr, key: &str, image: &str) -> String {
    let files = json!([{"type": "image", "url": image}]);
    let message =
        json!({"id": "m", "parentId": null, "role": "assistant", "content": "x", "files": files});
    let chat = json!({"chat": {"title": "Foxes", "history": {"currentId": "m", "messages": {"m": message}}}});
    let (status, response) = http(address, "POST", "/api/v1/chats/new", key, &chat.to_string());
    assert_eq!(status, 200, "{response}");
    body(&response)["id"].as_str().unwrap().to_owned()
}

/// Creates images and chats, and deletes most of them, until the receiver is dropped.
fn create_and_delete(address: SocketAddr, key: &str, rounds: &mpsc::SyncSender<()>) {
    for round in 0.. {
        let [first, second] = [(); 2].map(|()| generate(address, key));
        let chat = create_chat(address, key, &first);
        let file = second.strip_suffix("/content").unwrap();
        assert_eq!(http(address, "DELETE", file, key, "").0, 200);
        if round % 3 > 0 {
            let path = format!("/api/v1/chats/{chat}");
            assert_eq!(http(address, "DELETE", &path, key, "").0, 200);
        }
        if rounds.send(()).is_err() {
            return;
        }
    }
}

/// The program with another data directory.
fn on_data<'a>(program: &'a Program, name: &str, arguments: &[&'a str]) -> CommandOutput {
    let data = program.path(name);
    let mut all = vec!["--data", data.to_str().unwrap()];
    all.extend(arguments);
    program.run(&all)
}

/// Asserts that each row of `files` has its bytes. Returns the number of rows.
async fn assert_rows_have_bytes(data: &Path) -> usize {
    let options = SqliteConnectOptions::new().filename(data.join("pinhole.db"));
    let mut database = options.connect().await.unwrap();
    let rows = sqlx::query("SELECT id, size_bytes, hash FROM files");
    let rows = rows.fetch_all(&mut database).await.unwrap();
    for row in &rows {
        let id: String = row.get("id");
        let bytes = fs::read(data.join("files").join(&id)).unwrap();
        assert_eq!(bytes.len() as i64, row.get::<i64, _>("size_bytes"), "{id}");
        let hash: String = Sha256::digest(&bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(hash, row.get::<String, _>("hash"), "{id}");
    }
    let problems: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM pragma_foreign_key_check")
        .fetch_one(&mut database)
        .await
        .unwrap();
    assert_eq!(problems, 0);
    rows.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn backup_of_a_busy_server_has_the_bytes_of_each_row() {
    let program = Program::new(&["sketch"])
        .with("PINHOLE_LOG", "off")
        .with("PINHOLE_REQUESTS_PER_MINUTE", "1000000");
    let server = program.serve();
    let (address, key) = (server.address(), server.key());
    for _ in 0..SEEDED_IMAGES {
        generate(address, &key);
    }
    let (sender, rounds) = mpsc::sync_channel(CLIENTS);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (key, sender) = (key.clone(), sender.clone());
            thread::spawn(move || create_and_delete(address, &key, &sender))
        })
        .collect();
    drop(sender);
    let archives: Vec<_> = (0..BACKUPS)
        .map(|index| {
            for _ in 0..CLIENTS {
                rounds.recv().unwrap();
            }
            let path = program.path(&format!("{index}.tar"));
            let done = program.run(&["backup", path.to_str().unwrap()]).done();
            assert!(done[0].contains("1 user(s), "), "{done:?}");
            path
        })
        .collect();
    drop(rounds);
    for client in clients {
        client.join().unwrap();
    }
    drop(server);

    for (index, archive) in archives.iter().enumerate() {
        let archive = archive.to_str().unwrap();
        let mode = fs::metadata(archive).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let checked = program.run(&["restore", "--check", archive]).done();
        assert!(
            checked[0].contains(" is complete: 1 user(s), "),
            "{checked:?}"
        );
        let name = format!("restored-{index}");
        let restored = on_data(&program, &name, &["restore", archive]).done();
        assert!(
            restored[0].starts_with("restored 1 user(s), "),
            "{restored:?}"
        );
        let rows = assert_rows_have_bytes(&program.path(&name)).await;
        assert!(rows >= SEEDED_IMAGES, "{rows}");
        let doctor = on_data(&program, &name, &["doctor"]);
        assert_eq!(doctor.code, Some(0), "{doctor:?}");
        assert!(doctor.out.contains("0 failed, 0 warning(s)"), "{doctor:?}");
    }

    // Keys, sessions and images are those of the server.
    let restored = Program {
        variables: vec![("PINHOLE_DATA".to_owned(), {
            let data = program.path("restored-0");
            data.to_str().unwrap().to_owned()
        })],
        directory: program.directory,
    };
    let mut command = restored.command(&["serve", "--listen", "127.0.0.1:0"]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    let (_, restored_address) = line.trim_end().split_once(" listening on http://").unwrap();
    let (status, response) = http(
        restored_address.parse().unwrap(),
        "GET",
        "/api/v1/gallery?limit=1",
        &key,
        "",
    );
    assert_eq!(status, 200, "{response}");
    let url = body(&response)["images"][0]["url"]
        .as_str()
        .unwrap()
        .to_owned();
    let client = pinhole_tests::http_client();
    let image = client
        .get(format!("http://{restored_address}{url}"))
        .bearer_auth(&key);
    let image = image.send().await.unwrap();
    assert_eq!(
        (image.status().as_u16(), image.content_length().unwrap() > 0),
        (200, true)
    );
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(!log.contains("ERROR"), "{log}");
}

/// Uploads an image of this length. Returns the path of its row.
async fn upload(address: SocketAddr, key: &str, length: usize) -> String {
    let mut form =
        b"--x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.png\"\r\n\r\n"
            .to_vec();
    form.extend(pinhole_tests::long_image(length));
    form.extend(b"\r\n--x--\r\n");
    let request = pinhole_tests::http_client().post(format!("http://{address}/api/v1/files/"));
    let request = request.header("content-type", "multipart/form-data; boundary=x");
    let response = request.bearer_auth(key).body(form).send().await.unwrap();
    let row: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    format!("/api/v1/files/{}", row["id"].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn images_deleted_during_a_backup_are_in_neither_part_of_it() {
    let program = Program::new(&["sketch"]);
    let server = program.serve();
    let (address, key) = (server.address(), server.key());
    let mut images = Vec::new();
    for _ in 0..DELETED_IMAGES {
        images.push(upload(address, &key, DELETED_BYTES).await);
    }
    create_chat(address, &key, &format!("{}/content", images[0]));
    let mut command = program.command(&["backup", "-"]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = child.stdout.take().unwrap();
    // The database is copied when the first bytes arrive. Then the pipe is full, and the command waits.
    let mut archive = vec![0; 512];
    out.read_exact(&mut archive).unwrap();
    for image in &images {
        assert_eq!(http(address, "DELETE", image, &key, "").0, 200);
    }
    out.read_to_end(&mut archive).unwrap();
    let output = child.wait_with_output().unwrap();
    let messages = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.success() && !messages.contains("warning"),
        "{messages}"
    );
    let path = program.path("live.tar");
    fs::write(&path, archive).unwrap();
    on_data(&program, "new", &["restore", path.to_str().unwrap()]).done();
    let rows = assert_rows_have_bytes(&program.path("new")).await;
    assert!(
        rows < DELETED_IMAGES,
        "{rows} images were read before they were deleted"
    );
}

/// A program with a stopped server's data directory: one image, one chat.
fn stopped_server() -> Program {
    let program = Program::new(&["sketch"]);
    let server = program.serve();
    let (address, key) = (server.address(), server.key());
    let image = generate(address, &key);
    create_chat(address, &key, &image);
    drop(server);
    program
}

/// The bytes of a backup.
fn backup_bytes(program: &Program) -> Vec<u8> {
    let path = program.path("whole.tar");
    program.run(&["backup", path.to_str().unwrap()]).done();
    fs::read(path).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn restore_takes_only_an_empty_directory() {
    let program = stopped_server();
    let whole = backup_bytes(&program);
    let archive = program.path("whole.tar");
    let archive = archive.to_str().unwrap();
    let message = program.run(&["restore", archive]).failed(2);
    assert!(
        message.contains("is not empty: restore into a new directory"),
        "{message}"
    );

    fs::create_dir(program.path("empty")).unwrap();
    let restored = on_data(&program, "empty", &["restore", archive]).done();
    assert!(
        restored[0]
            .starts_with("restored 1 user(s), 1 chat(s), 1 image(s), 1 engine component(s), "),
        "{restored:?}"
    );
    assert_eq!(assert_rows_have_bytes(&program.path("empty")).await, 1);
    let mut names: Vec<_> = fs::read_dir(program.path("empty"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let expected = [
        "components",
        "database-id",
        "files",
        "pinhole.db",
        "server.lock",
        "session-key",
        "settings-key",
        "spool",
    ];
    assert_eq!(names, expected);

    // The same bytes from standard input, and a backup to standard output.
    let mut command = program.command(&[
        "--data",
        program.path("piped").to_str().unwrap(),
        "restore",
        "-",
    ]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&whole).unwrap();
    assert!(child.wait_with_output().unwrap().status.success());
    let mut piped = program.command(&[
        "--data",
        program.path("piped").to_str().unwrap(),
        "backup",
        "-",
    ]);
    let output = piped.stdout(Stdio::piped()).output().unwrap();
    let mut paths = Vec::new();
    for entry in tar::Archive::new(output.stdout.as_slice())
        .entries()
        .unwrap()
    {
        paths.push(String::from_utf8_lossy(&entry.unwrap().path_bytes()).into_owned());
    }
    assert_eq!(
        (paths[0].as_str(), paths.last().unwrap().as_str()),
        ("pinhole-backup.json", LIST)
    );
}

#[test]
fn backup_in_a_directory_is_named_by_the_time() {
    let program = stopped_server();
    fs::create_dir(program.path("backups")).unwrap();
    program
        .run(&["backup", program.path("backups").to_str().unwrap()])
        .done();
    let names: Vec<_> = fs::read_dir(program.path("backups"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let [name] = &names[..] else {
        panic!("{names:?}")
    };
    assert!(
        name.starts_with("pinhole-20") && name.ends_with(".tar"),
        "{name}"
    );
}

#[test]
fn backup_reports_an_image_without_bytes() {
    let program = stopped_server();
    let files = program.path("data/files");
    let image = fs::read_dir(&files)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    fs::remove_file(&image).unwrap();
    let path = program.path("lossy.tar");
    let output = program.run(&["backup", path.to_str().unwrap()]);
    assert_eq!(output.code, Some(0), "{output:?}");
    let id = image.file_name().unwrap().to_str().unwrap();
    let expected = format!("warning: the bytes of image {id} are missing in the data directory");
    assert!(output.err.contains(&expected), "{output:?}");
    let checked = program.run(&["restore", "--check", path.to_str().unwrap()]);
    assert!(
        checked.err.contains("1 part(s) were missing or damaged"),
        "{checked:?}"
    );
}

#[test]
fn backup_needs_a_database_and_a_directory() {
    let program = Program::new(&[]);
    let message = program.run(&["backup", "x.tar"]).failed(1);
    assert!(
        message.contains("contains no database: set PINHOLE_DATA"),
        "{message}"
    );
    assert!(!program.path("data").exists());
    let unwritten = stopped_server().run(&["backup", "missing/x.tar"]).failed(1);
    assert!(
        unwritten.contains("cannot write missing/x.tar"),
        "{unwritten}"
    );
}

#[test]
fn restore_to_a_full_disk_leaves_no_data_directory() {
    let program = stopped_server();
    backup_bytes(&program);
    let disk = program.path("disk");
    fs::create_dir(&disk).unwrap();
    let script =
        "mount -t tmpfs -o size=128k none \"$0\" && \"$@\"; code=$?; ls -A \"$0\"; exit $code";
    let data = disk.join("data");
    let arguments = [
        "-m",
        "sh",
        "-c",
        script,
        disk.to_str().unwrap(),
        pinhole_tests::program().to_str().unwrap(),
        "--data",
        data.to_str().unwrap(),
        "restore",
        program.path("whole.tar").to_str().unwrap(),
    ]
    .map(str::to_owned);
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let output = CommandOutput::of(program.around(Command::new("unshare"), &arguments));
    if output.err.contains("unshare: ") || output.err.contains("mount: ") {
        println!("skipped: this system permits no mount");
        return;
    }
    let message = output.failed(1);
    assert!(message.contains("the disk is full: "), "{message}");
}
