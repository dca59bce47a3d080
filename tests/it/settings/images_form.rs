//! The images form with its 33 fields.

use pinhole_tests::TestServer;
use serde_json::{Value, json};

use super::{
    CONFIG, MARKER, UPDATE, execute, get, recorded_changes, save_form, setting_value, stored_paths,
    submit_form, text,
};

const NODES: &str = r#"[{"type": "prompt", "node_ids": [6], "key": "text"}, {"type": "negative_prompt", "node_ids": ["7"], "key": "text"}]"#;
const WORKFLOW: &str = r#"{"6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a"}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "b"}},
    "8": {"class_type": "CLIPTextEncode", "inputs": {"text": "c"}},
    "9": {"class_type": "SaveImage", "inputs": {"images": ["6", 0], "filename_prefix": "x"}}}"#;

#[tokio::test(flavor = "multi_thread")]
async fn form_has_values_and_engine_defaults() {
    let server = TestServer::start(&[]).await;
    let form = get(&server, CONFIG).await;
    let expected = json!({
        "ENABLE_IMAGE_GENERATION": true,
        "ENABLE_IMAGE_PROMPT_GENERATION": true,
        "IMAGE_GENERATION_ENGINE": "sketch",
        "IMAGE_GENERATION_MODEL": "",
        "IMAGE_SIZE": "",
        "IMAGE_STEPS": null,
        "IMAGES_OPENAI_API_BASE_URL": "https://api.openai.com/v1",
        "IMAGES_OPENAI_API_KEY": "",
        "IMAGES_OPENAI_API_VERSION": "",
        "IMAGES_OPENAI_API_PARAMS": {},
        "AUTOMATIC1111_BASE_URL": "",
        "AUTOMATIC1111_API_AUTH": "",
        "AUTOMATIC1111_PARAMS": {},
        "COMFYUI_BASE_URL": "",
        "COMFYUI_API_KEY": "",
        "COMFYUI_WORKFLOW": "",
        "COMFYUI_WORKFLOW_NODES": [],
        "IMAGES_GEMINI_API_BASE_URL": "https://generativelanguage.googleapis.com/v1beta",
        "IMAGES_GEMINI_API_KEY": "",
        "IMAGES_GEMINI_ENDPOINT_METHOD": "generateContent",
        "ENABLE_IMAGE_EDIT": true,
        "IMAGE_EDIT_ENGINE": "",
        "IMAGE_EDIT_MODEL": "",
        "IMAGE_EDIT_SIZE": "",
        "IMAGES_EDIT_OPENAI_API_BASE_URL": "",
        "IMAGES_EDIT_OPENAI_API_KEY": "",
        "IMAGES_EDIT_OPENAI_API_VERSION": "",
        "IMAGES_EDIT_GEMINI_API_BASE_URL": "",
        "IMAGES_EDIT_GEMINI_API_KEY": "",
        "IMAGES_EDIT_COMFYUI_BASE_URL": "",
        "IMAGES_EDIT_COMFYUI_API_KEY": "",
        "IMAGES_EDIT_COMFYUI_WORKFLOW": "",
        "IMAGES_EDIT_COMFYUI_WORKFLOW_NODES": [],
    });
    assert_eq!(form, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn form_masks_secrets_of_environment() {
    let variables = [
        ("ENABLE_IMAGE_GENERATION", "False"),
        ("IMAGE_GENERATION_ENGINE", ""),
        ("IMAGE_SIZE", "512x512"),
        ("IMAGE_STEPS", "20"),
        ("OPENAI_API_KEY", "shared-secret"),
        ("IMAGES_EDIT_OPENAI_API_KEY", "edit-secret"),
        ("IMAGES_OPENAI_API_PARAMS", r#"{"quality": "low"}"#),
        ("PINHOLE_AUTOMATIC1111_PARAMS", r#"{"cfg_scale": 7}"#),
        ("AUTOMATIC1111_API_AUTH", "user:auth-secret"),
        ("COMFYUI_WORKFLOW", WORKFLOW),
        ("COMFYUI_WORKFLOW_NODES", NODES),
    ];
    let server = TestServer::start(&variables).await;
    let form = get(&server, CONFIG).await;
    for (name, value) in [
        ("ENABLE_IMAGE_GENERATION", json!(false)),
        ("IMAGE_GENERATION_ENGINE", json!("")),
        ("IMAGE_SIZE", json!("512x512")),
        ("IMAGE_STEPS", json!(20)),
        ("IMAGES_OPENAI_API_KEY", json!(MARKER)),
        ("IMAGES_EDIT_OPENAI_API_KEY", json!(MARKER)),
        ("IMAGES_OPENAI_API_PARAMS", json!({"quality": "low"})),
        ("AUTOMATIC1111_PARAMS", json!({"cfg_scale": 7})),
        ("AUTOMATIC1111_API_AUTH", json!(MARKER)),
        ("COMFYUI_WORKFLOW", json!(WORKFLOW)),
        (
            "COMFYUI_WORKFLOW_NODES",
            serde_json::from_str(NODES).unwrap(),
        ),
    ] {
        assert_eq!(form[name], value, "{name}");
    }
    assert!(!form.to_string().contains("-secret"), "{form}");

    // Submitted unchanged, but with other JSON formatting or types.
    let mut other = form.clone();
    other["IMAGES_OPENAI_API_PARAMS"] = json!("{\"quality\":  \"low\"}");
    other["COMFYUI_WORKFLOW_NODES"] = json!([
        {"type": "prompt", "node_ids": ["6"], "key": "text"},
        {"type": "model", "node_ids": [], "key": "ckpt_name"},
        {"type": "width", "node_ids": [], "key": "width"},
        {"type": "height", "node_ids": [], "key": "height"},
        {"type": "steps", "node_ids": [], "key": "steps"},
        {"type": "seed", "node_ids": [], "key": "seed"},
    ]);
    other["IMAGE_STEPS"] = json!("20");
    for sent in [form.clone(), other] {
        assert_eq!(server.post_json(UPDATE, &sent).await, (200, form.clone()));
        assert_eq!(stored_paths(&server).await, [""; 0]);
        assert_eq!(recorded_changes(&server).await, [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn form_can_be_saved_despite_invalid_environment() {
    let variables = [
        ("AUTOMATIC1111_PARAMS", "no object"),
        ("COMFYUI_WORKFLOW_NODES", "no list"),
        ("IMAGE_SIZE", "auto"),
    ];
    let server = TestServer::start(&variables).await;
    let form = get(&server, CONFIG).await;
    assert_eq!(form["AUTOMATIC1111_PARAMS"], "no object");
    assert_eq!(form["COMFYUI_WORKFLOW_NODES"], json!([]));
    save_form(&server, &[("IMAGE_STEPS", json!(7))]).await;
    assert_eq!(stored_paths(&server).await, ["image_generation.steps"]);
    let nodes = json!([{"type": "prompt", "node_ids": ["6"]}]);
    let fields = [
        ("AUTOMATIC1111_PARAMS", json!({"cfg_scale": 7})),
        ("COMFYUI_WORKFLOW", json!(WORKFLOW)),
        ("COMFYUI_WORKFLOW_NODES", nodes.clone()),
    ];
    assert_eq!(
        save_form(&server, &fields).await["COMFYUI_WORKFLOW_NODES"],
        nodes
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn form_stores_and_records_changed_fields_only() {
    let server = TestServer::start(&[("IMAGE_SIZE", "512x512")]).await;
    let fields = [
        ("IMAGE_SIZE", json!("1024x768")),
        ("IMAGE_STEPS", json!(30)),
        ("IMAGES_OPENAI_API_KEY", json!("hunter22")),
        ("IMAGES_OPENAI_API_PARAMS", json!({"quality": "high"})),
        ("COMFYUI_BASE_URL", json!("/http://127.0.0.1:8188/ ")),
        ("IMAGE_GENERATION_ENGINE", json!("comfyui")),
    ];
    let form = save_form(&server, &fields).await;
    assert_eq!(form, get(&server, CONFIG).await);
    assert_eq!(form["IMAGE_SIZE"], "1024x768");
    assert_eq!(form["COMFYUI_BASE_URL"], "http://127.0.0.1:8188");
    assert_eq!(form["IMAGES_OPENAI_API_KEY"], MARKER);
    let mut recorded = recorded_changes(&server).await;
    recorded.sort();
    let expected = [
        r#"changed IMAGE_SIZE "512x512" "1024x768""#,
        r#"set COMFYUI_BASE_URL null "http://127.0.0.1:8188""#,
        r#"set IMAGES_OPENAI_API_KEY null null"#,
        r#"set IMAGES_OPENAI_API_PARAMS null {"quality":"high"}"#,
        r#"set IMAGE_GENERATION_ENGINE null "comfyui""#,
        "set IMAGE_STEPS null 30",
    ];
    assert_eq!(recorded, expected);
    let entry = &get(&server, "/api/v1/settings/changes?limit=1").await;
    assert_eq!(entry.as_array().unwrap().len(), 1);
    assert_eq!(entry[0]["user_name"], "Administrator");
    assert!(entry[0]["changed_at"].as_i64().unwrap() > 1_700_000_000);

    // The marker retains the secret, another value replaces it, and an empty one removes it.
    save_form(&server, &[("IMAGE_STEPS", json!(31))]).await;
    assert_eq!(
        recorded_changes(&server).await[0],
        "changed IMAGE_STEPS 30 31"
    );
    save_form(&server, &[("IMAGES_OPENAI_API_KEY", json!("hunter33"))]).await;
    let without_key = save_form(&server, &[("IMAGES_OPENAI_API_KEY", json!(""))]).await;
    assert_eq!(without_key["IMAGES_OPENAI_API_KEY"], "");
    let unset = save_form(
        &server,
        &[("IMAGE_STEPS", json!(null)), ("IMAGE_SIZE", json!(null))],
    )
    .await;
    assert_eq!(
        (&unset["IMAGE_STEPS"], &unset["IMAGE_SIZE"]),
        (&json!(null), &json!(""))
    );
    let all_changes = recorded_changes(&server).await;
    let mut newest = all_changes[..4].to_vec();
    newest[..2].sort();
    let expected_changes = [
        r#"removed IMAGE_SIZE "1024x768" null"#,
        "removed IMAGE_STEPS 31 null",
        "removed IMAGES_OPENAI_API_KEY null null",
        "changed IMAGES_OPENAI_API_KEY null null",
    ];
    assert_eq!(newest, expected_changes);
}

#[tokio::test(flavor = "multi_thread")]
async fn form_retains_unknown_node_types() {
    let server = TestServer::start(&[]).await;
    let nodes: Value = serde_json::from_str(NODES).unwrap();
    let fields = [
        ("COMFYUI_WORKFLOW", json!(WORKFLOW)),
        ("COMFYUI_WORKFLOW_NODES", nodes.clone()),
    ];
    assert_eq!(
        save_form(&server, &fields).await["COMFYUI_WORKFLOW_NODES"],
        nodes
    );
    let form = ["prompt", "model", "width", "height", "steps", "seed"].map(|kind| {
        let ids: &[&str] = if kind == "prompt" { &["8"] } else { &[] };
        json!({"type": kind, "node_ids": ids, "key": "text"})
    });
    let shown = save_form(&server, &[("COMFYUI_WORKFLOW_NODES", json!(&form))]).await;
    // The engine finds the nodes of the entries without nodes.
    let mut expected = form.to_vec();
    expected.push(json!({"type": "negative_prompt", "node_ids": ["7"], "key": "text"}));
    assert_eq!(shown["COMFYUI_WORKFLOW_NODES"], json!(expected));
    let emptied = save_form(&server, &[("COMFYUI_WORKFLOW_NODES", json!([]))]).await;
    assert_eq!(emptied["COMFYUI_WORKFLOW_NODES"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn other_fields_do_not_change_default_engine() {
    let server = TestServer::start(&[("IMAGE_GENERATION_ENGINE", "comfyui")]).await;
    save_form(&server, &[("ENABLE_IMAGE_EDIT", json!(false))]).await;
    save_form(&server, &[("ENABLE_IMAGE_EDIT", json!(true))]).await;
    // Open WebUI would switch to openai.
    assert_eq!(
        setting_value(&server, "IMAGE_EDIT_ENGINE").await.0,
        "comfyui"
    );
    let default_server = TestServer::start(&[]).await;
    let form = save_form(
        &default_server,
        &[("IMAGES_OPENAI_API_KEY", json!("hunter22"))],
    )
    .await;
    assert_eq!(form["IMAGE_GENERATION_ENGINE"], "sketch");
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_form_changes_nothing() {
    let server = TestServer::start(&[]).await;
    let before = get(&server, CONFIG).await;
    let good = ("IMAGE_GENERATION_MODEL", json!("dall-e-3"));
    let format = |example: &str| {
        json!(format!(
            "Invalid format. Please use the correct format  ({example})."
        ))
    };
    let field = |name: &str, kind: &str, message: &str| json!([{"type": kind, "loc": ["body", name], "msg": message}]);
    let auto = format("auto is only allowed with gpt-image models");
    let size = format("e.g., 512x512");
    let number = "Input should be a valid integer";
    let string = "Input should be a valid string";
    for (name, value, status, detail) in [
        ("IMAGE_SIZE", json!("auto"), 400, auto),
        ("IMAGE_SIZE", json!("512"), 400, size.clone()),
        ("IMAGE_SIZE", json!("512x512\n"), 400, size.clone()),
        ("IMAGE_SIZE", json!("٥x٥"), 400, size),
        ("IMAGE_STEPS", json!(-1), 400, format("e.g., 50")),
        ("IMAGE_STEPS", json!("-1"), 400, format("e.g., 50")),
        (
            "IMAGE_STEPS",
            json!("x"),
            422,
            field("IMAGE_STEPS", "int_type", number),
        ),
        (
            "IMAGE_STEPS",
            json!(1.5),
            422,
            field("IMAGE_STEPS", "int_type", number),
        ),
        (
            "IMAGE_SIZE",
            json!(5),
            422,
            field("IMAGE_SIZE", "string_type", string),
        ),
        (
            "COMFYUI_BASE_URL",
            json!(null),
            422,
            field("COMFYUI_BASE_URL", "string_type", string),
        ),
        (
            "ENABLE_IMAGE_EDIT",
            json!("yes"),
            422,
            field(
                "ENABLE_IMAGE_EDIT",
                "bool_type",
                "Input should be a valid boolean",
            ),
        ),
        (
            "AUTOMATIC1111_PARAMS",
            json!([]),
            422,
            field(
                "AUTOMATIC1111_PARAMS",
                "dict_type",
                "Input should be a valid dictionary",
            ),
        ),
        (
            "COMFYUI_WORKFLOW_NODES",
            json!(["6"]),
            422,
            field(
                "COMFYUI_WORKFLOW_NODES",
                "list_type",
                "Input should be a valid list of dictionaries",
            ),
        ),
        (
            "AUTOMATIC1111_PARAMS",
            json!("[1]"),
            400,
            json!("AUTOMATIC1111_PARAMS must be a JSON object"),
        ),
        (
            "IMAGE_EDIT_MODEL",
            json!("a\0b"),
            400,
            json!("IMAGE_EDIT_MODEL must not contain the character NUL"),
        ),
    ] {
        let response = submit_form(&server, &[good.clone(), (name, value.clone())]).await;
        assert_eq!(
            response,
            (status, json!({"detail": detail})),
            "{name} {value}"
        );
    }
    let mut short = before.clone();
    let fields = short.as_object_mut().unwrap();
    fields.remove("IMAGE_EDIT_MODEL");
    fields.insert("IMAGE_GENERATION_MODEL".to_owned(), json!("dall-e-3"));
    let missing = field("IMAGE_EDIT_MODEL", "missing", "Field required");
    let response = server.post_json(UPDATE, &short).await;
    assert_eq!(response, (422, json!({"detail": missing})));
    let long = "x".repeat((1 << 20) + 1);
    let (status, refused) = submit_form(&server, &[good, ("COMFYUI_WORKFLOW", json!(long))]).await;
    assert_eq!(status, 400, "{refused}");
    assert_eq!(get(&server, CONFIG).await, before);
    assert_eq!(stored_paths(&server).await, [""; 0]);
    assert_eq!(
        server
            .post_json(UPDATE, &json!("x".repeat(9 << 20)))
            .await
            .0,
        413
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn size_auto_needs_supporting_model() {
    let server = TestServer::start(&[]).await;
    let fields = [
        ("IMAGE_SIZE", json!("auto")),
        ("IMAGE_GENERATION_MODEL", json!("gpt-image-1")),
    ];
    assert_eq!(save_form(&server, &fields).await["IMAGE_SIZE"], "auto");
    let (status, refused) =
        submit_form(&server, &[("IMAGE_GENERATION_MODEL", json!("dall-e-3"))]).await;
    assert_eq!(status, 400);
    assert!(text(&refused, "detail").contains("auto is only allowed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_write_changes_nothing() {
    let server = TestServer::start(&[]).await;
    save_form(&server, &[("IMAGE_STEPS", json!(10))]).await;
    let before = get(&server, CONFIG).await;
    execute(
        &server,
        "CREATE TRIGGER full BEFORE INSERT ON setting_changes
         WHEN NEW.name = 'IMAGE_STEPS' BEGIN SELECT RAISE(ABORT, 'full'); END",
    )
    .await;
    let fields = [
        ("IMAGE_EDIT_MODEL", json!("m")),
        ("IMAGE_STEPS", json!(20)),
        ("ENABLE_IMAGE_GENERATION", json!(false)),
    ];
    let (status, failed) = submit_form(&server, &fields).await;
    assert_eq!(
        (status, text(&failed, "detail").as_str()),
        (
            500,
            "internal server error; the server's log contains the cause"
        )
    );
    assert_eq!(get(&server, CONFIG).await, before);
    assert_eq!(stored_paths(&server).await, ["image_generation.steps"]);
    assert_eq!(recorded_changes(&server).await, ["set IMAGE_STEPS null 10"]);
    let generation = json!({"prompt": "a fox", "size": "64x48"});
    assert_eq!(
        server
            .post_json("/api/v1/images/generations", &generation)
            .await
            .0,
        200
    );
    execute(&server, "DROP TRIGGER full").await;
    let form = save_form(&server, &fields).await;
    assert_eq!(form["IMAGE_STEPS"], 20);
}
