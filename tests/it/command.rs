//! The program `pinhole` as a person or a script meets it: words, files and exit codes.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use pinhole_tests::{Answer, Seen, Upstream, engines, guests, program};
use serde_json::json;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::sync::Semaphore;

/// A safety net, far above what any run takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// The program with these engines, folders of its own and a clean environment.
struct Program {
    folder: TempDir,
    variables: Vec<(String, String)>,
}

/// What a run of the program left.
#[derive(Debug)]
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Program {
    fn new(names: &[&str]) -> Self {
        let program = Self {
            folder: tempfile::tempdir().unwrap(),
            variables: Vec::new(),
        };
        fs::create_dir(program.path("work")).unwrap();
        fs::create_dir(program.path("engines")).unwrap();
        for name in names {
            let file = format!("{name}.wasm");
            let own = engines().join(&file);
            let from = if own.exists() {
                own
            } else {
                guests().join(&file)
            };
            fs::copy(from, program.path("engines").join(file)).unwrap();
        }
        program
    }

    /// With one more variable.
    fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// In the folder that holds `data`, `engines` and `work`, which is where it runs.
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        self.around(Command::new(program()), arguments)
    }

    /// A command in place of the program, with the program's environment and these arguments.
    fn around(&self, mut command: Command, arguments: &[&str]) -> Command {
        command
            .args(arguments)
            .current_dir(self.path("work"))
            .stdin(Stdio::null())
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("PINHOLE_DATA", self.path("data"))
            .env("PINHOLE_ENGINES", self.path("engines"))
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    fn run(&self, arguments: &[&str]) -> Said {
        Said::of(self.command(arguments))
    }

    /// Runs `serve` on a free port and waits for its four lines.
    fn serve(&self) -> Serving {
        let log = File::options()
            .append(true)
            .create(true)
            .open(self.path("log"));
        let mut child = self
            .command(&["serve", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(log.unwrap())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut lines = Vec::new();
        for _ in 0..4 {
            let mut line = String::new();
            out.read_line(&mut line).unwrap();
            lines.push(line.trim_end().to_owned());
        }
        Serving { child, out, lines }
    }
}

impl Said {
    fn of(mut command: Command) -> Self {
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        let (id, (sender, ended)) = (child.id(), mpsc::channel());
        thread::spawn(move || sender.send(child.wait_with_output()));
        let output = ended.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            signal(id, "KILL");
            ended.recv().unwrap()
        });
        let output = output.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// It failed with this code and one line on standard error: this line.
    #[track_caller]
    fn failed(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.out, "", "{self:?}");
        assert_eq!(self.err.lines().count(), 1, "{self:?}");
        assert!(
            self.err.starts_with("pinhole: ") && self.err.ends_with('\n'),
            "{self:?}"
        );
        self.err
    }

    /// It was done, in silence but for these lines on standard output.
    #[track_caller]
    fn done(self) -> Vec<String> {
        assert_eq!((self.code, self.err.as_str()), (Some(0), ""), "{self:?}");
        self.out.lines().map(str::to_owned).collect()
    }
}

/// A running server; killed when dropped.
struct Serving {
    child: Child,
    out: BufReader<std::process::ChildStdout>,
    lines: Vec<String>,
}

impl Serving {
    fn address(&self) -> SocketAddr {
        let (_, address) = self.lines[0].split_once(" listening on http://").unwrap();
        address.parse().unwrap()
    }

    fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Waits for its end; whatever else it said on standard output.
    fn end(mut self) -> (ExitStatus, String) {
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap(), rest)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn signal(process: u32, name: &str) {
    let script = format!("kill -{name} {process}");
    let sent = Command::new("sh").args(["-c", &script]).status().unwrap();
    assert!(sent.success());
}

/// The status of one request and its answer's text.
fn http(address: SocketAddr, method: &str, path: &str, key: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer)
}

/// Width and height of a PNG file.
fn png_size(path: &Path) -> (u32, u32) {
    let bytes = fs::read(path).unwrap();
    assert!(
        bytes.starts_with(b"\x89PNG\r\n\x1a\n"),
        "{}",
        path.display()
    );
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    (number(16), number(20))
}

/// A port on which nobody listens, for as long as the socket lives.
fn closed_port() -> (tokio::net::TcpSocket, String) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, format!("http://{address}"))
}

