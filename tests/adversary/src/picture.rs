//! I: pictures and texts that come out.

mod made;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::Value;

use super::arena::{Answer, Arena, SECRET};
use super::upstream::answer;
use super::{Case, Place};
use pinhole_ground::audit::Kind;
use pinhole_ground::guard::Guard;

use made::{DEEP, GREY, chunk, gif, jpeg, packed, png, small, webp, zeros};

/// The setting that says what stays of metadata.
const METADATA: &str = "PINHOLE_IMAGE_METADATA";
/// What a program of somebody else noted.
const WORKFLOW: &str = "the workflow of somebody else";

pub(super) const CASES: &[Case] = &[
    Case {
        name: "S6-workflow",
        must_not: "what an upstream's program noted in a picture reaches the client",
        guards: &[Guard::Metadata],
        noted: None,
        place: Place::Anywhere,
        attack: |arena| Box::pin(notes(arena)),
    },
    Case {
        name: "S6-packed-secret",
        must_not: "a secret in a picture's compressed text passes where metadata is kept",
        guards: &[Guard::MetadataSecret],
        noted: Some(Kind::Secret),
        place: Place::Anywhere,
        attack: |arena| Box::pin(packed_secret(arena)),
    },
    Case {
        name: "I1-pixels",
        must_not: "a picture with more pixels than the limit is taken",
        guards: &[Guard::PictureSize],
        noted: Some(Kind::Picture),
        place: Place::Anywhere,
        attack: |arena| {
            Box::pin(refused(arena, || {
                png((8193, 8192), GREY, &[], &[0; 70_000])
            }))
        },
    },
    Case {
        name: "I1-header-alone",
        must_not: "a few bytes that claim 64 million pixels are taken",
        guards: &[Guard::PictureRatio],
        noted: Some(Kind::Picture),
        place: Place::Anywhere,
        attack: |arena| Box::pin(refused(arena, || png((8192, 8192), GREY, &[], &[0; 8]))),
    },
    Case {
        name: "I1-length",
        must_not: "a picture with more bytes than the limit is taken",
        guards: &[Guard::PictureLength],
        noted: Some(Kind::Picture),
        place: Place::Anywhere,
        attack: |arena| {
            Box::pin(refused(arena, || {
                png((1, 1), GREY, &[], &vec![0; 33 << 20])
            }))
        },
    },
    Case {
        name: "I1-frames",
        must_not: "an animation of more frames than the limit is taken",
        guards: &[Guard::PictureFrames],
        noted: Some(Kind::Picture),
        place: Place::Anywhere,
        attack: |arena| Box::pin(refused(arena, || Ok(gif(1, 100_000)))),
    },
    Case {
        name: "I1-pixels-of-all-frames",
        must_not: "an animation whose frames together have more pixels than the limit is taken",
        guards: &[Guard::PictureFramePixels],
        noted: Some(Kind::Picture),
        place: Place::Anywhere,
        attack: |arena| Box::pin(refused(arena, || Ok(gif(8192, 100)))),
    },
    Case {
        name: "I1-scans",
        must_not: "a JPEG of more scans than the limit is taken",
        guards: &[Guard::PictureScans],
        noted: Some(Kind::Picture),
        place: Place::Anywhere,
        attack: |arena| Box::pin(refused(arena, || Ok(jpeg(8, 10_000)))),
    },
    Case {
        name: "I1-metadata",
        must_not: "a picture with more metadata than the limit is taken",
        guards: &[Guard::MetadataLength],
        noted: Some(Kind::Picture),
        place: Place::Anywhere,
        attack: |arena| {
            Box::pin(refused(arena, || {
                small(&[chunk(b"tEXt", &vec![b'x'; 9 << 20])?])
            }))
        },
    },
    Case {
        name: "I1-packed-text",
        must_not: "text that unpacks to more than the limit passes where metadata is kept",
        guards: &[Guard::UnpackedLength],
        noted: None,
        place: Place::Anywhere,
        attack: |arena| Box::pin(packed_text(arena)),
    },
    Case {
        name: "I1-decoded",
        must_not: "a picture whose pixels take more memory than the limit is decoded",
        guards: &[Guard::DecodedBytes],
        noted: None,
        place: Place::WithoutEngine,
        attack: |arena| Box::pin(decoded(arena)),
    },
    Case {
        name: "I2-documents",
        must_not: "a document that is called a picture is taken for one",
        guards: &[],
        noted: Some(Kind::Picture),
        place: Place::Anywhere,
        attack: |arena| Box::pin(documents(arena)),
    },
    Case {
        name: "I2-uploaded-documents",
        must_not: "a document that a person uploads as a picture is kept",
        guards: &[],
        noted: Some(Kind::Picture),
        place: Place::WithoutEngine,
        attack: |arena| Box::pin(uploaded_documents(arena)),
    },
    Case {
        name: "I2-archive-behind",
        must_not: "a picture that is an archive too is taken",
        guards: &[Guard::PictureEnd],
        noted: Some(Kind::Picture),
        place: Place::Anywhere,
        attack: |arena| {
            Box::pin(refused(arena, || {
                Ok([&small(&[])?[..], b"PK\x05\x06 an archive"].concat())
            }))
        },
    },
    Case {
        name: "I2-uploaded-archive",
        must_not: "what stands behind an uploaded picture is kept with it",
        guards: &[Guard::PictureEnd],
        noted: None,
        place: Place::WithoutEngine,
        attack: |arena| Box::pin(uploaded_archive(arena)),
    },
    Case {
        name: "I2-shown-as-a-document",
        must_not: "a browser may make a document of a file",
        guards: &[Guard::NoDocument],
        noted: None,
        place: Place::WithoutEngine,
        attack: |arena| Box::pin(sent(arena)),
    },
    Case {
        name: "I3-broken-pixels",
        must_not: "pixels that cannot be decoded hurt the server",
        guards: &[],
        noted: None,
        place: Place::WithoutEngine,
        attack: |arena| Box::pin(broken(arena)),
    },
    Case {
        name: "I4-no-picture",
        must_not: "an engine that gives no picture has made one",
        guards: &[],
        noted: None,
        place: Place::Anywhere,
        attack: |arena| Box::pin(fails(arena, "none", "returned no image")),
    },
    Case {
        name: "I4-too-many",
        must_not: "more pictures than were asked for are taken",
        guards: &[Guard::Answer],
        noted: None,
        place: Place::Anywhere,
        attack: |arena| Box::pin(too_many(arena)),
    },
    Case {
        name: "I4-cut-off",
        must_not: "half a picture is taken for one",
        guards: &[Guard::PictureWhole],
        noted: Some(Kind::Picture),
        place: Place::Anywhere,
        attack: |arena| {
            Box::pin(refused(arena, || {
                let mut half = small(&[])?;
                half.truncate(half.len() - 12);
                Ok(half)
            }))
        },
    },
    Case {
        name: "I4-another-type",
        must_not: "the type that an upstream says counts, and not that of the bytes",
        guards: &[],
        noted: None,
        place: Place::Anywhere,
        attack: |arena| Box::pin(another_type(arena)),
    },
    Case {
        name: "I6-reports",
        must_not: "a client is told each of a hundred thousand steps",
        guards: &[],
        noted: None,
        place: Place::Anywhere,
        attack: |arena| Box::pin(told(arena, "progress 100000", "reported")),
    },
    Case {
        name: "I6-drafts",
        must_not: "a client is sent more drafts of a picture than it asked for",
        guards: &[],
        noted: None,
        place: Place::Anywhere,
        attack: |arena| Box::pin(told(arena, "preview 5000", "shown")),
    },
];

