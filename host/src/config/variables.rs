//! The variables that the server knows, those that name files, and those that nothing reads.
//!
//! `NAME_FILE` names a file with the value of `NAME`, as for Docker's secrets. A value `@PATH` of a document names
//! a file too. Only the environment of the process can name files: settings that are stored cannot.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use pinhole_ground::data_dir;
use pinhole_ground::environment::Environment;
use pinhole_ground::text::plain;
use pinhole_sandbox::Engines;
use pinhole_sandbox::contract::{Description, SettingKind};
use pinhole_sandbox::engine_settings::{IMAGE_HOSTS_KEY, own_variable};

use crate::settings::{ValueKind, host_variables, setting_keys};

/// Length of a file that a variable names, in bytes.
const MAX_FILE_BYTES: usize = 1 << 20;
/// Appended to the name of a variable whose value is in a file.
const FILE_SUFFIX: &str = "_FILE";
/// The beginning of the server's own names.
const OWN_PREFIX: &str = "PINHOLE_";
/// Variables without an effect that are reported one by one.
const MAX_REPORTED: usize = 10;
/// Length of a reported name in bytes.
const MAX_NAME_BYTES: usize = 100;
/// Edits of a name, such as a transposition, with which it is still taken for another one.
const MAX_EDITS: usize = 2;
/// Similarity from which an unknown variable of an engine is taken for another one.
const MIN_SIMILARITY: f64 = 0.9;

/// Variables that are read only at start, in addition to settings.
const START_VARIABLES: &[&str] = &[
    "AZURE_STORAGE_CONTAINER_NAME",
    "AZURE_STORAGE_ENDPOINT",
    "AZURE_STORAGE_KEY",
    "CORS_ALLOW_ORIGIN",
    "DATABASE_POOL_SIZE",
    "DATABASE_URL",
    "ENABLE_OPENAI_API",
    "ENABLE_PERSISTENT_CONFIG",
    "GCS_BUCKET_NAME",
    "GOOGLE_APPLICATION_CREDENTIALS_JSON",
    "OPENAI_API_BASE_URL",
    "OPENAI_API_BASE_URLS",
    "OPENAI_API_KEY",
    "OPENAI_API_KEYS",
    "PINHOLE_AUDIT_MIB",
    "PINHOLE_AUDIT_RETENTION_DAYS",
    "PINHOLE_CACHE",
    "PINHOLE_COMPILER",
    "PINHOLE_COMPILE_MIB",
    "PINHOLE_COMPILE_SECS",
    "PINHOLE_CONNECTIONS",
    "PINHOLE_DATA",
    "PINHOLE_DATABASE_STATEMENTS",
    "PINHOLE_DRAIN_SECS",
    "PINHOLE_DURABLE_JOBS",
    "PINHOLE_ENGINES",
    "PINHOLE_ENGINE_CASES",
    "PINHOLE_ENGINE_GRANTS",
    "PINHOLE_FILES_REDIRECT",
    "PINHOLE_FILE_RETENTION_DAYS",
    "PINHOLE_HOST",
    "PINHOLE_JOB_TIMEOUT_SECS",
    "PINHOLE_LOG",
    "PINHOLE_LOG_FORMAT",
    "PINHOLE_MEMORY_MIB",
    "PINHOLE_METRICS_LISTEN",
    "PINHOLE_NAT64_PREFIXES",
    "PINHOLE_REDIS_CONFIG",
    "PINHOLE_REQUESTS_PER_MINUTE",
    "PINHOLE_RESERVED_DISK_MIB",
    "PINHOLE_ROLLOUT",
    "PINHOLE_SETTINGS_KEY",
    "PINHOLE_SLOTS",
    "PINHOLE_SLOTS_PER_USER",
    "PINHOLE_SOCKET_POLLING",
    "PINHOLE_TRUSTED_PROXIES",
    "PINHOLE_UI",
    "PINHOLE_UI_DIR",
    "PINHOLE_UPSTREAM_SILENCE_SECS",
    "PINHOLE_USER_STORAGE_MIB",
    "PINHOLE_WATCH_JOBS",
    "PINHOLE_WEB_CLIENT",
    "REDIS_CLUSTER",
    "REDIS_KEY_PREFIX",
    "REDIS_SENTINEL_HOSTS",
    "REDIS_SENTINEL_PORT",
    "REDIS_URL",
    "RESET_CONFIG_ON_START",
    "S3_ACCESS_KEY_ID",
    "S3_ADDRESSING_STYLE",
    "S3_BUCKET_NAME",
    "S3_ENDPOINT_URL",
    "S3_KEY_PREFIX",
    "S3_REGION_NAME",
    "S3_SECRET_ACCESS_KEY",
    "STORAGE_PROVIDER",
    "WEBSOCKET_REDIS_URL",
    "WEBUI_AUTH_COOKIE_SECURE",
    "WEBUI_SECRET_KEY",
    "WEBUI_SESSION_COOKIE_SECURE",
];
/// The switches of test builds, and the crash points of debug builds.
const TEST_VARIABLES: [&str; 3] = [
    "PINHOLE_CRASH_AT",
    "PINHOLE_GUARD_SWITCHES",
    "PINHOLE_SWITCHED_OFF",
];
/// Documents that are texts as settings.
const TEXT_DOCUMENTS: [&str; 3] = [
    "COMFYUI_WORKFLOW",
    "IMAGES_EDIT_COMFYUI_WORKFLOW",
    "IMAGE_PROMPT_GENERATION_PROMPT_TEMPLATE",
];

