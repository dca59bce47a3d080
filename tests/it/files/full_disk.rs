//! A data directory on a disk that is full.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use http::Method;
use pinhole_ground::ballast::BALLAST_BYTES;
use pinhole_tests::{ServerProcess, TestServer, engines, gif, program};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{form, response_json, start_command};

const FILES: &str = "/api/v1/files/";
const ME: &str = "/api/v1/auths/";

/// A disk of 96 MiB in a mount namespace of its own, which ends with the value.
struct SmallDisk {
    holder: Child,
    directory: TempDir,
    options: &'static [&'static str],
}

impl SmallDisk {
    /// `None` if this system permits no mount.
    fn mount() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let script = "mount -t tmpfs -o size=96m none \"$0\" && echo mounted && exec cat";
        for (unshare, options) in [
            (&["-m"][..], &["-m"][..]),
            (&["-U", "-r", "-m"], &["-U", "-m", "--preserve-credentials"]),
        ] {
            let mut command = Command::new("unshare");
            command
                .args(unshare)
                .args(["sh", "-c", script])
                .arg(directory.path());
            command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null());
            let mut holder = command.spawn().ok()?;
            let mut line = String::new();
            let mut stdout = BufReader::new(holder.stdout.take().unwrap());
            stdout.read_line(&mut line).unwrap();
            if line == "mounted\n" {
                return Some(Self {
                    holder,
                    directory,
                    options,
                });
            }
            holder.wait().unwrap();
        }
        None
    }

    /// The path of a file of the disk, as this process sees it.
    fn path(&self, name: &str) -> PathBuf {
        let root = format!("/proc/{}/root", self.holder.id());
        let directory = self.directory.path().strip_prefix("/").unwrap();
        Path::new(&root).join(directory).join(name)
    }

    fn start_server(&self, engine_directory: &Path) -> ServerProcess {
        let mut command = Command::new("nsenter");
        command
            .args(["-t", &self.holder.id().to_string()])
            .args(self.options);
        command.arg(program());
        let variables = [
            ("PINHOLE_RESERVED_DISK_MIB", "8"),
            ("PINHOLE_ENGINES", engine_directory.to_str().unwrap()),
        ];
        start_command(command, self.directory.path(), &variables)
    }

    /// The server names a file that only its processes see.
    fn administrator_key(&self) -> String {
        let key = fs::read_to_string(self.path("administrator-key")).unwrap();
        key.trim().to_owned()
    }

    fn fill(&self) {
        let mut file = fs::File::create(self.path("other")).unwrap();
        while file.write_all(&[7; 4096]).is_ok() {}
        while file.write_all(&[7]).is_ok() {}
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // `cat` ends with its input.
        drop(self.holder.stdin.take());
        self.holder.wait().ok();
    }
}

/// Sends requests to server processes.
struct Asker {
    client: reqwest::Client,
    /// The administrator's key.
    key: String,
}

impl Asker {
    async fn send(
        &self,
        server: &ServerProcess,
        method: Method,
        path: &str,
        key: &str,
        body: (&str, Vec<u8>),
    ) -> (u16, Value) {
        let url = format!("{}{path}", server.url);
        let request = self.client.request(method, url).bearer_auth(key);
        let (content_type, bytes) = body;
        response_json(request.header("content-type", content_type).body(bytes)).await
    }

    async fn upload(&self, server: &ServerProcess) -> (u16, Value) {
        let content_type = "multipart/form-data; boundary=limit";
        let body = (content_type, form(&[("file", Some("fox.gif"), &gif(9))]));
        self.send(server, Method::POST, FILES, &self.key, body)
            .await
    }

    async fn post(&self, server: &ServerProcess, path: &str, json: &Value) -> (u16, Value) {
        let body = ("application/json", json.to_string().into_bytes());
        self.send(server, Method::POST, path, &self.key, body).await
    }

    async fn get(&self, server: &ServerProcess, path: &str, key: &str) -> u16 {
        let body = ("text/plain", Vec::new());
        self.send(server, Method::GET, path, key, body).await.0
    }

    async fn delete(&self, server: &ServerProcess, path: &str) -> u16 {
        let body = ("text/plain", Vec::new());
        let response = self.send(server, Method::DELETE, path, &self.key, body);
        response.await.0
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn full_disk_permits_start_deletion_and_sign_out() {
    let Some(disk) = SmallDisk::mount() else {
        println!("not tested with a full disk: this system permits no mount");
        return;
    };
    let engine_directory = tempfile::tempdir().unwrap();
    let sketch = engine_directory.path().join("sketch.wasm");
    fs::copy(engines().join("sketch.wasm"), sketch).unwrap();
    let first = disk.start_server(engine_directory.path());
    let asker = Asker {
        client: TestServer::start(&[]).await.client.clone(),
        key: disk.administrator_key(),
    };
    let (status, row) = asker.upload(&first).await;
    assert_eq!(status, 200, "{row}");
    let account = json!({"name": "Ada", "email": "ada@example.com", "password": "a long password"});
    asker.post(&first, "/api/v1/auths/add", &account).await;
    let (_, session) = asker.post(&first, "/api/v1/auths/signin", &account).await;
    let token = session["token"].as_str().unwrap();
    while fs::metadata(disk.path("ballast")).map_or(0, |it| it.len()) < BALLAST_BYTES {
        assert_eq!(asker.get(&first, "/health", token).await, 200);
    }

    disk.fill();
    assert_eq!(asker.upload(&first).await.0, 507);
    let sign_out = "/api/v1/auths/signout";
    assert_eq!(asker.get(&first, sign_out, token).await, 200);
    assert_eq!(asker.get(&first, ME, token).await, 401);
    disk.fill();
    let path = format!("{FILES}{}", row["id"].as_str().unwrap());
    assert_eq!(asker.delete(&first, &path).await, 200);

    drop(first);
    disk.fill();
    let second = disk.start_server(engine_directory.path());
    let warning = "nothing new is stored until space is freed";
    while !second.log().contains(warning) {
        assert_eq!(asker.get(&second, ME, token).await, 401);
    }
    assert_eq!(asker.get(&second, ME, &asker.key).await, 200);
    assert_eq!(asker.upload(&second).await.0, 507);
    fs::remove_file(disk.path("other")).unwrap();
    assert_eq!(asker.upload(&second).await.0, 200);
}