/// The upstream gives these bytes as a picture, and the engine returns it.
async fn fetch(arena: &Arena, bytes: &[u8]) -> Result<Answer> {
    let steps = vec![answer("200 OK", "content-type: image/png\r\n", bytes)];
    arena.upstream.answers(steps);
    arena.draw("fetch").await
}

/// The bytes of an answer's first picture.
fn picture(answer: &Answer) -> Result<Vec<u8>> {
    ensure!(
        answer.status == StatusCode::OK,
        "the job failed, so nothing is shown: {}",
        answer.text()
    );
    let json = answer.json()?;
    let text = json.pointer("/data/0/b64_json").and_then(Value::as_str);
    let text = text.context("the answer has no picture")?;
    Ok(base64_simd::STANDARD.decode_to_vec(text)?)
}

fn holds(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|place| place == text)
}

async fn refused(arena: &Arena, make: impl Fn() -> Result<Vec<u8>>) -> Result<()> {
    let answer = fetch(arena, &make()?).await?;
    ensure!(!answer.status.is_success(), "it was taken");
    ensure!(
        answer.message().contains(" image "),
        "it failed for another reason: {}",
        answer.text()
    );
    Ok(())
}

async fn fails(arena: &Arena, prompt: &str, why: &str) -> Result<()> {
    let answer = arena.draw(prompt).await?;
    ensure!(
        !answer.status.is_success() && answer.message().contains(why),
        "{}",
        answer.text()
    );
    Ok(())
}

