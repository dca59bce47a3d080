//! Runs all attacks against a server, and writes `docs/concepts/threat-model.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use pinhole::config::Config;
use pinhole_adversary::{ATTACKS, Attack, AttackCase, CLASSES, Options, Verdict};
use pinhole_ground::guard::Guard;
use pinhole_tests::{environment, guests, program};

const HEAD: &str = include_str!("adversary/head.md");

#[tokio::test(flavor = "multi_thread")]
async fn every_attack_fails() {
    let data_dir = tempfile::tempdir().unwrap();
    let config = Config::new(environment(&data_dir, &[])).unwrap();
    let options = Options {
        program: program(),
        components: guests(),
        ..Options::default()
    };
    let (mut count, mut failures) = (0, Vec::new());
    pinhole_adversary::run(&config, &options, |report| {
        if !matches!(report.verdict, Verdict::Blocked) {
            failures.push(report.to_string());
        }
        count += 1;
    })
    .await
    .unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert_eq!(count, pinhole_adversary::cases().count());
}

#[test]
fn threat_model_page_is_current() {
    let cases: Vec<&AttackCase> = pinhole_adversary::cases().collect();
    let page = threat_model_page(&cases);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/concepts/threat-model.md");
    if std::fs::read_to_string(&path).unwrap_or_default() != page {
        std::fs::write(&path, page).unwrap();
        panic!(
            "docs/concepts/threat-model.md was out of date and has been rewritten: review and commit it"
        );
    }
}

#[test]
fn every_guard_has_a_case() {
    for guard in Guard::ALL {
        let has_case = pinhole_adversary::cases().any(|case| case.guards.contains(guard));
        assert!(has_case, "no case covers the guard {}", guard.name());
    }
}

fn threat_model_page(cases: &[&AttackCase]) -> String {
    let mut cases_by_attack: BTreeMap<&str, Vec<&AttackCase>> = BTreeMap::new();
    for case in cases {
        let id = case.attack().unwrap().id;
        cases_by_attack.entry(id).or_default().push(case);
    }
    let mut page = HEAD.to_owned();
    for class in CLASSES {
        let heading = class.heading.to_lowercase();
        writeln!(page, "\n## {}: {heading}\n", class.letter).unwrap();
        for attack in ATTACKS.iter().filter(|it| it.id.starts_with(class.letter)) {
            let attack_cases = cases_by_attack
                .get(attack.id)
                .map_or(&[][..], Vec::as_slice);
            page.push_str(&list_item(attack, attack_cases));
        }
    }
    page
}

/// A line of a list: the attack with its cases and guards, or the reason why it has none.
fn list_item(attack: &Attack, cases: &[&AttackCase]) -> String {
    let Attack {
        id,
        description,
        exemption,
    } = attack;
    if let Some(reason) = exemption {
        assert!(cases.is_empty(), "{id} is exempt and has cases");
        return format!("- {id}: {description} (no case: {reason})\n");
    }
    assert!(!cases.is_empty(), "{id} has no cases");
    // Each name starts with the id.
    let names: Vec<String> = cases
        .iter()
        .map(|case| format!("`{}`", case.name))
        .collect();
    let guards: BTreeSet<String> = cases
        .iter()
        .flat_map(|case| case.guards)
        .map(|guard| format!("`{}`", guard.name()))
        .collect();
    let guards = if guards.is_empty() {
        String::new()
    } else {
        format!(" ({})", Vec::from_iter(guards).join(", "))
    };
    format!("- {description}: {}{guards}\n", names.join(", "))
}
