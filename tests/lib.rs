//! What the tests and the benchmarks share: a server in this process, and upstreams on loopback.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "the bans and the care for errors shape the server; here a failure is a failed test"
)]

mod dialects;
mod server;
mod stage;
mod upstream;

pub use dialects::{Traffic, traffic};
pub use server::{Server, compiler, engines, environment, guests, program};
pub use stage::{Played, Stage};
pub use upstream::{Answer, Seen, Upstream, WebSocket};

/// A PNG of one pixel.
pub const PIXEL: &[u8] = include_bytes!("guests/pixel.png");

/// The same in base64.
pub fn pixel_base64() -> String {
    base64_simd::STANDARD.encode_to_string(PIXEL)
}

/// A PNG of one pixel that has exactly so many bytes, none of them behind its end.
pub fn long_picture(length: usize) -> Vec<u8> {
    let header = &PIXEL[..33];
    let end = &PIXEL[PIXEL.len() - 12..];
    // The length, the name and the check sum of a chunk of pixels, which nobody looks at here.
    let pixels = length - header.len() - 12 - end.len();
    let mut noise = 1_u32;
    let noise = std::iter::repeat_with(|| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (noise >> 24) as u8
    });
    let mut bytes = header.to_vec();
    bytes.extend_from_slice(&(pixels as u32).to_be_bytes());
    bytes.extend_from_slice(b"IDAT");
    bytes.extend(noise.take(pixels));
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(end);
    bytes
}

/// A GIF whose header says that it is so wide: pictures that can be told apart.
pub fn gif(width: u8) -> Vec<u8> {
    let mut bytes =
        b"GIF89a\0\0\x01\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;"
            .to_vec();
    bytes[6] = width;
    bytes
}