/// Variables by name. True for documents.
#[derive(Clone, Debug, Default)]
pub struct Variables(BTreeMap<String, bool>);

impl Variables {
    /// The variables of the server itself.
    #[must_use]
    pub fn of_server() -> Self {
        let of_start = START_VARIABLES
            .iter()
            .map(|name| ((*name).to_owned(), false));
        let settings = host_variables().map(|(name, kind)| {
            let is_document = matches!(
                kind,
                ValueKind::Object | ValueKind::List | ValueKind::SecretObject
            );
            let is_document = is_document || TEXT_DOCUMENTS.contains(&name);
            (name.to_owned(), is_document)
        });
        Self(of_start.chain(settings).collect())
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The variables that the engines read.
    #[must_use]
    pub fn of_engines(engines: &Engines) -> Self {
        let mut variables = Self::default();
        for component in engines.admitted() {
            variables.add_engine(&component.description);
        }
        variables
    }

    /// Removes the variables that are also among the others.
    pub fn remove(&mut self, others: &Self) {
        self.0.retain(|name, _| !others.0.contains_key(name));
    }

    fn add_engine(&mut self, engine: &Description) {
        for setting in &engine.settings {
            let is_document = matches!(setting.kind, SettingKind::Document);
            let own = own_variable(&engine.name, &setting.key);
            let declared = setting
                .generate_variables
                .iter()
                .chain(&setting.edit_variables);
            for name in declared.chain([&own]) {
                self.0.insert(name.clone(), is_document);
            }
        }
        // Such as its credential, which the host adds to the settings of each engine.
        let keys = setting_keys([engine]).into_iter();
        for key in keys.filter(|key| key.path.starts_with("pinhole.engines.")) {
            for name in key.variables {
                self.0.entry(name).or_insert(false);
            }
        }
        for key in [IMAGE_HOSTS_KEY, "concurrency"] {
            self.0.insert(own_variable(&engine.name, key), false);
        }
    }

    /// Reads the files that variables name.
    ///
    /// The error names the variable, and never quotes a file.
    pub fn read_files(&self, environment: &Environment) -> Result<Environment> {
        let mut read = Vec::new();
        for (name, is_document) in &self.0 {
            let file_variable = format!("{name}{FILE_SUFFIX}");
            let own = environment.get(name);
            if let Some(path) = environment.get(&file_variable) {
                ensure!(
                    own.is_none(),
                    "both {name} and {file_variable} are set: unset one of them"
                );
                let text = read_file(path).with_context(|| {
                    format!("cannot use {file_variable}: cannot read the file {path:?}")
                })?;
                read.push((name.clone(), text));
                // Read once, also if an engine declares the variable of a setting.
                read.push((file_variable, String::new()));
                continue;
            }
            if !is_document {
                continue;
            }
            if let Some(path) = own.and_then(|text| text.trim().strip_prefix('@')) {
                let text = read_file(path)
                    .with_context(|| format!("cannot use {name}: cannot read the file {path:?}"))?;
                read.push((name.clone(), text));
            } else if let Some(text) = own.and_then(read_json_path) {
                read.push((name.clone(), text));
            }
        }
        Ok(environment.started_with(read))
    }

    /// The variables of the process that look like those of the server or of an engine, but are read by
    /// nothing: a sentence for each.
    #[must_use]
    pub fn report_unknown(&self, engines: &Engines, environment: &Environment) -> Vec<String> {
        let mut known: BTreeSet<&str> = self.0.keys().map(String::as_str).collect();
        let of_server = Self::of_server();
        known.extend(of_server.0.keys().map(String::as_str));
        let families: BTreeSet<&str> = self.0.keys().filter_map(|name| family(name)).collect();
        let pending: Vec<_> = engines
            .pending
            .iter()
            .map(|it| own_variable(&it.engine, ""))
            .collect();
        let mut reports: Vec<_> = environment
            .started_names()
            .filter(|name| !TEST_VARIABLES.contains(name))
            .filter(|name| !pending.iter().any(|prefix| name.starts_with(prefix)))
            .filter_map(|name| report(name, &known, &families))
            .collect();
        let more = reports.len().saturating_sub(MAX_REPORTED);
        if more > 0 {
            reports.truncate(MAX_REPORTED);
            reports.push(format!("{more} more variables are read by nothing"));
        }
        reports
    }
}

/// The problem of a variable's name; `None` if it is known, or of another program.
fn report(name: &str, known: &BTreeSet<&str>, families: &BTreeSet<&str>) -> Option<String> {
    let of_file = name.strip_suffix(FILE_SUFFIX).unwrap_or(name);
    if known.contains(name) || known.contains(of_file) {
        return None;
    }
    let is_own = name.starts_with(OWN_PREFIX);
    let nearest = known
        .iter()
        .filter(|other| other.starts_with(OWN_PREFIX) == is_own)
        .max_by(|a, b| similarity(of_file, a).total_cmp(&similarity(of_file, b)))?;
    let is_near = strsim::osa_distance(of_file, nearest) <= MAX_EDITS;
    let is_similar = similarity(of_file, nearest) >= MIN_SIMILARITY;
    let is_of_engine = family(name).is_some_and(|it| families.contains(it));
    let name = plain(name, MAX_NAME_BYTES);
    if is_near || (is_similar && (is_own || is_of_engine)) {
        let suffix = if of_file.len() < name.len() {
            FILE_SUFFIX
        } else {
            ""
        };
        return Some(format!(
            "the variable {name} has no effect: did you mean {nearest}{suffix}?"
        ));
    }
    is_own.then(|| {
        format!("the variable {name} has no effect: neither the server nor an engine reads it")
    })
}

/// The part of a name that variables of one engine share.
fn family(name: &str) -> Option<&str> {
    name.split_once('_').map(|(first, _)| first)
}

/// From 0 to 1. The common prefix does not count.
fn similarity(name: &str, other: &str) -> f64 {
    let name = name.strip_prefix(OWN_PREFIX).unwrap_or(name);
    let other = other.strip_prefix(OWN_PREFIX).unwrap_or(other);
    strsim::jaro_winkler(name, other)
}

/// The text of a file without line ends after it.
fn read_file(path: &str) -> Result<String> {
    let bytes = data_dir::read_whole(Path::new(path.trim()), MAX_FILE_BYTES)?;
    if bytes.len() > MAX_FILE_BYTES {
        bail!("it has more than {MAX_FILE_BYTES} bytes");
    }
    let text = String::from_utf8(bytes).map_err(|_| anyhow!("it is not UTF-8 text"))?;
    let text = text.trim_end_matches(['\r', '\n']);
    ensure!(!text.is_empty(), "it is empty");
    ensure!(!text.contains('\0'), "it contains the character NUL");
    Ok(text.to_owned())
}

/// The file that a document names by its path alone. `None` if the text is JSON, or no such file exists.
fn read_json_path(text: &str) -> Option<String> {
    let path = text.trim();
    let may_be_path = !path.starts_with(['{', '[', '"']) && !path.contains('\n');
    if !may_be_path || !path.ends_with(".json") {
        return None;
    }
    read_file(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        let pairs = pairs.iter();
        Environment::new(pairs.map(|(name, value)| ((*name).into(), (*value).into())))
    }

    #[test]
    fn file_of_a_variable_is_its_value_without_the_line_end() {
        let dir = tempfile::tempdir().unwrap();
        let data = data_dir::open(dir.path()).unwrap();
        data.write("key", "secret-4711\r\n\n").unwrap();
        data.write("graph.json", "{\"1\": {}}\n").unwrap();
        data.write("empty", "\n").unwrap();
        data.write("long", vec![b'x'; MAX_FILE_BYTES + 1]).unwrap();
        data.write("binary", [0xff]).unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let read = |name: &str, value: &str| {
            Variables::of_server().read_files(&environment(&[(name, value)]))
        };
        let key = read("COMFYUI_API_KEY_FILE", &path("key")).unwrap();
        assert_eq!(key.get("COMFYUI_API_KEY"), Some("secret-4711"));
        // An engine declares the same variable.
        let again = Variables::of_server().read_files(&key).unwrap();
        assert_eq!(again.get("COMFYUI_API_KEY"), Some("secret-4711"));
        let graph = Some("{\"1\": {}}");
        for (name, value) in [
            ("COMFYUI_WORKFLOW", format!("@{}", path("graph.json"))),
            ("COMFYUI_WORKFLOW", path("graph.json")),
            ("COMFYUI_WORKFLOW_FILE", path("graph.json")),
        ] {
            let read = read(name, &value).unwrap();
            assert_eq!(read.get("COMFYUI_WORKFLOW"), graph, "{name}={value}");
        }
        // Only documents: a password may start with @.
        let at = read("COMFYUI_API_KEY", "@key").unwrap();
        assert_eq!(at.get("COMFYUI_API_KEY"), Some("@key"));
        for (file, expected) in [
            ("missing", "No such file"),
            ("empty", "it is empty"),
            ("long", "more than 1048576 bytes"),
            ("binary", "not UTF-8"),
            (".", ""),
        ] {
            let error = read("COMFYUI_API_KEY_FILE", &path(file)).err().unwrap();
            let error = format!("{error:#}");
            assert!(
                error.starts_with("cannot use COMFYUI_API_KEY_FILE"),
                "{error}"
            );
            assert!(error.contains(expected), "{error}");
        }
        let both = environment(&[
            ("COMFYUI_API_KEY", "k"),
            ("COMFYUI_API_KEY_FILE", &path("key")),
        ]);
        let error = Variables::of_server()
            .read_files(&both)
            .err()
            .unwrap()
            .to_string();
        assert!(error.starts_with("both COMFYUI_API_KEY and"), "{error}");
        assert!(!error.contains("4711"), "{error}");
    }

    #[track_caller]
    fn check_report(name: &str, expected: Option<&str>) {
        let server = Variables::of_server();
        let mut known: BTreeSet<&str> = server.0.keys().map(String::as_str).collect();
        known.insert("PINHOLE_COMFYUI_BASE_URL");
        let families = BTreeSet::from(["COMFYUI", "PINHOLE", "OPENAI"]);
        let reported = report(name, &known, &families);
        match expected {
            None => assert_eq!(reported, None),
            Some(expected) => {
                let reported = reported.unwrap();
                assert!(reported.contains(expected), "{reported}");
            }
        }
    }

    #[test]
    fn unknown_variable_is_reported_with_the_nearest_name() {
        check_report("PINHOLE_FALLBACK", Some("did you mean PINHOLE_FALLBACKS?"));
        check_report("PINHOLE_SLOT", Some("did you mean PINHOLE_SLOTS?"));
        check_report(
            "PINHOLE_COMFYUI_BASEURL",
            Some("did you mean PINHOLE_COMFYUI_BASE_URL?"),
        );
        check_report("COMFYUI_BASEURL", Some("did you mean COMFYUI_BASE_URL?"));
        check_report("COMFYUI_URL", Some("did you mean COMFYUI_BASE_URL?"));
        check_report(
            "COMFYUI_API_KY_FILE",
            Some("did you mean COMFYUI_API_KEY_FILE?"),
        );
        check_report("IMAGE_GENERATION_ENGIN", Some("IMAGE_GENERATION_ENGINE?"));
        check_report("PINHOLE_ZZZ", Some("neither the server nor an engine"));
        for other in [
            "PATH",
            "HOME",
            "OLLAMA_BASE_URL",
            "ENABLE_OLLAMA_API",
            "SSL_CERT_FILE",
            "PINHOLE_SLOTS",
            "PINHOLE_SETTINGS_KEY_FILE",
            "COMFYUI_PATH",
            "WEBUI_NAME",
        ] {
            check_report(other, None);
        }
    }
}
