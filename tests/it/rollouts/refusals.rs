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
