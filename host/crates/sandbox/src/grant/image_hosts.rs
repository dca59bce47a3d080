//! Which image URLs in an upstream's responses the host may fetch.
//!
//! A URL at the upstream's own origin follows the granted requests. If the engine is granted any public host, it
//! may also be an image file there: servers put them next to their API. Any other URL needs its host: granted to
//! the engine, or in the operator's list, which replaces the granted hosts.

use std::collections::BTreeSet;

use http::Method;
use pinhole_egress::{ImageHost, ImageRoute, ImageSource, Url};
use pinhole_ground::guard::{Guard, Refusal};

use super::{RequestDenial, RequestRule, Upstream, Upstreams};

/// Entries of an operator's list.
const MAX_SOURCES: usize = 64;
/// Length of a value that a remedy shows, in bytes.
const MAX_VALUE_BYTES: usize = 300;

/// The operator's list of image hosts for one binding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageHostSetting {
    /// The name by which the operator knows it.
    pub name: String,
    /// The value is a JSON array. Otherwise it is text, separated by commas.
    pub is_json: bool,
    /// `None` while it is unset.
    pub sources: Option<Vec<ImageSource>>,
}

/// Why an image must not be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ImageDenial {
    /// The engine declares this rule, which covers the path at the upstream's own origin, but the grant does
    /// not allow it.
    NotGranted(RequestRule),
    /// The URL is at the upstream's own origin, and the engine declares no request for its path.
    Path,
    Host,
}

impl ImageHostSetting {
    /// Parses the entries of a list. The error follows the setting's name.
    pub fn parse<'a>(
        entries: impl IntoIterator<Item = &'a str>,
    ) -> Result<Vec<ImageSource>, String> {
        let sources: Vec<_> = entries
            .into_iter()
            .map(ImageSource::parse)
            .collect::<Result<_, _>>()?;
        if sources.len() > MAX_SOURCES {
            return Err(format!("it has more than {MAX_SOURCES} entries"));
        }
        Ok(sources)
    }

    /// How the image at a URL in a response of this upstream may be fetched. Resolves no name.
    pub(crate) fn route(&self, upstream: &Upstream, url: &Url) -> Result<ImageRoute, ImageDenial> {
        let sources = || self.sources.iter().flatten();
        let is_listed = sources().any(|source| source.is_base_of(url));
        if upstream.destination.is_at(url) {
            let is_own_file = self.sources.is_none()
                && upstream.image_hosts.contains(&ImageHost::Any)
                && upstream.destination.names_image_file(url);
            return match path_denial(upstream, url) {
                Some(ImageDenial::Path) if is_own_file => Ok(ImageRoute::Own),
                Some(denial) if Guard::ImagePaths.applies(!is_listed) => Err(denial),
                _ => Ok(ImageRoute::Own),
            };
        }
        if is_listed {
            return Ok(ImageRoute::Listed);
        }
        let is_granted = match &self.sources {
            Some(_) => sources().any(|source| source.covers_host(url)),
            None => upstream.image_hosts.iter().any(|host| host.covers(url)),
        };
        if Guard::ImageHosts.applies(!is_granted) {
            return Err(ImageDenial::Host);
        }
        Ok(ImageRoute::Public)
    }

    /// How the operator would also allow this source. The value retains everything that is allowed now, and
    /// is safe to set: images are fetched without credentials.
    pub(crate) fn remedy(&self, upstreams: &Upstreams, added: &ImageSource) -> String {
        let name = &self.name;
        let mut values: Vec<String> = match &self.sources {
            Some(sources) => sources.iter().map(ToString::to_string).collect(),
            None => {
                let granted: BTreeSet<&ImageHost> = upstreams
                    .values()
                    .flat_map(|upstream| &upstream.image_hosts)
                    .collect();
                granted.into_iter().map(ToString::to_string).collect()
            }
        };
        values.push(added.to_string());
        let value = if self.is_json {
            serde_json::Value::from(values).to_string()
        } else {
            values.join(",")
        };
        if value.len() <= MAX_VALUE_BYTES {
            return format!("allow it with {name}={value}");
        }
        let current = match self.sources {
            Some(_) => "the current value",
            None => "the hosts that `pinhole engine grant` shows",
        };
        format!("allow it with {current} and {added} in {name}")
    }
}

