//! `pinhole engine dev`: an engine that is built again on each change.

use std::os::unix::fs::PermissionsExt;
use std::process::{ChildStdin, ChildStdout};
use std::sync::mpsc::Receiver;

use pinhole_tests::{copy_compiled_engines, pixel_base64};

use super::*;
use crate::api::engines::other_version;
use crate::grants::digest;

/// A build that copies a component.
const COPY: &str = "#!/bin/sh\nset -eu\nmkdir -p build\ncp source.wasm build/sketch.wasm\n";
const SECRET: &str = "sk-the-secret-of-the-author";

/// The program with the folder of an engine, whose source is a component.
struct Author {
    program: Program,
    _cache: TempDir,
}

/// The running command; killed when dropped.
struct Development {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    log: PathBuf,
}

impl Author {
    fn new(engine: &str, variables: &[(&str, &str)]) -> Self {
        let cache = tempfile::tempdir().unwrap();
        copy_compiled_engines(&cache);
        let program = Program::new(&[engine]);
        let temporary = program.path("tmp");
        fs::create_dir(&temporary).unwrap();
        let all = [
            ("TMPDIR", temporary.to_str().unwrap()),
            ("PINHOLE_CACHE", cache.path().to_str().unwrap()),
        ];
        let variables = all.iter().chain(variables);
        let program = variables.fold(program, |it, (name, value)| it.with(name, value));
        let author = Self {
            program,
            _cache: cache,
        };
        author.write("build.sh", COPY.replace("sketch", engine).as_bytes());
        author.write("source.wasm", &author.component(engine));
        author
    }

    fn component(&self, engine: &str) -> Vec<u8> {
        fs::read(self.program.path("engines").join(format!("{engine}.wasm"))).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.program.path("work").join("engine").join(name)
    }

    /// Writes a file of the folder in one step.
    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let temporary = self.program.path("written");
        fs::write(&temporary, bytes).unwrap();
        fs::set_permissions(&temporary, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(temporary, path).unwrap();
    }

    fn write_case(&self, pictures: u32) {
        let case = json!({
            "about": "one image",
            "generate": {"prompt": "a fox"},
            "outcome": {"pictures": pictures},
        });
        self.write("cases/sketch/S1-one/case.json", case.to_string().as_bytes());
    }

    fn start(&self, arguments: &[&str]) -> Development {
        let log = self.program.path("log");
        let all = [&["engine", "dev", "engine"], arguments].concat();
        let mut child = self
            .program
            .command(&all)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Development {
            input: child.stdin.take().unwrap(),
            lines: read_lines(child.stdout.take().unwrap()),
            child,
            log,
        }
    }

    /// The names of what remains in the directory of temporary files.
    fn temporary_files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.program.path("tmp")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

fn read_lines(out: ChildStdout) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(out).lines() {
            if sender.send(line.unwrap()).is_err() {
                return;
            }
        }
    });
    lines
}

impl Development {
    /// The next line that contains this text.
    #[track_caller]
    fn line(&self, text: &str) -> String {
        self.lines_until(text).pop().unwrap()
    }

    /// The lines until one contains this text.
    #[track_caller]
    fn lines_until(&self, text: &str) -> Vec<String> {
        let mut seen = Vec::new();
        loop {
            let Ok(line) = self.lines.recv_timeout(TIMEOUT) else {
                let log = fs::read_to_string(&self.log).unwrap();
                panic!("no line with {text:?}: {seen:#?}, and the log {log}")
            };
            let is_last = line.contains(text);
            seen.push(line);
            if is_last {
                return seen;
            }
        }
    }

    fn prompt(&mut self, text: &str) {
        writeln!(self.input, "{text}").unwrap();
    }

    /// Ends it with a signal. Waits until no process has its output open any more.
    fn stop(mut self, name: &str) -> (ExitStatus, String) {
        signal(self.child.id(), name);
        while self.lines.recv_timeout(TIMEOUT).is_ok() {}
        let status = self.child.wait().unwrap();
        (status, fs::read_to_string(&self.log).unwrap())
    }
}

