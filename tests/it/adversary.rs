//! Every attack that we know, against a server that is started for it; `docs/threat-model.md` is
//! written from what came of them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use pinhole::adversary::{self, ATTACKS, CLASSES, Options, Verdict};
use pinhole::config::Config;
use pinhole_tests::{environment, guests};

const HEAD: &str = include_str!("adversary/head.md");

/// In one cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_attack_fails_and_the_page_says_so() {
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
            "| `{}` | {} | {} | held |",
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
        page.push_str(
            "| case | what must not happen | checks that it guards | state |\n|---|---|---|---|\n",
        );
        for attack in ATTACKS.iter().filter(|it| it.id.starts_with(class)) {
            let tried = cell(attack.tried);
            match (rows.get(attack.id), attack.apart) {
                (Some(cases), None) => {
                    writeln!(page, "| **{}** | *{tried}* | | |", attack.id).unwrap();
                    cases
                        .iter()
                        .for_each(|row| writeln!(page, "{row}").unwrap());
                }
                (None, Some(why)) => {
                    writeln!(page, "| **{}** | *{tried}* | | no case: {why} |", attack.id).unwrap();
                }
                (cases, _) => panic!("{}: {} cases", attack.id, cases.map_or(0, Vec::len)),
            }
        }
    }
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/threat-model.md");
    if std::fs::read_to_string(&place).unwrap_or_default() != page {
        std::fs::write(&place, page).unwrap();
        panic!("docs/threat-model.md was not current: it is now");
    }
}

#[test]
fn every_check_is_guarded_by_a_case() {
    for check in pinhole::check::Check::ALL {
        let guarded = adversary::cases().any(|case| case.guards.contains(check));
        assert!(guarded, "no case guards the check {}", check.name());
    }
}
