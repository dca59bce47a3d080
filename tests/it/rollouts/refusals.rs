//! What is refused leaves the version before in place.

use super::*;

/// Wants more than it was granted.
#[tokio::test(flavor = "multi_thread")]
async fn version_that_declares_more_waits_while_the_old_one_serves() {
    let fixture = RolloutFixture::new(&[]).await;
    let more = hostile("request");
    let report = fixture.install(more.clone()).await.unwrap();
    assert_eq!(
        (report.state.as_str(), report.new_rights.len()),
        ("parked", 1)
    );
    assert_eq!(report.new_rights[0], "api POST /more/");
    assert_eq!(fixture.serving(), digest(&hostile("plain")));
    assert_eq!(fixture.generate("picture").await.0, 200);
    // Who looked at another component accepts nothing.
    let other = digest(&hostile("prefix"));
    let releases = fixture.releases();
    let refused = releases.approve("hostile", Some(&other), "ada").await;
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("was changed during the review")
    );
    releases
        .approve("hostile", Some(&report.digest), "ada")
        .await
        .unwrap();
    assert_eq!(fixture.serving(), digest(&more));
    let engines = releases.engines();
    let rights = &engines.get("hostile").unwrap().grant.allows;
    assert!(rights.iter().any(|it| it.to_string() == "api POST /more/"));

    // Another one replaces the one that waits, and an abort drops it.
    fixture.install(hostile("prefix")).await.unwrap();
    fixture.install(hostile("upstream")).await.unwrap();
    assert_eq!(releases.engines().pending.len(), 1);
    releases.abort("hostile", "ada").await.unwrap();
    assert!(releases.engines().pending.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_component_is_refused_and_changes_nothing() {
    let fixture = RolloutFixture::new(&[]).await;
    let plain = hostile("plain");
    let before = fixture.releases().status("hostile").unwrap().revision;
    let module = b"\0asm\x01\0\0\0".to_vec();
    for (name, bytes, reason) in [
        ("empty", Vec::new(), "is empty"),
        ("foreign", b"#!/bin/sh\n".to_vec(), "is not WebAssembly"),
        (
            "half copied",
            plain[..plain.len() / 2].to_vec(),
            "is not a valid component",
        ),
        ("core module", module, "is a core module"),
        (
            "crash in describe",
            hostile("trap"),
            "cannot describe itself",
        ),
        (
            "endless describe",
            hostile("spin"),
            "cannot describe itself",
        ),
    ] {
        let refused = fixture.install(bytes).await.unwrap_err();
        assert!(
            matches!(refused, ReleaseError::Refused { .. }),
            "{name}: {refused:?}"
        );
        let text = refused.to_string();
        assert!(text.contains(reason), "{name}: {text}");
        assert!(!text.contains('\n') && text.len() < 1000, "{name}: {text}");
    }
    assert_eq!(fixture.serving(), digest(&plain));
    assert_eq!(
        fixture.releases().status("hostile").unwrap().revision,
        before
    );
    // Nothing of them is stored.
    let stored = std::fs::read_dir(fixture.server.data_dir.path().join("components"));
    assert_eq!(stored.unwrap().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn version_with_a_new_problem_of_its_settings_is_refused() {
    // The new version reads a setting as a secret URL that the old one does not have.
    let fixture = RolloutFixture::new(&[(
        "PINHOLE_BINDINGS",
        r#"{"mine": {"engine": "hostile", "settings": {"note": "x"}}}"#,
    )])
    .await;
    let refused = fixture.install(hostile("less")).await.unwrap_err();
    assert!(
        refused.to_string().contains("cannot use the settings"),
        "{refused}"
    );
    assert_eq!(fixture.serving(), digest(&hostile("plain")));
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_engines_and_versions_are_named() {
    let fixture = RolloutFixture::new(&[]).await;
    let releases = fixture.releases();
    let roll_back = async |engine: &str, to: Option<&str>| {
        let result = releases.roll_back(engine, to, "", "ada").await;
        result.unwrap_err().to_string()
    };
    assert_eq!(
        roll_back("nobody", None).await,
        "unknown engine nobody: use one of hostile"
    );
    assert_eq!(
        roll_back("hostile", None).await,
        "engine hostile has no previous version"
    );
    let unknown = roll_back("hostile", Some("ffff")).await;
    assert!(
        unknown.starts_with("engine hostile has no version ffff"),
        "{unknown}"
    );
    let serving = fixture.serving();
    let same = roll_back("hostile", Some(&serving[..8])).await;
    assert_eq!(same, "this version of engine hostile serves already");
    let promoted = releases.promote("hostile", "ada").await.unwrap_err();
    assert!(
        matches!(promoted, ReleaseError::Conflict(_)),
        "{promoted:?}"
    );
    let removed = releases.remove("nobody", "ada").await.unwrap_err();
    assert!(matches!(removed, ReleaseError::Unknown(_)), "{removed:?}");
}

/// Either version may get the next job, and a rollback needs the old one.
#[tokio::test(flavor = "multi_thread")]
async fn setting_that_one_of_two_versions_cannot_use_is_refused() {
    let fixture = RolloutFixture::new(&[]).await;
    let bindings = json!({"mine": {"engine": "hostile", "settings": {"note": "x"}}});
    let settings = json!({"PINHOLE_BINDINGS": bindings});
    let set = async || {
        fixture
            .server
            .post_json("/api/v1/settings", &settings)
            .await
    };
    // It has no setting `note`.
    let less = hostile("less");
    for strategy in [Strategy::Canary, Strategy::Watch] {
        let install = Install {
            strategy: Some(strategy),
            is_forced: true,
            ..upload(less.clone())
        };
        fixture.releases().install(install).await.unwrap();
        let (status, refused) = set().await;
        assert_eq!(status, 400, "{strategy:?}: {refused}");
        assert!(refused.to_string().contains("note"), "{refused}");
        assert_eq!(fixture.state(&less), "candidate");
        fixture.releases().abort("hostile", "ada").await.unwrap();
    }
    // The old version of a watch, to which a rollback returns.
    fixture.install(hostile("again")).await.unwrap();
    let (accepted, response) = set().await;
    assert_eq!(accepted, 200, "{response}");
    let refused = fixture.install(less).await.unwrap_err();
    assert!(
        refused.to_string().contains("cannot use the settings")
            || refused.to_string().contains("was rolled back"),
        "{refused}"
    );
}

/// A restart does not bring back the file that newer versions have replaced.
#[tokio::test(flavor = "multi_thread")]
async fn file_of_a_version_that_is_no_longer_stored_stays_replaced() {
    let fixture = RolloutFixture::new(&[]).await;
    let mut newest = Vec::new();
    for number in 0..9_u8 {
        // A custom section with another name.
        newest = [hostile("plain"), vec![0, 2, 1, b'a' + number]].concat();
        fixture.install(newest.clone()).await.unwrap();
        fixture.releases().promote("hostile", "ada").await.unwrap();
    }
    assert_eq!(fixture.state(&hostile("plain")), "none");
    let variables = [
        ("PINHOLE_ENGINES", fixture.engines.path().to_str().unwrap()),
        ("IMAGE_GENERATION_ENGINE", "hostile"),
        ("HOSTILE_BASE_URL", "http://127.0.0.1:9"),
    ];
    let server = fixture.server.restart(&variables).await;
    let releases = &server.app.releases;
    releases.update().await.unwrap();
    let engines = releases.engines();
    assert_eq!(engines.get("hostile").unwrap().digest, digest(&newest));
}
