//! The upstreams of all hosts, which count orders by prompt.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pinhole_tests::{FakeResponse, FakeUpstream, RecordedRequest, pixel_base64};
use serde_json::json;

use crate::cut::{Network, Proxy};
use crate::jobs_api::durable::Comfy;

/// How a prompt begins. A number follows.
const PROMPT: &str = "chaos-";
/// Digits of the number.
const DIGITS: usize = 6;

pub(super) struct Upstreams {
    comfy: Comfy,
    _openai: FakeUpstream,
    comfy_proxy: Proxy,
    openai_proxy: Proxy,
    /// The prompts that were ordered from OpenAI.
    openai_orders: Arc<Mutex<Vec<String>>>,
}

/// The prompt with this number.
pub(super) fn prompt(number: usize) -> String {
    format!("{PROMPT}{number:0DIGITS$}")
}

/// The prompt in a text.
pub(super) fn find_prompt(text: &str) -> &str {
    let start = text.find(PROMPT).unwrap();
    &text[start..start + PROMPT.len() + DIGITS]
}

/// How long an upstream works on its next order: 0.2 to 4 s.
fn work_time(orders: usize) -> Duration {
    Duration::from_millis(200 + (orders as u64 * 1009) % 3800)
}

impl Upstreams {
    pub(super) async fn start() -> Self {
        let comfy = Comfy::with_work_time(|orders| Some(work_time(orders))).await;
        let openai_orders = Arc::<Mutex<Vec<String>>>::default();
        let orders = openai_orders.clone();
        let openai = FakeUpstream::start(move |request| respond(request, orders.clone())).await;
        Self {
            comfy_proxy: Proxy::start(comfy.upstream.address()).await,
            openai_proxy: Proxy::start(openai.address()).await,
            comfy,
            _openai: openai,
            openai_orders,
        }
    }

    /// The variables with which a host uses them.
    pub(super) fn variables(&self) -> [(&'static str, String); 3] {
        let openai = format!("http://{}/v1", self.openai_proxy.address);
        [
            (
                "COMFYUI_BASE_URL",
                format!("http://{}", self.comfy_proxy.address),
            ),
            ("IMAGES_OPENAI_API_BASE_URL", openai),
            ("IMAGE_GENERATION_ENGINE", "comfyui".to_owned()),
        ]
    }

    /// As if the listeners ended, or began again.
    pub(super) fn set(&self, network: Network) {
        self.comfy_proxy.set(network);
        self.openai_proxy.set(network);
    }

    /// How often each prompt was ordered.
    pub(super) fn orders(&self) -> BTreeMap<String, usize> {
        let mut orders = BTreeMap::new();
        let workflows = self.comfy.workflows();
        let openai = self.openai_orders.lock().unwrap();
        let prompts = workflows
            .iter()
            .map(|it| find_prompt(it))
            .chain(openai.iter().map(String::as_str));
        for prompt in prompts {
            *orders.entry(prompt.to_owned()).or_default() += 1;
        }
        orders
    }
}

async fn respond(request: RecordedRequest, orders: Arc<Mutex<Vec<String>>>) -> FakeResponse {
    if !request.line().starts_with("POST") {
        return FakeResponse::json(404, &json!({}));
    }
    let count = {
        let mut orders = orders.lock().unwrap();
        orders.push(find_prompt(&request.json().to_string()).to_owned());
        orders.len()
    };
    tokio::time::sleep(work_time(count)).await;
    let image = json!({"b64_json": pixel_base64()});
    FakeResponse::json(200, &json!({"created": 1, "data": [image]}))
}
