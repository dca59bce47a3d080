use pinhole_sdk::{ErrorKind, Job, SettingValue, Size};

use super::*;

fn job() -> Job {
    Job {
        prompt: "a red fox".into(),
        negative_prompt: Some("blurry".into()),
        model: Some("fox.safetensors".into()),
        size: Some(Size::new(96, 70)),
        count: 2,
        steps: Some(4),
        seed: Some(42),
        parameters: "{}".into(),
    }
}

fn bare() -> Job {
    Job {
        negative_prompt: None,
        model: None,
        size: None,
        count: 1,
        steps: None,
        seed: None,
        ..job()
    }
}

fn settings(pairs: &[(&str, &Value)]) -> Settings {
    let value = |(key, value): &(&str, &Value)| SettingValue {
        key: (*key).into(),
        value: json!(value.to_string()).to_string(),
    };
    Settings::new(pairs.iter().map(value).collect())
}

/// The inputs that a job changed, as `node.input=value`; those of added nodes too.
fn changed(plan: &Plan, values: &Values) -> Vec<String> {
    let written = plan.written(values);
    let mut changed = Vec::new();
    for (id, node) in &written {
        for (input, found) in node["inputs"].as_object().unwrap() {
            if value(&plan.graph, id, input) != Some(found) {
                changed.push(format!("{id}.{input}={found}"));
            }
        }
    }
    changed
}

#[track_caller]
fn check(nodes: &Value, job: &Job, expected: &[&str]) {
    let plan = Plan::generate(&settings(&[("nodes", nodes)])).unwrap();
    let values = Values::of(job, 7).unwrap();
    assert_eq!(changed(&plan, &values), expected);
}

#[test]
fn the_default_workflow_takes_a_whole_job() {
    check(
        &json!([]),
        &job(),
        &[
            "3.seed=42",
            "3.steps=4",
            r#"4.ckpt_name="fox.safetensors""#,
            "5.batch_size=2",
            "5.height=64",
            "5.width=96",
            r#"6.text="a red fox""#,
            r#"7.text="blurry""#,
        ],
    );
}

