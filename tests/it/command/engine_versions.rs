//! Commands that change engines: in a running server, and without one.

use super::*;
use crate::api::engines::other_version;
use crate::grants::{digest, hostile};

impl Program {
    /// A file with another version of an engine, in the directory of the program. Returns its path and digest.
    fn other_version(&self, engine: &str) -> (String, String) {
        let component = fs::read(self.path("engines").join(format!("{engine}.wasm"))).unwrap();
        let component = other_version(component);
        let path = self.path(&format!("{engine}-2.wasm"));
        fs::write(&path, &component).unwrap();
        (path.to_str().unwrap().to_owned(), digest(&component))
    }

    pub(super) fn engine(&self, arguments: &[&str]) -> CommandOutput {
        let mut all = vec!["engine"];
        all.extend(arguments);
        self.run(&all)
    }

    fn engine_json(&self, arguments: &[&str]) -> Value {
        let mut all = arguments.to_vec();
        all.push("--json");
        serde_json::from_str(&self.engine(&all).done().concat()).unwrap()
    }

    /// The digest and the state of the version that serves.
    fn serving(&self, engine: &str) -> Value {
        self.engine_json(&["show", engine])["serving"]["digest"].clone()
    }
}

/// The whole life of a version. The same with and without a server.
fn check_life_of_a_version(program: &Program) {
    let first = digest(&fs::read(program.path("engines").join("sketch.wasm")).unwrap());
    let (file, second) = program.other_version("sketch");
    let version = env!("CARGO_PKG_VERSION");
    let label = |digest: &str| format!("version {version} ({})", &digest[..12]);

    let installed = program.engine(&["install", &file]).done();
    assert_eq!(installed[0], format!("sketch {version}"));
    assert!(installed[1].contains(&second), "{installed:?}");
    assert!(
        installed
            .last()
            .unwrap()
            .starts_with("  serves, and is watched")
    );
    let list = program.engine(&["list"]).done();
    assert_eq!(list.len(), 3, "{list:?}");
    assert!(list[1].contains(&second[..12]) && list[1].contains("current, watched"));
    assert!(list[2].contains(&first[..12]) && list[2].contains("serves again if"));
    assert_eq!(program.serving("sketch"), second);

    let rolled_back = program
        .engine(&["rollback", "sketch", "--why", "edits are blurred"])
        .done();
    let expected = format!("sketch: {} serves again (", label(&first));
    assert!(rolled_back[0].starts_with(&expected), "{rolled_back:?}");
    let refused = program.engine(&["install", &file]).failed(1);
    assert!(
        refused.contains("was rolled back (edits are blurred): install it with --force"),
        "{refused}"
    );
    let canary = ["install", &file, "--force", "--strategy", "canary"];
    assert_eq!(program.engine_json(&canary)["state"], "candidate");
    let canary_list = program.engine(&["list"]).done().join("\n");
    assert!(
        canary_list.contains("canary, 10 % of users"),
        "{canary_list}"
    );
    assert_eq!(program.serving("sketch"), first);
    let aborted = program.engine(&["abort", "sketch"]).done();
    assert_eq!(
        aborted,
        [format!("sketch: dropped; {} serves", label(&first))]
    );

    program.engine(&["install", &file, "--force"]).done();
    let promoted = program.engine(&["promote", "sketch"]).done();
    let watched_no_more = format!(
        "sketch: {} serves, and is not watched any more",
        label(&second)
    );
    assert_eq!(promoted, [watched_no_more]);
    let none = program.engine(&["promote", "sketch"]).failed(1);
    assert!(none.contains("has no new version"), "{none}");
    let pinned = program.engine(&["pin", "sketch"]).done();
    assert_eq!(
        pinned,
        [format!("sketch: pinned; {} serves", label(&second))]
    );
    let by_pin = program
        .engine(&[
            "install",
            program
                .path("engines")
                .join("sketch.wasm")
                .to_str()
                .unwrap(),
        ])
        .failed(1);
    assert!(
        by_pin.contains("run `pinhole engine unpin sketch` first"),
        "{by_pin}"
    );
    program.engine(&["unpin", "sketch"]).done();
    let to = ["rollback", "sketch", "--to", &first[..6]];
    program.engine(&to).done();
    assert_eq!(program.serving("sketch"), first);

    let history = program.engine(&["history", "sketch"]).done().join("\n");
    for what in ["installed", "rolled-back", "promoted", "pinned", "unpinned"] {
        assert!(history.contains(&format!("  {what} ")), "{history}");
    }
    assert!(history.contains("command line (uid "), "{history}");
    assert!(history.contains("  edits are blurred"), "{history}");

    let removed = program.engine(&["remove", "sketch", "--now"]).done();
    assert!(
        removed[0].starts_with("sketch: removed; its jobs stopped; "),
        "{removed:?}"
    );
    let last_list = program.engine(&["list"]).done().join("\n");
    assert!(last_list.contains("removed"), "{last_list}");
    let unknown = program.engine(&["remove", "sketch"]).failed(2);
    assert!(unknown.contains("unknown engine sketch"), "{unknown}");
    program.engine(&["install", &file, "--force"]).done();
    assert_eq!(program.serving("sketch"), second);
}

