//! Where requests go, and how the host authenticates there.

use pinhole_sdk::request::percent_encode;
use pinhole_sdk::{Credential, Settings, Upstream};

use crate::settings::{API_KEY, API_VERSION, AUTHENTICATION, BASE_URL};

/// The upstream that is sent the key as a bearer token.
const BEARER: &str = "api";
/// The same address, that is sent the key in a header of its own.
const AZURE: &str = "azure";
/// Ends the host of every Azure resource.
const AZURE_HOST: &str = ".azure.com";
/// What stands in front of a deployment's name in a classic Azure address.
const DEPLOYMENTS: &str = "/openai/deployments/";

/// The address of the images API, as the operator set it.
#[derive(Debug)]
pub(crate) struct Address {
    /// The name of the upstream that requests go to.
    pub(crate) upstream: &'static str,
    /// The model that a classic Azure address already names.
    pub(crate) deployment: Option<String>,
    prefix: &'static str,
    version: Option<String>,
}

/// The upstreams that the engine speaks to: one address, two ways to send the key.
pub(crate) fn upstreams() -> Vec<Upstream> {
    let upstream = |name: &str, credential| Upstream {
        name: name.into(),
        base_url: BASE_URL.into(),
        credential,
        requests: [
            "POST /images/",
            "POST /v1/images/",
            "GET /models",
            "GET /v1/models",
        ]
        .map(str::to_owned)
        .to_vec(),
    };
    vec![
        upstream(BEARER, Credential::Bearer(API_KEY.into())),
        upstream(
            AZURE,
            Credential::Header(("api-key".into(), API_KEY.into())),
        ),
    ]
}

impl Address {
    pub(crate) fn read(settings: &Settings) -> Self {
        let url = settings.text(BASE_URL).unwrap_or_default();
        let (_, rest) = url.split_once("://").unwrap_or(("", &url));
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, _port) = host.rsplit_once(':').unwrap_or((host, ""));
        let deployment = path.split_once(DEPLOYMENTS).map(|(_, name)| name);
        let azure = deployment.is_some() || host.to_lowercase().ends_with(AZURE_HOST);
        let api_key = match settings.text(AUTHENTICATION).as_deref() {
            Some("bearer") => false,
            Some("api-key") => true,
            _ => azure,
        };
        Self {
            upstream: if api_key { AZURE } else { BEARER },
            deployment: deployment.map(|name| name.trim_end_matches('/').to_owned()),
            prefix: if path.trim_matches('/').is_empty() {
                "/v1"
            } else {
                ""
            },
            version: settings.text(API_VERSION),
        }
    }

    /// A path under the base URL, with the API version that the operator set.
    pub(crate) fn path(&self, path: &str) -> String {
        let prefix = self.prefix;
        match &self.version {
            Some(version) => format!("{prefix}{path}?api-version={}", percent_encode(version)),
            None => format!("{prefix}{path}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings;

    fn check(base: &str, authentication: &str, upstream: &str, path: &str, model: Option<&str>) {
        let settings = settings::with(&[(BASE_URL, base), (AUTHENTICATION, authentication)]);
        let address = Address::read(&settings);
        assert_eq!(address.upstream, upstream, "{base}");
        assert_eq!(address.path("/models"), path, "{base}");
        assert_eq!(address.deployment.as_deref(), model, "{base}");
    }

    #[test]
    fn the_base_url_tells_azure_from_others() {
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
    fn an_address_without_a_path_gets_a_version() {
        check("http://127.0.0.1:1234", "auto", BEARER, "/v1/models", None);
        check("http://127.0.0.1:1234/", "auto", BEARER, "/v1/models", None);
        check("http://127.0.0.1/api/", "auto", BEARER, "/models", None);
    }

    #[test]
    fn the_api_version_is_percent_encoded() {
        let path = |version| {
            let settings = settings::with(&[(API_VERSION, version)]);
            Address::read(&settings).path("/models")
        };
        assert_eq!(path(""), "/models");
        assert_eq!(path("2025-04-01"), "/models?api-version=2025-04-01");
        assert_eq!(path("a&b=c"), "/models?api-version=a%26b%3Dc");
    }
}
