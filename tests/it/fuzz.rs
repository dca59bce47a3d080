//! What the fuzz targets try, with the seeds in `fuzz/corpus` and with what is nearly one of them.
//! `cargo xtask fuzz` goes on from there. The target `workflow` is a test of the engine `comfyui`.

#[path = "../../fuzz/smith.rs"]
mod smith;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use pinhole_fuzz;

/// Seeds that every target has at least.
const MIN_SEEDS: usize = 5;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

/// The seeds of a target with their names, in the order of these.
fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = folder().join("corpus").join(target);
    let mut seeds: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect();
    seeds.sort();
    assert!(
        seeds.len() >= MIN_SEEDS,
        "{target} has {} seeds",
        seeds.len()
    );
    seeds
}

/// Numbers by chance, the same in every run: xorshift with 64 bits.
struct Chance(u64);

impl Chance {
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

    /// Changes bytes at one place: some go, others come, by chance or from another seed.
    fn change(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        let start = self.below(bytes.len() + 1);
        let end = (start + self.below(9)).min(bytes.len());
        let from = self.below(other.len());
        let to = (from + self.below(9)).min(other.len());
        let come = match self.below(3) {
            0 => other[from..to].to_vec(),
            1 => self.bytes(end - start),
            _ => Vec::new(),
        };
        bytes.splice(start..end, come);
    }
}

/// Tries every seed of a target, and as many changed ones. The failure names the seed.
fn check(target: &str, changed: usize, try_out: impl Fn(&[u8])) {
    let seeds = seeds(target);
    let holds = |name: &str, bytes: &[u8]| {
        let tried = catch_unwind(AssertUnwindSafe(|| try_out(bytes)));
        assert!(
            tried.is_ok(),
            "fuzz target {target} with {name}: {}",
            bytes.escape_ascii()
        );
    };
    for (name, bytes) in &seeds {
        holds(name, bytes);
    }
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    for _ in 0..changed {
        let (name, bytes) = &seeds[chance.below(seeds.len())];
        let (_, other) = &seeds[chance.below(seeds.len())];
        let mut bytes = bytes.clone();
        for _ in 0..=chance.below(4) {
            chance.change(&mut bytes, other);
        }
        holds(&format!("{name}, changed"), &bytes);
    }
}

#[test]
fn every_target_has_seeds_and_is_built() {
    let manifest = fs::read_to_string(folder().join("Cargo.toml")).unwrap();
    let mut targets = 0;
    for entry in fs::read_dir(folder().join("fuzz_targets")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(
            manifest.contains(&format!("name = \"{name}\"")),
            "{name} is not in fuzz/Cargo.toml"
        );
        seeds(name);
        targets += 1;
    }
    assert!(targets >= 11, "{targets} targets");
}

#[test]
fn an_address_is_as_public_as_iana_says() {
    check("address", 2000, fuzz::address);
}

#[test]
fn a_url_has_one_host_and_one_port() {
    check("authority", 2000, fuzz::authority);
}

#[test]
fn a_stream_has_the_same_events_in_any_pieces() {
    check("events", 500, fuzz::events);
}

#[test]
fn no_header_of_the_hosts_is_sent_for_a_guest() {
    check("headers", 500, fuzz::headers);
}

#[test]
fn json_is_read_as_others_read_it() {
    check("json", 1000, fuzz::json);
}

#[test]
fn a_form_has_the_fields_that_were_put_in() {
    check("multipart", 500, fuzz::multipart);
}

#[test]
fn a_picture_is_refused_or_within_its_limits() {
    check("pictures", 500, fuzz::pictures);
}

#[test]
fn what_is_admitted_lies_under_its_grant() {
    check("policy", 200, fuzz::policy);
}

#[test]
fn nothing_of_a_secret_is_left() {
    check("redaction", 200, fuzz::redaction);
}

#[test]
fn a_component_is_refused_or_runs_within_its_limits() {
    check("component", 40, |bytes| {
        if let Some(component) = smith::component(bytes) {
            fuzz::component(&component);
        }
    });
}

/// So that the target before does not pass by refusing everything.
#[test]
fn some_components_grown_by_chance_run_and_some_do_not() {
    let mut chance = Chance(7);
    let grown: Vec<bool> = (0..60)
        .filter_map(|_| {
            let bytes = chance.bytes(2000);
            smith::component(&bytes).map(|component| fuzz::component(&component))
        })
        .collect();
    let ran = grown.iter().filter(|ran| **ran).count();
    assert!(ran > 0 && ran < grown.len(), "{ran} of {} ran", grown.len());
}
