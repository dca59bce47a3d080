//! The engine `openai` without a component: the same request, checks and limits with reqwest.

use std::sync::Arc;

use base64::Engine as _;
use bytes::Bytes;
use pinhole_images::{Image, ImageLimits};
use serde::Deserialize;
use serde_json::json;

use super::upstream_process::model_name;

const LIMITS: ImageLimits = ImageLimits {
    max_bytes: 32 << 20,
    max_pixels: 64 << 20,
};

/// The crate that decodes base64.
#[derive(Clone, Copy)]
pub(crate) enum Base64Crate {
    Base64,
    Base64Simd,
}

pub(crate) struct NativeEngine {
    client: reqwest::Client,
    url: String,
}

#[derive(Deserialize)]
struct ImagesResponse {
    data: Vec<ImageItem>,
}

#[derive(Deserialize)]
struct ImageItem {
    b64_json: String,
}

impl NativeEngine {
    pub(crate) fn new(base_url: &str) -> Self {
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
            url: format!("{base_url}/images/generations"),
        }
    }

    pub(crate) async fn generate(&self, image_bytes: usize, delay_ms: u64, decoder: Base64Crate) {
        let body = json!({"model": model_name(image_bytes, delay_ms), "prompt": "a fox"});
        let response = self
            .client
            .post(&self.url)
            .bearer_auth("k")
            .header("content-type", "application/json")
            .body(body.to_string())
            .send()
            .await
            .unwrap();
        assert!(response.status().is_success());
        let json = response.bytes().await.unwrap();
        let images: ImagesResponse = serde_json::from_slice(&json).unwrap();
        for item in images.data {
            let decoded = match decoder {
                Base64Crate::Base64 => base64::engine::general_purpose::STANDARD
                    .decode(item.b64_json)
                    .unwrap(),
                Base64Crate::Base64Simd => {
                    base64_simd::STANDARD.decode_to_vec(item.b64_json).unwrap()
                }
            };
            let image = Image::from_bytes(Bytes::from(decoded), LIMITS).unwrap();
            assert_eq!(image.bytes().len(), image_bytes);
        }
    }
}
