//! The requests of each engine, and how few bytes of a large image enter the guest.

use pinhole_tests::{EngineTraffic, measure_traffic};

/// Maximum number of bytes that enter the guest during a job with a 2 MB image.
const MAX_ENTERED: u64 = 64 << 10;
const IMAGE_BYTES: usize = 2 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn large_image_costs_few_requests_and_stays_outside_guest() {
    let expected: [(&str, &str, &[&str]); 8] = [
        (
            "automatic1111",
            "generate",
            &["GET /sdapi/v1/progress", "POST /sdapi/v1/txt2img"],
        ),
        (
            "automatic1111",
            "edit",
            &["GET /sdapi/v1/progress", "POST /sdapi/v1/img2img"],
        ),
        (
            "comfyui",
            "generate",
            &["GET /ws", "POST /prompt", "GET /history", "GET /view"],
        ),
        (
            "comfyui",
            "edit",
            &[
                "POST /upload/image",
                "GET /ws",
                "POST /prompt",
                "GET /history",
                "GET /view",
            ],
        ),
        (
            "gemini",
            "generate",
            &["POST /v1beta/models/gemini-3.1-flash-image:generateContent"],
        ),
        (
            "gemini",
            "edit",
            &["POST /v1beta/models/gemini-3.1-flash-image:generateContent"],
        ),
        ("openai", "generate", &["POST /v1/images/generations"]),
        ("openai", "edit", &["POST /v1/images/edits"]),
    ];
    let all = measure_traffic(IMAGE_BYTES).await;
    assert_eq!(all.len(), expected.len());
    for (job, (engine, operation, requests)) in all.iter().zip(expected) {
        assert_eq!((job.engine, job.operation), (engine, operation));
        let lines: Vec<&str> = job.requests.iter().map(|line| without_id(line)).collect();
        assert_eq!(lines, requests, "{engine} {operation}");
        assert_eq!(job.image_bytes, IMAGE_BYTES);
        check_bytes(job);
    }
}

fn check_bytes(job: &EngineTraffic) {
    assert!(job.entered_bytes > 0, "{job:?}");
    assert!(job.entered_bytes <= MAX_ENTERED, "{job:?}");
    // An edit sends its source once and completely.
    let sent = job.sent_bytes as f64 / IMAGE_BYTES as f64;
    match job.operation {
        "edit" => assert!((1.0..1.5).contains(&sent), "{job:?}"),
        _ => assert!(sent < 0.01, "{job:?}"),
    }
}

/// A request line without the job id of `/history`.
fn without_id(line: &str) -> &str {
    if line.starts_with("GET /history/") {
        return "GET /history";
    }
    line
}
