//! N: where a connection goes.

mod redirect;
mod socket;
mod wasi;

use anyhow::{Result, ensure};
use http::StatusCode;

use super::arena::Arena;
use super::{Case, Place};
use pinhole_ground::audit::Kind;
use pinhole_ground::guard::Guard;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "N1-lookalike-hosts",
        must_not: "a host that is spelled with dots, capitals, escapes or full-width digits is taken for the granted one",
        guards: &[Guard::Authority],
        noted: Some(Kind::Address),
        place: Place::Anywhere,
        attack: |arena| Box::pin(lookalike_hosts(arena)),
    },
    Case {
        name: "N2-user-in-front-of-the-host",
        must_not: "what stands before an @ is taken for the host, or sent along",
        guards: &[Guard::Authority],
        noted: Some(Kind::Address),
        place: Place::Anywhere,
        attack: |arena| Box::pin(user_in_front(arena)),
    },
    Case {
        name: "N3-odd-ports",
        must_not: "a port with a zero in front, none at all or one beyond 65535 is made a good one",
        guards: &[Guard::Authority],
        noted: Some(Kind::Address),
        place: Place::Anywhere,
        attack: |arena| Box::pin(odd_ports(arena)),
    },
    Case {
        name: "N4-loopback",
        must_not: "an engine leads the host to this machine",
        guards: &[Guard::PrivateAddress],
        noted: Some(Kind::Address),
        place: Place::Anywhere,
        attack: |arena| Box::pin(loopback(arena)),
    },
    Case {
        name: "N4-private-networks",
        must_not: "an engine leads the host into a network of the operator's",
        guards: &[Guard::PrivateAddress],
        noted: Some(Kind::Address),
        place: Place::Anywhere,
        attack: |arena| Box::pin(all_refused(arena, PRIVATE)),
    },
    Case {
        name: "N4-reserved",
        must_not: "an engine leads the host to every address of this machine at once, to many machines or to none",
        guards: &[Guard::ReservedAddress],
        noted: Some(Kind::Address),
        place: Place::Anywhere,
        attack: |arena| Box::pin(reserved(arena)),
    },
    Case {
        name: "N5-ipv4-in-other-numbers",
        must_not: "an IPv4 address in decimal, octal, hexadecimal or short form is taken for the granted one",
        guards: &[Guard::Authority],
        noted: Some(Kind::Address),
        place: Place::Anywhere,
        attack: |arena| Box::pin(other_numbers(arena)),
    },
    Case {
        name: "N6-this-machine-in-ipv6",
        must_not: "an IPv6 spelling of this machine leads the host there",
        guards: &[Guard::PrivateAddress],
        noted: Some(Kind::Address),
        place: Place::Anywhere,
        attack: |arena| Box::pin(this_machine_in_ipv6(arena)),
    },
    Case {
        name: "N7-ipv4-inside-ipv6",
        must_not: "an IPv6 address that a translator or a tunnel turns into a private one passes for a public one",
        guards: &[Guard::EmbeddedAddress],
        noted: Some(Kind::Address),
        place: Place::Anywhere,
        attack: |arena| Box::pin(all_refused(arena, EMBEDDED)),
    },
    Case {
        name: "N8-metadata-by-address",
        must_not: "the address of a cloud's metadata can be set, and so granted, or reached by an engine",
        guards: &[Guard::MetadataAddress],
        noted: Some(Kind::Address),
        place: Place::Anywhere,
        attack: |arena| Box::pin(metadata(arena, METADATA)),
    },
    Case {
        name: "N8-metadata-by-name",
        must_not: "the name of a cloud's metadata service can be set, and so granted, or reached by an engine",
        guards: &[Guard::MetadataName],
        noted: Some(Kind::Address),
        place: Place::Anywhere,
        attack: |arena| Box::pin(metadata(arena, METADATA_NAMES)),
    },
    Case {
        name: "N9-name-of-a-private-address",
        must_not: "a name leads the host to an address that it would refuse by number",
        guards: &[Guard::PrivateAddress],
        noted: Some(Kind::Address),
        place: Place::Anywhere,
        attack: |arena| Box::pin(name_of_a_private_address(arena)),
    },
    Case {
        name: "N10-kept-connection",
        must_not: "a connection that was opened with one key serves a request with another",
        guards: &[],
        noted: None,
        place: Place::Anywhere,
        attack: |arena| Box::pin(kept_connection(arena)),
    },
    Case {
        name: "N11-redirect-of-a-request",
        must_not: "an upstream sends an engine's request, and its key, elsewhere",
        guards: &[Guard::Redirects],
        noted: None,
        place: Place::Anywhere,
        attack: |arena| Box::pin(redirect::of_a_request(arena)),
    },
    Case {
        name: "N11-redirect-of-a-picture",
        must_not: "the redirect of a picture leads to another port, another scheme or another spelling of the host",
        guards: &[Guard::PrivateAddress, Guard::GrantedPort, Guard::Authority],
        noted: Some(Kind::Address),
        place: Place::Anywhere,
        attack: |arena| Box::pin(redirect::of_a_picture(arena)),
    },
    Case {
        name: "N11-endless-redirects",
        must_not: "the address of a picture redirects the host more than three times",
        guards: &[Guard::Hops],
        noted: Some(Kind::Address),
        place: Place::Anywhere,
        attack: |arena| Box::pin(redirect::without_end(arena)),
    },
    Case {
        name: "N11-redirect-out-of-tls",
        must_not: "the redirect of a picture leads from https to http",
        guards: &[Guard::Downgrade],
        noted: Some(Kind::Address),
        place: Place::Anywhere,
        attack: |arena| Box::pin(redirect::out_of_tls(arena)),
    },
    Case {
        name: "N12-proxy-of-the-environment",
        must_not: "a proxy that the environment names gets to see a request",
        guards: &[Guard::Proxy],
        noted: None,
        place: Place::ThrowAway,
        attack: |arena| Box::pin(proxy(arena)),
    },
    Case {
        name: "N13-sockets-of-wasi",
        must_not: "an engine opens a connection or a port of its own, or looks a name up",
        guards: &[],
        noted: None,
        place: Place::ThrowAway,
        attack: |arena| Box::pin(wasi::sockets(arena)),
    },
    Case {
        name: "N14-result-at-a-private-address",
        must_not: "the address of a result leads the host to a private address that nobody granted",
        guards: &[Guard::PrivateAddress],
        noted: Some(Kind::Address),
        place: Place::Anywhere,
        attack: |arena| Box::pin(result_at_a_private_address(arena)),
    },
    Case {
        name: "N14-result-without-a-host",
        must_not: "the address of a result makes the host read a file, or take a picture out of the address itself",
        guards: &[],
        noted: Some(Kind::Address),
        place: Place::Anywhere,
        attack: |arena| Box::pin(result_without_a_host(arena)),
    },
    Case {
        name: "N15-endless-frame",
        must_not: "a WebSocket brings a frame beyond any length",
        guards: &[Guard::FrameBytes],
        noted: Some(Kind::Answer),
        place: Place::Anywhere,
        attack: |arena| Box::pin(socket::endless_frame(arena)),
    },
    Case {
        name: "N15-endless-message",
        must_not: "a WebSocket brings a message of ever more frames",
        guards: &[Guard::MessageBytes],
        noted: Some(Kind::Answer),
        place: Place::Anywhere,
        attack: |arena| Box::pin(socket::endless_message(arena)),
    },
    Case {
        name: "N15-endless-pings",
        must_not: "an upstream keeps the host busy with pings",
        guards: &[Guard::SocketMessages],
        noted: Some(Kind::Answer),
        place: Place::Anywhere,
        attack: |arena| Box::pin(socket::endless_pings(arena)),
    },
    Case {
        name: "N15-socket-beside-the-grant",
        must_not: "a WebSocket opens where a request may not go",
        guards: &[Guard::GrantedRequests],
        noted: Some(Kind::Grant),
        place: Place::Anywhere,
        attack: |arena| Box::pin(socket::beside_the_grant(arena)),
    },
    Case {
        name: "N16-other-port-of-a-granted-host",
        must_not: "the grant of one port of a private host opens its other ports",
        guards: &[Guard::GrantedPort],
        noted: Some(Kind::Address),
        place: Place::Anywhere,
        attack: |arena| Box::pin(other_port(arena)),
    },
];

