//! Data URLs: URLs that contain an image.

use pinhole_images::Image;

/// True for `data:` URLs.
#[must_use]
pub fn is_data_url(url: &str) -> bool {
    url.get(..5)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:"))
}

/// An image as a data URL.
#[must_use]
pub fn encode_data_url(image: &Image) -> String {
    let mut url = format!("data:{};base64,", image.media_type());
    base64_simd::STANDARD.encode_append(image.bytes(), &mut url);
    url
}

/// The most bytes that a data URL contains.
pub(super) fn decoded_length(url: &str) -> usize {
    url.len() / 4 * 3 + 3
}

/// The bytes of a data URL. `None` unless it is base64.
pub(super) fn decode_data_url(url: &str) -> Option<Vec<u8>> {
    let (head, text) = url.split_once(',')?;
    if !head.ends_with(";base64") {
        return None;
    }
    decode_base64(text)
}

/// The bytes of a text in base64.
pub(super) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    base64_simd::forgiving_decode_to_vec(text.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decode_data_url_accepts_only_base64() {
        for (url, expected) in [
            ("data:image/png;base64,AQI=", Some(&[1, 2][..])),
            ("DATA:image/png;base64,AQI", Some(&[1, 2])),
            ("data:image/png;base64,*", None),
            ("data:image/png,AQI=", None),
            ("data:", None),
        ] {
            let decoded = is_data_url(url).then(|| decode_data_url(url)).flatten();
            assert_eq!(decoded.as_deref(), expected, "{url}");
        }
        assert!(!is_data_url("dat") && !is_data_url("http://x"));
    }
}