impl Drop for Development {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The digest of the version that serves.
fn serving(address: SocketAddr, key: &str) -> String {
    let (status, response) = http(address, "GET", "/api/v1/engines/sketch", key, "");
    assert_eq!(status, 200, "{response}");
    let (_, body) = response.split_once("\r\n\r\n").unwrap();
    let start = body.find('{').unwrap();
    let mut values = serde_json::Deserializer::from_str(&body[start..]).into_iter::<Value>();
    let details = values.next().unwrap().unwrap();
    details["serving"]["digest"].as_str().unwrap().to_owned()
}

#[test]
fn engine_dev_serves_each_build_and_leaves_nothing_behind() {
    let author = Author::new("sketch", &[]);
    author.write_case(1);
    let mut development = author.start(&[]);
    let url = development.line("server: http://");
    let address = url
        .strip_prefix("server: http://")
        .unwrap()
        .parse()
        .unwrap();
    let key = development.line("key: ");
    let key = key.strip_prefix("key: ").unwrap();
    let request = development.line("curl ");
    assert!(
        request.contains("/v1/images/generations -H 'Authorization: Bearer "),
        "{request}"
    );
    development.line("sketch 0.1.0 serves after ");
    development.line("1 passed, 0 failed in ");
    let first = author.component("sketch");
    assert_eq!(serving(address, key), digest(&first));

    development.prompt("a red fox");
    let image = development.line("image: ");
    let image = Path::new(image.strip_prefix("image: ").unwrap());
    assert_eq!(image, author.path("build/a-red-fox.png"));
    assert!(png_size(image).0 > 0);

    let second = other_version(first);
    author.write("source.wasm", &second);
    development.line("sketch 0.1.0 serves after ");
    assert_eq!(serving(address, key), digest(&second));
    development.line("1 passed, 0 failed in ");

    author.write_case(2);
    let lines = development.lines_until("0 passed, 1 failed in ");
    assert_eq!(lines[0], "FAILED  S1-one", "{lines:?}");

    author.write(
        "build.sh",
        b"#!/bin/sh\necho the source is broken\nexit 3\n",
    );
    development.line("the source is broken");
    let broken = development.line("build failed");
    assert_eq!(broken, "build failed; sketch 0.1.0 still serves");
    author.write("source.wasm", b"\0asm\x0d\0\x01\0no component");
    development.line("build failed");
    author.write("build.sh", COPY.as_bytes());
    let refused = development.line("refused: ");
    assert!(
        refused.starts_with("refused: the component ")
            && refused.ends_with("; sketch 0.1.0 still serves"),
        "{refused}"
    );
    assert_eq!(serving(address, key), digest(&second));

    assert!(!author.temporary_files().is_empty());
    let (status, log) = development.stop("INT");
    // Slow machines compile for more than a second.
    let warnings = log.lines().filter(|line| !line.starts_with("compiling "));
    assert_eq!(
        (status.code(), warnings.collect::<Vec<_>>()),
        (Some(0), vec![])
    );
    assert_eq!(author.temporary_files(), Vec::<PathBuf>::new());
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn engine_dev_stops_a_build_with_all_its_processes() {
    for name in ["TERM", "HUP"] {
        let author = Author::new("sketch", &[]);
        author.write("build.sh", b"#!/bin/sh\nsleep 1000 &\necho started\nwait\n");
        let development = author.start(&[]);
        development.line("started");
        let (status, _) = development.stop(name);
        assert_eq!(status.code(), Some(0));
        assert_eq!(author.temporary_files(), Vec::<PathBuf>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn engine_dev_prints_requests_and_responses_without_secrets() {
    let upstream = FakeUpstream::json(
        200,
        json!({"data": [{"b64_json": pixel_base64(), "revised_prompt": SECRET}]}),
    )
    .await;
    let author = Author::new(
        "openai",
        &[
            ("IMAGES_OPENAI_API_BASE_URL", &upstream.url()),
            ("IMAGES_OPENAI_API_KEY", SECRET),
            ("IMAGE_GENERATION_MODEL", "dall-e-2"),
        ],
    );
    let mut development = author.start(&["--verbose"]);
    development.line("openai 0.1.0 serves after ");
    development.line("cases: none in cases/openai");
    development.prompt("a red fox");
    let lines = development.lines_until("image: ");
    let all = lines.join("\n");
    assert!(
        lines[0].starts_with("> POST /v1/images/generations  ") && lines[0].ends_with(" bytes"),
        "{all}"
    );
    assert!(lines[1].contains("\"prompt\":\"a red fox\""), "{all}");
    assert!(
        lines[2].starts_with("< POST /v1/images/generations  200  ") && lines[2].ends_with(" ms"),
        "{all}"
    );
    assert!(lines[3].contains("\"revised_prompt\":\"****"), "{all}");
    let (_, log) = development.stop("INT");
    assert!(
        !all.contains(SECRET) && !log.contains(SECRET),
        "{all} {log}"
    );
}

#[test]
fn engine_dev_refuses_a_folder_without_a_build_script() {
    let program = Program::new(&[]);
    let refused = program.run(&["engine", "dev"]).failed(2);
    assert_eq!(
        refused,
        "pinhole: . is not the folder of an engine, because it has no build.sh: name that folder, or write a build.sh that \
         writes the component to build/NAME.wasm\n"
    );
    let missing = program.run(&["engine", "dev", "nowhere"]).failed(2);
    assert!(
        missing.starts_with("pinhole: cannot open folder nowhere: "),
        "{missing}"
    );
}
