//! Fixtures of the tests and the benchmarks: a server and a fake upstream.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "the rules of the server; in a test, a failure is a failed test"
)]

mod engine_fixture;
mod fake_upstream;
mod server_process;
mod test_database;
mod test_server;
mod traffic;

pub use engine_fixture::{EngineFixture, JobExchange, recorded_response};
pub use fake_upstream::FakeUpstream;
pub use pinhole_conformance::{FakeResponse, RawStep, RecordedRequest, WebSocket};
pub use server_process::{ProcessMemory, ServerProcess, key_in_file};
pub use test_database::{DatabaseLock, TestDatabase, postgres_server, uses_postgres};
pub use test_server::{
    TestServer, authors, compiler, copy_compiled_engines, engines, environment, guests,
    http_client, program,
};
pub use traffic::{EngineTraffic, measure_traffic};

/// A PNG of one pixel.
pub const PIXEL: &[u8] = include_bytes!("guests/pixel.png");

/// [`PIXEL`] in base64.
pub fn pixel_base64() -> String {
    base64_simd::STANDARD.encode_to_string(PIXEL)
}

/// The path of a stored file that a link names. It needs a key.
pub fn file_path(link: &str) -> String {
    let (_, path) = link.split_once("/api/v1/files/").unwrap();
    let id = path.split('/').next().unwrap();
    format!("/api/v1/files/{id}/content")
}

/// A PNG of one pixel with exactly this length in bytes, without trailing bytes.
pub fn long_image(length: usize) -> Vec<u8> {
    let header = &PIXEL[..33];
    let end = &PIXEL[PIXEL.len() - 12..];
    // Length, name and checksum of the chunk of pixels. No test verifies the checksum.
    let pixels = length - header.len() - 12 - end.len();
    let mut state = 1_u32;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    });
    let mut bytes = header.to_vec();
    bytes.extend_from_slice(&(pixels as u32).to_be_bytes());
    bytes.extend_from_slice(b"IDAT");
    bytes.extend(noise.take(pixels));
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(end);
    bytes
}

/// A GIF whose header claims this width, to distinguish images.
pub fn gif(width: u8) -> Vec<u8> {
    let mut bytes =
        b"GIF89a\0\0\x01\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;"
            .to_vec();
    bytes[6] = width;
    bytes
}
