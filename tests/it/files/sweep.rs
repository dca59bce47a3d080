//! Rows and bytes agree after a crash, on a full disk, and after expiry.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use pinhole::config::Config;
use pinhole::files::{Confirmation, ImageRecord};
use pinhole_ground::environment::Environment;
use pinhole_tests::{TestServer, gif, long_image, program, uses_postgres};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    content_url, file_id, form, new_file, response_json, start_command, start_process, upload,
};

pub(super) const HOUR: Duration = Duration::from_secs(3600);
/// Ends a test that hangs.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Sets the modification time to this long ago.
pub(super) fn set_age(path: &Path, age: Duration) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - age).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sweep_removes_orphaned_bytes_after_an_hour() {
    let server = TestServer::start(&[]).await;
    let row = upload(&server, &server.key, "fox.gif", &gif(9)).await;
    let thumbnail = format!("/api/v1/files/{}/thumbnail", row["id"].as_str().unwrap());
    assert_eq!(server.get(&thumbnail).send().await.unwrap().status(), 200);
    let directory = server.data_dir.path().join("files");
    for entry in fs::read_dir(&directory).unwrap() {
        set_age(&entry.unwrap().path(), 2 * HOUR);
    }
    let unknown_id = "00000000-0000-4000-8000-000000000000";
    for (name, hours) in [
        (unknown_id.to_owned(), 2),
        (format!("{unknown_id}.256"), 2),
        // A temporary file of an existing file.
        (format!(".{}.5f5f", row["id"].as_str().unwrap()), 2),
        ("note".to_owned(), 2),
        ("11111111-0000-4000-8000-000000000000".to_owned(), 0),
    ] {
        fs::write(directory.join(&name), "x").unwrap();
        set_age(&directory.join(&name), hours * HOUR);
    }
    server
        .app
        .files
        .clean_up(None, Confirmation::None)
        .await
        .unwrap();
    assert_eq!(server.stored_files(), 3);
    assert!(
        directory
            .join("11111111-0000-4000-8000-000000000000")
            .exists()
    );
    assert_eq!(server.get(&thumbnail).send().await.unwrap().status(), 200);
    assert_eq!(
        server
            .get(&content_url(&row))
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sweep_removes_orphans_in_several_steps() {
    let server = TestServer::start(&[]).await;
    let directory = server.data_dir.path().join("files");
    for at in 0..501 {
        let path = directory.join(format!("leftover-{at}"));
        fs::write(&path, "").unwrap();
        set_age(&path, 2 * HOUR);
    }
    // More than a sweep removes by itself.
    let files = &server.app.files;
    let error = files.clean_up(None, Confirmation::None).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("one sweep removes at most 100 files"),
        "{error}"
    );
    assert_eq!(server.stored_files(), 501);
    let sweep = files
        .clean_up(None, Confirmation::Administrator)
        .await
        .unwrap();
    assert_eq!((sweep.expired, sweep.orphaned), (0, 501));
    assert_eq!(server.stored_files(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_database_makes_no_orphans() {
    if uses_postgres() {
        // Only a file can be lost like this.
        return;
    }
    let server = TestServer::start(&[]).await;
    for _ in 0..3 {
        upload(&server, &server.key, "fox.gif", &gif(9)).await;
    }
    let data = server.data_dir.path();
    for entry in fs::read_dir(data.join("files")).unwrap() {
        set_age(&entry.unwrap().path(), 2 * HOUR);
    }
    for name in ["pinhole.db", "pinhole.db-wal", "pinhole.db-shm"] {
        fs::rename(data.join(name), data.join(format!("{name}.lost"))).ok();
    }
    let mut server = server.restart(&[]).await;
    for _ in 0..2 {
        let error = server
            .app
            .files
            .clean_up(None, Confirmation::None)
            .await
            .unwrap_err();
        let expected = "0 expired and 3 orphaned file(s) are not removed: \
            the data directory belongs to another database";
        assert!(error.to_string().starts_with(expected), "{error}");
        assert_eq!(server.stored_files(), 3);
        // The new database is used, which proves nothing.
        upload(&server, &server.key, "fox.gif", &gif(9)).await;
        fs::remove_file(
            server
                .data_dir
                .path()
                .join("files")
                .join(newest_file(&server)),
        )
        .unwrap();
        server = server.restart(&[]).await;
    }
    let files = &server.app.files;
    let sweep = files
        .clean_up(None, Confirmation::Administrator)
        .await
        .unwrap();
    assert_eq!(sweep.orphaned, 3);
    files.clean_up(None, Confirmation::None).await.unwrap();
}

/// The name of the file that was written last.
fn newest_file(server: &TestServer) -> String {
    let entries = fs::read_dir(server.data_dir.path().join("files")).unwrap();
    let newest = entries
        .map(|entry| entry.unwrap())
        .max_by_key(|entry| entry.metadata().unwrap().modified().unwrap());
    newest.unwrap().file_name().into_string().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_clock_expires_no_file() {
    let server = TestServer::start(&[]).await;
    let files = &server.app.files;
    let row = upload(&server, &server.key, "fox.gif", &gif(9)).await;
    let now = i64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
    let set_last_sweep = |time| server.app.store.set_last_sweep(time);
    set_created_at(&server, &row, now - 60 * 24 * 3600).await;
    for (last_sweep, expected) in [
        (
            now + 2 * 3600,
            "the clock is behind the newest file or the last sweep",
        ),
        (
            now - 31 * 24 * 3600,
            "the clock is 31 days ahead of the last sweep",
        ),
    ] {
        set_last_sweep(last_sweep).await.unwrap();
        let sweep = files.clean_up(Some(24 * HOUR), Confirmation::None).await;
        let error = sweep.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(error.contains("pinhole files sweep --confirm"), "{error}");
        assert_eq!(server.stored_files(), 1);
    }
    set_last_sweep(now - 24 * 3600).await.unwrap();
    let sweep = files
        .clean_up(Some(24 * HOUR), Confirmation::None)
        .await
        .unwrap();
    assert_eq!(sweep.expired, 1);
}

/// Sets the creation time of a file's row.
async fn set_created_at(server: &TestServer, row: &Value, created_at: i64) {
    let store = &server.app.store;
    let mut file = store
        .file(row["id"].as_str().unwrap())
        .await
        .unwrap()
        .unwrap();
    store.delete_file(&file.id).await.unwrap();
    file.created_at = created_at;
    store
        .insert_files(&[new_file(file.clone())], None)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sweep_removes_expired_files() {
    let server = TestServer::start(&[]).await;
    let now = i64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
    let mut old = Vec::new();
    for hours in [30, 25, 23] {
        let row = upload(&server, &server.key, "fox.gif", &gif(9)).await;
        set_created_at(&server, &row, now - hours * 3600).await;
        old.push(content_url(&row));
    }
    let young = content_url(&upload(&server, &server.key, "fox.gif", &gif(9)).await);
    server
        .app
        .files
        .clean_up(None, Confirmation::None)
        .await
        .unwrap();
    assert_eq!(
        server.stored_files(),
        4,
        "for ever, unless it is said how long"
    );
    server
        .app
        .files
        .clean_up(Some(24 * HOUR), Confirmation::None)
        .await
        .unwrap();
    assert_eq!(server.stored_files(), 2);
    for (url, status) in [
        (&old[0], 404),
        (&old[1], 404),
        (&old[2], 200),
        (&young, 200),
    ] {
        assert_eq!(server.get(url).send().await.unwrap().status(), status);
    }
}

#[test]
fn retention_is_a_number_of_days() {
    let read = |days| {
        let variables = [("PINHOLE_FILE_RETENTION_DAYS".to_owned(), days)];
        Config::new(Environment::new(variables)).map(|config| config.file_retention)
    };
    assert_eq!(read("30".to_owned()).unwrap(), Some(30 * 24 * HOUR));
    for days in ["0", "-1", "1.5", "soon", "36501"] {
        let error = read(days.to_owned()).unwrap_err().to_string();
        let expected = "it must be a whole number from 1 to 36500";
        let expected = format!("PINHOLE_FILE_RETENTION_DAYS is {days:?}: {expected}");
        assert_eq!(error, expected);
    }
    let config = Config::new(Environment::new([])).unwrap();
    assert_eq!(config.file_retention, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn server_start_sweeps() {
    let server = TestServer::start(&[]).await;
    let row = upload(&server, &server.key, "fox.gif", &gif(9)).await;
    set_created_at(&server, &row, 4711).await;
    let orphan = server.data_dir.path().join("files").join("orphan");
    fs::write(&orphan, "x").unwrap();
    set_age(&orphan, 2 * HOUR);
    let variables = [("PINHOLE_FILE_RETENTION_DAYS", "30")];
    let process = start_command(Command::new(program()), server.data_dir.path(), &variables);
    let expected = "removed 1 expired and 1 orphaned file(s)";
    let logged = async {
        while !process.log().contains(expected) {
            let health = server.client.get(format!("{}/health", process.url));
            health.send().await.unwrap();
        }
    };
    timeout(PATIENCE, logged)
        .await
        .expect("the log has no line about the sweep");
    assert_eq!(server.stored_files(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn upload_to_full_disk_stores_nothing() {
    let server = TestServer::start(&[]).await;
    // The first start creates everything except the upload, which alone is too long for the disk.
    let data = tempfile::tempdir().unwrap();
    let key = start_process(data.path()).key.clone().unwrap();
    let mut shell = Command::new("sh");
    // A limit on the length of files simulates the full disk.
    let script = "trap '' XFSZ; ulimit -f 4096; exec \"$0\" \"$@\"";
    shell.args(["-c", script]).arg(program());
    let limited = start_command(shell, data.path(), &[]);
    let upload = |length| {
        let body = form(&[("file", Some("fox.gif"), &long_image(length))]);
        let request = server.client.post(format!("{}/api/v1/files/", limited.url));
        let form = "multipart/form-data; boundary=limit";
        let request = request.bearer_auth(&key).header("content-type", form);
        response_json(request.body(body))
    };
    let list = || {
        let request = server.client.get(format!("{}/api/v1/files/", limited.url));
        response_json(request.bearer_auth(&key))
    };
    let stored = || fs::read_dir(data.path().join("files")).unwrap().count();
    let expected = json!({"detail": "internal server error; the server's log contains the cause"});
    assert_eq!(upload(6 << 20).await, (500, expected));
    assert_eq!((list().await, stored()), ((200, json!([])), 0));
    let (status, row) = upload(1000).await;
    assert_eq!((status, stored()), (200, 1));
    assert_eq!(list().await.1[0]["id"], row["id"]);
    assert_eq!(file_id(&content_url(&row)), row["id"].as_str().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_row_insert_removes_bytes() {
    let server = TestServer::start(&[]).await;
    let body = form(&[("file", Some("fox.gif"), &gif(9))]);
    let user = server.app.store.user_by_key(&server.key).await.unwrap();
    let image = pinhole_images::Image::from_bytes(gif(9).into(), pinhole::files::UPLOAD_LIMITS);
    // A row needs an existing user.
    let unknown_user = format!("not {}", user.unwrap().id);
    let result = server
        .app
        .files
        .save_all(
            &unknown_user,
            &[image.unwrap()],
            &[ImageRecord::default()],
            None,
        )
        .await;
    let error = format!("{:#}", result.unwrap_err());
    assert!(
        error.starts_with("cannot insert images into the database"),
        "{error}"
    );
    assert_eq!(server.stored_files(), 0);
    assert_eq!(
        response_json(super::post_form(&server, &server.key, body))
            .await
            .0,
        200
    );
}
