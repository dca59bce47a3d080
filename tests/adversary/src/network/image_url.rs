//! Image URLs in responses that lead where no right allows.

use anyhow::{Result, ensure};
use pinhole_tests::RawStep;
use serde_json::json;

use super::redirect::require_redirect_refused;
use super::{
    NOT_ALLOWED, RESULT_PATH, name_image, require_refused, result_response, set_image_hosts,
};
use crate::image::small_png_with_pixels;
use crate::target::{AttackTarget, SECRET};

/// Length of a large image in bytes, below the limit of one image.
const LARGE_BYTES: usize = 29 << 20;
/// Large images of one job, more than a call can hold.
const LARGE_IMAGES: usize = 32;
/// How much the server may grow during such a job: the memory of a call, and room for buffers.
const MAX_GROWTH_BYTES: u64 = 400 << 20;

/// The names exist nowhere, so a lookup would give another error.
pub(super) async fn host_without_right(target: &AttackTarget) -> Result<()> {
    // Empty: the list of the engine, which declares no host.
    set_image_hosts(target, "").await?;
    for url in [
        "http://cdn.invalid/picture.png",
        "https://cdn.invalid:8443/picture.png",
        "http://localhost/picture.png",
        "http://8.8.8.8/picture.png",
        "http://[2620:4f:8000::1]/picture.png",
    ] {
        require_refused(target, url).await?;
    }
    Ok(())
}

pub(super) async fn host_outside_list(target: &AttackTarget) -> Result<()> {
    set_image_hosts(target, "cdn.invalid,*.images.invalid,http://127.0.0.1:1/a").await?;
    for host in [
        "other.invalid",
        "a.cdn.invalid",
        "cdn.invalid.other.invalid",
        "images.invalid",
        "evilimages.invalid",
        "images.invalid.evil.invalid",
        "8.8.8.8",
        "127.0.0.1",
    ] {
        require_refused(target, &format!("http://{host}/picture.png")).await?;
    }
    Ok(())
}

pub(super) async fn prompt_in_host_name(target: &AttackTarget) -> Result<()> {
    set_image_hosts(target, "*.images.invalid").await?;
    target.upstream.set_raw_handler(|request| {
        let (_, echo) = request.target.split_once('?').unwrap_or_default();
        vec![result_response(&format!(
            "https://{echo}.tracker.invalid/{echo}.png"
        ))]
    });
    let response = target.generate("result 1 a-red-fox-4711").await?;
    ensure!(
        response.error_message() == NOT_ALLOWED,
        "the host looked up the prompt: {}",
        response.text()
    );
    Ok(())
}

pub(super) async fn own_origin_outside_grant(target: &AttackTarget) -> Result<()> {
    let origin = target.upstream.url();
    for path in [
        "/admin/reboot?now=1",
        "/",
        "/allowed",
        "/allowed-too/picture.png",
        "/allowed/../admin",
        "/allowed/..%2fadmin",
        "/allowed/%2e%2e%2fadmin",
        "/allowed/%252e%252e/admin",
        "/allowed/..;/admin",
        "/allowed//admin",
    ] {
        require_refused(target, &format!("{origin}{path}")).await?;
    }
    Ok(())
}

pub(super) async fn path_outside_listed_url(target: &AttackTarget) -> Result<()> {
    let origin = target.upstream.url();
    set_image_hosts(target, &format!("*,{origin}/pictures")).await?;
    name_image(target, &format!("{origin}/pictures/x.png"));
    let response = target.generate("result").await?;
    response.require_success("fetching a listed image")?;
    for path in [
        "/picture.png",
        "/pictures-private/x.png",
        "/pictures/../admin",
        "/pictures/..%2fadmin",
        "/pictures/%252e%252e/admin",
    ] {
        require_refused(target, &format!("{origin}{path}")).await?;
    }
    Ok(())
}

pub(super) async fn redirect_to_host_without_right(target: &AttackTarget) -> Result<()> {
    set_image_hosts(target, "cdn.invalid").await?;
    for location in [
        "https://other.invalid/picture.png",
        "//other.invalid/picture.png",
        "http://8.8.8.8/picture.png",
    ] {
        require_redirect_refused(target, location).await?;
    }
    Ok(())
}

pub(super) async fn redirect_outside_grant(target: &AttackTarget) -> Result<()> {
    let absolute = format!("{}/admin/reboot?now=1", target.upstream.url());
    for location in [
        absolute.as_str(),
        "/admin/reboot?now=1",
        "../admin",
        "/allowed",
        "/allowed/../admin/a red fox.png",
        "/allowed/..\\..\\admin",
        "/allowed/\u{ff0e}\u{ff0e}/admin/é.png",
    ] {
        require_redirect_refused(target, location).await?;
    }
    Ok(())
}

pub(super) async fn private_address_without_origin(target: &AttackTarget) -> Result<()> {
    let trap = target.trap.address().port();
    set_image_hosts(target, "*,localhost,*.localhost").await?;
    for host in ["localhost", "127.0.0.1", "[::1]"] {
        require_refused(target, &format!("http://{host}:{trap}/picture.png")).await?;
    }
    Ok(())
}

pub(super) async fn remedy(target: &AttackTarget) -> Result<()> {
    let origin = target.trap.url();
    require_refused(target, &format!("{origin}/picture.png")).await?;
    let log = target.log()?;
    let safe = format!("is private: allow it with PINHOLE_HOSTILE_IMAGE_HOSTS=*,{origin}");
    ensure!(log.contains(&safe), "the log lacks {safe:?}: {log}");
    let unsafe_remedy = format!("BASE_URL={origin}");
    ensure!(
        !log.contains(&unsafe_remedy),
        "the log has {unsafe_remedy:?}"
    );
    Ok(())
}

pub(super) async fn many_large_images(target: &AttackTarget) -> Result<()> {
    let url = format!("{}/allowed/picture.png", target.upstream.url());
    let urls = json!({"urls": vec![url; LARGE_IMAGES]}).to_string();
    let image = small_png_with_pixels(&vec![0; LARGE_BYTES]);
    target.upstream.set_raw_handler(move |request| {
        let (media_type, body) = if request.target == RESULT_PATH {
            ("application/json", urls.as_bytes())
        } else {
            ("image/png", image.as_slice())
        };
        let headers = format!("content-type: {media_type}\r\n");
        vec![RawStep::response("200 OK", &headers, body)]
    });
    let before = target.memory_bytes()?;
    let response = target.generate(&format!("result {LARGE_IMAGES}")).await?;
    let growth = target.memory_bytes()?.saturating_sub(before);
    ensure!(
        response.error_message().contains("holds more than") && growth < MAX_GROWTH_BYTES,
        "the server grew by {} MiB: {}",
        growth >> 20,
        response.error_message()
    );
    Ok(())
}

pub(super) async fn key_in_image_url(target: &AttackTarget) -> Result<()> {
    let origin = target.upstream.url();
    let encoded: String = SECRET.bytes().map(|byte| format!("%{byte:02X}")).collect();
    for key in [SECRET, &encoded] {
        let url = format!("{origin}/allowed/picture.png?key={key}");
        require_refused(target, &url).await?;
        require_redirect_refused(target, &url).await?;
    }
    Ok(())
}
