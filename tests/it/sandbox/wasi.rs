//! WASI is linked, but gives access to nothing.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn wasi_has_no_files_network_or_environment() {
    let engines = engine_dir(&["wasip2"]);
    let path = engines.path().to_str().unwrap();
    let variables = [("PINHOLE_ENGINES", path), ("WASIP2_NOTE", "a note")];
    let server = TestServer::start(&variables).await;
    let snapshot = server.app.jobs.snapshot();
    let component = snapshot.engines.get("wasip2").unwrap();
    assert!(
        component
            .imports
            .iter()
            .any(|name| name.starts_with("wasi:filesystem/"))
    );

    let response = spawn_job(&server, "wasip2", "look around", LIMITS, &job_context());
    let response = response.await.unwrap().unwrap();
    let [image] = response.images.as_slice() else {
        panic!("{response:?}");
    };
    assert_eq!(image.image.bytes(), PIXEL);

    let found: Value = serde_json::from_str(&response.details).unwrap();
    assert_eq!(found["variables"], json!([]));
    assert_eq!(found["arguments"], json!([]));
    for attempt in ["folder", "write", "read", "connect", "listen", "lookup"] {
        assert!(found[attempt]["error"].is_string(), "{attempt}: {found}");
    }
    // The guest's own library invents the current directory; the clock is not secret.
    assert_eq!(found["current-folder"], json!({"ok": "/"}));
    assert!(found["clock"]["ok"].is_u64(), "{found}");
}
