//! Files that a user uploads, and how the server stores and sends them.

use anyhow::{Context, Result, ensure};
use http::StatusCode;
use pinhole_egress::Destination;
use serde_json::Value;

use super::encode::{GRAY, PngHeader, RGBA16, compressed_zeros, gif, jpeg, png, small_png, webp};
use crate::target::{AttackTarget, ClientRequest, Response};

const FILES_PATH: &str = "/api/v1/files/";

/// Documents that claim to be images.
pub(super) const DOCUMENTS: [&[u8]; 6] = [
    b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
    b"<!doctype html><script>alert(1)</script>",
    b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
    b"PK\x03\x04\x14\0\0\0\0\0",
    b"II*\0\x08\0\0\0\0\0\0\0\0\0",
    b"GIF89a/*",
];

/// The request that uploads a file.
pub(crate) fn upload_form(name: &str, bytes: &[u8]) -> ClientRequest<'static> {
    const TYPE: &str = "multipart/form-data; boundary=quiet-heron";
    let head = format!(
        "--quiet-heron\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
         content-type: image/png\r\n\r\n"
    );
    let form = [head.as_bytes(), bytes, b"\r\n--quiet-heron--\r\n"].concat();
    ClientRequest::post(FILES_PATH, TYPE, form)
}

/// Uploads a file with the administrator's key.
pub(crate) async fn upload(target: &AttackTarget, name: &str, bytes: &[u8]) -> Result<Response> {
    upload_as(target, &target.client.administrator, name, bytes).await
}

async fn upload_as(
    target: &AttackTarget,
    user: &Destination,
    name: &str,
    bytes: &[u8],
) -> Result<Response> {
    target.client.send_as(user, upload_form(name, bytes)).await
}

/// Uploads a file that the server accepts. Returns its path.
pub(crate) async fn store(target: &AttackTarget, name: &str, bytes: &[u8]) -> Result<String> {
    store_as(target, &target.client.administrator, name, bytes).await
}

/// Uploads a user's file that the server accepts. Returns its path.
pub(crate) async fn store_as(
    target: &AttackTarget,
    user: &Destination,
    name: &str,
    bytes: &[u8],
) -> Result<String> {
    let response = upload_as(target, user, name, bytes).await?;
    ensure!(response.status == StatusCode::OK, "{}", response.text());
    let file = response.json()?;
    let id = file.get("id").and_then(Value::as_str);
    Ok(format!("{FILES_PATH}{}", id.context("the file has no id")?))
}

pub(crate) async fn remove(target: &AttackTarget, path: &str) -> Result<()> {
    let response = target.client.delete(path).await?;
    ensure!(response.status == StatusCode::OK, "{}", response.text());
    Ok(())
}

pub(super) async fn documents(target: &AttackTarget) -> Result<()> {
    for document in DOCUMENTS {
        let response = upload(target, "fox.png", document).await?;
        let text = String::from_utf8_lossy(document);
        ensure!(
            response.status == StatusCode::BAD_REQUEST,
            "{text}: {}",
            response.text()
        );
    }
    Ok(())
}

pub(super) async fn appended_archive(target: &AttackTarget) -> Result<()> {
    let image = small_png(&[])?;
    let with_archive = [&image[..], b"PK\x05\x06 an archive"].concat();
    let path = store(target, "fox.png", &with_archive).await?;
    let response = target.client.get(&format!("{path}/content")).await?;
    remove(target, &path).await?;
    ensure!(response.body == image, "the server sends the archive");
    Ok(())
}

pub(super) async fn response_headers(target: &AttackTarget) -> Result<()> {
    let path = store(target, "fox.html", &small_png(&[])?).await?;
    for route in ["content", "content/fox.html", "thumbnail"] {
        let response = target.client.get(&format!("{path}/{route}")).await?;
        let policy = response.header("content-security-policy");
        ensure!(
            policy.contains("default-src 'none'") && policy.contains("sandbox"),
            "{route} has the policy {policy:?}"
        );
        ensure!(
            response.header("x-content-type-options") == "nosniff",
            "a browser may guess the type of {route}"
        );
        ensure!(
            response.header("cross-origin-resource-policy") == "same-site",
            "any site may embed {route}"
        );
        let media_type = response.header("content-type");
        ensure!(
            media_type.starts_with("image/"),
            "{route} has the type {media_type}"
        );
    }
    remove(target, &path).await
}

pub(super) async fn decoded_size(target: &AttackTarget) -> Result<()> {
    // Eight bytes in each pixel: within the limit of pixels, and beyond the limit of decoded bytes.
    const SIDE: u32 = 5100;
    let row_bytes = 1 + SIDE as usize * 8;
    let pixels = compressed_zeros(SIDE as usize * row_bytes)?;
    let image = png(PngHeader::square(SIDE, RGBA16), &[], &pixels)?;
    let path = store(target, "fox.png", &image).await?;
    let response = target.client.get(&format!("{path}/thumbnail")).await?;
    remove(target, &path).await?;
    ensure!(
        response.status == StatusCode::UNPROCESSABLE_ENTITY,
        "the image was decoded: {}",
        response.status
    );
    Ok(())
}

pub(super) async fn invalid_pixels(target: &AttackTarget) -> Result<()> {
    let images = [
        png(PngHeader::square(8, GRAY), &[], b"\x78\x9c no zlib at all")?,
        png(PngHeader::square(32, RGBA16), &[], &compressed_zeros(100)?)?,
        gif(8000, 1),
        jpeg(16, 1),
        webp(),
    ];
    for image in images {
        let path = store(target, "fox.png", &image).await?;
        let response = target.client.get(&format!("{path}/thumbnail")).await?;
        remove(target, &path).await?;
        ensure!(
            matches!(
                response.status,
                StatusCode::OK | StatusCode::UNPROCESSABLE_ENTITY
            ),
            "{}: {}",
            response.status,
            response.text()
        );
    }
    Ok(())
}
