//! I: images that reach a client.

mod encode;
mod metadata;
mod output;
mod uploads;

use anyhow::{Context, Result, ensure};
use http::StatusCode;
use pinhole_ground::audit::RefusalKind;
use pinhole_ground::guard::Guard;
use pinhole_tests::RawStep;
use serde_json::Value;

use crate::case::AttackCase;
use crate::target::{AttackTarget, Response};

use encode::{GRAY, PngHeader, chunk, gif, jpeg, png};

pub(crate) use encode::{large_png, small_png, small_png_with_pixels};
pub(crate) use uploads::{remove, store, store_as, upload, upload_form};

/// A case in which the host rejects the bytes that this expression makes.
macro_rules! rejected_image {
    ($name:literal, $guarantee:literal, $guard:expr, $bytes:expr) => {
        AttackCase::new($name, $guarantee, |target| {
            Box::pin(require_rejected(target, || $bytes))
        })
        .guarded_by(&[$guard])
        .audited_as(RefusalKind::Picture)
    };
}

pub(crate) const CASES: &[AttackCase] = &[
    AttackCase::new(
        "S6-workflow",
        "the metadata that an upstream's program wrote to an image does not reach the client",
        |target| Box::pin(metadata::foreign_metadata(target)),
    )
    .guarded_by(&[Guard::Metadata]),
    AttackCase::new(
        "S6-compressed-secret",
        "a secret in an image's compressed text is removed, even if metadata is retained",
        |target| Box::pin(metadata::compressed_secret(target)),
    )
    .guarded_by(&[Guard::MetadataSecret])
    .audited_as(RefusalKind::Secret),
    rejected_image!(
        "I1-pixels",
        "an image with more pixels than the limit is rejected",
        Guard::PictureSize,
        {
            let header = PngHeader {
                width: 8193,
                height: 8192,
                color: GRAY,
            };
            png(header, &[], &[0; 70_000])
        }
    ),
    rejected_image!(
        "I1-header-only",
        "a few bytes that declare 64 million pixels are rejected",
        Guard::PictureRatio,
        png(PngHeader::square(8192, GRAY), &[], &[0; 8])
    ),
    rejected_image!(
        "I1-length",
        "an image with more bytes than the limit is rejected",
        Guard::PictureLength,
        png(PngHeader::square(1, GRAY), &[], &vec![0; 33 << 20])
    ),
    rejected_image!(
        "I1-frames",
        "an animation with more frames than the limit is rejected",
        Guard::PictureFrames,
        Ok(gif(1, 100_000))
    ),
    rejected_image!(
        "I1-pixels-of-all-frames",
        "an animation whose frames together have more pixels than the limit is rejected",
        Guard::PictureFramePixels,
        Ok(gif(8192, 100))
    ),
    rejected_image!(
        "I1-scans",
        "a JPEG with more scans than the limit is rejected",
        Guard::PictureScans,
        Ok(jpeg(8, 10_000))
    ),
    rejected_image!(
        "I1-metadata",
        "an image with more metadata than the limit is rejected",
        Guard::MetadataLength,
        small_png(&[chunk(b"tEXt", &vec![b'x'; 9 << 20])?])
    ),
    AttackCase::new(
        "I1-compressed-text",
        "text that decompresses beyond the limit is removed, even if metadata is retained",
        |target| Box::pin(metadata::long_compressed_text(target)),
    )
    .guarded_by(&[Guard::UnpackedLength]),
    AttackCase::new(
        "I1-decoded",
        "an image whose pixels need more memory than the limit is not decoded",
        |target| Box::pin(uploads::decoded_size(target)),
    )
    .guarded_by(&[Guard::DecodedBytes])
    .on_any_server(),
    AttackCase::new(
        "I2-documents",
        "a document that claims to be an image is rejected",
        |target| Box::pin(output::documents(target)),
    )
    .audited_as(RefusalKind::Picture),
    AttackCase::new(
        "I2-uploaded-documents",
        "a document that a user uploads as an image is not stored",
        |target| Box::pin(uploads::documents(target)),
    )
    .audited_as(RefusalKind::Picture)
    .on_any_server(),
    rejected_image!(
        "I2-appended-archive",
        "an image that is also an archive is rejected",
        Guard::PictureEnd,
        Ok([&small_png(&[])?[..], b"PK\x05\x06 an archive"].concat())
    ),
    AttackCase::new(
        "I2-uploaded-archive",
        "bytes after the end of an uploaded image are not stored",
        |target| Box::pin(uploads::appended_archive(target)),
    )
    .guarded_by(&[Guard::PictureEnd])
    .on_any_server(),
    AttackCase::new(
        "I2-rendered-as-document",
        "a browser does not render a stored file as a document",
        |target| Box::pin(uploads::response_headers(target)),
    )
    .guarded_by(&[Guard::NoDocument])
    .on_any_server(),
    AttackCase::new(
        "I3-invalid-pixels",
        "pixels that cannot be decoded do not harm the server",
        |target| Box::pin(uploads::invalid_pixels(target)),
    )
    .on_any_server(),
    AttackCase::new(
        "I4-no-image",
        "a job of an engine that returns no image fails",
        |target| Box::pin(output::no_image(target)),
    ),
    AttackCase::new(
        "I4-too-many",
        "a job of an engine that returns too many images fails",
        |target| Box::pin(output::too_many(target)),
    )
    .guarded_by(&[Guard::Answer]),
    rejected_image!(
        "I4-truncated",
        "a truncated image is rejected",
        Guard::PictureWhole,
        {
            let mut bytes = small_png(&[])?;
            bytes.truncate(bytes.len() - 12);
            Ok(bytes)
        }
    ),
    AttackCase::new(
        "I4-another-type",
        "an image gets the type of its bytes, and not the type that an upstream declares",
        |target| Box::pin(output::declared_type(target)),
    ),
    AttackCase::new(
        "I6-reports",
        "a client does not receive each of 100 000 progress reports",
        |target| {
            Box::pin(output::limited_events(
                target,
                "progress 100000",
                "reported",
            ))
        },
    ),
    AttackCase::new(
        "I6-previews",
        "a client receives no more previews than it requested",
        |target| Box::pin(output::limited_events(target, "preview 5000", "shown")),
    ),
];

/// The upstream sends these bytes as an image, and the engine returns them.
async fn generate_from_upstream(target: &AttackTarget, bytes: &[u8]) -> Result<Response> {
    let headers = "content-type: image/png\r\n";
    target
        .upstream
        .set_raw(vec![RawStep::response("200 OK", headers, bytes)]);
    target.generate("fetch").await
}

/// The bytes of the first image of a response.
fn first_image(response: &Response) -> Result<Vec<u8>> {
    ensure!(
        response.status == StatusCode::OK,
        "the job failed, so the case proves nothing: {}",
        response.text()
    );
    let body = response.json()?;
    let base64 = body.pointer("/data/0/b64_json").and_then(Value::as_str);
    let base64 = base64.context("the response has no image")?;
    Ok(base64_simd::STANDARD.decode_to_vec(base64)?)
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

/// Fails unless the host rejects the bytes as an image.
async fn require_rejected(
    target: &AttackTarget,
    make_bytes: impl Fn() -> Result<Vec<u8>>,
) -> Result<()> {
    let response = generate_from_upstream(target, &make_bytes()?).await?;
    ensure!(!response.status.is_success(), "the image was accepted");
    ensure!(
        response.error_message().contains(" image "),
        "the job failed for another reason: {}",
        response.text()
    );
    Ok(())
}
