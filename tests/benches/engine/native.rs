//! The engine `openai` without a component: the same request, checks and limits on reqwest.

use std::sync::Arc;

use base64::Engine as _;
use bytes::Bytes;
use pinhole_images::{Image, ImageLimits};
use serde::Deserialize;
use serde_json::json;

use super::upstream;

const LIMITS: ImageLimits = ImageLimits {
    max_bytes: 32 << 20,
    max_pixels: 64 << 20,
};

/// Which crate decodes the picture.
#[derive(Clone, Copy)]
pub(crate) enum Decoder {
    Base64,
    Simd,
}

pub(crate) struct Native {
    client: reqwest::Client,
    url: String,
}

#[derive(Deserialize)]
struct Answer {
    data: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    b64_json: String,
}

impl Native {
    pub(crate) fn new(base: &str) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        Self {
            client: client.build().unwrap(),
            url: format!("{base}/images/generations"),
        }
    }

    pub(crate) async fn generate(&self, bytes: usize, delay_ms: u64, decoder: Decoder) {
        let body = json!({"model": upstream::model(bytes, delay_ms), "prompt": "a fox"});
        let request = self.client.post(&self.url).bearer_auth("k");
        let request = request.header("content-type", "application/json");
        let response = request.body(body.to_string()).send().await.unwrap();
        assert!(response.status().is_success());
        let whole = response.bytes().await.unwrap();
        let answer: Answer = serde_json::from_slice(&whole).unwrap();
        for item in answer.data {
            let decoded = match decoder {
                Decoder::Base64 => base64::engine::general_purpose::STANDARD
                    .decode(item.b64_json)
                    .unwrap(),
                Decoder::Simd => base64_simd::STANDARD.decode_to_vec(item.b64_json).unwrap(),
            };
            let image = Image::from_bytes(Bytes::from(decoded), LIMITS).unwrap();
            assert_eq!(image.bytes().len(), bytes);
        }
    }
}
