//! Calls each fuzz target with the seeds in `corpus/` and with mutations of them. `cargo xtask fuzz`
//! continues from there.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test reads files next to it, and a failure fails the test"
)]

#[path = "../smith.rs"]
mod smith;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Seeds that every target has at least.
const MIN_SEEDS: usize = 5;

fn package_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

struct Seed {
    name: String,
    bytes: Vec<u8>,
}

/// The seeds of a target, ordered by name.
fn load_seeds(target: &str) -> Vec<Seed> {
    let mut seeds: Vec<Seed> = fs::read_dir(package_dir().join("corpus").join(target))
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            Seed {
                name: entry.file_name().into_string().unwrap(),
                bytes: fs::read(entry.path()).unwrap(),
            }
        })
        .collect();
    seeds.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(
        seeds.len() >= MIN_SEEDS,
        "{target} has {} seeds",
        seeds.len()
    );
    seeds
}

/// A deterministic random number generator: xorshift with 64 bits.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound.max(1) as u64).unwrap()
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length)
            .map(|_| u8::try_from(self.below(256)).unwrap())
            .collect()
    }

    /// Replaces a short range of the bytes with bytes of another seed, random bytes or nothing.
    fn mutate(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        let start = self.below(bytes.len() + 1);
        let end = (start + self.below(9)).min(bytes.len());
        let other_start = self.below(other.len());
        let other_end = (other_start + self.below(9)).min(other.len());
        let replacement = match self.below(3) {
            0 => other[other_start..other_end].to_vec(),
            1 => self.bytes(end - start),
            _ => Vec::new(),
        };
        bytes.splice(start..end, replacement);
    }
}

/// Calls a target with every seed and with this many mutations. A failure names the seed.
fn check(target: &str, mutations: usize, property: impl Fn(&[u8])) {
    let seeds = load_seeds(target);
    let assert_holds = |name: &str, bytes: &[u8]| {
        let outcome = catch_unwind(AssertUnwindSafe(|| property(bytes)));
        assert!(
            outcome.is_ok(),
            "fuzz target {target} with {name}: {}",
            bytes.escape_ascii()
        );
    };
    for seed in &seeds {
        assert_holds(&seed.name, &seed.bytes);
    }
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..mutations {
        let seed = &seeds[random.below(seeds.len())];
        let other = &seeds[random.below(seeds.len())];
        let mut bytes = seed.bytes.clone();
        for _ in 0..=random.below(4) {
            random.mutate(&mut bytes, &other.bytes);
        }
        assert_holds(&format!("{}, mutated", seed.name), &bytes);
    }
}

#[test]
fn every_target_has_seeds_and_is_built() {
    let harness = package_dir().join("libfuzzer");
    let manifest = fs::read_to_string(harness.join("Cargo.toml")).unwrap();
    let mut targets = 0;
    for entry in fs::read_dir(harness.join("fuzz_targets")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(
            manifest.contains(&format!("name = \"{name}\"")),
            "{name} is not in libfuzzer/Cargo.toml"
        );
        load_seeds(name);
        targets += 1;
    }
    assert!(targets >= 15, "{targets} targets");
}

#[test]
fn address_holds_for_seeds_and_mutations() {
    check("address", 2000, pinhole_fuzz::address);
}

#[test]
fn authority_holds_for_seeds_and_mutations() {
    check("authority", 2000, pinhole_fuzz::authority);
}

#[test]
fn bodies_holds_for_seeds_and_mutations() {
    check("bodies", 1000, pinhole_fuzz::bodies);
}

#[test]
fn body_field_holds_for_seeds_and_mutations() {
    check("body_field", 2000, pinhole_fuzz::body_field);
}

#[test]
fn credential_holds_for_seeds_and_mutations() {
    check("credential", 2000, pinhole_fuzz::credential);
}

#[test]
fn events_holds_for_seeds_and_mutations() {
    check("events", 500, pinhole_fuzz::events);
}

#[test]
fn headers_holds_for_seeds_and_mutations() {
    check("headers", 500, pinhole_fuzz::headers);
}

#[test]
fn json_holds_for_seeds_and_mutations() {
    check("json", 1000, pinhole_fuzz::json);
}

#[test]
fn multipart_holds_for_seeds_and_mutations() {
    check("multipart", 500, pinhole_fuzz::multipart);
}

#[test]
fn images_holds_for_seeds_and_mutations() {
    check("images", 500, pinhole_fuzz::images);
}

#[test]
fn policy_holds_for_seeds_and_mutations() {
    check("policy", 200, pinhole_fuzz::policy);
}

#[test]
fn redaction_holds_for_seeds_and_mutations() {
    check("redaction", 200, pinhole_fuzz::redaction);
}

#[test]
fn rules_holds_for_seeds_and_mutations() {
    check("rules", 3000, pinhole_fuzz::rules);
}

#[test]
fn workflow_holds_for_seeds_and_their_prefixes() {
    check("workflow", 0, |bytes| {
        pinhole_fuzz::workflow(bytes);
        // A truncated seed is almost a workflow.
        for end in (0..bytes.len()).step_by(7) {
            pinhole_fuzz::workflow(&bytes[..end]);
        }
    });
}

#[test]
fn component_holds_for_seeds_and_mutations() {
    check("component", 40, |bytes| {
        if let Some(component) = smith::component(bytes) {
            pinhole_fuzz::component(&component);
        }
    });
}

/// Without this test, the target `component` could pass by refusing every component.
#[test]
fn component_instantiates_some_random_components() {
    let mut random = Random(7);
    let outcomes: Vec<bool> = (0..60)
        .filter_map(|_| {
            let bytes = random.bytes(2000);
            smith::component(&bytes).map(|component| pinhole_fuzz::component(&component))
        })
        .collect();
    let instantiated = outcomes.iter().filter(|outcome| **outcome).count();
    assert!(
        instantiated > 0 && instantiated < outcomes.len(),
        "{instantiated} of {} components were instantiated",
        outcomes.len()
    );
}
