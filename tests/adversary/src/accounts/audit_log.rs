//! Users who flood the audit log, and clients who guess passwords.

use anyhow::{Result, ensure};
use http::StatusCode;
use pinhole_ground::audit::{Actor, AuditLog, AuditRetention, Event, RefusalKind};
use pinhole_ground::data_dir;
use serde_json::{Value, json};

use super::small_server::SmallServer;
use crate::target::{AttackTarget, ClientRequest};

/// Refusals of the user who floods the log: twenty times the length of its files.
const REFUSALS: usize = 20_000;
/// The log writes all lines after each batch, so that its queue drops none.
const BATCH: usize = 500;
const MAX_BYTES: u64 = 1 << 20;
/// Refused uploads of the user who hides another.
const UPLOADED: usize = 40;
/// Passwords that a client guesses.
const GUESSES: usize = 3;

/// Floods a log in this process, because a server's files are too long for a case.
pub(super) async fn flood(_: &AttackTarget) -> Result<()> {
    tokio::task::spawn_blocking(flood_blocking).await?
}

fn flood_blocking() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let retention = AuditRetention {
        max_bytes: MAX_BYTES,
        ..AuditRetention::default()
    };
    let log = AuditLog::open(&data_dir::open(directory.path())?, retention)?;
    let record = |user: &str, kind: RefusalKind, job: usize| {
        log.record(&Event {
            kind,
            guard: None,
            actor: Actor::User(user),
            engine: "hostile",
            job: &job.to_string(),
            message: &"x".repeat(1000),
        });
    };
    record("ada", RefusalKind::Grant, 0);
    for batch in 0..REFUSALS / BATCH {
        for (index, kind) in RefusalKind::ALL.into_iter().cycle().take(BATCH).enumerate() {
            record("eve", kind, batch * BATCH + index);
        }
        log.newest(None, 1)?;
    }
    let entries = log.newest(Some(RefusalKind::Grant), usize::from(u16::MAX))?;
    ensure!(
        entries.iter().any(|entry| entry.user == "ada"),
        "the line of another user is gone; {} lines are left",
        entries.len()
    );
    Ok(())
}

pub(super) async fn hidden_by_other_user(target: &AttackTarget) -> Result<()> {
    let data = tempfile::tempdir()?;
    let server = SmallServer::start(target, data.path(), &[]).await?;
    let (eve, ada) = (server.add_user("eve").await?, server.add_user("ada").await?);
    for token in [eve.token.as_str(); UPLOADED]
        .into_iter()
        .chain([ada.token.as_str()])
    {
        let response = server.send_as(token, upload_of_document()).await?;
        ensure!(
            response.status == StatusCode::BAD_REQUEST,
            "a document is accepted as an image: {}",
            response.text()
        );
    }
    let lines = server.audit_lines(RefusalKind::Picture.name()).await?;
    let of_user = |id: &str| {
        let users = lines.iter().filter_map(|line| line.get("user")?.as_str());
        users.filter(|user| *user == id).count()
    };
    ensure!(
        of_user(&ada.id) == 1,
        "the upload is not recorded: {lines:?}"
    );
    let others = of_user(&eve.id);
    ensure!(
        (1..UPLOADED).contains(&others),
        "{others} lines are recorded for {UPLOADED} uploads"
    );
    Ok(())
}

fn upload_of_document() -> ClientRequest<'static> {
    let form = "--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"x.png\"\r\n\r\n\
                <svg/>\r\n--b--\r\n";
    ClientRequest::post("/api/v1/files/", "multipart/form-data; boundary=b", form)
}

pub(super) async fn failed_sign_ins(target: &AttackTarget) -> Result<()> {
    let data = tempfile::tempdir()?;
    let server = SmallServer::start(target, data.path(), &[]).await?;
    server.add_user("ada").await?;
    for email in ["ada@adversary.invalid", "nobody@adversary.invalid"] {
        for guess in 0..GUESSES {
            let body = json!({"email": email, "password": format!("guess number {guess}")});
            let response = server
                .post_anonymously("/api/v1/auths/signin", &body)
                .await?;
            ensure!(
                response.status == StatusCode::BAD_REQUEST,
                "{}",
                response.text()
            );
        }
    }
    let lines = server.audit_lines(RefusalKind::Access.name()).await?;
    let is_local = |line: &&Value| line.get("user").and_then(Value::as_str) == Some("127.0.0.1");
    let recorded = lines.iter().filter(is_local).count();
    ensure!(recorded == 2 * GUESSES, "{recorded} failures are recorded");
    let text = Value::from(lines).to_string();
    ensure!(
        !text.contains("adversary.invalid") && !text.contains("guess number"),
        "the audit log repeats what a client sent: {text}"
    );
    Ok(())
}