/// An upstream on which `/allowed/slow` is never answered.
async fn slow_upstream() -> Upstream {
    Upstream::start(async |seen: Seen| {
        if seen.target == "/allowed/slow" {
            std::future::pending::<()>().await;
        }
        Answer::json(200, &json!({}))
    })
    .await
}

const SLOW: &str = "GET /allowed/slow";
const STOPPED: &str = "GET /allowed/stopped";

#[test]
fn generate_prints_the_path_alone_and_draws_the_size_asked_for() {
    let program = Program::new(&["sketch"]);
    let prompt = "A red fox, at dawn!";
    let drawn = program.run(&["generate", prompt, "--size", "96x64"]).done();
    assert_eq!(drawn, ["a-red-fox-at-dawn.png"]);
    let first = program.path("work").join("a-red-fox-at-dawn.png");
    assert_eq!(png_size(&first), (96, 64));

    // A picture that is there is not written over.
    let before = fs::read(&first).unwrap();
    let drawn = program.run(&["generate", prompt, "--size", "32x32"]).done();
    assert_eq!(drawn, ["a-red-fox-at-dawn-2.png"]);
    assert_eq!(fs::read(&first).unwrap(), before);

    // The settings' size, where none is asked for.
    let program = program.with("IMAGE_SIZE", "48x40");
    let out = program.path("here.png");
    let drawn = program
        .run(&["generate", "x", "--out", out.to_str().unwrap()])
        .done();
    assert_eq!(drawn, [out.to_str().unwrap()]);
    assert_eq!(png_size(&out), (48, 40));
}

#[test]
fn several_pictures_are_numbered_and_differ() {
    let program = Program::new(&["sketch"]);
    let work = program.path("work");
    let few = ["--size", "32x32", "--count", "2"];
    let drawn = program
        .run(&[&["generate", "two hills"], &few[..]].concat())
        .done();
    assert_eq!(drawn, ["two-hills-1.png", "two-hills-2.png"]);
    let bytes = [0, 1].map(|index| fs::read(work.join(&drawn[index])).unwrap());
    assert_ne!(bytes[0], bytes[1]);

    let named = ["generate", "two hills", "--out", "hill.png"];
    let drawn = program.run(&[&named[..], &few[..]].concat()).done();
    assert_eq!(drawn, ["hill-1.png", "hill-2.png"]);
    assert_eq!(fs::read_dir(work).unwrap().count(), 4);
}

#[test]
fn the_same_seed_draws_the_same_bytes() {
    let program = Program::new(&["sketch"]);
    let draw = |seed: &str, out: &str| {
        let asked = [
            "generate", "a hill", "--size", "64x64", "--seed", seed, "--out", out,
        ];
        program.run(&asked).done();
        fs::read(program.path("work").join(out)).unwrap()
    };
    let first = draw("7", "a.png");
    assert_eq!(draw("7", "b.png"), first);
    assert_ne!(draw("8", "c.png"), first);
}

#[test]
fn wrong_use_is_one_line_and_exit_code_2() {
    let program = Program::new(&["sketch", "automatic1111", "hostile"]);
    let long = "x".repeat(32_001);
    for (arguments, gist) in [
        (&["generate", ""][..], "the prompt is empty"),
        (&["generate", " \n"], "the prompt is empty"),
        (
            &["generate", &long],
            "the prompt has 32001 bytes; 32000 are allowed",
        ),
        (
            &["generate", "x", "--size", "axb"],
            "the size \"axb\" is not WxH such as 1024x1024",
        ),
        (
            &["generate", "x", "--size", "0x64"],
            "the size 0x64 is not allowed",
        ),
        (
            &["generate", "x", "--size", "8192x8192"],
            "the size 8192x8192 is not allowed",
        ),
        (
            &["generate", "x", "--engine", "nobody"],
            "there is no engine nobody: there are automatic1111, hostile, sketch",
        ),
        (&["generate", "x", "--engine", ""], "there is no engine"),
        (
            &["generate", "x", "--count", "0"],
            "0 pictures were asked for; engine sketch makes 1 to 10",
        ),
        (
            &["generate", "x", "--count", "11"],
            "11 pictures were asked for",
        ),
        (
            &["generate", "x", "--out", "."],
            "is no file to write to: name one with --out",
        ),
        (
            &["generate", "x", "--engine", "automatic1111"],
            "set AUTOMATIC1111_BASE_URL to the address of AUTOMATIC1111",
        ),
        (
            &["generate", "x", "--engine", "hostile"],
            "set HOSTILE_BASE_URL",
        ),
    ] {
        let line = program.run(arguments).failed(2);
        assert!(line.contains(gist), "{arguments:?}: {line}");
    }
    let program = program.with("HOSTILE_BASE_URL", "http://127.0.0.1:9");
    let line = program
        .run(&["generate", "x", "--engine", "hostile", "--seed", "1"])
        .failed(2);
    assert!(
        line.contains("engine hostile has no seed: leave it out"),
        "{line}"
    );
    assert_eq!(fs::read_dir(program.path("work")).unwrap().count(), 0);
}

