//! Grants that an earlier server stored in files.

use super::*;

impl GrantFixture {
    /// Writes the grant of an earlier server, and its copy of the component.
    fn import(&self, grant: &str, copy: Option<&[u8]>) {
        let directory = self.data.path().join("grants");
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("hostile.json"), grant).unwrap();
        if let Some(copy) = copy {
            fs::write(directory.join(format!("{}.wasm", digest(copy))), copy).unwrap();
        }
    }
}

/// An earlier server stored grants in files.
#[tokio::test(flavor = "multi_thread")]
async fn grants_of_an_earlier_server_move_into_the_database() {
    let plain = digest(&hostile("plain"));
    let good = imported_grant("GET /allowed/");
    let fixture = GrantFixture::new(FirstUse::Declared);
    fixture.import(&good, Some(&hostile("plain")));
    // The file has changed since, and its new declaration waits for approval.
    fixture.install("hostile.wasm", "request");
    let engines = fixture.open_engines().await;
    assert_eq!(served(&engines), [("hostile", plain.as_str())]);
    assert!(only_pending(&engines).is_served);
    let grant = fixture.stored_grant().await;
    assert_eq!(right_texts(&grant.allows), ["api GET /allowed/"]);
    assert_eq!(right_texts(&grant.denies), ["api POST /orders"]);
    let data = fixture.data.path();
    assert!(!data.join("grants").exists() && data.join("grants.imported").exists());
}

fn imported_grant(allowed_request: &str) -> String {
    let plain = digest(&hostile("plain"));
    let rights =
        format!(r#"[{{"request": {{"upstream": "api", "request": "{allowed_request}"}}}}]"#);
    let denied = r#"[{"request": {"upstream": "api", "request": "POST /orders"}}]"#;
    format!(
        r#"{{"version": 1, "digest": "{plain}", "file": "hostile.wasm", "allows": {rights}, "denies": {denied}}}"#
    )
}

/// An earlier server lost its copy of the component.
#[tokio::test(flavor = "multi_thread")]
async fn grant_without_a_copy_is_that_of_the_file() {
    let fixture = GrantFixture::new(FirstUse::Declared);
    fixture.import(&imported_grant("GET /allowed/"), None);
    fixture.install("hostile.wasm", "plain");
    let engines = fixture.open_engines().await;
    let plain = digest(&hostile("plain"));
    assert_eq!(served(&engines), [("hostile", plain.as_str())]);
    assert_eq!(
        right_texts(&fixture.stored_grant().await.allows),
        ["api GET /allowed/"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_grant_stops_its_engine_until_it_is_granted_again() {
    let good = imported_grant("GET /allowed/");
    let version = good.replace("\"version\": 1", "\"version\": 2");
    let unknown = good.replace("\"version\": 1", "\"version\": 1, \"capabilities\": []");
    let request = good.replace("GET /allowed/", "GET allowed");
    for bad in [&version, &unknown, &request, "", "{}", "[]"] {
        let fixture = GrantFixture::new(FirstUse::Declared);
        fixture.import(bad, Some(&hostile("plain")));
        fixture.install("hostile.wasm", "plain");
        for _ in 0..2 {
            let engines = fixture.open_engines().await;
            assert!(served(&engines).is_empty(), "{bad}");
            let [refused] = engines.rejected.as_slice() else {
                panic!("{bad}");
            };
            let expected = "has an unreadable grant in the database (";
            assert!(refused.reason.contains(expected), "{}", refused.reason);
        }
        // An administrator grants it again.
        let releases = fixture.open().await;
        let approved = releases.approve("hostile", None, "ada").await;
        assert!(approved.is_ok(), "{bad}: {approved:?}");
        assert_eq!(served(&fixture.open_engines().await).len(), 1, "{bad}");
    }
}
