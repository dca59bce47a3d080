//! The URL at which the first administrator sets name, email and password: shown on a terminal, or else written to a
//! file, like the first key. It contains the setup code.

use std::io::{ErrorKind, IsTerminal, stdout};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use anyhow::{Context, Result};
use cap_std::fs::Dir;
use pinhole::app::App;
use pinhole_ground::data_dir;

/// The file in the data directory. Only its owner can read it.
const FILE: &str = "setup-url";

/// A line about the setup. `None` if it is not needed, or if no page could do it.
pub(super) async fn show(app: &App, data: &Path, address: SocketAddr) -> Result<Option<String>> {
    let directory = data_dir::open(data)?;
    let is_needed = app.site.has_pages() && app.accounts.is_setup_needed().await?;
    if !is_needed {
        remove(&directory)?;
        return Ok(None);
    }
    let url = url(app, address);
    if stdout().is_terminal() {
        return Ok(Some(format!("open {url}")));
    }
    let path = data.join(FILE);
    data_dir::write_whole(&directory, FILE, format!("{url}\n").as_bytes())
        .with_context(|| format!("cannot write the URL of the setup to {}", path.display()))?;
    Ok(Some(format!(
        "setup: open the URL in {} (only its owner can read it)",
        path.display()
    )))
}

/// Below `WEBUI_URL`, or else at the address where the server listens.
fn url(app: &App, address: SocketAddr) -> String {
    let origin = app.jobs.snapshot().settings.public_url.clone();
    let origin = origin.unwrap_or_else(|| format!("http://{}", reachable(address)));
    format!("{origin}/setup#{}", app.accounts.setup_code())
}

/// An address of this machine in place of all its addresses.
fn reachable(address: SocketAddr) -> SocketAddr {
    let port = address.port();
    match address.ip() {
        ip if !ip.is_unspecified() => address,
        ip if ip.is_ipv4() => (Ipv4Addr::LOCALHOST, port).into(),
        _ => (Ipv6Addr::LOCALHOST, port).into(),
    }
}

/// Removes the URL of an earlier start.
fn remove(directory: &Dir) -> Result<()> {
    match directory.remove_file(FILE) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {FILE} in the data directory"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reachable_replaces_only_the_unspecified_address() {
        for (address, expected) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:80", "[::1]:80"),
            ("192.0.2.7:1", "192.0.2.7:1"),
        ] {
            let reached = reachable(address.parse().unwrap());
            assert_eq!(reached.to_string(), expected);
        }
    }
}
