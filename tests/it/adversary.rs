//! Runs all attacks against a server and writes `docs/concepts/threat-model.md` from the results.

use std::collections::{BTreeMap, BTreeSet};
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
    let mut cases: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut guards: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut failures = Vec::new();
    let ran = adversary::run(&config, &options, |played| {
        if !matches!(played.verdict, Verdict::Held) {
            failures.push(played.to_string());
        }
        let case = played.case;
        let attack = case.attack().unwrap().id;
        cases
            .entry(attack)
            .or_default()
            .push(format!("`{}`", case.name));
        let names = case.guards.iter().map(|guard| guard.name());
        guards.entry(attack).or_default().extend(names);
    });
    ran.await.unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n"));

    let mut page = HEAD.to_owned();
    for (class, heading) in CLASSES {
        writeln!(page, "\n## {class}: {}\n", heading.to_lowercase()).unwrap();
        page.push_str("| id | attack | cases | guards |\n|---|---|---|---|\n");
        for attack in ATTACKS.iter().filter(|it| it.id.starts_with(class)) {
            let (id, tried) = (attack.id, cell(attack.tried));
            match (cases.get(id), attack.apart) {
                (Some(cases), None) => {
                    let guards: Vec<&str> = guards[id].iter().copied().collect();
                    let (cases, guards) = (cases.join(", "), guards.join(", "));
                    writeln!(page, "| {id} | {tried} | {cases} | {guards} |").unwrap();
                }
                (None, Some(why)) => {
                    writeln!(page, "| {id} | {tried} | none: {why} | |").unwrap();
                }
                (cases, _) => panic!("{id}: {} cases", cases.map_or(0, Vec::len)),
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
