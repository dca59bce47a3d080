//! Runs all attacks against a server and writes `docs/concepts/threat-model.md` from the results.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use pinhole::config::Config;
use pinhole_adversary::{self as adversary, ATTACKS, CLASSES, Options, Verdict};
use pinhole_tests::{environment, guests};

const HEAD: &str = include_str!("adversary/head.md");

/// Escapes a text for a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_attack_fails_and_threat_model_page_is_current() {
    let data = tempfile::tempdir().unwrap();
    let config = Config::new(environment(&data, &[])).unwrap();
    let options = Options {
        components: guests(),
        ..Options::default()
    };
    let mut rows: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut failures = Vec::new();
    let ran = adversary::run(&config, &options, |played| {
        if !matches!(played.verdict, Verdict::Held) {
            failures.push(played.to_string());
        }
        let case = played.case;
        let guards: Vec<_> = case.guards.iter().map(|it| it.name()).collect();
        let row = format!(
            "| `{}` | {} | {} |",
            case.name,
            cell(case.must_not),
            guards.join(", ")
        );
        rows.entry(case.attack().unwrap().id).or_default().push(row);
    });
    ran.await.unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n"));

    let mut page = HEAD.to_owned();
    for (class, heading) in CLASSES {
        writeln!(page, "\n## {class}: {}\n", heading.to_lowercase()).unwrap();
        page.push_str("| case | what must not happen | guards |\n|---|---|---|\n");
        for attack in ATTACKS.iter().filter(|it| it.id.starts_with(class)) {
            let tried = cell(attack.tried);
            match (rows.get(attack.id), attack.apart) {
                (Some(cases), None) => {
                    writeln!(page, "| **{}** | *{tried}* | |", attack.id).unwrap();
                    cases
                        .iter()
                        .for_each(|row| writeln!(page, "{row}").unwrap());
                }
                (None, Some(why)) => {
                    writeln!(page, "| **{}** | *{tried}*. No case: {why} | |", attack.id).unwrap();
                }
                (cases, _) => panic!("{}: {} cases", attack.id, cases.map_or(0, Vec::len)),
            }
        }
    }
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/concepts/threat-model.md");
    if std::fs::read_to_string(&place).unwrap_or_default() != page {
        std::fs::write(&place, page).unwrap();
        panic!(
            "docs/concepts/threat-model.md was out of date and has been rewritten: review and commit it"
        );
    }
}

#[test]
fn every_guard_has_a_case() {
    for check in pinhole_ground::guard::Guard::ALL {
        let guarded = adversary::cases().any(|case| case.guards.contains(check));
        assert!(guarded, "no case covers the guard {}", check.name());
    }
}