const PRIVATE: &[&str] = &[
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

/// Those in which another address stands, and ranges that lead inside.
const EMBEDDED: &[&str] = &[
    // Tunnels of ISATAP, under a prefix that anybody could have.
    "[2a00::5efe:7f00:1]",
    "[2a00::200:5efe:a00:1]",
    "[2a00::5efe:a9fe:a9fe]",
    // Translators, by the prefix that all may use, and those of one network.
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

const METADATA: &[&str] = &[
    "169.254.169.254",
    "169.254.170.2",
    "169.254.170.23",
    "100.100.100.200",
    "168.63.129.16",
    "[fd00:ec2::254]",
    "[fd20:ce::254]",
];

const METADATA_NAMES: &[&str] = &[
    "metadata.google.internal",
    "METADATA.google.INTERNAL",
    "metadata",
    "instance-data",
];

/// The host refuses to fetch a picture from there, and asks nobody.
async fn never_fetched(arena: &Arena, address: &str) -> Result<()> {
    let answer = arena.draw(&format!("address {address}")).await?;
    let refused = "the image URL is not allowed";
    ensure!(
        answer.status == StatusCode::BAD_GATEWAY && answer.message() == refused,
        "the host tried {address}: {} {}",
        answer.status,
        answer.text()
    );
    let asked = arena.upstream.requests();
    ensure!(asked.is_empty(), "{address} led to {asked:?}");
    Ok(())
}

async fn all_refused(arena: &Arena, hosts: &[&str]) -> Result<()> {
    for host in hosts {
        never_fetched(arena, &format!("http://{host}/picture.png")).await?;
    }
    Ok(())
}

async fn lookalike_hosts(arena: &Arena) -> Result<()> {
    let port = arena.upstream.port();
    for host in [
        "127.0.0.1.",
        "127.0.0.%31",
        "%31%32%37.0.0.1",
        "１２７.0.0.1",
        "127。0。0。1",
        "127.0.0.1\t",
        "127.0\t.0.1",
    ] {
        never_fetched(arena, &format!("http://{host}:{port}/picture.png")).await?;
    }
    for whole in ["http:\\\\127.0.0.1", "http:/127.0.0.1", "http:127.0.0.1"] {
        never_fetched(arena, &format!("{whole}:{port}/picture.png")).await?;
    }
    Ok(())
}

async fn user_in_front(arena: &Arena) -> Result<()> {
    let (granted, trap) = (arena.upstream.port(), arena.trap.port());
    for authority in [
        format!("user@127.0.0.1:{granted}"),
        format!("user:word@127.0.0.1:{granted}"),
        format!("127.0.0.1:{trap}@127.0.0.1:{granted}"),
        format!("127.0.0.1:{granted}@127.0.0.1:{trap}"),
        format!("@127.0.0.1:{granted}"),
        format!(":@127.0.0.1:{granted}"),
    ] {
        never_fetched(arena, &format!("http://{authority}/picture.png")).await?;
    }
    Ok(())
}

async fn odd_ports(arena: &Arena) -> Result<()> {
    let port = arena.upstream.port();
    for port in [
        format!("0{port}"),
        format!("00000{port}"),
        String::new(),
        "99999".to_owned(),
        format!("{}", u32::from(port) + 65_536),
        format!("{port}%20"),
        format!("+{port}"),
    ] {
        never_fetched(arena, &format!("http://127.0.0.1:{port}/picture.png")).await?;
    }
    Ok(())
}

async fn loopback(arena: &Arena) -> Result<()> {
    let port = arena.trap.port();
    for host in ["127.0.0.1", "127.0.0.2", "127.255.255.254"] {
        never_fetched(arena, &format!("http://{host}:{port}/picture.png")).await?;
    }
    Ok(())
}

async fn reserved(arena: &Arena) -> Result<()> {
    // The first is every address that this machine has.
    let port = arena.trap.port();
    never_fetched(arena, &format!("http://0.0.0.0:{port}/picture.png")).await?;
    never_fetched(arena, &format!("http://[::]:{port}/picture.png")).await?;
    let hosts = &[
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
    all_refused(arena, hosts).await
}

async fn other_numbers(arena: &Arena) -> Result<()> {
    let port = arena.upstream.port();
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
        never_fetched(arena, &format!("http://{host}:{port}/picture.png")).await?;
    }
    Ok(())
}

async fn this_machine_in_ipv6(arena: &Arena) -> Result<()> {
    let port = arena.trap.port();
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
        never_fetched(arena, &format!("http://[{host}]:{port}/picture.png")).await?;
    }
    Ok(())
}

/// Neither an engine nor a setting leads there.
async fn metadata(arena: &Arena, hosts: &[&str]) -> Result<()> {
    all_refused(arena, hosts).await?;
    for host in hosts {
        let set = arena.set("HOSTILE_BASE_URL", format!("http://{host}/latest"));
        let answer = set.await?;
        ensure!(
            answer.status.is_client_error(),
            "{host} can be set: {} {}",
            answer.status,
            answer.text()
        );
    }
    Ok(())
}

async fn name_of_a_private_address(arena: &Arena) -> Result<()> {
    for port in [arena.trap.port(), arena.upstream.port()] {
        never_fetched(arena, &format!("http://localhost:{port}/picture.png")).await?;
    }
    Ok(())
}

async fn kept_connection(arena: &Arena) -> Result<()> {
    for key in ["one-key-of-this-host-5531", "another-key-of-this-host-9174"] {
        let answer = arena.set("HOSTILE_API_KEY", key).await?;
        ensure!(answer.status.is_success(), "{}", answer.text());
        // The second may use the connection of the first.
        for _ in 0..2 {
            let answer = arena.draw("ask").await?;
            ensure!(answer.status.is_success(), "{}", answer.text());
        }
    }
    let seen = arena.upstream.requests();
    ensure!(seen.len() == 4, "{seen:?}");
    let (before, after) = seen.split_at(2);
    let shared = before.iter().any(|one| {
        let mut after = after.iter();
        after.any(|other| other.connection == one.connection)
    });
    ensure!(!shared, "a connection has seen both keys: {seen:?}");
    Ok(())
}

async fn proxy(arena: &Arena) -> Result<()> {
    let answer = arena.draw("ask").await?;
    ensure!(answer.status.is_success(), "{}", answer.text());
    let asked = arena.upstream.requests();
    ensure!(asked.len() == 1, "the upstream saw {asked:?}");
    Ok(())
}

async fn result_at_a_private_address(arena: &Arena) -> Result<()> {
    let address = format!("{}/picture.png", arena.trap.url());
    never_fetched(arena, &address).await
}

async fn result_without_a_host(arena: &Arena) -> Result<()> {
    let inside = format!("data:image/png;base64,{}", "A".repeat(12_000));
    for address in [
        inside.as_str(),
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
        never_fetched(arena, address).await?;
    }
    Ok(())
}

async fn other_port(arena: &Arena) -> Result<()> {
    // The engine's own upstream is on the same host.
    never_fetched(arena, &format!("{}/picture.png", arena.trap.url())).await
}