#[test]
fn versions_change_in_a_running_server() {
    let program = Program::new(&["sketch"]);
    let serving = program.serve();
    check_life_of_a_version(&program);
    // The server is the one that has changed.
    let (status, response) = http(
        serving.address(),
        "GET",
        "/api/v1/engines/sketch",
        &serving.key(),
        "",
    );
    assert_eq!(status, 200, "{response}");
    let (_, body) = response.split_once("\r\n\r\n").unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["serving"]["digest"], program.serving("sketch"));
    // The next server starts with the same versions.
    serving.signal("TERM");
    serving.end();
    let second = program.serving("sketch");
    let _serving = program.serve();
    assert_eq!(program.serving("sketch"), second);
}

#[test]
fn versions_change_without_a_server() {
    let program = Program::new(&["sketch"]);
    let missing = program.engine(&["pin", "sketch"]).failed(1);
    assert!(missing.contains("contains no database"), "{missing}");
    let data = program.path("data");
    assert!(!data.exists());
    fs::create_dir(&data).unwrap();
    program.engine(&["list"]).done();
    check_life_of_a_version(&program);
}

#[test]
fn grants_hold_at_once_in_a_running_server() {
    let program = Program::new(&[])
        .with("HOSTILE_BASE_URL", "http://127.0.0.1:9")
        .with("IMAGE_GENERATION_ENGINE", "hostile");
    fs::write(
        program.path("engines").join("hostile.wasm"),
        hostile("plain"),
    )
    .unwrap();
    let serving = program.serve();
    let key = serving.key();
    let reach = |path: &str| {
        let body = json!({"prompt": format!("reach api {path}")}).to_string();
        let (_, answer) = http(
            serving.address(),
            "POST",
            "/v1/images/generations",
            &key,
            &body,
        );
        answer
    };
    let more = program.path("more.wasm");
    fs::write(&more, hostile("request")).unwrap();
    let parked = program.engine(&["install", more.to_str().unwrap()]).done();
    assert!(
        parked.contains(&"+ api POST /more/".to_owned()),
        "{parked:?}"
    );
    assert!(
        parked.last().unwrap().contains("waits for approval"),
        "{parked:?}"
    );
    assert_eq!(program.serving("hostile"), digest(&hostile("plain")));
    let shown = program.engine(&["grant", "hostile"]);
    assert_eq!(shown.code, Some(1), "{shown:?}");
    assert!(
        shown.out.contains(&digest(&hostile("request"))),
        "{shown:?}"
    );
    let granted = program.engine(&["grant", "hostile", "--yes"]).done();
    assert!(granted.last().unwrap().starts_with("granted; version "));
    assert_eq!(program.serving("hostile"), digest(&hostile("request")));

    assert!(!reach("/allowed/x").contains("not granted"));
    let request = "api GET /allowed/";
    let denied = program
        .engine(&["grant", "hostile", "--deny", request])
        .done();
    assert_eq!(denied, ["! api GET /allowed/", "changed"]);
    let answer = reach("/allowed/x");
    assert!(answer.contains("not granted"), "{answer}");
    program
        .engine(&["grant", "hostile", "--allow", request])
        .done();
    assert!(!reach("/allowed/x").contains("not granted"));
    let unknown = program
        .engine(&["grant", "hostile", "--allow", "api GET /secret"])
        .failed(2);
    assert!(unknown.contains("does not declare"), "{unknown}");
}

