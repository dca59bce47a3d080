use pinhole_sandbox::{RecordedReport, RecordedRequest, StepContent};
use serde_json::json;
use tokio::time::Instant;

use super::*;
use crate::case::tests::read_case;
use crate::test_image;

/// The steps of one exchange with the upstream, with this status and JSON.
fn exchange(number: u64, line: &str, body: &Value, reply: &Value) -> Vec<TrafficStep> {
    let mut steps = start(number, line, body);
    steps.push(step(number, head(200)));
    let bytes = Bytes::from(reply.to_string());
    steps.push(step(number, StepContent::Body(bytes.into())));
    steps.push(step(number, StepContent::End));
    steps
}

fn step(exchange: u64, content: StepContent) -> TrafficStep {
    TrafficStep {
        job: "job".into(),
        exchange,
        at: Instant::now(),
        content,
    }
}

fn head(status: u16) -> StepContent {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    StepContent::Head {
        status,
        headers: vec![
            header("content-type", "application/json"),
            header("date", "now"),
            header("retry-after", "3"),
        ],
    }
}

fn start(number: u64, line: &str, body: &Value) -> Vec<TrafficStep> {
    let (method, path) = line.split_once(' ').unwrap();
    let body = match body {
        Value::Null => Bytes::new(),
        json => json.to_string().into(),
    };
    let request = RecordedRequest {
        upstream: Some("api".into()),
        base_url: "https://api.example.com/v1".to_owned(),
        method: method.to_owned(),
        path: path.to_owned(),
        credential_parameter: (path == "/slow").then(|| "key".to_owned()),
        credential_fields: match path {
            "/keyed" => vec!["/extra_data/api_key".to_owned(), "/token".to_owned()],
            _ => Vec::new(),
        },
        headers: Vec::new(),
        content_type: Some("application/json".to_owned()),
        body: body.into(),
        is_web_socket: false,
    };
    vec![step(number, StepContent::Request(request))]
}

/// Writes a job with these steps. Checks that the case can be read, unless it has files of its own.
fn write(steps: Vec<TrafficStep>) -> (Value, WrittenCase) {
    let Value::Object(parameters) = json!({"prompt": "a fox"}) else {
        panic!("an object")
    };
    let case = write_case(RecordedJob {
        about: "a test".to_owned(),
        parameters,
        sources: Vec::new(),
        mask: None,
        variables: BTreeMap::from([("API_KEY".to_owned(), "sk-test-4711".to_owned())]),
        base_urls: vec![(
            "API_URL".to_owned(),
            "https://api.example.com/v1".to_owned(),
        )],
        image_hosts_variable: "API_HOSTS".to_owned(),
        steps,
        outcome: RecordedOutcome::Images(JobImages {
            images: Vec::new(),
            revised_prompt: None,
            details: json!({"id": 7}),
            seeds: vec![Some(81_726_354), Some(81_726_355), None],
            usage: Some(json!({"seconds": 1.5})),
            cost: Some((0.04, "USD".to_owned())),
            warnings: vec!["see https://api.example.com/v1/jobs/7".to_owned()],
            engine_warnings: 1,
        }),
    });
    let json: Value = serde_json::from_slice(&case.files[CASE_FILE]).unwrap();
    if case.files.len() == 1 {
        read_case(&json, &json!({})).unwrap();
    }
    (json, case)
}

#[test]
fn polls_become_one_exchange_and_the_last_reply() {
    let mut steps = exchange(
        0,
        "POST /jobs",
        &json!({"prompt": "a fox"}),
        &json!({"id": 7, "url": "https://api.example.com/v1/jobs/7"}),
    );
    for number in 1..=5 {
        let reply = json!({"progress": number});
        steps.extend(exchange(number, "GET /jobs/7", &Value::Null, &reply));
    }
    let (case, _) = write(steps);
    assert_eq!(
        case["upstream"],
        json!([
            {
                "request": {"line": "POST /v1/jobs", "json": {"prompt": "a fox"}},
                "reply": {"headers": {"retry-after": "3"}, "json": {"id": 7, "url": "{upstream}/v1/jobs/7"}},
            },
            {
                "request": {"line": "GET /v1/jobs/7", "body": "none"},
                "times": {"at_least": 2, "at_most": 2},
                "reply": {"headers": {"retry-after": "3"}, "json": {"progress": 4}},
            },
            {
                "request": {"line": "GET /v1/jobs/7", "body": "none"},
                "reply": {"headers": {"retry-after": "3"}, "json": {"progress": 5}},
            },
        ])
    );
    assert_eq!(
        case["variables"],
        json!({"API_KEY": "sk-test-4711", "API_URL": "{upstream}/v1"})
    );
}