#[test]
fn a_command_line_that_cannot_be_read_is_exit_code_2() {
    let program = Program::new(&[]);
    for (arguments, gist) in [
        (&["generate"][..], "<PROMPT>"),
        (
            &["generate", "x", "--count", "many"],
            "'many' for '--count <N>'",
        ),
        (&["generate", "x", "--seed", "-1"], "'-1'"),
        (&["generate", "x", "--out", ""], "--out <FILE>"),
        (&["generate", "x", "--size"], "--size <WxH>"),
        (&["generate", "x", "y"], "'y'"),
        (
            &["serve", "--listen", "nowhere"],
            "'nowhere' for '--listen <LISTEN>'",
        ),
        (&["engine", "sing"], "'sing'"),
        (&["frobnicate"], "'frobnicate'"),
    ] {
        let said = program.run(arguments);
        assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{said:?}");
        assert!(
            said.err.starts_with("error: ") && said.err.contains(gist),
            "{said:?}"
        );
    }
    assert!(!program.path("data").exists());
}

/// One of our engines that has an upstream.
struct Own {
    engine: &'static str,
    title: &'static str,
    address: &'static str,
    secret: &'static str,
    /// The header that carries the secret `user:secret-4711`, and its value.
    credential: (&'static str, &'static str),
    /// Its last request for one picture when nothing that it is told makes sense.
    request: &'static str,
}

const OWN: [Own; 4] = [
    Own {
        engine: "automatic1111",
        title: "AUTOMATIC1111",
        address: "AUTOMATIC1111_BASE_URL",
        secret: "AUTOMATIC1111_API_AUTH",
        credential: ("authorization", "Basic dXNlcjpzZWNyZXQtNDcxMQ=="),
        request: "GET /sdapi/v1/sd-models",
    },
    Own {
        engine: "comfyui",
        title: "ComfyUI",
        address: "COMFYUI_BASE_URL",
        secret: "COMFYUI_API_KEY",
        credential: ("authorization", "Bearer user:secret-4711"),
        request: "POST /prompt",
    },
    Own {
        engine: "gemini",
        title: "Gemini",
        address: "IMAGES_GEMINI_API_BASE_URL",
        secret: "IMAGES_GEMINI_API_KEY",
        credential: ("x-goog-api-key", "user:secret-4711"),
        request: "POST /models/a-model:generateContent",
    },
    Own {
        engine: "openai",
        title: "OpenAI",
        address: "IMAGES_OPENAI_API_BASE_URL",
        secret: "IMAGES_OPENAI_API_KEY",
        credential: ("authorization", "Bearer user:secret-4711"),
        request: "POST /images/generations",
    },
];

