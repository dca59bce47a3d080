//! Where Redis is, as variables name it.

use std::fmt;

use anyhow::{Result, anyhow, bail, ensure};
use pinhole_ground::environment::Environment;
use redis::cluster::ClusterClient;
use redis::sentinel::{SentinelClient, SentinelNodeConnectionInfo, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisResult,
    TlsMode,
};

use super::link::Connection;
use super::{CONNECT_TIMEOUT, RESPONSE_TIMEOUT};

const URL: &str = "REDIS_URL";
/// Open WebUI's name for the Redis of its sockets.
const SOCKET_URL: &str = "WEBSOCKET_REDIS_URL";
const PREFIX: &str = "REDIS_KEY_PREFIX";
const SENTINEL_HOSTS: &str = "REDIS_SENTINEL_HOSTS";
const SENTINEL_PORT: &str = "REDIS_SENTINEL_PORT";
const CLUSTER: &str = "REDIS_CLUSTER";
const CONFIG: &str = "PINHOLE_REDIS_CONFIG";
/// The value of [`CONFIG`] that shares settings.
const OPEN_WEBUI: &str = "open-webui";
const PERSISTENT_CONFIG: &str = "ENABLE_PERSISTENT_CONFIG";
const DEFAULT_PREFIX: &str = "open-webui";
const DEFAULT_SENTINEL_PORT: u16 = 26_379;
/// Length of the prefix of keys, in bytes.
const MAX_PREFIX_BYTES: usize = 100;
const MAX_SENTINELS: usize = 16;

/// Where Redis is, and which names the server uses in it.
#[derive(Clone)]
pub struct RedisConfig {
    pub(super) endpoint: Endpoint,
    /// `REDIS_KEY_PREFIX`
    pub(super) prefix: String,
    /// `PINHOLE_REDIS_CONFIG`: an Open WebUI has its settings in the same Redis, and shares them.
    pub(super) has_settings: bool,
}

/// One server, the primary that sentinels name, or a cluster.
#[derive(Clone)]
pub(super) enum Endpoint {
    Single(ConnectionInfo),
    Sentinel {
        sentinels: Vec<(String, u16)>,
        /// The host of the URL is the name of the primary.
        primary: ConnectionInfo,
    },
    Cluster(ConnectionInfo),
}

/// Without the URL, which may contain a password.
impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl RedisConfig {
    /// Reads the variables. `None` without a URL.
    ///
    /// The error names the variable, and never repeats the URL.
    pub fn from_environment(environment: &Environment) -> Result<Option<Self>> {
        let url = |name| environment.get(name).map(|url| (name, url.trim()));
        let has_settings = has_settings(environment)?;
        let Some((name, url)) = url(URL).or_else(|| url(SOCKET_URL)) else {
            ensure!(
                !has_settings,
                "{CONFIG} is set and {URL} is not: set it to the URL of Open WebUI's Redis, or unset {CONFIG}"
            );
            return Ok(None);
        };
        let info = parse_url(name, url)?;
        let is_cluster = environment.is_true(CLUSTER).unwrap_or(false);
        let endpoint = match (environment.get(SENTINEL_HOSTS), is_cluster) {
            (Some(_), true) => {
                bail!("both {SENTINEL_HOSTS} and {CLUSTER} are set: unset one of them")
            }
            (Some(hosts), false) => Endpoint::Sentinel {
                sentinels: parse_sentinels(environment, hosts)?,
                primary: info,
            },
            (None, true) => Endpoint::Cluster(info),
            (None, false) => Endpoint::Single(info),
        };
        let prefix = environment.get(PREFIX).unwrap_or(DEFAULT_PREFIX).trim();
        // Braces choose the slot of a key in a cluster.
        let is_valid = (1..=MAX_PREFIX_BYTES).contains(&prefix.len())
            && prefix.chars().all(|it| it.is_ascii_graphic())
            && !prefix.contains(['{', '}']);
        ensure!(
            is_valid,
            "{PREFIX} must have 1 to {MAX_PREFIX_BYTES} printable ASCII characters, without spaces and braces"
        );
        Ok(Some(Self {
            endpoint,
            prefix: prefix.to_owned(),
            has_settings,
        }))
    }
}

/// Without stored settings, none can be compared with those in Redis.
fn has_settings(environment: &Environment) -> Result<bool> {
    match environment.get(CONFIG).map(str::trim) {
        None => return Ok(false),
        Some(OPEN_WEBUI) => {}
        Some(other) => bail!("{CONFIG} is {other:?}: set it to {OPEN_WEBUI}, or unset it"),
    }
    if environment.is_true(PERSISTENT_CONFIG) == Some(false) {
        bail!("{CONFIG} needs stored settings: unset {PERSISTENT_CONFIG}, or {CONFIG}");
    }
    Ok(true)
}

fn parse_url(name: &str, url: &str) -> Result<ConnectionInfo> {
    let remedy = "set it to redis://[user:password@]host:port/database, or to rediss:// for TLS";
    let invalid = || anyhow!("{name} is not a URL of Redis: {remedy}");
    // `#insecure` would accept any certificate.
    if url.contains('#') {
        bail!("{name} has a fragment (#): remove it, and {remedy}");
    }
    let info = url.into_connection_info().map_err(|_| invalid())?;
    match info.addr() {
        ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } if host.is_empty() => {
            Err(invalid())
        }
        _ => Ok(info),
    }
}