/// Why a URL at the upstream's own origin is not covered by the requests that are granted there.
fn path_denial(upstream: &Upstream, url: &Url) -> Option<ImageDenial> {
    let Some(path) = upstream.destination.path_below_base(url) else {
        return Some(ImageDenial::Path);
    };
    let denial = upstream.rules.find_denial(&Method::GET, path)?;
    Some(match denial {
        RequestDenial::NotGranted(rule) => ImageDenial::NotGranted(rule.clone()),
        RequestDenial::NotDeclared => ImageDenial::Path,
    })
}

impl ImageDenial {
    /// The guard that refuses.
    pub(crate) fn refuse(&self, reason: String) -> Refusal {
        match self {
            Self::NotGranted(_) | Self::Path => Guard::ImagePaths.refuse(reason),
            Self::Host => Guard::ImageHosts.refuse(reason),
        }
    }

    /// The narrowest entry of a list that would allow the URL; `None` if no entry can.
    pub(crate) fn missing_source(&self, url: &Url) -> Option<ImageSource> {
        match self {
            Self::NotGranted(_) => None,
            Self::Path => {
                let (folder, _) = url.path().rsplit_once('/')?;
                let folder_url = format!("{}{folder}", url.origin().ascii_serialization());
                let source = ImageSource::parse(&folder_url).ok()?;
                source.is_base_of(url).then_some(source)
            }
            Self::Host => match url.domain().map(ImageHost::parse) {
                Some(Ok(host)) => Some(ImageSource::Host(host)),
                _ => origin_source(url),
            },
        }
    }
}

/// The entry that allows a URL whose IP address is private.
pub(crate) fn origin_source(url: &Url) -> Option<ImageSource> {
    ImageSource::parse(&url.origin().ascii_serialization()).ok()
}

#[cfg(test)]
mod tests {
    use pinhole_egress::{BaseUrl, Credential, DEFAULT_SILENCE, Egress, Tls};

    use super::*;
    use crate::grant::RequestRules;

    fn upstreams(image_hosts: &[&str]) -> Upstreams {
        let base_url = BaseUrl {
            url: "http://10.0.0.1:8000/v1",
            allows_private: true,
            setting: "DRAW_URL",
        };
        let egress = Egress::new(&[], DEFAULT_SILENCE).unwrap();
        let destination = egress.destination(base_url, Credential::default(), &Tls::default());
        let rules: Vec<_> = ["POST /ok/", "GET /files/"]
            .map(|rule| RequestRule::parse(rule).unwrap())
            .into();
        let upstream = Upstream {
            destination: destination.unwrap(),
            rules: RequestRules {
                declared: rules.clone(),
                allowed: rules,
                denied: vec![RequestRule::parse("GET /files/secret").unwrap()],
            },
            hosts: Vec::new(),
            image_hosts: image_hosts
                .iter()
                .map(|host| ImageHost::parse(host).unwrap())
                .collect(),
        };
        [("api".to_owned(), upstream)].into()
    }

    fn setting(value: Option<&str>) -> ImageHostSetting {
        ImageHostSetting {
            name: "PINHOLE_DRAW_IMAGE_HOSTS".into(),
            is_json: false,
            sources: value.map(|text| ImageHostSetting::parse(text.split_terminator(',')).unwrap()),
        }
    }

    /// Asserts the route to a URL, or the remedy for its denial.
    fn check(
        granted: &[&str],
        listed: Option<&str>,
        url: &str,
        expected: Result<ImageRoute, &str>,
    ) {
        let (upstreams, setting) = (upstreams(granted), setting(listed));
        let parsed = Url::parse(url).unwrap();
        let route = setting.route(&upstreams["api"], &parsed).map_err(|denial| {
            match denial.missing_source(&parsed) {
                Some(source) => setting.remedy(&upstreams, &source),
                None => format!("{denial:?}"),
            }
        });
        let text = route.as_ref().map_err(String::as_str).copied();
        assert_eq!(text, expected, "{granted:?} {listed:?} {url}");
    }

