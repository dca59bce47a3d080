//! URLs of private, reserved and cloud metadata IP addresses, and names that resolve to them.

use anyhow::{Result, ensure};

use super::{require_hosts_refused, require_refused, set_image_hosts};
use crate::target::AttackTarget;

/// Hosts of private networks.
pub(super) const PRIVATE: &[&str] = &[
    "10.0.0.1",
    "100.64.0.1",
    "169.254.1.1",
    "172.16.0.1",
    "172.31.255.254",
    "192.168.1.1",
    "198.18.0.1",
    "[fc00::1]",
    "[fd12:3456:789a::1]",
    "[fe80::1]",
];

/// IPv6 addresses that embed another IP address, and ranges that route to private networks.
pub(super) const EMBEDDED: &[&str] = &[
    // ISATAP tunnels, below a prefix of any network.
    "[2a00::5efe:7f00:1]",
    "[2a00::200:5efe:a00:1]",
    "[2a00::5efe:a9fe:a9fe]",
    // NAT64, with the well-known prefix and with the local one.
    "[64:ff9b::7f00:1]",
    "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b:1::7f00:1]",
    // 6to4, Teredo, site-local, documentation.
    "[2002:7f00:1::]",
    "[2002:a9fe:a9fe::]",
    "[2001:0:7f00:1::]",
    "[fec0::1]",
    "[3fff::1]",
    "[2001:db8::1]",
];

/// Cloud metadata services.
pub(super) const METADATA: &[&str] = &[
    "169.254.169.254",
    "169.254.170.2",
    "169.254.170.23",
    "100.100.100.200",
    "168.63.129.16",
    "[fd00:ec2::254]",
    "[fd20:ce::254]",
];

pub(super) const METADATA_NAMES: &[&str] = &[
    "metadata.google.internal",
    "METADATA.google.INTERNAL",
    "metadata",
    "instance-data",
];

const RESERVED: &[&str] = &[
    "0.1.2.3",
    "192.0.0.1",
    "192.0.2.1",
    "192.88.99.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "[100::1]",
    "[5f00::1]",
    "[ff02::1]",
];

pub(super) async fn loopback(target: &AttackTarget) -> Result<()> {
    let port = target.trap.address().port();
    for host in ["127.0.0.1", "127.0.0.2", "127.255.255.254"] {
        require_refused(target, &format!("http://{host}:{port}/allowed/picture.png")).await?;
    }
    Ok(())
}

pub(super) async fn loopback_in_ipv6(target: &AttackTarget) -> Result<()> {
    let port = target.trap.address().port();
    for host in [
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:7f00:1",
        "::ffff:a9fe:a9fe",
        "::127.0.0.1",
        "::7f00:1",
        "0:0:0:0:0:0:0:1",
        "fe80::1%25lo",
        "::1%25lo",
    ] {
        require_refused(
            target,
            &format!("http://[{host}]:{port}/allowed/picture.png"),
        )
        .await?;
    }
    Ok(())
}

pub(super) async fn reserved(target: &AttackTarget) -> Result<()> {
    // The unspecified addresses connect to this machine.
    let port = target.trap.address().port();
    require_refused(
        target,
        &format!("http://0.0.0.0:{port}/allowed/picture.png"),
    )
    .await?;
    require_refused(target, &format!("http://[::]:{port}/allowed/picture.png")).await?;
    require_hosts_refused(target, RESERVED).await
}

/// Fails unless engines and settings cannot use these hosts.
pub(super) async fn metadata(target: &AttackTarget, hosts: &[&str]) -> Result<()> {
    require_hosts_refused(target, hosts).await?;
    for host in hosts {
        let url = format!("http://{host}/latest");
        let response = target.set("HOSTILE_BASE_URL", url).await?;
        ensure!(
            response.status.is_client_error(),
            "a setting accepts {host}: {} {}",
            response.status,
            response.text()
        );
    }
    Ok(())
}

pub(super) async fn name_of_private_address(target: &AttackTarget) -> Result<()> {
    for upstream in [&target.trap, &target.upstream] {
        let port = upstream.address().port();
        require_refused(
            target,
            &format!("http://localhost:{port}/allowed/picture.png"),
        )
        .await?;
    }
    Ok(())
}

/// Neither the upstream's own port nor one that an operator lists opens another one.
pub(super) async fn other_port(target: &AttackTarget) -> Result<()> {
    let path = "allowed/picture.png";
    require_refused(target, &format!("{}/{path}", target.trap.url())).await?;
    let listed = format!("*,{}/listed", target.upstream.url());
    set_image_hosts(target, &listed).await?;
    require_refused(target, &format!("{}/listed/picture.png", target.trap.url())).await
}

pub(super) async fn result_at_private_address(target: &AttackTarget) -> Result<()> {
    require_refused(
        target,
        &format!("{}/allowed/picture.png", target.trap.url()),
    )
    .await
}