#[test]
fn repeated_posts_stay_and_a_request_without_a_response_hangs() {
    let body = json!({"prompt": "a fox"});
    let mut steps = exchange(0, "POST /jobs", &body, &json!({"n": 1}));
    steps.extend(exchange(1, "POST /jobs", &body, &json!({"n": 2})));
    steps.extend(start(2, "GET /slow", &Value::Null));
    steps.push(step(2, StepContent::End));
    steps.extend(start(3, "GET /broken", &Value::Null));
    steps.push(step(3, StepContent::Failed("refused".to_owned())));
    let (case, _) = write(steps);
    let replies: Vec<&Value> = (0..4)
        .map(|index| &case["upstream"][index]["reply"])
        .collect();
    assert_eq!(
        case["upstream"][2]["request"]["line"],
        "GET /v1/slow?key={any}"
    );
    assert_eq!(replies[0]["json"], json!({"n": 1}));
    assert_eq!(replies[1]["json"], json!({"n": 2}));
    assert_eq!(*replies[2], json!({"hangs": true}));
    assert_eq!(*replies[3], json!({"break": "before_head"}));
}

#[test]
fn random_values_become_placeholders_everywhere() {
    let id = "1750e56a-4aed-493f-acfc-bae22a4993fb";
    let steps = exchange(
        0,
        "POST /jobs",
        &json!({"id": id, "seed": 81_726_354}),
        &json!({id: {"info": "{\"seed\": 81726354}", "seed": 81_726_354}}),
    );
    let (case, written) = write(steps);
    let exchange = &case["upstream"][0];
    assert_eq!(
        exchange["request"]["json"],
        json!({"id": "{id}", "seed": "{seed}"})
    );
    assert_eq!(
        exchange["reply"]["json"],
        json!({"{id}": {"info": "{\"seed\": {seed}}", "seed": "{seed}"}})
    );
    assert_eq!(written.notes.len(), 2, "{:?}", written.notes);
}

#[test]
fn images_become_specifications_and_long_values_files() {
    let [one, two] = ["png 8x6 red", "png 8x6 blue"].map(|spec| {
        let bytes = test_image::encode(spec).unwrap();
        base64_simd::STANDARD.encode_to_string(bytes)
    });
    let long = "x".repeat(3000);
    let mut steps = exchange(
        0,
        "POST /jobs",
        &json!({"prompt": "a fox"}),
        &json!({"images": [one, format!("data:image/png;base64,{two}"), one], "$ref": 1}),
    );
    steps.extend(exchange(
        1,
        "POST /jobs",
        &json!({"image": one, "other": two}),
        &json!({"images": [one, format!("data:image/png;base64,{two}")]}),
    ));
    steps.extend(exchange(2, "POST /long", &json!({"a": long}), &json!({})));
    let (case, written) = write(steps);
    assert_eq!(
        case["upstream"][0]["reply"]["json"],
        json!({"$file": "reply-1.json"})
    );
    let second = &case["upstream"][1];
    // The first reply is a file, in which images stay.
    assert_eq!(
        second["request"]["json"],
        json!({"image": "{any}", "other": "{any}"})
    );
    assert_eq!(
        second["reply"]["json"]["images"],
        json!([
            {"$picture": "png 8x6"},
            {"$join": ["data:image/png;base64,", {"$picture": "png 8x6 2"}]},
        ])
    );
    let names: Vec<&str> = written.files.keys().map(String::as_str).collect();
    assert_eq!(names, ["case.json", "reply-1.json", "request-3.json"]);
}

#[test]
fn fields_of_the_credential_match_anything() {
    let body = json!({"prompt": "a fox", "extra_data": {"n": 1}});
    let (case, _) = write(exchange(0, "POST /keyed", &body, &json!({})));
    assert_eq!(
        case["upstream"][0]["request"]["json"],
        json!({"prompt": "a fox", "extra_data": {"n": 1, "api_key": "{any}"}, "token": "{any}"})
    );
}

#[test]
fn outcome_has_what_the_engine_said() {
    let body = json!({"seed": 81_726_354});
    let (case, _) = write(exchange(0, "POST /jobs", &body, &json!({"id": 7})));
    assert_eq!(
        case["outcome"],
        json!({
            "pictures": [],
            "details": {
                "id": 7,
                "notes": ["see {upstream}/v1/jobs/7"],
                // The second was never sent.
                "seeds": ["{seed}", "{any}"],
                "usage": {"seconds": 1.5},
                "cost": {"amount": 0.04, "unit": "USD"},
            },
            "warnings": ["see {upstream}/v1/jobs/7"],
        })
    );
}

fn report(number: u64, note: &str) -> TrafficStep {
    let report = RecordedReport {
        fraction: Some(0.5),
        note: Some(note.to_owned()),
        ..RecordedReport::default()
    };
    step(number, StepContent::Report(report))
}

#[test]
fn reports_are_those_that_every_replay_has() {
    let state = |number: u64, reply: &Value| exchange(number, "GET /jobs/7", &Value::Null, reply);
    let mut steps = exchange(0, "POST /jobs", &json!({}), &json!({"id": 7}));
    steps.push(report(10, "replaced"));
    steps.push(report(11, "queued"));
    steps.extend(state(1, &json!({"n": 1})));
    steps.push(report(12, "of a poll that is left out"));
    steps.extend(state(2, &json!({"n": 1})));
    steps.push(report(13, "running"));
    steps.extend(state(3, &json!({"n": 2})));
    steps.push(report(14, "done"));
    let (case, _) = write(steps);
    let notes: Vec<&Value> = case["reports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|report| &report["note"])
        .collect();
    assert_eq!(notes, ["queued", "running", "done"]);
}
