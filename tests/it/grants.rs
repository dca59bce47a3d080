//! Grants. An engine gets the rights that it declares and an administrator granted. A component that
//! declares more awaits approval while the granted one continues to serve.

mod import;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use pinhole::config::{Config, FirstUse};
use pinhole::releases::{DirectoryUse, EngineStart, ReleaseError, Releases};
use pinhole::store::Store;
use pinhole_ground::audit::AuditLog;
use pinhole_ground::environment::Environment;
use pinhole_images::Decoder;
use pinhole_sandbox::grant::{Grant, RequestDenial, Right};
use pinhole_sandbox::{Engines, PendingApproval};
use pinhole_tests::{FakeUpstream, TestServer, compiler, guests};
use serde_json::json;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// The hostile engine, with the variant of its description that this word selects.
pub(crate) fn hostile(variant: &str) -> Vec<u8> {
    let mut bytes = fs::read(guests().join("hostile.wasm")).unwrap();
    let mark = b"describe as: ";
    let places = bytes.windows(mark.len()).enumerate();
    let places: Vec<_> = places.filter(|(_, it)| *it == mark).collect();
    let [(fixture, _)] = places[..] else {
        panic!("{} marks", places.len());
    };
    let begin = fixture + mark.len();
    bytes[begin..begin + 11].copy_from_slice(format!("{variant:11}").as_bytes());
    bytes
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A directory of engines, and the data directory that stores their grants.
struct GrantFixture {
    engines: TempDir,
    data: TempDir,
    first_use: FirstUse,
}

impl GrantFixture {
    fn new(first_use: FirstUse) -> Self {
        Self {
            engines: tempfile::tempdir().unwrap(),
            data: tempfile::tempdir().unwrap(),
            first_use,
        }
    }

    /// Grants the hostile engine with this description all declared rights.
    async fn with_grant(variant: &str) -> Self {
        let fixture = Self::new(FirstUse::Declared);
        fixture.install("hostile.wasm", variant);
        let engines = fixture.open_engines().await;
        assert_eq!(engines.rejected.len() + engines.pending.len(), 0);
        fixture
    }

    fn install(&self, file: &str, variant: &str) {
        fs::write(self.engines.path().join(file), hostile(variant)).unwrap();
    }

    /// A file of stored components.
    fn component_path(&self, name: &str) -> PathBuf {
        self.data.path().join("components").join(name)
    }

    fn stored_components(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(self.component_path("")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".wasm")).collect()
    }

    /// Opens both directories, as a server does at start.
    async fn open_engines(&self) -> Engines {
        self.open().await.engines()
    }

    async fn open(&self) -> Arc<Releases> {
        let config = Config {
            data: self.data.path().to_owned(),
            engines: self.engines.path().to_owned(),
            slots: 2,
            first_use: self.first_use,
            compiler: compiler(),
            ..Config::new(Environment::default()).unwrap()
        };
        let store = Store::open(&config.data).await.unwrap();
        let (audit, decoder) = (AuditLog::default(), Decoder::default());
        let start = EngineStart::new(&config, store, audit, decoder, DirectoryUse::Install).await;
        start.unwrap().finish().await.unwrap()
    }

    async fn stored_grant(&self) -> Grant {
        self.open().await.grant("hostile").unwrap()
    }
}

/// Name and digest of each served engine.
fn served(engines: &Engines) -> Vec<(&str, &str)> {
    let admitted = engines.admitted();
    admitted
        .map(|it| (it.description.name.as_str(), it.digest.as_str()))
        .collect()
}

fn right_texts(rights: &BTreeSet<Right>) -> Vec<String> {
    rights.iter().map(ToString::to_string).collect()
}

fn only_pending(engines: &Engines) -> &PendingApproval {
    let [pending] = engines.pending.as_slice() else {
        panic!("{:?}", engines.pending);
    };
    pending
}