#[test]
fn what_a_job_leaves_open_stays() {
    let expected = ["3.seed=7", r#"6.text="a red fox""#];
    check(&json!([]), &bare(), &expected);
}

#[test]
fn a_mapping_says_where() {
    let mapping = json!([
        {"type": "prompt", "node_ids": ["7"], "key": "text"},
        {"type": "negative_prompt", "node_ids": [6]},
        {"type": "width", "node_ids": ["5"], "key": ""},
        {"type": "height", "node_ids": ["5"], "key": null},
        {"type": "n", "node_ids": ["5", ""]},
        {"type": "steps", "node_ids": ["3"], "key": "steps"},
        {"type": "seed", "node_ids": ["3"]},
        {"type": "model", "node_ids": ["4"]},
        {"type": "image", "node_ids": ["9"], "key": "image"},
        {"type": "unheard-of", "node_ids": ["9"]},
        {"type": "", "node_ids": ["3"], "key": "scheduler", "value": "karras"},
        {"type": null, "node_ids": ["9"], "key": "filename_prefix", "value": "fox"},
        {"node_ids": ["3"], "key": "cfg", "value": null},
    ]);
    check(
        &mapping,
        &job(),
        &[
            r#"3.scheduler="karras""#,
            "3.seed=42",
            "3.steps=4",
            r#"4.ckpt_name="fox.safetensors""#,
            "5.batch_size=2",
            "5.height=64",
            "5.width=96",
            r#"6.text="blurry""#,
            r#"7.text="a red fox""#,
            r#"9.filename_prefix="fox""#,
        ],
    );
}

#[test]
fn a_mapping_without_the_prompt_has_it_found() {
    let mapping = json!([{"type": "steps", "node_ids": ["3"]}, {"type": "prompt", "node_ids": []}]);
    check(&mapping, &job(), &["3.steps=4", r#"6.text="a red fox""#]);
}

/// The field and message of a refusal.
#[track_caller]
fn refused(plan: Result<Plan, Error>) -> (String, String) {
    let error = plan.map(|_| ()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    (error.field.unwrap(), error.message)
}

#[test]
fn a_broken_mapping_names_its_entry() {
    let two = json!([{"type": "prompt", "node_ids": ["6"]}, {"type": "seed", "node_ids": ["66"]}]);
    for (nodes, pieces) in [
        (two, ["entry 2 (seed)", "\"66\""]),
        (
            json!([{"value": 3, "node_ids": ["x"]}]),
            ["entry 1 of", "\"x\""],
        ),
        (
            json!({"type": "prompt"}),
            ["must be a JSON list", "invalid type"],
        ),
        (json!([3]), ["must be a JSON list", "invalid type"]),
    ] {
        let (field, message) = refused(Plan::generate(&settings(&[("nodes", &nodes)])));
        assert_eq!(field, "nodes");
        for piece in pieces.iter().chain(&["COMFYUI_WORKFLOW_NODES"]) {
            assert!(message.contains(piece), "{message}");
        }
        let edit = settings(&[("edit-nodes", &nodes)]);
        let (field, message) = refused(Plan::edit(&edit, false, None));
        assert_eq!(field, "edit-nodes");
        assert!(message.contains("IMAGES_EDIT_COMFYUI_WORKFLOW_NODES"));
        // What only edits need does not stop the rest.
        Plan::generate(&edit).unwrap();
    }
}

#[test]
fn what_is_no_workflow_is_refused() {
    let save = "add a SaveImage node";
    for (text, pieces) in [
        ("{", ["not JSON", EXPORT]),
        ("[]", ["not a JSON object", EXPORT]),
        (
            r#"{"nodes": [], "links": [], "last_node_id": 9}"#,
            ["editor's own format", EXPORT],
        ),
        ("{}", ["no node", EXPORT]),
        (
            r#"{"prompt": {"3": {"class_type": "KSampler"}}}"#,
            ["no node", EXPORT],
        ),
        (
            r#"{"3": {"class_type": "KSampler", "inputs": {}}}"#,
            ["keeps or shows", save],
        ),
        (
            r#"{"1": {"class_type": "LoadImage", "inputs": {}}, "2": {"class_type": "VAEEncode", "inputs": {"pixels": ["1", 0]}}}"#,
            ["keeps or shows", save],
        ),
    ] {
        let setting = |key: &str| {
            Settings::new(vec![SettingValue {
                key: key.into(),
                value: json!(text).to_string(),
            }])
        };
        let (field, message) = refused(Plan::generate(&setting("workflow")));
        assert_eq!(field, "workflow");
        for piece in pieces.iter().chain(&["COMFYUI_WORKFLOW"]) {
            assert!(message.contains(piece), "{message}");
        }
        let (field, message) = refused(Plan::edit(&setting("edit-workflow"), false, None));
        assert_eq!(field, "edit-workflow");
        assert!(
            message.contains("IMAGES_EDIT_COMFYUI_WORKFLOW"),
            "{message}"
        );
    }
}

fn parameters(text: &str, nodes: &Value) -> Result<Graph, Error> {
    let job = Job {
        parameters: text.into(),
        ..job()
    };
    let plan = Plan::generate(&settings(&[("nodes", nodes)]))?;
    let values = Values::of(&job, 7)?;
    plan.check(&values)?;
    Ok(plan.written(&values))
}

#[test]
fn parameters_go_where_the_mapping_or_the_sampler_takes_them() {
    let graph = parameters(r#"{"cfg": 3.5, "scheduler": "karras"}"#, &json!([])).unwrap();
    assert_eq!(graph["3"]["inputs"]["cfg"], 3.5);
    assert_eq!(graph["3"]["inputs"]["scheduler"], "karras");
    let mapping = json!([{"type": "folder", "node_ids": ["9"], "key": "filename_prefix"}]);
    let graph = parameters(r#"{"folder": "x"}"#, &mapping).unwrap();
    assert_eq!(graph["9"]["inputs"]["filename_prefix"], "x");
    for (text, field) in [
        (r#"{"folder": "x"}"#, "folder"),
        (r#"{"cfg": ["4", 0]}"#, "cfg"),
        (r#"{"cfg": null}"#, "cfg"),
        (r#"{"image": "of-another.png"}"#, "image"),
        (r#"{"steps": 4}"#, "steps"),
        (r#"{"batch_size": 4}"#, "batch_size"),
        ("7", "parameters"),
    ] {
        let error = parameters(text, &json!([])).unwrap_err();
        assert_eq!(
            (error.kind, error.field.as_deref()),
            (ErrorKind::Invalid, Some(field))
        );
    }
}

#[test]
fn parameters_do_not_get_round_what_the_host_checked() {
    let refused = |parameters: &str, node: &str, key: &str| {
        let workflow = json!({
            "1": {"class_type": "PrimitiveInt", "inputs": {"value": 1}},
            "2": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": ["1", 0]}},
            "3": {"class_type": "LoadImage", "inputs": {"image": "x.png"}},
            "9": {"class_type": "SaveImage", "inputs": {"images": ["2", 0]}},
        });
        let nodes = json!([{"type": "own", "node_ids": [node], "key": key}]);
        let plan =
            Plan::generate(&settings(&[("workflow", &workflow), ("nodes", &nodes)])).unwrap();
        let job = Job {
            parameters: parameters.into(),
            ..job()
        };
        plan.check(&Values::of(&job, 7).unwrap()).is_err()
    };
    assert!(!refused(r#"{"own": 4096}"#, "2", "width"));
    assert!(refused(r#"{"own": 4097}"#, "2", "width"));
    assert!(refused(r#"{"own": "4097"}"#, "2", "width"));
    assert!(refused(r#"{"own": -1}"#, "2", "height"));
    assert!(!refused(r#"{"own": 10}"#, "1", "value"));
    assert!(refused(r#"{"own": 11}"#, "1", "value"));
    assert!(refused(r#"{"own": "y.png"}"#, "3", "image"));
}

#[test]
fn details_and_leftovers_tell_what_was_written() {
    let mapping =
        json!([{"type": "prompt", "node_ids": ["6"]}, {"type": "seed", "node_ids": ["3"]}]);
    let plan = Plan::generate(&settings(&[("nodes", &mapping)])).unwrap();
    let values = Values::of(&job(), 7).unwrap();
    assert_eq!(
        plan.details(&values, "id", &[]),
        r#"{"prompt_id":"id","seed":42}"#
    );
    let noted: Value = serde_json::from_str(&plan.details(&values, "id", &["x".into()])).unwrap();
    assert_eq!(noted["notes"], json!(["x"]));
    assert_eq!(
        plan.left_out(&values).as_deref(),
        Some("no node of the workflow takes: negative_prompt, model, width, height, n, steps")
    );
}

#[test]
fn the_node_that_takes_the_model_is_known() {
    let input = |nodes: &Value| {
        let plan = Plan::generate(&settings(&[("nodes", nodes)])).unwrap();
        plan.model_input()
    };
    let default = ("CheckpointLoaderSimple".to_owned(), "ckpt_name".to_owned());
    assert_eq!(input(&json!([])), default);
    let without = json!([{"type": "prompt", "node_ids": ["6"]}]);
    assert_eq!(input(&without), default);
    let mapped = json!([{"type": "model", "node_ids": ["3"], "key": "sampler_name"}]);
    assert_eq!(input(&mapped), ("KSampler".into(), "sampler_name".into()));
}

#[test]
fn outputs_are_what_saves_images_or_else_shows_them() {
    let mut graph = json!({
        "1": {"class_type": "EmptyImage", "inputs": {}},
        "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}},
        "4": {"class_type": "PreviewImage", "inputs": {"images": ["3", 0]}},
        "5": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
        "6": {"class_type": "Somebodys Keeper", "inputs": {"images": ["5", 0]}},
        "7": null,
    });
    let found = |graph: &Value| -> Vec<String> {
        let outputs = image_outputs(graph.as_object().unwrap());
        outputs.into_iter().map(str::to_owned).collect()
    };
    assert_eq!(found(&graph), ["3", "6"]);
    graph["6"] = Value::Null;
    graph["5"] = Value::Null;
    graph["3"]["class_type"] = "PreviewImage".into();
    assert_eq!(found(&graph), ["3", "4"]);
}

#[test]
fn nodes_are_ordered_as_numbers() {
    let mut ids = ["x", "10", "9", "10:2", ""];
    ids.sort_by_key(|id| node_order(id));
    assert_eq!(ids, ["9", "10", "10:2", "", "x"]);
}

/// What an edit with these uploads changes, besides seed and prompt.
fn check_edit(settings: &Settings, job: &Job, sources: &[&str]) -> Vec<String> {
    let plan = Plan::edit(settings, job.size.is_some(), None).unwrap();
    let mut values = Values::of(job, 7).unwrap();
    values.sources = sources.iter().map(ToString::to_string).collect();
    let mut changed = changed(&plan, &values);
    changed.retain(|line| !line.starts_with("3.seed") && !line.starts_with("6.text"));
    changed
}

#[test]
fn the_default_workflow_for_edits_takes_a_whole_job() {
    let none = Settings::default();
    assert_eq!(
        check_edit(&none, &job(), &["a.png", "b.png"]),
        [
            r#"10.image="a.png""#,
            "11.height=64",
            "11.width=96",
            "3.steps=4",
            r#"4.ckpt_name="fox.safetensors""#,
            "5.amount=2",
            r#"7.text="blurry""#,
        ]
    );
    assert_eq!(
        check_edit(&none, &bare(), &["a.png"]),
        [r#"10.image="a.png""#]
    );
    let plan = Plan::edit(&none, false, None).unwrap();
    assert_eq!(plan.sources(), 1);
}

#[test]
fn a_mask_gets_into_the_default_workflow() {
    let mut plan = Plan::edit(&Settings::default(), true, SQUARE).unwrap();
    assert!(!plan.place_mask().unwrap());
    let mut values = Values::of(&job(), 7).unwrap();
    values.mask = Some("m.png".into());
    let graph = plan.written(&values);
    assert_eq!(
        graph["mask1"],
        json!({"class_type": "LoadImageMask", "inputs": {"image": "m.png", "channel": "alpha"}})
    );
    assert_eq!(
        graph["13"]["inputs"],
        json!({"samples": ["12", 0], "mask": ["mask1", 0]})
    );
    assert_eq!(graph["5"]["inputs"]["samples"], json!(["13", 0]));
    assert_eq!(graph["11"]["inputs"]["crop"], "disabled");
    // What is drawn is laid over the picture, as often as it is drawn.
    assert_eq!(graph["9"]["inputs"]["images"], json!(["16", 0]));
    assert_eq!(
        graph["16"]["inputs"],
        json!({"destination": ["15", 0], "source": ["8", 0], "x": 0, "y": 0,
               "resize_source": false, "mask": ["mask1", 0]})
    );
    assert_eq!(
        graph["15"]["inputs"],
        json!({"image": ["11", 0], "amount": 2})
    );
    assert!(!graph.contains_key("14"));
}

#[test]
fn a_mask_follows_the_middle_that_is_drawn() {
    let odd = Some(Size::new(131, 97));
    let mut plan = Plan::edit(&Settings::default(), false, odd).unwrap();
    plan.place_mask().unwrap();
    let graph = plan.written(&Values::of(&bare(), 7).unwrap());
    assert_eq!(
        graph["14"]["inputs"],
        json!({"mask": ["mask1", 0], "x": 1, "y": 0, "width": 128, "height": 96})
    );
    assert_eq!(graph["13"]["inputs"]["mask"], json!(["14", 0]));
    let over = &graph["16"]["inputs"];
    assert_eq!((&over["x"], &over["y"]), (&json!(1), &json!(0)));
    assert_eq!(over["mask"], json!(["14", 0]));
    assert_eq!(graph["15"]["inputs"]["image"], json!(["10", 0]));
}

/// A picture that a mask is for.
const SQUARE: Option<Size> = Some(Size::new(64, 64));

fn two_loaders() -> Value {
    json!({
        "1": {"class_type": "LoadImage", "inputs": {"image": "a"}},
        "2": {"class_type": "LoadImage", "inputs": {"image": "b"}},
        "3": {"class_type": "ImageBatch", "inputs": {"image1": ["1", 0], "image2": ["2", 0]}},
        "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0]}},
    })
}

#[test]
fn each_source_has_its_loader() {
    let graph = two_loaders();
    let found = settings(&[("edit-workflow", &graph)]);
    let job = bare();
    assert_eq!(
        check_edit(&found, &job, &["x", "y"]),
        [r#"1.image="x""#, r#"2.image="y""#]
    );
    assert_eq!(check_edit(&found, &job, &["x"]), [r#"1.image="x""#]);
    let nodes = json!([{"type": "image", "node_ids": ["2", "1"]}]);
    let mapped = settings(&[("edit-workflow", &graph), ("edit-nodes", &nodes)]);
    assert_eq!(
        check_edit(&mapped, &job, &["x", "y"]),
        [r#"1.image="y""#, r#"2.image="x""#]
    );
    let none = json!({"4": {"class_type": "SaveImage", "inputs": {}}});
    let (field, message) = refused(Plan::edit(
        &settings(&[("edit-workflow", &none)]),
        false,
        None,
    ));
    assert_eq!(field, "edit-workflow");
    assert!(message.contains("LoadImage"), "{message}");
}

/// Where the mask goes, and whether it is white; `None` where it has no place.
fn mask_place(graph: &Value, nodes: &Value) -> Option<(String, bool)> {
    let settings = settings(&[("edit-workflow", graph), ("edit-nodes", nodes)]);
    let mut plan = Plan::edit(&settings, false, SQUARE).unwrap();
    let white = match plan.place_mask() {
        Ok(white) => white,
        Err(error) => {
            assert_eq!(error.kind, ErrorKind::Unsupported);
            assert_eq!(error.field.as_deref(), Some("mask"));
            return None;
        }
    };
    let place = plan.places.iter().find(|place| place.what == What::Mask);
    Some((place.unwrap().node.clone(), white))
}

#[test]
fn a_mask_goes_where_the_workflow_takes_one() {
    let none = json!([]);
    let mut graph = two_loaders();
    assert_eq!(mask_place(&graph, &none), None);
    // Of the second picture: the mask is of the first.
    graph["3"]["inputs"]["mask"] = json!(["2", 1]);
    assert_eq!(mask_place(&graph, &none), None);
    graph["3"]["inputs"]["mask"] = json!(["1", 1]);
    assert_eq!(mask_place(&graph, &none), Some(("mask1".into(), false)));
    for (channel, white) in [("alpha", false), ("red", true)] {
        graph["7"] =
            json!({"class_type": "LoadImageMask", "inputs": {"image": "m", "channel": channel}});
        assert_eq!(mask_place(&graph, &none), Some(("7".into(), white)));
    }
    // A picture of which only the mask is taken, which is common.
    let inpaint = json!({
        "1": {"class_type": "LoadImage", "inputs": {"image": "a"}},
        "6": {"class_type": "LoadImage", "inputs": {"image": "b"}},
        "3": {"class_type": "Inpaint", "inputs": {"image": ["1", 0], "mask": ["6", 1]}},
        "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0]}},
    });
    assert_eq!(mask_place(&inpaint, &none), Some(("6".into(), false)));
    let found = settings(&[("edit-workflow", &inpaint)]);
    assert_eq!(check_edit(&found, &bare(), &["x", "y"]), [r#"1.image="x""#]);
    // A picture that becomes a mask by its colours, and one by what is transparent.
    let second = json!([{"type": "mask", "node_ids": ["2"]}]);
    assert_eq!(mask_place(&graph, &second), Some(("2".into(), true)));
    let first = json!([{"type": "mask", "node_ids": ["1"]}, {"type": "image", "node_ids": ["2"]}]);
    assert_eq!(mask_place(&graph, &first), Some(("1".into(), false)));
}
