//! Names and paths that point out of the directory of files.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::image::{small_png, upload};
use crate::target::AttackTarget;

pub(super) async fn request_path(target: &AttackTarget) -> Result<()> {
    for path in [
        "/api/v1/files/../../pinhole.db",
        "/api/v1/files/..%2f..%2fpinhole.db/content",
        "/api/v1/files/%2e%2e%2f%2e%2e%2fpinhole.db/content",
        "/api/v1/files/..%5c..%5cpinhole.db/content",
        "/api/v1/files/%2fetc%2fpasswd/content",
        "/api/v1/files/pinhole.db%00/content",
        "/api/v1/files/%c0%ae%c0%ae%c0%afpinhole.db/content",
        "/api/v1/files/%ef%bc%8e%ef%bc%8e%ef%bc%8fpinhole.db/content",
        "/../../../../etc/passwd",
    ] {
        let bytes = target.client.get_raw(path).await?;
        let response = String::from_utf8_lossy(&bytes);
        let status = response.split(' ').nth(1).unwrap_or_default();
        ensure!(
            status.starts_with('4'),
            "{path}: {}",
            response.lines().next().unwrap_or_default()
        );
    }
    Ok(())
}

pub(super) async fn uploaded_name(target: &AttackTarget) -> Result<()> {
    for name in [
        "../../../adversary.png",
        "/etc/adversary.png",
        "..\\adversary.png",
        "a\u{202e}gnp.exe",
    ] {
        let uploaded = upload(target, name, &small_png(&[])?).await?;
        if !uploaded.status.is_success() {
            continue;
        }
        let file = uploaded.json()?;
        let id = file
            .get("id")
            .and_then(Value::as_str)
            .context("the file has no id")?;
        ensure!(
            id.len() == 36 && !id.contains(['/', '\\', '.']),
            "the file's id is {id}"
        );
        let path = format!("/api/v1/files/{id}");
        let content = target.client.get(&format!("{path}/content")).await?;
        let disposition = content
            .headers
            .get("content-disposition")
            .map_or("", |value| value.to_str().unwrap_or("?"));
        ensure!(
            !disposition.contains(['/', '\\', '?']),
            "the file is sent as {disposition}"
        );
        let removal = target.client.delete(&path).await?;
        removal.require_success("removing the file")?;
    }
    Ok(())
}
