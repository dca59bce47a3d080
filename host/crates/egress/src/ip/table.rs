//! IP address ranges that are not globally reachable, from IANA's special-purpose registries.
//!
//! Generated from `../iana` by a test (`tests/it/egress/ip_table.rs`). Do not edit.

use ipnet::{Ipv4Net, Ipv6Net};

use super::Class::{self, Never, Private};
use super::{v4, v6};

pub(super) const V4: &[(Ipv4Net, Class)] = &[
    // "This network"
    (v4([0, 0, 0, 0], 8), Never),
    // "This host on this network"
    (v4([0, 0, 0, 0], 32), Never),
    // Private-Use
    (v4([10, 0, 0, 0], 8), Private),
    // Shared Address Space
    (v4([100, 64, 0, 0], 10), Private),
    // Loopback
    (v4([127, 0, 0, 0], 8), Private),
    // Link Local
    (v4([169, 254, 0, 0], 16), Private),
    // Private-Use
    (v4([172, 16, 0, 0], 12), Private),
    // IETF Protocol Assignments
    (v4([192, 0, 0, 0], 24), Never),
    // IPv4 Service Continuity Prefix
    (v4([192, 0, 0, 0], 29), Never),
    // IPv4 dummy address
    (v4([192, 0, 0, 8], 32), Never),
    // NAT64/DNS64 Discovery
    (v4([192, 0, 0, 170], 32), Never),
    // NAT64/DNS64 Discovery
    (v4([192, 0, 0, 171], 32), Never),
    // Documentation (TEST-NET-1)
    (v4([192, 0, 2, 0], 24), Never),
    // Deprecated (6to4 Relay Anycast)
    (v4([192, 88, 99, 0], 24), Never),
    // 6a44-relay anycast address
    (v4([192, 88, 99, 2], 32), Never),
    // Private-Use
    (v4([192, 168, 0, 0], 16), Private),
    // Benchmarking
    (v4([198, 18, 0, 0], 15), Private),
    // Documentation (TEST-NET-2)
    (v4([198, 51, 100, 0], 24), Never),
    // Documentation (TEST-NET-3)
    (v4([203, 0, 113, 0], 24), Never),
    // Reserved
    (v4([240, 0, 0, 0], 4), Never),
    // Limited Broadcast
    (v4([255, 255, 255, 255], 32), Never),
];

pub(super) const V6: &[(Ipv6Net, Class)] = &[
    // Loopback Address
    (v6([0, 0, 0, 0, 0, 0, 0, 1], 128), Private),
    // Unspecified Address
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 128), Never),
    // IPv4-mapped Address
    (v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96), Never),
    // IPv4-IPv6 Translat.
    (v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48), Never),
    // Discard-Only Address Block
    (v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64), Never),
    // Dummy IPv6 Prefix
    (v6([0x100, 0, 0, 1, 0, 0, 0, 0], 64), Never),
    // IETF Protocol Assignments
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), Never),
    // TEREDO
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32), Never),
    // Benchmarking
    (v6([0x2001, 2, 0, 0, 0, 0, 0, 0], 48), Never),
    // Deprecated (previously ORCHID)
    (v6([0x2001, 0x10, 0, 0, 0, 0, 0, 0], 28), Never),
    // Documentation
    (v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), Never),
    // 6to4
    (v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16), Never),
    // Documentation
    (v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), Never),
    // Segment Routing (SRv6) SIDs
    (v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16), Never),
    // Unique-Local
    (v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7), Private),
    // Link-Local Unicast
    (v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), Private),
];
