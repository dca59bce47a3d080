//! URLs whose host or port different parsers read differently.

use anyhow::Result;

use super::require_refused;
use crate::target::AttackTarget;

pub(super) async fn lookalikes(target: &AttackTarget) -> Result<()> {
    let port = target.upstream.address().port();
    for host in [
        "127.0.0.1.",
        "127.0.0.%31",
        "%31%32%37.0.0.1",
        "１２７.0.0.1",
        "127。0。0。1",
        "127.0.0.1\t",
        "127.0\t.0.1",
    ] {
        require_refused(target, &format!("http://{host}:{port}/allowed/picture.png")).await?;
    }
    for start in ["http:\\\\127.0.0.1", "http:/127.0.0.1", "http:127.0.0.1"] {
        require_refused(target, &format!("{start}:{port}/allowed/picture.png")).await?;
    }
    Ok(())
}

pub(super) async fn user_names(target: &AttackTarget) -> Result<()> {
    let (granted, trap) = (
        target.upstream.address().port(),
        target.trap.address().port(),
    );
    for authority in [
        format!("user@127.0.0.1:{granted}"),
        format!("user:word@127.0.0.1:{granted}"),
        format!("127.0.0.1:{trap}@127.0.0.1:{granted}"),
        format!("127.0.0.1:{granted}@127.0.0.1:{trap}"),
        format!("@127.0.0.1:{granted}"),
        format!(":@127.0.0.1:{granted}"),
    ] {
        require_refused(target, &format!("http://{authority}/allowed/picture.png")).await?;
    }
    Ok(())
}

pub(super) async fn invalid_ports(target: &AttackTarget) -> Result<()> {
    let granted = target.upstream.address().port();
    for port in [
        format!("0{granted}"),
        format!("00000{granted}"),
        String::new(),
        "99999".to_owned(),
        format!("{}", u32::from(granted) + 65_536),
        format!("{granted}%20"),
        format!("+{granted}"),
    ] {
        require_refused(
            target,
            &format!("http://127.0.0.1:{port}/allowed/picture.png"),
        )
        .await?;
    }
    Ok(())
}

pub(super) async fn ipv4_number_forms(target: &AttackTarget) -> Result<()> {
    let port = target.upstream.address().port();
    for host in [
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "017700000001",
        "127.1",
        "127.0.1",
        "127.0.0.01",
        "127.0.0.0x1",
    ] {
        require_refused(target, &format!("http://{host}:{port}/allowed/picture.png")).await?;
    }
    Ok(())
}

pub(super) async fn result_without_host(target: &AttackTarget) -> Result<()> {
    let long_data_url = format!("data:image/png;base64,{}", "A".repeat(12_000));
    for url in [
        long_data_url.as_str(),
        "data:image/png;base64,iVBORw0KGgo=",
        "file:///etc/passwd",
        "file://127.0.0.1/etc/passwd",
        "gopher://127.0.0.1/",
        "ftp://127.0.0.1/picture.png",
        "blob:http://127.0.0.1/1",
        "/etc/passwd",
        "//127.0.0.1/picture.png",
        "picture.png",
    ] {
        require_refused(target, url).await?;
    }
    Ok(())
}
