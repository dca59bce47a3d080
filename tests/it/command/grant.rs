//! `pinhole engine grant`.

use super::*;
use crate::grants::{digest, hostile};

/// The program with the hostile engine, which has a grant for its old declaration. The file now has another
/// declaration, with this name.
fn program_with_change(word: &str) -> Program {
    let program = Program::new(&[]);
    fs::create_dir(program.path("data")).unwrap();
    let file = program.path("engines").join("hostile.wasm");
    fs::write(&file, hostile("plain")).unwrap();
    program.run(&["engine", "list"]).done();
    fs::write(&file, hostile(word)).unwrap();
    program
}

const ALL: [&str; 11] = [
    "= api at base-url",
    "= api with authorization: Bearer from api-key",
    "= api GET /allowed/",
    "= api POST /orders",
    "= api also at localhost",
    "= secret api-key from HOSTILE_API_KEY",
    "= setting base-url from HOSTILE_BASE_URL",
    "= setting note from HOSTILE_NOTE",
    "= secret api-key from PINHOLE_HOSTILE_API_KEY",
    "= setting base-url from PINHOLE_HOSTILE_BASE_URL",
    "= setting note from PINHOLE_HOSTILE_NOTE",
];

/// The lines of the grant, with the pending ones among them, and the last lines.
fn grant_text(pending: Option<&str>, more: &str, last: &str) -> String {
    let mut lines = vec!["engine hostile".to_owned()];
    let [plain, new] = ["plain", pending.unwrap_or("plain")].map(|word| digest(&hostile(word)));
    lines.push(format!("  granted   sha256:{plain} (hostile.wasm)"));
    lines.extend(pending.map(|_| format!("  pending   sha256:{new} (hostile.wasm)")));
    for line in ALL {
        lines.push(line.to_owned());
        if line == "= api GET /allowed/" && !more.is_empty() {
            lines.push(more.to_owned());
        }
    }
    lines.push(last.to_owned());
    lines.join("\n")
}

#[test]
fn engine_grant_shows_the_difference_and_accepts_it() {
    let program = program_with_change("request");
    let list = program.run(&["engine", "list"]).done().join("\n");
    let line = "hostile.wasm: awaiting approval of new permissions: + api POST /more/. Review with `pinhole engine grant hostile`";
    assert!(list.ends_with(line), "{list}");
    assert!(list.contains(&digest(&hostile("plain"))[..12]), "{list}");

    // Without a terminal there is no prompt.
    let output = program.run(&["engine", "grant", "hostile"]);
    assert_eq!(output.code, Some(1), "{output:?}");
    let expected = grant_text(Some("request"), "+ api POST /more/", "");
    assert_eq!(output.out, expected);
    assert_eq!(
        output.messages(),
        "pinhole: nothing was granted: review the lines marked +, then add --yes to grant them\n"
    );

    let lines = program.run(&["engine", "grant", "hostile", "--yes"]).done();
    let last = &format!("granted; version {} serves", env!("CARGO_PKG_VERSION"));
    assert_eq!(
        lines.join("\n"),
        grant_text(Some("request"), "+ api POST /more/", last)
    );
    let granted_list = program.run(&["engine", "list"]).done().join("\n");
    assert!(!granted_list.contains("pending"), "{granted_list}");
    let new = digest(&hostile("request"));
    assert!(granted_list.contains(&new[..12]), "{granted_list}");

    let repeated_lines = program.run(&["engine", "grant", "hostile"]).done();
    assert!(
        repeated_lines.contains(&"= api POST /more/".to_owned()),
        "{repeated_lines:?}"
    );
    assert_eq!(repeated_lines.last().unwrap(), "nothing to grant");
}

#[test]
fn engine_grant_prompts_on_a_terminal() {
    let program = program_with_change("request");
    let answer_prompt = |answer: &str| {
        // A terminal with input.
        let mut script = program.around(Command::new("script"), &["-qec"]);
        let command = format!(
            "'{}' engine grant hostile",
            pinhole_tests::program().display()
        );
        let mut child = script
            .args([command.as_str(), "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        writeln!(stdin, "{answer}").unwrap();
        let output = child.wait_with_output().unwrap();
        drop(stdin);
        let out = String::from_utf8(output.stdout).unwrap();
        assert!(out.contains("grant? [y/N]"), "{out}");
        (output.status.code(), out)
    };
    let (code, out) = answer_prompt("n");
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("nothing was granted"), "{out}");
    let (accepted_code, accepted_out) = answer_prompt("y");
    assert_eq!(accepted_code, Some(0), "{accepted_out}");
    assert!(accepted_out.contains("granted; version "), "{accepted_out}");
}

#[test]
fn engine_grant_revokes_and_restores_a_request() {
    let program = program_with_change("plain");
    let request = "api GET /allowed/";
    let grant =
        |option: &str, text: &str| program.run(&["engine", "grant", "hostile", option, text]);
    let when = "changed";
    assert_eq!(
        grant("--deny", request).done(),
        ["! api GET /allowed/", when]
    );
    let list = program.run(&["engine", "show", "hostile"]).done();
    assert!(
        list.contains(&"  denied     api GET /allowed/".to_owned()),
        "{list:?}"
    );
    let lines = program.run(&["engine", "grant", "hostile"]).done();
    assert!(
        lines.contains(&"! api GET /allowed/".to_owned()),
        "{lines:?}"
    );

    // The log contains the command to run.
    let program = program
        .with("HOSTILE_BASE_URL", "http://127.0.0.1:9")
        .with("PINHOLE_LOG", "info");
    let output = program.run(&["generate", "reach api /allowed/x", "--engine", "hostile"]);
    let remedy = "engine hostile may not GET \"/allowed/x\" on upstream api: allow it with: pinhole engine grant hostile --allow 'api GET /allowed/'";
    assert!(output.err.contains(remedy), "{output:?}");
    let secret_output = program.run(&["generate", "reach api /secret", "--engine", "hostile"]);
    let reason = "may not GET \"/secret\" on upstream api: the engine does not declare this request, so no grant can allow it";
    assert!(secret_output.err.contains(reason), "{secret_output:?}");

    let program = program.with("PINHOLE_LOG", "off");
    let change =
        |option: &str, text: &str| program.run(&["engine", "grant", "hostile", option, text]);
    assert_eq!(
        change("--allow", request).done(),
        ["= api GET /allowed/", when]
    );
    let allowed_output = program.run(&["generate", "reach api /allowed/x", "--engine", "hostile"]);
    assert!(
        !allowed_output.err.contains("not granted"),
        "{allowed_output:?}"
    );

    let undeclared = change("--allow", "api GET /secret").failed(2);
    assert_eq!(
        undeclared,
        "pinhole: engine hostile does not declare \"api GET /secret\": its requests are 'api GET /allowed/', 'api POST /orders'\n"
    );
}

#[test]
fn engine_grant_names_the_existing_engines() {
    let program = program_with_change("plain");
    let output = program.run(&["engine", "grant", "nobody"]).failed(2);
    assert_eq!(
        output,
        "pinhole: unknown engine nobody: use one of hostile\n"
    );
}

#[test]
fn engine_without_approval_is_not_called() {
    let program = Program::new(&["sketch"]).with("PINHOLE_ENGINE_GRANTS", "explicit");
    let output = program.run(&["generate", "a hill"]);
    assert!(
        output
            .err
            .contains("sketch.wasm is awaiting an administrator's approval"),
        "{output:?}"
    );
    program.run(&["engine", "grant", "sketch", "--yes"]).done();
    program.run(&["generate", "a hill"]).done();
}
