//! The files of `deploy/` name variables, routes and versions that exist, and let the longest requests pass.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use pinhole::config::{DEFAULT_JOB_SECS, Variables};
use pinhole::web;

/// Names in capitals that are not variables of the server: those of other programs and of the kernel.
const OTHER_NAMES: [&str; 11] = [
    "AF_INET",
    "AF_INET6",
    "AF_UNIX",
    "HEALTH_URI",
    "NET_BIND_SERVICE",
    "POSTGRES_DB",
    "POSTGRES_PASSWORD",
    "POSTGRES_USER",
    "REDISCLI_AUTH",
    "REDIS_PASSWORD",
    "SITE_ADDRESS",
];

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

fn read(name: &str) -> String {
    fs::read_to_string(directory().join(name)).unwrap()
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    entries
        .flat_map(|entry| {
            let path = entry.unwrap().path();
            if path.is_dir() {
                return files_below(&path);
            }
            vec![path]
        })
        .collect()
}

/// Words such as `PINHOLE_DATA`.
fn names_in_capitals(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| {
            word.contains('_')
                && word.starts_with(|c: char| c.is_ascii_uppercase())
                && !word.contains(|c: char| c.is_ascii_lowercase())
        })
}

/// What follows the key in the only line that starts with it.
#[track_caller]
fn value<'a>(text: &'a str, key: &str) -> &'a str {
    let mut values = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix(key));
    let value = values.next().unwrap_or_else(|| panic!("{key} is missing"));
    assert_eq!(values.next(), None, "{key} is there twice");
    value.trim().trim_end_matches(';')
}

#[test]
fn deploy_names_only_variables_that_the_server_knows() {
    let server = Variables::of_server();
    let known: BTreeSet<&str> = server.names().collect();
    let mut checked = 0;
    for path in files_below(&directory()) {
        let text = fs::read_to_string(&path).unwrap();
        for name in names_in_capitals(&text).filter(|name| !OTHER_NAMES.contains(name)) {
            let of_file = name.strip_suffix("_FILE").unwrap_or(name);
            assert!(
                known.contains(of_file),
                "{}: the server does not know the variable {name}",
                path.display()
            );
            checked += 1;
        }
    }
    assert!(checked > 30, "only {checked} names of variables were found");
}

#[test]
fn deploy_probes_only_routes_that_exist() {
    let document = serde_json::to_value(web::openapi_document()).unwrap();
    let chart = read("helm/pinhole/templates/_helpers.tpl");
    let probes: Vec<_> = chart
        .split("httpGet: {path: ")
        .skip(1)
        .filter_map(|rest| rest.split(',').next())
        .collect();
    assert_eq!(probes, ["/health", "/health", "/ready"]);
    for file in ["Caddyfile", "Dockerfile"] {
        assert!(read(file).contains("/health"), "{file}");
    }
    for path in probes {
        assert!(document["paths"][path]["get"].is_object(), "{path}");
    }
}

#[test]
fn deploy_builds_and_runs_this_version() {
    let version = env!("CARGO_PKG_VERSION");
    let chart = read("helm/pinhole/Chart.yaml");
    assert_eq!(value(&chart, "version:"), version);
    assert_eq!(value(&chart, "appVersion:"), version);
    for file in ["compose.yaml", "compose.several-hosts.yaml"] {
        assert_eq!(value(&read(file), "image: pinhole:"), version, "{file}");
    }
    let image = read("Dockerfile");
    let compiler = concat!("FROM rust:", env!("CARGO_PKG_RUST_VERSION"), "-");
    assert!(
        image.contains(compiler),
        "the image is not built with {compiler}"
    );
}

#[test]
fn deploy_runs_the_image_as_its_user() {
    let image = read("Dockerfile");
    let (user, group) = value(&image, "USER ").split_once(':').unwrap();
    let chart = read("helm/pinhole/templates/_helpers.tpl");
    assert_eq!(value(&chart, "runAsUser:"), user);
    assert_eq!(value(&chart, "runAsGroup:"), group);
    assert_eq!(value(&chart, "fsGroup:"), group);
}

#[test]
fn nginx_lets_the_longest_requests_pass() {
    let nginx = read("nginx.conf");
    let mib = value(&nginx, "client_max_body_size").strip_suffix('m');
    let bytes = mib.unwrap().parse::<usize>().unwrap() << 20;
    assert!(bytes >= web::MAX_EDIT_BODY_BYTES, "{bytes}");
    let secs = value(&nginx, "proxy_read_timeout").strip_suffix('s');
    assert!(secs.unwrap().parse::<u64>().unwrap() > DEFAULT_JOB_SECS);
}