async fn too_many(arena: &Arena) -> Result<()> {
    let body = serde_json::json!({"prompt": "many", "n": 4});
    let answer = arena.draw_with(body).await?;
    ensure!(!answer.status.is_success(), "all of them were taken");
    Ok(())
}

/// A client that asked for two drafts watches a job that tells far more, and ends with these words.
async fn told(arena: &Arena, prompt: &str, last: &str) -> Result<()> {
    let body = serde_json::json!({"prompt": prompt, "stream": true, "partial_images": 2});
    let answer = arena.draw_with(body).await?;
    let text = answer.text();
    ensure!(text.contains(last), "the job ended otherwise: {text}");
    let drafts = text
        .matches("event: image_generation.partial_image")
        .count();
    ensure!(drafts <= 2, "{drafts} drafts");
    ensure!(text.len() < 16 << 10, "{} bytes", text.len());
    Ok(())
}

async fn notes(arena: &Arena) -> Result<()> {
    let noted = |name, before: &[u8]| chunk(name, &[before, WORKFLOW.as_bytes()].concat());
    let chunks = [
        noted(b"tEXt", b"workflow\0")?,
        noted(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0")?,
        noted(b"eXIf", b"II*\0\x08\0\0\0\0\0\0\0\0\0")?,
        noted(b"caBX", b"")?,
        noted(b"prVt", b"")?,
    ];
    let made = picture(&fetch(arena, &small(&chunks)?).await?)?;
    ensure!(!holds(&made, WORKFLOW.as_bytes()), "it is in the picture");
    Ok(())
}

async fn set(arena: &Arena, value: &str) -> Result<()> {
    let answer = arena.set(METADATA, value).await?;
    ensure!(answer.status == StatusCode::OK, "{}", answer.text());
    Ok(())
}

async fn packed_secret(arena: &Arena) -> Result<()> {
    set(arena, "keep").await?;
    let text = |text: &str| chunk(b"zTXt", &[b"note\0\0", &packed(text)?[..]].concat());
    let harmless = small(&[text(WORKFLOW)?])?;
    let made = picture(&fetch(arena, &harmless).await?)?;
    ensure!(made == harmless, "what is to be kept is not");
    let made = picture(&fetch(arena, &small(&[text(SECRET)?])?).await?)?;
    ensure!(!holds(&made, b"zTXt"), "it is in the picture");
    Ok(())
}

async fn packed_text(arena: &Arena) -> Result<()> {
    set(arena, "keep").await?;
    let text = chunk(b"zTXt", &[b"note\0\0", &zeros(40 << 20)?[..]].concat())?;
    let made = picture(&fetch(arena, &small(&[text])?).await?)?;
    ensure!(!holds(&made, b"zTXt"), "it is in the picture");
    Ok(())
}

async fn documents(arena: &Arena) -> Result<()> {
    for document in DOCUMENTS {
        let answer = fetch(arena, document).await?;
        let shown = String::from_utf8_lossy(document);
        ensure!(!answer.status.is_success(), "{shown} was taken");
    }
    Ok(())
}

const DOCUMENTS: [&[u8]; 6] = [
    b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
    b"<!doctype html><script>alert(1)</script>",
    b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
    b"PK\x03\x04\x14\0\0\0\0\0",
    b"II*\0\x08\0\0\0\0\0\0\0\0\0",
    b"GIF89a/*",
];

/// Keeps a file as a person would.
async fn upload(arena: &Arena, name: &str, bytes: &[u8]) -> Result<Answer> {
    const TYPE: &str = "multipart/form-data; boundary=quiet-heron";
    let head = format!(
        "--quiet-heron\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
         content-type: image/png\r\n\r\n"
    );
    let form = [head.as_bytes(), bytes, b"\r\n--quiet-heron--\r\n"].concat();
    let (by, path) = (&arena.administrator, "/api/v1/files/");
    arena.ask(by, Method::POST, path, TYPE, form.into()).await
}

/// The same of what is taken: the path of the file.
async fn kept(arena: &Arena, name: &str, bytes: &[u8]) -> Result<String> {
    let answer = upload(arena, name, bytes).await?;
    ensure!(answer.status == StatusCode::OK, "{}", answer.text());
    let row = answer.json()?;
    let id = row.get("id").and_then(Value::as_str);
    Ok(format!(
        "/api/v1/files/{}",
        id.context("a file without an id")?
    ))
}

async fn remove(arena: &Arena, path: &str) -> Result<()> {
    let by = &arena.administrator;
    let answer = arena
        .ask(by, Method::DELETE, path, "", Bytes::new())
        .await?;
    ensure!(answer.status == StatusCode::OK, "{}", answer.text());
    Ok(())
}

async fn uploaded_documents(arena: &Arena) -> Result<()> {
    for document in DOCUMENTS {
        let answer = upload(arena, "fox.png", document).await?;
        let shown = String::from_utf8_lossy(document);
        ensure!(
            answer.status == StatusCode::BAD_REQUEST,
            "{shown}: {}",
            answer.text()
        );
    }
    Ok(())
}

async fn uploaded_archive(arena: &Arena) -> Result<()> {
    let plain = small(&[])?;
    let both = [&plain[..], b"PK\x05\x06 an archive"].concat();
    let path = kept(arena, "fox.png", &both).await?;
    let answer = arena.get(&format!("{path}/content")).await?;
    remove(arena, &path).await?;
    ensure!(answer.body == plain, "it is sent again");
    Ok(())
}

async fn sent(arena: &Arena) -> Result<()> {
    let path = kept(arena, "fox.html", &small(&[])?).await?;
    for place in ["content", "content/fox.html", "thumbnail"] {
        let answer = arena.get(&format!("{path}/{place}")).await?;
        let header = |name: &str| {
            let value = answer
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let policy = header("content-security-policy");
        ensure!(
            policy.contains("default-src 'none'") && policy.contains("sandbox"),
            "{place} has the policy {policy:?}"
        );
        ensure!(
            header("x-content-type-options") == "nosniff",
            "{place} may be sniffed"
        );
        ensure!(
            header("cross-origin-resource-policy") == "same-site",
            "{place} is for all"
        );
        let media_type = header("content-type");
        ensure!(media_type.starts_with("image/"), "{place} is {media_type}");
    }
    remove(arena, &path).await
}

async fn decoded(arena: &Arena) -> Result<()> {
    // Eight bytes a pixel: fewer pixels than may be kept, and more bytes than are decoded.
    let side = 5100;
    let rows = side as usize * (1 + side as usize * 8);
    let vast = png((side, side), DEEP, &[], &zeros(rows)?)?;
    let path = kept(arena, "fox.png", &vast).await?;
    let answer = arena.get(&format!("{path}/thumbnail")).await?;
    remove(arena, &path).await?;
    ensure!(
        answer.status == StatusCode::UNPROCESSABLE_ENTITY,
        "it was decoded: {}",
        answer.status
    );
    Ok(())
}

async fn broken(arena: &Arena) -> Result<()> {
    let pictures = [
        png((8, 8), GREY, &[], b"\x78\x9c no zlib at all")?,
        png((32, 32), DEEP, &[], &zeros(100)?)?,
        gif(8000, 1),
        jpeg(16, 1),
        webp(),
    ];
    for bytes in pictures {
        let path = kept(arena, "fox.png", &bytes).await?;
        let answer = arena.get(&format!("{path}/thumbnail")).await?;
        remove(arena, &path).await?;
        ensure!(
            answer.status == StatusCode::OK || answer.status == StatusCode::UNPROCESSABLE_ENTITY,
            "{}: {}",
            answer.status,
            answer.text()
        );
    }
    Ok(())
}

async fn another_type(arena: &Arena) -> Result<()> {
    let steps = vec![answer("200 OK", "content-type: text/html\r\n", small(&[])?)];
    arena.upstream.answers(steps);
    let body = serde_json::json!({"prompt": "fetch", "engine": "hostile"});
    let answer = arena.post("/api/v1/images/generations", &body).await?;
    ensure!(answer.status == StatusCode::OK, "{}", answer.text());
    let said = answer.json()?;
    let url = said.pointer("/0/url").and_then(Value::as_str);
    let url = url.context("no file was kept")?;
    let file = arena.get(url).await?;
    let media_type = file.headers.get("content-type");
    ensure!(
        media_type.is_some_and(|it| it == "image/png"),
        "the file is sent as {media_type:?}"
    );
    if let Some(path) = url.strip_suffix("/content") {
        remove(arena, path).await?;
    }
    Ok(())
}
