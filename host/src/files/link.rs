//! Links: URLs at which anyone downloads one file until a time.
//!
//! A browser, a chat front end and most libraries load an image's URL without the key of the API. So the URL
//! itself shows that the server made it: it contains the time at which it expires, and a MAC of that time and
//! of the file's id. Neither making nor checking it needs the database. Who has a link needs no account: the
//! link ends when it expires, when the file is deleted, or when the server's secret is replaced, and not when
//! its user signs out.
//!
//! The MAC is in the path and not in the query, which some clients drop.

use base64_simd::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use pinhole_ground::guard::{Guard, Refusal};
use sha2::Sha256;

use crate::store::{FileRow, now};

/// Separates this use of the server's secret from others.
const KEY_CONTEXT: &[u8] = b"pinhole: links to files";

/// Signs and verifies links.
#[derive(Clone)]
pub struct LinkSigner {
    key: [u8; 32],
}

/// Makes the links of one response.
#[derive(Clone)]
pub struct FileLinks {
    pub signer: LinkSigner,
    /// Of the server, without a slash at its end. If it is empty, the links are relative.
    pub base_url: String,
    /// How long a link works.
    pub lifetime_secs: i64,
}

impl LinkSigner {
    /// Derives the key from the server's secret.
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        let key = hmac(secret, KEY_CONTEXT).finalize().into_bytes();
        Self { key: key.into() }
    }

    /// Verifies a link. Returns the seconds until it expires.
    pub fn verify(
        &self,
        id: &str,
        expires: &str,
        signature: &str,
        now: i64,
    ) -> Result<u64, Refusal> {
        let expires_at: i64 = expires.parse().unwrap_or_default();
        let mac = URL_SAFE_NO_PAD.decode_to_vec(signature).unwrap_or_default();
        // The comparison takes the same time wherever the two differ.
        let is_signed = self.mac(id, expires_at).verify_slice(&mac).is_ok();
        let is_canonical = expires_at.to_string() == expires;
        Guard::LinkSignature.refuse_if(
            !(is_signed && is_canonical),
            || "the link is not one that this server made: request the image again",
        )?;
        Guard::LinkExpiry.refuse_if(
            expires_at <= now,
            || "the link has expired: request the image again",
        )?;
        Ok(u64::try_from(expires_at.saturating_sub(now)).unwrap_or_default())
    }

    fn sign(&self, id: &str, expires_at: i64) -> String {
        let mac = self.mac(id, expires_at).finalize().into_bytes();
        URL_SAFE_NO_PAD.encode_to_string(mac)
    }

    fn mac(&self, id: &str, expires_at: i64) -> Hmac<Sha256> {
        // The first point ends the number, so that no two pairs have the same text.
        hmac(&self.key, format!("{expires_at}.{id}").as_bytes())
    }
}

impl FileLinks {
    /// The link to a file. It expires after the lifetime from now.
    #[must_use]
    pub fn url(&self, file: &FileRow) -> String {
        self.url_until(file, now().saturating_add(self.lifetime_secs))
    }

    /// The link to a file. It expires at this time, in seconds since 1970.
    #[must_use]
    pub fn url_until(&self, file: &FileRow, expires_at: i64) -> String {
        let Self {
            signer, base_url, ..
        } = self;
        let (id, signature) = (&file.id, signer.sign(&file.id, expires_at));
        let name = match file.media_type.as_str() {
            "image/jpeg" => "image.jpg",
            "image/webp" => "image.webp",
            "image/gif" => "image.gif",
            "image/avif" => "image.avif",
            _ => "image.png",
        };
        format!("{base_url}/api/v1/files/{id}/content/{expires_at}/{signature}/{name}")
    }
}

fn hmac(key: &[u8], text: &[u8]) -> Hmac<Sha256> {
    #[expect(clippy::expect_used, reason = "HMAC accepts keys of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("key of any length");
    mac.update(text);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(id: &str, expires: &str, signature: &str, now: i64, expected: Result<u64, Guard>) {
        let signer = LinkSigner::new(b"secret");
        let verified = signer.verify(id, expires, signature, now);
        let expected = expected.map_err(Some);
        assert_eq!(
            verified.map_err(|refusal| refusal.guard),
            expected,
            "{id} {expires}"
        );
    }

    #[test]
    fn link_opens_its_file_until_it_expires() {
        let signature = LinkSigner::new(b"secret").sign("fox", 1000);
        check("fox", "1000", &signature, 999, Ok(1));
        check("fox", "1000", &signature, 1000, Err(Guard::LinkExpiry));
        for (id, expires) in [
            ("hen", "1000"),
            ("fox", "1001"),
            ("fox", "+1000"),
            ("fox", "01000"),
            ("fox", ""),
            ("fox", "99999999999999999999"),
            ("0.fox", "100"),
        ] {
            check(id, expires, &signature, 0, Err(Guard::LinkSignature));
        }
        let foreign = LinkSigner::new(b"another").sign("fox", 1000);
        let short = signature.get(1..).unwrap();
        for invalid in [foreign.as_str(), short, "", "ä"] {
            check("fox", "1000", invalid, 0, Err(Guard::LinkSignature));
        }
    }

    #[test]
    fn link_ends_with_the_type_of_its_image() {
        let links = FileLinks {
            signer: LinkSigner::new(b"secret"),
            base_url: "https://images.example".to_owned(),
            lifetime_secs: 60,
        };
        let file = |media_type: &str| FileRow {
            id: "fox".to_owned(),
            user_id: String::new(),
            name: String::new(),
            media_type: media_type.to_owned(),
            size_bytes: 1,
            hash: String::new(),
            meta: String::new(),
            created_at: 0,
        };
        for (media_type, end) in [("image/png", "/image.png"), ("image/jpeg", "/image.jpg")] {
            let url = links.url(&file(media_type));
            let start = "https://images.example/api/v1/files/fox/content/";
            assert!(url.starts_with(start) && url.ends_with(end), "{url}");
        }
    }
}
