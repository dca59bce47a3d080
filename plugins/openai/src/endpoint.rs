//! The endpoint of the images API: its upstream, its paths and its kind of authentication.

use pinhole_sdk::request::percent_encode;
use pinhole_sdk::{Credential, SecretHeader, Settings, Upstream};

use crate::settings::{API_KEY, API_VERSION, AUTHENTICATION, BASE_URL};

/// The upstream that receives the key as a bearer token.
const BEARER: &str = "api";
/// The upstream with the same base URL that receives the key in Azure's header.
const AZURE: &str = "azure";
/// The domain of every Azure resource.
const AZURE_HOST_SUFFIX: &str = ".azure.com";
const OPENAI_HOST: &str = "api.openai.com";
/// The host of OpenRouter, which makes images through chat completions.
const OPEN_ROUTER_HOST: &str = "openrouter.ai";
/// Precedes the name of the deployment in a classic Azure URL.
const DEPLOYMENTS_PATH: &str = "/openai/deployments/";

/// The endpoint that the settings describe.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// Name of the upstream that receives the requests.
    pub(crate) upstream: &'static str,
    /// The model, if the base URL is a classic Azure URL.
    pub(crate) deployment: Option<String>,
    /// The base URL is OpenAI's own.
    pub(crate) is_openai: bool,
    /// The base URL is OpenRouter's.
    pub(crate) is_open_router: bool,
    path_prefix: &'static str,
    api_version: Option<String>,
}

/// The engine's upstreams: the same base URL with two ways to send the key.
pub(crate) fn upstreams() -> Vec<Upstream> {
    let upstream = |name: &str, credential| Upstream {
        name: name.into(),
        base_url: BASE_URL.into(),
        credentials: vec![credential],
        requests: [
            "POST /images/",
            "POST /v1/images/",
            "POST /chat/completions",
            "POST /v1/chat/completions",
            "GET /models",
            "GET /v1/models",
        ]
        .map(str::to_owned)
        .to_vec(),
        // Compatible servers return the URL of any storage service.
        image_hosts: vec!["*".into()],
        hosts: Vec::new(),
    };
    vec![
        upstream(BEARER, Credential::Bearer(API_KEY.into())),
        upstream(
            AZURE,
            Credential::Header(SecretHeader::new("api-key", API_KEY)),
        ),
    ]
}

impl Endpoint {
    pub(crate) fn from_settings(settings: &Settings) -> Self {
        let url = settings.text(BASE_URL).unwrap_or_default();
        let (_, after_scheme) = url.split_once("://").unwrap_or(("", &url));
        let host_length = after_scheme.find('/').unwrap_or(after_scheme.len());
        let (host_and_port, path) = after_scheme.split_at(host_length);
        let (host, _port) = host_and_port
            .rsplit_once(':')
            .unwrap_or((host_and_port, ""));
        let host = host.to_lowercase();
        let deployment = path.split_once(DEPLOYMENTS_PATH).map(|(_, name)| name);
        let is_azure = deployment.is_some() || host.ends_with(AZURE_HOST_SUFFIX);
        let upstream = match settings.text(AUTHENTICATION).as_deref() {
            Some("bearer") => BEARER,
            Some("api-key") => AZURE,
            _ if is_azure => AZURE,
            _ => BEARER,
        };
        let has_path = !path.trim_matches('/').is_empty();
        Self {
            upstream,
            // Also the hosts of its regions.
            is_openai: host == OPENAI_HOST || host.ends_with(".api.openai.com"),
            is_open_router: host == OPEN_ROUTER_HOST || host.ends_with(".openrouter.ai"),
            deployment: deployment.map(|name| name.trim_end_matches('/').to_owned()),
            path_prefix: if has_path { "" } else { "/v1" },
            api_version: settings.text(API_VERSION),
        }
    }

    /// A path under the base URL, with the API version of the settings.
    pub(crate) fn request_path(&self, path: &str) -> String {
        let prefix = self.path_prefix;
        match &self.api_version {
            Some(version) => format!("{prefix}{path}?api-version={}", percent_encode(version)),
            None => format!("{prefix}{path}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::settings_with;

    fn check(
        base_url: &str,
        authentication: &str,
        upstream: &str,
        path: &str,
        deployment: Option<&str>,
    ) {
        let settings = settings_with(&[(BASE_URL, base_url), (AUTHENTICATION, authentication)]);
        let endpoint = Endpoint::from_settings(&settings);
        assert_eq!(endpoint.upstream, upstream, "{base_url}");
        assert_eq!(endpoint.request_path("/models"), path, "{base_url}");
        assert_eq!(endpoint.deployment.as_deref(), deployment, "{base_url}");
    }

    #[test]
    fn endpoint_detects_azure_from_base_url() {
        check("https://api.openai.com/v1", "auto", BEARER, "/models", None);
        let classic = "https://r.openai.azure.com/openai/deployments/dep/";
        check(classic, "auto", AZURE, "/models", Some("dep"));
        check(classic, "bearer", BEARER, "/models", Some("dep"));
        let newer = "https://R.OpenAI.Azure.com:443/openai/v1";
        check(newer, "auto", AZURE, "/models", None);
        let gateway = "http://127.0.0.1:8080/openai/deployments/d";
        check(gateway, "auto", AZURE, "/models", Some("d"));
        check("http://azure.com.evil/v1", "auto", BEARER, "/models", None);
        check("http://localhost:1/x", "api-key", AZURE, "/models", None);
    }

    #[test]
    fn endpoint_adds_version_to_base_url_without_path() {
        check("http://127.0.0.1:1234", "auto", BEARER, "/v1/models", None);
        check("http://127.0.0.1:1234/", "auto", BEARER, "/v1/models", None);
        check("http://127.0.0.1/api/", "auto", BEARER, "/models", None);
    }

    #[test]
    fn request_path_percent_encodes_api_version() {
        let path = |version| {
            let settings = settings_with(&[(API_VERSION, version)]);
            Endpoint::from_settings(&settings).request_path("/models")
        };
        assert_eq!(path(""), "/models");
        assert_eq!(path("2025-04-01"), "/models?api-version=2025-04-01");
        assert_eq!(path("a&b=c"), "/models?api-version=a%26b%3Dc");
    }
}