    #[test]
    fn image_url_at_own_origin_follows_granted_requests() {
        let own = "http://10.0.0.1:8000";
        for granted in [&[][..], &["*"]] {
            check(
                granted,
                None,
                &format!("{own}/v1/files/x?y=1"),
                Ok(ImageRoute::Own),
            );
            check(
                granted,
                None,
                &format!("{own}/v1/files/secret"),
                Err("NotGranted(RequestRule { method: \"GET\", prefix: \"/files/secret\" })"),
            );
        }
        let set = "allow it with PINHOLE_DRAW_IMAGE_HOSTS=";
        for (path, folder) in [
            ("/admin/reboot?now=1", "/admin"),
            ("/v1/ok/x", "/v1/ok"),
            ("/files/x", "/files"),
            ("/x.png", ""),
        ] {
            let expected = format!("{set}{own}{folder}");
            check(&[], None, &format!("{own}{path}"), Err(&expected));
        }
        check(&[], None, &format!("{own}/a//x"), Err("Path"));
        // Image files next to the API of an engine that may fetch from any host.
        for file in ["/x.png", "/generated-images/b64%201.JPG?sig=1"] {
            check(&["*"], None, &format!("{own}{file}"), Ok(ImageRoute::Own));
        }
        for other in ["/x.png/reboot", "/png", "/a/..%2fx.png", "/a//x.png"] {
            let (upstreams, setting) = (upstreams(&["*"]), setting(None));
            let url = Url::parse(&format!("{own}{other}")).unwrap();
            let route = setting.route(&upstreams["api"], &url);
            assert_eq!(route, Err(ImageDenial::Path), "{other}");
        }
        let listed = format!("{set}*,{own}");
        check(&["*"], Some("*"), &format!("{own}/x.png"), Err(&listed));
        // Hosts are not about the upstream's own origin; a URL of the operator's is.
        let star = format!("{set}*,{own}/admin");
        check(&["*"], Some("*"), &format!("{own}/admin/x"), Err(&star));
        check(
            &[],
            Some(own),
            &format!("{own}/admin/x"),
            Ok(ImageRoute::Own),
        );
    }

    #[test]
    fn image_url_elsewhere_needs_its_host() {
        let set = "allow it with PINHOLE_DRAW_IMAGE_HOSTS=";
        let cdn = "https://cdn.example/x";
        check(&[], None, cdn, Err(&format!("{set}cdn.example")));
        check(&["*"], None, cdn, Ok(ImageRoute::Public));
        check(&["*.example"], None, cdn, Ok(ImageRoute::Public));
        let both = format!("{set}a.example,cdn.example");
        check(&["a.example"], None, cdn, Err(&both));
        // The operator's list narrows the granted hosts, and adds to them.
        check(&["*"], Some("a.example"), cdn, Err(&both));
        check(&["*"], Some(""), cdn, Err(&format!("{set}cdn.example")));
        check(&[], Some("cdn.example"), cdn, Ok(ImageRoute::Public));
        let private = "http://10.0.0.5:9000/bucket/x?sig=1";
        check(
            &["*"],
            Some("http://10.0.0.5:9000"),
            private,
            Ok(ImageRoute::Listed),
        );
        check(
            &[],
            None,
            private,
            Err(&format!("{set}http://10.0.0.5:9000")),
        );
        check(
            &[],
            None,
            "http://10.0.0.1:8001/v1/files/x",
            Err(&format!("{set}http://10.0.0.1:8001")),
        );
    }

    #[test]
    fn remedy_retains_all_sources_however_many() {
        let listed: Vec<String> = (0..40).map(|n| format!("host-{n}.example")).collect();
        let remedy = setting(Some(&listed.join(",")))
            .remedy(&upstreams(&[]), &ImageSource::parse("new.example").unwrap());
        assert_eq!(
            remedy,
            "allow it with the current value and new.example in PINHOLE_DRAW_IMAGE_HOSTS"
        );
        let json = ImageHostSetting {
            is_json: true,
            ..setting(Some("*"))
        };
        let source = ImageSource::parse("http://10.0.0.5:9000/a").unwrap();
        assert_eq!(
            json.remedy(&upstreams(&[]), &source),
            r#"allow it with PINHOLE_DRAW_IMAGE_HOSTS=["*","http://10.0.0.5:9000/a"]"#
        );
    }

    #[test]
    fn image_host_setting_refuses_too_many_entries() {
        let many = vec!["cdn.example"; MAX_SOURCES + 1];
        assert!(ImageHostSetting::parse(many).is_err());
        assert!(ImageHostSetting::parse(["cdn.example", "10.0.0.1"]).is_err());
    }
}