fn parse_sentinels(environment: &Environment, hosts: &str) -> Result<Vec<(String, u16)>> {
    let port = match environment.get(SENTINEL_PORT) {
        None => DEFAULT_SENTINEL_PORT,
        Some(port) => match port.trim().parse() {
            Ok(port) if port > 0 => port,
            _ => bail!("{SENTINEL_PORT} is {port:?}: it must be a whole number from 1 to 65535"),
        },
    };
    let hosts = hosts.split(',').map(str::trim);
    let sentinels: Vec<_> = hosts
        .filter(|host| !host.is_empty())
        .map(|host| (host.to_owned(), port))
        .collect();
    ensure!(
        (1..=MAX_SENTINELS).contains(&sentinels.len()),
        "{SENTINEL_HOSTS} must name 1 to {MAX_SENTINELS} hosts, separated by commas"
    );
    Ok(sentinels)
}

impl Endpoint {
    pub(super) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// Opens a connection for commands. The caller limits the time.
    pub(super) async fn connect(&self) -> RedisResult<Connection> {
        if let Self::Cluster(info) = self {
            let client = ClusterClient::builder([info.clone()])
                .connection_timeout(CONNECT_TIMEOUT)
                .response_timeout(RESPONSE_TIMEOUT)
                .retries(1)
                .build()?;
            return Ok(Connection::Cluster(client.get_async_connection().await?));
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT));
        let client = self.client().await?;
        let connection = client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        Ok(Connection::Single(connection))
    }

    /// The server to subscribe at. In a cluster, each one passes all published messages on.
    pub(super) async fn client(&self) -> RedisResult<Client> {
        let (sentinels, primary) = match self {
            Self::Single(info) | Self::Cluster(info) => return Client::open(info.clone()),
            Self::Sentinel { sentinels, primary } => (sentinels, primary),
        };
        let node = SentinelNodeConnectionInfo::default()
            .set_redis_connection_info(primary.redis_settings().clone());
        let (name, node) = match primary.addr() {
            ConnectionAddr::Tcp(name, _) => (name.as_str(), node),
            ConnectionAddr::TcpTls { host, .. } => {
                (host.as_str(), node.set_tls_mode(TlsMode::Secure))
            }
            _ => ("", node),
        };
        let sentinels = sentinels.clone();
        let role = SentinelServerType::Master;
        let mut client = SentinelClient::build(sentinels, name, Some(node), role)?;
        client.async_get_client().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<Option<RedisConfig>> {
        let pairs = pairs.iter();
        let pairs = pairs.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        RedisConfig::from_environment(&Environment::new(pairs))
    }

    #[test]
    fn config_is_absent_without_a_url() {
        assert!(parse(&[(PREFIX, "x")]).unwrap().is_none());
        let of_sockets = parse(&[(SOCKET_URL, "redis://localhost")]).unwrap();
        let of_sockets = of_sockets.unwrap();
        assert_eq!(of_sockets.prefix, DEFAULT_PREFIX);
        assert!(!of_sockets.has_settings);
    }

    #[test]
    fn settings_are_shared_only_if_a_variable_says_so() {
        let pairs = [(URL, "redis://localhost"), (CONFIG, OPEN_WEBUI)];
        assert!(parse(&pairs).unwrap().unwrap().has_settings);
    }

    #[test]
    fn config_chooses_between_server_sentinels_and_cluster() {
        let url = (URL, "rediss://:secret@main:6380/2");
        let single = parse(&[url]).unwrap().unwrap();
        assert!(matches!(single.endpoint, Endpoint::Single(_)));
        let sentinel = parse(&[url, (SENTINEL_HOSTS, "a, b"), (SENTINEL_PORT, "7")]);
        let Endpoint::Sentinel { sentinels, primary } = sentinel.unwrap().unwrap().endpoint else {
            panic!("sentinels");
        };
        assert_eq!(sentinels, [("a".to_owned(), 7), ("b".to_owned(), 7)]);
        assert_eq!(primary.redis_settings().db(), 2);
        let cluster = parse(&[url, (CLUSTER, "true")]).unwrap().unwrap();
        assert!(cluster.endpoint.is_cluster());
        assert!(!format!("{cluster:?}").contains("secret"));
    }

    #[test]
    fn wrong_variable_is_named_without_the_password() {
        let url = (URL, "redis://localhost");
        for (pairs, expected) in [
            (&[(URL, "http://:secret@localhost")][..], URL),
            (&[(URL, "redis://:secret@local host")], URL),
            (&[(URL, "redis://:secret@localhost:x")], URL),
            (&[(URL, "rediss://:secret@localhost/#insecure")], URL),
            (&[(SOCKET_URL, "secret")], SOCKET_URL),
            (&[url, (PREFIX, "a b")], PREFIX),
            (&[url, (PREFIX, "{a}")], PREFIX),
            (&[url, (SENTINEL_HOSTS, ",")], SENTINEL_HOSTS),
            (
                &[url, (SENTINEL_HOSTS, "a"), (SENTINEL_PORT, "0")],
                SENTINEL_PORT,
            ),
            (&[(CONFIG, OPEN_WEBUI)], URL),
            (&[url, (CONFIG, "true")], OPEN_WEBUI),
            (
                &[url, (CONFIG, OPEN_WEBUI), (PERSISTENT_CONFIG, "false")],
                PERSISTENT_CONFIG,
            ),
            (&[url, (SENTINEL_HOSTS, "a"), (CLUSTER, "true")], CLUSTER),
        ] {
            let error = parse(pairs).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