#[tokio::test(flavor = "multi_thread")]
async fn new_engine_is_granted_declared_rights() {
    let fixture = GrantFixture::with_grant("plain").await;
    let engines = fixture.open_engines().await;
    let grant = fixture.stored_grant().await;
    let plain = digest(&hostile("plain"));
    assert_eq!(
        (&grant.digest, grant.file.as_str()),
        (&plain, "hostile.wasm")
    );
    assert_eq!(
        right_texts(&grant.allows),
        [
            "api at base-url",
            "api with authorization: Bearer from api-key",
            "api GET /allowed/",
            "api POST /orders",
            "api also at localhost",
            "secret api-key from HOSTILE_API_KEY",
            "setting base-url from HOSTILE_BASE_URL",
            "setting note from HOSTILE_NOTE",
            "secret api-key from PINHOLE_HOSTILE_API_KEY",
            "setting base-url from PINHOLE_HOSTILE_BASE_URL",
            "setting note from PINHOLE_HOSTILE_NOTE",
        ]
    );
    assert!(grant.denies.is_empty());
    assert_eq!(served(&engines), [("hostile", plain.as_str())]);
    assert_eq!(
        fixture.stored_components(),
        [format!("{plain}.wasm")].into()
    );
    let mode = fs::metadata(fixture.component_path(""))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[tokio::test(flavor = "multi_thread")]
async fn component_without_new_rights_replaces_served_one() {
    let fixture = GrantFixture::with_grant("plain").await;
    for variant in ["again", "less", "narrow"] {
        fixture.install("hostile.wasm", variant);
        let engines = fixture.open_engines().await;
        let new = digest(&hostile(variant));
        assert_eq!(served(&engines), [("hostile", new.as_str())], "{variant}");
        assert!(engines.pending.is_empty(), "{variant}");
        assert_eq!(fixture.stored_grant().await.digest, new, "{variant}");
        assert!(
            fixture.stored_components().contains(&format!("{new}.wasm")),
            "{variant}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn component_with_new_rights_awaits_approval() {
    let fixture = GrantFixture::with_grant("plain").await;
    let old = digest(&hostile("plain"));
    let grant = fixture.stored_grant().await;
    let more: &[(&str, &[&str])] = &[
        ("request", &["api POST /more/"]),
        ("prefix", &["api GET /"]),
        ("upstream", &["more at base-url", "more GET /allowed/"]),
        ("host", &["api images from cdn.example.com"]),
        ("credential", &["api with x-other from api-key"]),
        ("default", &["api at https://192.0.2.1, by default"]),
        ("variable", &["setting note from HOSTILE_MORE"]),
        (
            "open-key",
            &["setting api-key from PINHOLE_HOSTILE_API_KEY"],
        ),
    ];
    for (variant, expected) in more {
        fixture.install("hostile.wasm", variant);
        let engines = fixture.open_engines().await;
        assert_eq!(served(&engines), [("hostile", old.as_str())], "{variant}");
        let pending = only_pending(&engines);
        assert_eq!(right_texts(&pending.new_rights), *expected, "{variant}");
        assert_eq!(pending.digest, digest(&hostile(variant)), "{variant}");
        assert!(pending.is_served, "{variant}");
        assert!(pending.reason().contains("pinhole engine grant hostile"));
        assert_eq!(fixture.stored_grant().await, grant, "{variant}");
        let waiting = digest(&hostile(variant));
        let files = [&old, &waiting].map(|digest| format!("{digest}.wasm"));
        assert_eq!(fixture.stored_components(), files.into(), "{variant}");
    }

    // An administrator approves the last one.
    let releases = fixture.open().await;
    let new = digest(&hostile("open-key"));
    releases
        .approve("hostile", Some(&new), "ada")
        .await
        .unwrap();
    // It holds at once, and at the next start.
    for approved in [releases.engines(), fixture.open_engines().await] {
        assert_eq!(served(&approved), [("hostile", new.as_str())]);
        assert!(approved.pending.is_empty());
    }
    // Rights that it no longer declares are no longer granted, except to the version that had them.
    let key = "api with authorization: Bearer from api-key".to_owned();
    let has_key = async || right_texts(&fixture.stored_grant().await.allows).contains(&key);
    assert!(!has_key().await);
    fixture.install("hostile.wasm", "again");
    let with_key = fixture.open_engines().await;
    let new_rights = right_texts(&only_pending(&with_key).new_rights);
    assert!(new_rights.contains(&key), "{new_rights:?}");
    fixture.install("hostile.wasm", "plain");
    let reverted = fixture.open_engines().await;
    assert_eq!(served(&reverted), [("hostile", old.as_str())]);
    assert!(has_key().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn approval_refuses_changed_component() {
    let fixture = GrantFixture::with_grant("plain").await;
    fixture.install("hostile.wasm", "request");
    let reviewed = only_pending(&fixture.open_engines().await).digest.clone();
    fixture.install("hostile.wasm", "prefix");
    let releases = fixture.open().await;
    let refused = releases.approve("hostile", Some(&reviewed), "ada").await;
    let Err(ReleaseError::Refused { refusal, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert!(refusal.reason.contains("was changed during"), "{refusal}");
    assert_eq!(
        fixture.stored_grant().await.digest,
        digest(&hostile("plain"))
    );
    assert_eq!(
        right_texts(&only_pending(&releases.engines()).new_rights),
        ["api GET /"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn explicit_mode_grants_nothing_automatically() {
    let fixture = GrantFixture::new(FirstUse::Explicit);
    fixture.install("hostile.wasm", "plain");
    let engines = fixture.open_engines().await;
    assert!(served(&engines).is_empty());
    let pending = only_pending(&engines);
    assert_eq!(pending.new_rights, pending.declared_rights);
    assert!(!pending.is_served);
    assert!(fixture.stored_grant().await.allows.is_empty());

    let environment =
        |value: &str| Environment::new([("PINHOLE_ENGINE_GRANTS".into(), value.into())]);
    let read = |value| Config::new(environment(value)).map(|config| config.first_use);
    assert_eq!(read("explicit").unwrap(), FirstUse::Explicit);
    assert_eq!(read("declared").unwrap(), FirstUse::Declared);
    let error = read("all").unwrap_err().to_string();
    assert!(error.contains("declared or explicit"), "{error}");

    let releases = fixture.open().await;
    let report = releases.approve("hostile", None, "ada").await.unwrap();
    assert_eq!(report.state, "current");
    let approved = fixture.open_engines().await;
    let plain = digest(&hostile("plain"));
    assert_eq!(served(&approved), [("hostile", plain.as_str())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn altered_stored_component_is_not_served() {
    for change in ["other", "gone", "cut"] {
        let fixture = GrantFixture::with_grant("plain").await;
        let copy = fixture.component_path(&format!("{}.wasm", digest(&hostile("plain"))));
        fixture.install("hostile.wasm", "request");
        match change {
            "other" => fs::write(copy, hostile("again")).unwrap(),
            "cut" => fs::write(copy, &hostile("plain")[..1000]).unwrap(),
            _ => fs::remove_file(copy).unwrap(),
        }
        let engines = fixture.open_engines().await;
        assert!(served(&engines).is_empty(), "{change}");
        assert!(!only_pending(&engines).is_served, "{change}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn file_of_renamed_engine_awaits_approval() {
    let fixture = GrantFixture::with_grant("plain").await;
    fixture.install("hostile.wasm", "renamed");
    let engines = fixture.open_engines().await;
    let pending = only_pending(&engines);
    assert_eq!(pending.engine, "other");
    assert_eq!(pending.previous_engine.as_deref(), Some("hostile"));
    let plain = digest(&hostile("plain"));
    assert_eq!(served(&engines), [("hostile", plain.as_str())]);

    // If the engine's own file only has another name, it is served.
    fixture.install("zebra.wasm", "plain");
    let reopened = fixture.open_engines().await;
    assert_eq!(only_pending(&reopened).engine, "other");
    assert_eq!(reopened.get("hostile").unwrap().file, "zebra.wasm");
}

#[tokio::test(flavor = "multi_thread")]
async fn granted_file_wins_over_duplicate_engine_name() {
    let fixture = GrantFixture::with_grant("plain").await;
    // It precedes the granted file alphabetically and declares no new rights.
    fixture.install("a.wasm", "again");
    let engines = fixture.open_engines().await;
    assert_eq!(engines.get("hostile").unwrap().file, "hostile.wasm");
    let [refused] = engines.rejected.as_slice() else {
        panic!("{:?}", engines.rejected);
    };
    assert_eq!(
        (refused.file.as_str(), refused.reason.as_str()),
        (
            "a.wasm",
            "names its engine hostile, as hostile.wasm already does"
        )
    );
    assert_eq!(
        fixture.stored_grant().await.digest,
        digest(&hostile("plain"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn changing_description_gains_no_rights() {
    let more =
        |rights: &BTreeSet<Right>| right_texts(rights).contains(&"more at base-url".to_owned());
    let fixture = loop {
        let fixture = GrantFixture::new(FirstUse::Declared);
        fixture.install("hostile.wasm", "changing");
        // It is refused if it describes itself differently the second time.
        let engines = fixture.open_engines().await;
        match engines.get("hostile") {
            Some(component) if !more(&component.grant.allows) => break fixture,
            Some(_) => {}
            None => {
                let reason = &engines.rejected[0].reason;
                assert!(
                    reason.starts_with("describes itself differently"),
                    "{reason}"
                );
            }
        }
    };
    let engines = loop {
        let engines = fixture.open_engines().await;
        if more(&engines.get("hostile").unwrap().declared_rights) {
            break engines;
        }
    };
    assert!(engines.pending.is_empty());
    let component = engines.get("hostile").unwrap();
    let new_rights = component.grant.new_rights(&component.declared_rights);
    assert_eq!(
        right_texts(&new_rights),
        [
            "more at base-url",
            "more GET /allowed/",
            "setting note from HOSTILE_MORE"
        ]
    );
    // Parts of the description without a grant are removed.
    let description = &component.description;
    let names: Vec<_> = description.upstreams.iter().map(|it| &it.name).collect();
    assert_eq!(names, ["api"]);
    let variables = description.settings.iter();
    let variables: Vec<_> = variables.flat_map(|it| &it.generate_variables).collect();
    assert!(!variables.contains(&&"HOSTILE_MORE".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn revoked_request_is_refused_until_restored() {
    let upstream = FakeUpstream::json(200, json!({})).await;
    let engine_directory = tempfile::tempdir().unwrap();
    fs::write(
        engine_directory.path().join("hostile.wasm"),
        hostile("plain"),
    )
    .unwrap();
    let variables = [
        ("PINHOLE_ENGINES", engine_directory.path().to_str().unwrap()),
        ("HOSTILE_BASE_URL", &upstream.url()),
    ];
    let started = TestServer::start(&variables).await;
    let reach = async |server: &TestServer| {
        let body = json!({"prompt": "reach api /allowed/x", "engine": "hostile"});
        let (_, response) = server.post_json("/v1/images/generations", &body).await;
        response["error"]["message"].as_str().unwrap().to_owned()
    };
    assert_eq!(reach(&started).await, "status 200");
    assert_eq!(upstream.request_lines(), ["GET /allowed/x"]);

    let right = ["api GET /allowed/".to_owned()];
    let releases = &started.app.releases;
    releases
        .change_requests("hostile", &[], &right, "ada")
        .await
        .unwrap();
    // It holds at once.
    assert_eq!(reach(&started).await, "not granted");
    let revoked = started.restart(&variables).await;
    assert_eq!(reach(&revoked).await, "not granted");
    assert_eq!(upstream.request_lines().len(), 1);
    let binding = revoked
        .app
        .jobs
        .snapshot()
        .binding("hostile")
        .unwrap()
        .clone();
    let bound = binding.generate_settings().unwrap();
    let denial = bound.upstreams["api"]
        .rules
        .check(&http::Method::GET, "/allowed/x?y");
    assert!(
        matches!(denial, Err(RequestDenial::NotGranted(missing)) if missing.to_string() == "GET /allowed/"),
        "{denial:?}"
    );

    let restarted = &revoked.app.releases;
    restarted
        .change_requests("hostile", &right, &[], "ada")
        .await
        .unwrap();
    assert_eq!(reach(&revoked).await, "status 200");
    assert_eq!(upstream.request_lines().len(), 2);
}