#[test]
fn update_looks_at_the_engine_directory_at_once() {
    let program = Program::new(&["sketch"]);
    let _serving = program.serve();
    let unchanged = program.engine(&["update"]).done();
    assert_eq!(unchanged, ["nothing has changed"]);
    let (file, second) = program.other_version("sketch");
    fs::rename(file, program.path("engines").join("sketch.wasm")).unwrap();
    let broken = program.path("engines").join("broken.wasm");
    fs::write(&broken, b"\0asm\x01\0\0\0").unwrap();
    let updated = program.engine(&["update", "sketch"]).done().join("\n");
    assert!(
        updated.contains(&second[..12]) || updated == "nothing has changed",
        "{updated}"
    );
    assert_eq!(program.serving("sketch"), second);
    let rejected = program.engine(&["update"]);
    assert_eq!(rejected.code, Some(1), "{rejected:?}");
    assert!(
        rejected
            .out
            .contains("rejected: broken.wasm is a core module"),
        "{rejected:?}"
    );
}

#[test]
fn jobs_and_log_of_an_engine_are_printed_by_a_running_server() {
    let program = Program::new(&["hostile"])
        .with("HOSTILE_BASE_URL", "http://127.0.0.1:9")
        .with("IMAGE_GENERATION_ENGINE", "hostile");
    let columns = |line: &str| -> Vec<String> {
        let columns = line.split("  ").map(str::trim).filter(|it| !it.is_empty());
        columns.map(str::to_owned).collect()
    };
    let without_server = program.engine(&["log", "hostile"]).failed(2);
    assert!(
        without_server.contains("start it first"),
        "{without_server}"
    );
    let serving = program.serve();
    let generate = |prompt: &str| {
        let body = json!({"prompt": prompt}).to_string();
        let path = "/v1/images/generations";
        http(serving.address(), "POST", path, &serving.key(), &body).0
    };
    assert_eq!(generate("picture"), 200);
    generate("say one");
    generate("trap");
    let list = program.engine(&["list"]).done();
    let head = [
        "NAME", "VERSION", "DIGEST", "STATE", "SINCE", "JOBS", "FAILED", "FROM",
    ];
    assert_eq!(columns(&list[0]), head);
    assert_eq!(columns(&list[1])[5..7], ["3", "2"], "{list:?}");
    let json = program.engine_json(&["list"]);
    let version = &json["engines"][0]["versions"][0];
    assert_eq!(
        (&version["jobs"], &version["failed"]),
        (&json!(3), &json!(2))
    );

    let log = program.engine(&["log", "hostile"]).done();
    assert!(
        log[0].contains("  info   ") && log[0].ends_with("  one"),
        "{log:?}"
    );
    let printed = program.engine(&["log", "hostile", "--json"]).done();
    let first: Value = serde_json::from_str(&printed[0]).unwrap();
    assert_eq!(first["text"], "one");
    program.engine(&["log", "nobody"]).failed(2);
    // It follows until the server stops.
    let mut following = program.command(&["engine", "log", "hostile", "--follow"]);
    let mut following = following.stdout(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(following.stdout.take().unwrap()).lines();
    let mut wait_for = |text: &str| {
        let mut lines = out.by_ref().map(Result::unwrap);
        assert!(lines.any(|line| line.ends_with(text)), "{text}");
    };
    wait_for("  one");
    generate("say two");
    wait_for("  two");
    serving.signal("TERM");
    assert!(following.wait().unwrap().success());

    let stopped = program.engine(&["list"]).done();
    assert_eq!(columns(&stopped[1])[5..7], ["-", "-"], "{stopped:?}");
}