/// All four engines, with this upstream.
fn with_upstream(address: &str) -> Program {
    let program =
        Program::new(&OWN.map(|own| own.engine)).with("IMAGE_GENERATION_MODEL", "a-model");
    OWN.iter().fold(program, |program, own| {
        let program = program.with(own.address, address);
        program.with(own.secret, "user:secret-4711")
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_is_down_is_named_with_its_variable() {
    let (_socket, address) = closed_port();
    let program = with_upstream(&address);
    for Own {
        engine,
        title,
        address: variable,
        ..
    } in OWN
    {
        let line = program
            .run(&["generate", "a fox", "--engine", engine])
            .failed(1);
        assert!(
            line.starts_with(&format!("pinhole: engine {engine}: ")),
            "{line}"
        );
        assert!(
            line.contains(&format!("{address} cannot be reached")),
            "{line}"
        );
        let remedy = format!("check that {title} runs and that {variable} is its address\n");
        assert!(line.ends_with(&remedy), "{line}");
    }
    assert_eq!(fs::read_dir(program.path("work")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_does_not_answer_is_named_with_its_variable() {
    let upstream = Upstream::start(async |_| std::future::pending::<Answer>().await).await;
    let program = Program::new(&["openai"])
        .with("IMAGES_OPENAI_API_BASE_URL", &upstream.url())
        .with("PINHOLE_JOB_TIMEOUT_SECS", "1");
    let line = program
        .run(&["generate", "a fox", "--engine", "openai"])
        .failed(1);
    assert!(line.starts_with("pinhole: engine openai: "), "{line}");
    let remedy = "check that OpenAI runs and that IMAGES_OPENAI_API_BASE_URL is its address\n";
    assert!(line.ends_with(remedy), "{line}");
    assert_eq!(upstream.lines(), ["POST /images/generations"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_answers_html_is_one_line_too() {
    const PAGE: &str = "<html><body>\n<h1>It works!</h1>\n</body></html>\n";
    let upstream = Upstream::start(async |_| Answer::typed(200, "text/html", PAGE)).await;
    let program = with_upstream(&upstream.url());
    for Own {
        engine,
        title,
        address: variable,
        credential: (header, value),
        request,
        ..
    } in OWN
    {
        let line = program
            .run(&["generate", "a fox", "--engine", engine])
            .failed(1);
        assert!(
            line.starts_with(&format!("pinhole: engine {engine}: ")),
            "{line}"
        );
        let remedy = format!("check that {variable} is the address of {title}\n");
        assert!(line.ends_with(&remedy), "{line}");
        let last = upstream.seen().pop().unwrap();
        assert_eq!(
            (last.line().as_str(), last.header(header)),
            (request, value),
            "{engine}"
        );
    }
    assert_eq!(fs::read_dir(program.path("work")).unwrap().count(), 0);
}

#[test]
fn a_data_folder_that_cannot_be_used_is_named() {
    let program = Program::new(&["sketch"]);
    fs::write(program.path("file"), b"").unwrap();
    for data in [program.path("file"), program.path("file").join("data")] {
        let data = data.to_str().unwrap();
        let program = Program::new(&["sketch"]).with("PINHOLE_DATA", data);
        for arguments in [
            &["generate", "x"][..],
            &["engine", "list"],
            &["serve", "--listen", "127.0.0.1:0"],
        ] {
            let line = program.run(arguments).failed(1);
            assert!(
                line.contains(&format!("cannot use folder {data}: ")),
                "{line}"
            );
        }
    }
    let line = program
        .with("PINHOLE_ENGINES", "nowhere")
        .run(&["generate", "x"])
        .failed(1);
    let expected = "cannot read the folder of engines nowhere: set PINHOLE_ENGINES";
    assert!(line.contains(expected), "{line}");
}

#[test]
fn a_full_disk_is_named_at_the_start() {
    // A limit on the length of files stands in for the disk: it works for every user.
    let program = Program::new(&["sketch"]);
    let limited = |blocks: u32, arguments: &[&str]| {
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).arg(pinhole_tests::program());
        Said::of(program.around(shell, arguments)).failed(1)
    };
    let serve = &["serve", "--listen", "127.0.0.1:0"][..];
    let data = program.path("data");
    for arguments in [&["generate", "x"][..], &["engine", "list"], serve] {
        let line = limited(0, arguments);
        assert!(
            line.contains(&format!("cannot use folder {}: ", data.display())),
            "{line}"
        );
    }
    // Room enough to look, and not enough for the database.
    let line = limited(16, serve);
    assert!(
        line.contains(&format!("cannot use the database {}", data.display())),
        "{line}"
    );
}

#[test]
fn a_picture_that_cannot_be_written_is_one_line() {
    let program = Program::new(&["sketch"]);
    let line = program
        .run(&["generate", "x", "--size", "8x8", "--out", "no/x.png"])
        .failed(1);
    assert!(
        line.contains("cannot write no/x.png: No such file or directory"),
        "{line}"
    );
}

#[test]
fn a_setting_that_cannot_be_read_is_named() {
    for (name, value, gist) in [
        (
            "IMAGE_STEPS",
            "abc",
            "IMAGE_STEPS is \"abc\": it must be a whole number",
        ),
        ("IMAGE_SIZE", "axb", "IMAGE_SIZE \"axb\" is not WxH"),
        ("IMAGE_SIZE", "99999x1", "IMAGE_SIZE 99999x1 is not allowed"),
        (
            "OPENAI_API_BASE_URL",
            "nonsense",
            "OPENAI_API_BASE_URL cannot be used: \"nonsense\" is not a URL",
        ),
        (
            "OPENAI_API_BASE_URL",
            "http://me:secret-4711@host",
            "OPENAI_API_BASE_URL cannot be used: the URL of host carries a user name",
        ),
        (
            "OPENAI_API_KEY",
            "secret-4711\u{1}",
            "OPENAI_API_KEY cannot be used",
        ),
        (
            "PINHOLE_SLOTS",
            "0",
            "PINHOLE_SLOTS is \"0\": it must be a whole number from 1 to 10000",
        ),
        (
            "PINHOLE_JOB_TIMEOUT_SECS",
            "soon",
            "PINHOLE_JOB_TIMEOUT_SECS is \"soon\"",
        ),
    ] {
        let program = Program::new(&[]).with(name, value);
        let line = program.run(&["serve", "--listen", "127.0.0.1:0"]).failed(1);
        assert!(line.contains(gist), "{line}");
        assert!(!line.contains("secret-4711"), "{line}");
    }
}

#[test]
fn engine_list_says_what_each_engine_may_do_and_why_another_was_refused() {
    let program = Program::new(&["hostile", "sketch"]).with("HOSTILE_API_KEY", "secret-4711");
    let engines = program.path("engines");
    fs::write(engines.join("broken.wasm"), b"\0asm\x01\0\0\0").unwrap();
    let digest = |name: &str| {
        let digest = Sha256::digest(fs::read(engines.join(name)).unwrap());
        digest
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let listed = |program: &Program| program.run(&["engine", "list"]).done().join("\n");
    let text = listed(&program);
    let version = env!("CARGO_PKG_VERSION");
    let expected = format!(
        "hostile {version} (Hostile, hostile.wasm)
  digest     sha256:{}
  imports    pinhole:engine/types@0.1.0, pinhole:engine/images@0.1.0, pinhole:engine/upstream@0.1.0, pinhole:engine/job@0.1.0, pinhole:engine/log@0.1.0
  abilities  generate, cancel, up to 4 pictures a job
  upstream   api at no address yet: set HOSTILE_BASE_URL: GET /allowed/
sketch {version} (Sketch, sketch.wasm)
  digest     sha256:{}
  imports    pinhole:engine/types@0.1.0, pinhole:engine/images@0.1.0, pinhole:engine/job@0.1.0, pinhole:engine/log@0.1.0
  abilities  generate, progress, seed, up to 10 pictures a job
  upstreams  none
broken.wasm: not admitted, because it is a core module, not a component: encode it with wit-component, as `cargo xtask engines` does",
        digest("hostile.wasm"),
        digest("sketch.wasm"),
    );
    assert_eq!(text, expected);

    let program = program.with("HOSTILE_BASE_URL", "http://127.0.0.1:9/base");
    let text = listed(&program);
    assert!(
        text.contains("  upstream   api at http://127.0.0.1:9: GET /allowed/\n"),
        "{text}"
    );
    assert!(!text.contains("secret-4711"), "{text}");

    let empty = Program::new(&[]);
    let line = format!("no engines in {}", empty.path("engines").display());
    assert_eq!(listed(&empty), line);
}

#[test]
fn serve_says_four_things_and_the_key_only_once() {
    let program = Program::new(&["sketch", "hostile"]);
    let first = program.serve();
    let address = first.address();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        first.lines[0],
        format!("pinhole {version} listening on http://{address}")
    );
    assert_eq!(
        first.lines[1],
        format!("data folder: {}", program.path("data").display())
    );
    assert_eq!(first.lines[2], "engines: hostile, sketch (current: sketch)");
    let key = first.lines[3]
        .strip_prefix("administrator key (shown once): ")
        .unwrap();
    assert!(key.starts_with("sk-") && key.len() == 51, "{key}");
    let key = key.to_owned();

    let asked = "/api/v1/files/none/content";
    assert_eq!(http(address, "GET", "/health", "", "").0, 200);
    assert_eq!(http(address, "GET", asked, &key, "").0, 404);
    assert_eq!(http(address, "GET", asked, "sk-another", "").0, 401);
    first.signal("TERM");
    let (status, rest) = first.end();
    assert_eq!((status.code(), rest.as_str()), (Some(0), ""));

    let second = program.serve();
    assert_eq!(
        second.lines[3],
        "administrator key: shown at the first start"
    );
    assert_eq!(http(second.address(), "GET", asked, &key, "").0, 404);
    second.signal("INT");
    assert_eq!(second.end().0.code(), Some(0));

    // Only its hash is kept.
    let mut kept = fs::read(program.path("log")).unwrap();
    for entry in fs::read_dir(program.path("data")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            kept.extend(fs::read(path).unwrap());
        }
    }
    let holds = |text: &str| kept.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(holds("Administrator"));
    assert!(!holds(&key) && !holds(key.trim_start_matches("sk-")));
}

#[test]
fn a_port_in_use_is_one_line() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let program = Program::new(&[]).with("PINHOLE_LOG", "off");
    let line = program.run(&["serve", "--listen", &address]).failed(1);
    let expected =
        format!("cannot listen on {address}: choose another with --listen: Address already in use");
    assert!(line.contains(&expected), "{line}");
    // The key was not lost to a start that failed.
    let serving = program.serve();
    assert!(serving.lines[3].starts_with("administrator key (shown once): sk-"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_under_way_ends_before_the_server_does() {
    static GATE: Semaphore = Semaphore::const_new(0);
    let upstream = Upstream::start(async |_| {
        GATE.acquire().await.unwrap().forget();
        Answer::json(200, &json!({}))
    })
    .await;
    let program = Program::new(&["hostile"])
        .with("IMAGE_GENERATION_ENGINE", "hostile")
        .with("HOSTILE_BASE_URL", &upstream.url());
    let serving = program.serve();
    let address = serving.address();
    let key = serving.lines[3].rsplit(' ').next().unwrap().to_owned();
    let body = json!({"prompt": "ask"}).to_string();
    let asking = tokio::task::spawn_blocking(move || {
        http(address, "POST", "/v1/images/generations", &key, &body)
    });
    upstream.wait_for(1).await;
    serving.signal("TERM");
    // Told to end, it no longer listens.
    while TcpStream::connect(address).is_ok() {
        tokio::task::yield_now().await;
    }
    GATE.add_permits(1);
    let (status, answer) = asking.await.unwrap();
    assert_eq!(status, 200, "{answer}");
    assert_eq!(serving.end().0.code(), Some(0));
    assert_eq!(upstream.lines(), ["GET /allowed/x"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_does_not_end_is_cancelled_with_the_server_and_tells_its_upstream() {
    let upstream = slow_upstream().await;
    let program = Program::new(&["hostile"])
        .with("IMAGE_GENERATION_ENGINE", "hostile")
        .with("HOSTILE_BASE_URL", &upstream.url());
    let serving = program.serve();
    let address = serving.address();
    let key = serving.lines[3].rsplit(' ').next().unwrap().to_owned();
    let body = json!({"prompt": "wait"}).to_string();
    let asking = tokio::task::spawn_blocking(move || {
        http(address, "POST", "/v1/images/generations", &key, &body)
    });
    upstream.wait_for(1).await;
    serving.signal("TERM");
    upstream.wait_for(2).await;
    assert_eq!(serving.end().0.code(), Some(0));
    assert_eq!(upstream.lines(), [SLOW, STOPPED]);
    // The client hears why, unless the connection went first.
    if let Ok((status, answer)) = asking.await {
        assert_eq!(status, 503, "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_cancels_the_job_and_tells_the_upstream() {
    let upstream = slow_upstream().await;
    let program = Program::new(&["hostile"]).with("HOSTILE_BASE_URL", &upstream.url());
    let child = program
        .command(&["generate", "wait", "--engine", "hostile"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    upstream.wait_for(1).await;
    signal(child.id(), "INT");
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
    assert!(err.contains("engine hostile: cancelled"), "{err}");
    assert_eq!(upstream.lines(), [SLOW, STOPPED]);
}

#[test]
fn several_commands_share_a_data_folder() {
    let program = Program::new(&["sketch"]);
    let running: Vec<Child> = (0..6)
        .map(|number| {
            let out = format!("{number}.png");
            let asked = ["generate", "a hill", "--size", "16x16", "--out", &out];
            let mut command = program.command(&asked);
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            command.spawn().unwrap()
        })
        .collect();
    for child in running {
        let output = child.wait_with_output().unwrap();
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{output:?}"
        );
    }
    assert_eq!(fs::read_dir(program.path("work")).unwrap().count(), 6);
}
