use serde_json::{Value, json};

use super::*;

/// The inputs that take values, as `value:node.input`, without sampler parameters.
fn found(graph: &Value) -> Vec<String> {
    let analysis = Analysis::new(graph.as_object().unwrap(), &Schemas::default());
    let inputs = analysis.inputs.into_iter();
    let named = inputs.map(|input| match input.content {
        InputContent::JobValue(name) => format!("{name}:{}.{}", input.node, input.input),
        content => panic!("{content:?}"),
    });
    let is_value = |line: &String| {
        !["cfg:", "denoise:", "sampler_name:", "scheduler:"]
            .iter()
            .any(|name| line.starts_with(name))
    };
    named.filter(is_value).collect()
}

#[track_caller]
fn check(graph: Value, expected: &[&str]) {
    let mut found = found(&graph);
    found.sort_unstable();
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

/// The candidates for the prompt.
fn candidates(graph: &Value) -> Vec<String> {
    Analysis::new(graph.as_object().unwrap(), &Schemas::default()).candidates
}

/// A graph with a sampler, and these nodes for the texts. The sampler's `positive` is node 6 and its
/// `negative` node 7.
fn with_texts(texts: &Value) -> Value {
    let mut graph = json!({
        "3": {"class_type": "KSampler", "inputs": {"seed": 1, "steps": 8, "cfg": 1, "model": ["4", 0],
            "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]}},
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "a.safetensors"}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 512, "batch_size": 1}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "bad", "clip": ["4", 1]}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "x"}},
    });
    for (id, node) in texts.as_object().unwrap() {
        graph[id] = node.clone();
    }
    graph
}

/// Which of the inputs of the texts take prompt and negative prompt.
#[track_caller]
fn check_texts(texts: Value, expected: &[&str]) {
    let mut texts = found(&with_texts(&texts));
    texts.retain(|line| line.contains("prompt:"));
    assert_eq!(texts, expected);
}

#[test]
fn analysis_follows_custom_sampler_to_its_parts() {
    check(
        json!({
            "5": {"class_type": "EmptySD3LatentImage", "inputs": {"width": 8, "height": 8, "batch_size": 1}},
            "6": {"class_type": "CLIPTextEncodeFlux", "inputs": {"clip_l": "", "t5xxl": "", "guidance": 3, "clip": ["11", 0]}},
            "8": {"class_type": "VAEDecode", "inputs": {"samples": ["13", 0]}},
            "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0]}},
            "11": {"class_type": "DualCLIPLoader", "inputs": {"clip_name1": "a", "clip_name2": "b"}},
            "12": {"class_type": "UNETLoader", "inputs": {"unet_name": "flux"}},
            "13": {"class_type": "SamplerCustomAdvanced", "inputs": {
                "noise": ["25", 0], "guider": ["22", 0], "sampler": ["16", 0], "sigmas": ["17", 0], "latent_image": ["5", 0]}},
            "16": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "euler"}},
            "17": {"class_type": "BasicScheduler", "inputs": {"steps": 4, "scheduler": "simple", "model": ["12", 0]}},
            "22": {"class_type": "BasicGuider", "inputs": {"model": ["12", 0], "conditioning": ["6", 0]}},
            "25": {"class_type": "RandomNoise", "inputs": {"noise_seed": 1}},
        }),
        &[
            "prompt:6.clip_l",
            "prompt:6.t5xxl",
            "seed:25.noise_seed",
            "steps:17.steps",
            "width:5.width",
            "height:5.height",
            "n:5.batch_size",
            "model:12.unet_name",
        ],
    );
}

#[test]
fn analysis_separates_texts_behind_control_net_and_guider() {
    check(
        json!({
            "1": {"class_type": "PrimitiveStringMultiline", "inputs": {"value": ""}},
            "2": {"class_type": "CLIPTextEncode", "inputs": {"text": ["1", 0]}},
            "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "bad"}},
            "4": {"class_type": "ControlNetApplyAdvanced", "inputs": {"positive": ["2", 0], "negative": ["3", 0], "image": ["9", 0]}},
            "5": {"class_type": "KSamplerAdvanced", "inputs": {
                "noise_seed": 1, "steps": 2, "positive": ["4", 0], "negative": ["4", 1], "latent_image": ["6", 0]}},
            "6": {"class_type": "VAEEncode", "inputs": {"pixels": ["9", 0]}},
            "9": {"class_type": "LoadImage", "inputs": {"image": "x.png"}},
        }),
        &[
            "prompt:1.value",
            "negative_prompt:3.text",
            "seed:5.noise_seed",
            "steps:5.steps",
        ],
    );
    let guided = json!({
        "1": {"class_type": "CLIPTextEncode", "inputs": {"text": "a"}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "b"}},
        "3": {"class_type": "CFGGuider", "inputs": {"model": ["8", 0], "positive": ["1", 0], "negative": ["2", 0], "cfg": 4}},
        "4": {"class_type": "SamplerCustomAdvanced", "inputs": {"guider": ["3", 0], "latent_image": ["5", 0]}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 8, "height": 8}},
        "8": {"class_type": "UnetLoaderGGUF", "inputs": {"unet_name": "q.gguf"}},
    });
    check(
        guided,
        &[
            "prompt:1.text",
            "negative_prompt:2.text",
            "width:5.width",
            "height:5.height",
            "model:8.unet_name",
        ],
    );
}

#[test]
fn every_text_of_the_positive_side_takes_the_prompt() {
    check_texts(
        json!({"6": {"class_type": "CLIPTextEncodeHiDream", "inputs":
            {"clip_l": "a", "clip_g": "a", "t5xxl": "a", "llama": "a", "clip": ["4", 1]}}}),
        &[
            "prompt:6.clip_g",
            "prompt:6.clip_l",
            "prompt:6.llama",
            "prompt:6.t5xxl",
            "negative_prompt:7.text",
        ],
    );
    check_texts(
        json!({"6": {"class_type": "CLIPTextEncodeLumina2", "inputs":
            {"system_prompt": "superior", "user_prompt": "a", "clip": ["4", 1]}}}),
        &["prompt:6.user_prompt", "negative_prompt:7.text"],
    );
    check_texts(
        json!({
            "6": {"class_type": "ConditioningCombine", "inputs": {"conditioning_1": ["10", 0], "conditioning_2": ["11", 0]}},
            "10": {"class_type": "CLIPTextEncode", "inputs": {"text": "left", "clip": ["12", 1]}},
            "11": {"class_type": "CLIPTextEncode", "inputs": {"text": "right", "clip": ["12", 1]}},
            "12": {"class_type": "Lora Loader (prompt)", "inputs": {"text": "<lora:x:1>", "clip": ["4", 1]}},
        }),
        &["prompt:10.text", "prompt:11.text", "negative_prompt:7.text"],
    );
}

#[test]
fn text_without_effect_on_the_negative_side_stays_the_prompt() {
    check_texts(
        json!({
            "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a", "clip": ["4", 1]}},
            "7": {"class_type": "ConditioningZeroOut", "inputs": {"conditioning": ["6", 0]}},
        }),
        &["prompt:6.text"],
    );
}

#[test]
fn loader_with_both_texts_takes_both() {
    let mut graph = with_texts(&json!({
        "4": {"class_type": "Efficient Loader", "inputs": {"ckpt_name": "a.safetensors", "lora_name": "None",
            "positive": "a", "negative": "b", "empty_latent_width": 512, "empty_latent_height": 512, "batch_size": 1}},
    }));
    graph["3"]["inputs"]["positive"] = json!(["4", 1]);
    graph["3"]["inputs"]["negative"] = json!(["4", 2]);
    graph["3"]["inputs"]["latent_image"] = json!(["4", 3]);
    check(
        graph,
        &[
            "prompt:4.positive",
            "negative_prompt:4.negative",
            "seed:3.seed",
            "steps:3.steps",
            "width:4.empty_latent_width",
            "height:4.empty_latent_height",
            "n:4.batch_size",
            "model:4.ckpt_name",
        ],
    );
}

#[test]
fn composed_text_has_one_certain_place_or_is_refused() {
    let encoder =
        json!({"class_type": "CLIPTextEncode", "inputs": {"text": ["10", 0], "clip": ["4", 1]}});
    let concatenate = |first: Value| {
        json!({
            "6": encoder,
            "10": {"class_type": "StringConcatenate", "inputs": {"string_a": first, "string_b": "in oil", "delimiter": ", "}},
            "11": {"class_type": "PrimitiveString", "inputs": {"value": "a"}},
        })
    };
    // A text of its own node is the one that varies.
    check_texts(
        concatenate(json!(["11", 0])),
        &["prompt:11.value", "negative_prompt:7.text"],
    );
    let graph = with_texts(&concatenate(json!("a")));
    assert_eq!(
        candidates(&graph),
        [
            "StringConcatenate (node 10, input string_a)",
            "StringConcatenate (node 10, input string_b)"
        ]
    );
    // A title tells.
    let mut two = with_texts(&json!({
        "6": encoder,
        "10": {"class_type": "Join", "inputs": {"text1": ["11", 0], "text2": ["12", 0]}},
        "11": {"class_type": "Text", "inputs": {"text": "a"}, "_meta": {"title": "Style"}},
        "12": {"class_type": "Text", "inputs": {"text": "b"}, "_meta": {"title": "Your prompt"}},
    }));
    assert!(found(&two).contains(&"prompt:12.text".to_owned()));
    two["12"]["_meta"]["title"] = json!("Scene");
    assert_eq!(
        candidates(&two),
        [
            "\"Style\" (node 11, Text, input text)",
            "\"Scene\" (node 12, Text, input text)"
        ]
    );
}

#[test]
fn computed_text_is_replaced() {
    let texts = json!({
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": ["10", 0], "clip": ["4", 1]}},
        "10": {"class_type": "Florence2Run", "inputs": {"image": ["11", 0], "text_input": "describe", "task": "caption"}},
        "11": {"class_type": "LoadImage", "inputs": {"image": "a.png"}},
    });
    check_texts(texts.clone(), &["prompt:6.text", "negative_prompt:7.text"]);
    let graph = with_texts(&texts);
    let analysis = Analysis::new(graph.as_object().unwrap(), &Schemas::default());
    assert_eq!(analysis.problems.len(), 1);
    assert!(
        analysis.problems[0].contains("node 10"),
        "{:?}",
        analysis.problems
    );
}

#[test]
fn schemas_tell_texts_of_unknown_names() {
    let graph = with_texts(&json!({
        "6": {"class_type": "Muse", "inputs": {"idea": "a", "mood": "calm", "clip": ["4", 1]}},
    }));
    let graph = graph.as_object().unwrap();
    let without = Analysis::new(graph, &Schemas::default());
    assert!(!without.has_prompt());
    assert!(without.unknown_classes.contains("Muse"));
    let mut schemas = Schemas::default();
    schemas.add(
        "Muse",
        json!({"Muse": {"input": {"required": {
            "idea": ["STRING", {"multiline": true}], "mood": [["calm", "wild"]], "clip": ["CLIP"]}}}}),
    );
    let with = Analysis::new(graph, &schemas);
    assert!(with.has_prompt());
    let place = with.inputs_of("prompt").next().unwrap();
    assert_eq!((place.node.as_str(), place.input.as_str()), ("6", "idea"));
}

#[test]
fn partner_node_takes_the_prompt_itself() {
    check(
        json!({
            "1": {"class_type": "GeminiImageNode", "inputs": {"prompt": "a", "model": "gemini", "seed": 42, "aspect_ratio": "auto", "system_prompt": "be brief"}},
            "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}},
        }),
        &["prompt:1.prompt", "seed:1.seed", "model:1.model"],
    );
}

#[test]
fn second_pass_keeps_its_size_and_model() {
    check(
        json!({
            "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "base"}},
            "2": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "refiner"}},
            "3": {"class_type": "EmptyLatentImage", "inputs": {"width": 8, "height": 8, "batch_size": 1}},
            "4": {"class_type": "CLIPTextEncode", "inputs": {"text": ""}},
            "5": {"class_type": "ConditioningZeroOut", "inputs": {"conditioning": ["4", 0]}},
            "6": {"class_type": "LoraLoaderModelOnly", "inputs": {"model": ["1", 0], "lora_name": "l"}},
            "7": {"class_type": "KSampler", "inputs": {
                "model": ["6", 0], "positive": ["4", 0], "negative": ["5", 0], "latent_image": ["3", 0], "seed": 1, "cfg": 1}},
            "8": {"class_type": "LatentUpscale", "inputs": {"samples": ["7", 0], "width": 16, "height": 16}},
            "10": {"class_type": "KSampler", "inputs": {
                "model": ["2", 0], "positive": ["4", 0], "negative": ["5", 0], "latent_image": ["8", 0], "seed": 1, "cfg": 1}},
            "11": {"class_type": "UpscaleModelLoader", "inputs": {"model_name": "4x.pth"}},
            "12": {"class_type": "VAEDecode", "inputs": {"samples": ["10", 0]}},
            "13": {"class_type": "ImageUpscaleWithModel", "inputs": {"image": ["12", 0], "upscale_model": ["11", 0]}},
            "14": {"class_type": "SaveImage", "inputs": {"images": ["13", 0]}},
        }),
        &[
            "prompt:4.text",
            "width:3.width",
            "height:3.height",
            "n:3.batch_size",
            "model:1.ckpt_name",
            "seed:7.seed",
            "seed:10.seed",
        ],
    );
}

#[test]
fn equal_sizes_are_set_together() {
    let mut graph = with_texts(&json!({
        "6": {"class_type": "CLIPTextEncodeSDXL", "inputs": {"text_g": "a", "text_l": "a", "clip": ["4", 1],
            "width": 4096, "height": 4096, "target_width": 512, "target_height": 512}},
        "10": {"class_type": "ModelSamplingFlux", "inputs": {"model": ["4", 0], "width": 512, "height": 512, "max_shift": 1}},
    }));
    graph["3"]["inputs"]["model"] = json!(["10", 0]);
    let mut sizes = found(&graph);
    sizes.retain(|line| line.contains("width:"));
    assert_eq!(
        sizes,
        ["width:5.width", "width:6.target_width", "width:10.width"]
    );
}

#[test]
fn one_number_for_two_values_is_replaced_where_it_is_used() {
    let square = |value: Value| {
        let mut graph = with_texts(&json!({
            "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a", "clip": ["4", 1]}},
            "20": {"class_type": "PrimitiveInt", "inputs": {"value": 512}},
            "21": {"class_type": "PrimitiveInt", "inputs": {"value": 512}},
        }));
        graph["5"]["inputs"]["width"] = json!(["20", 0]);
        graph["5"]["inputs"]["height"] = value;
        let mut sizes = found(&graph);
        sizes.retain(|line| line.starts_with("width") || line.starts_with("height"));
        sizes
    };
    assert_eq!(
        square(json!(["20", 0])),
        ["width:5.width", "height:5.height"]
    );
    assert_eq!(
        square(json!(["21", 0])),
        ["width:20.value", "height:21.value"]
    );
}

#[test]
fn nodes_outside_the_result_take_nothing() {
    let mut graph = with_texts(&json!({
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a", "clip": ["4", 1]}},
        "20": {"class_type": "CLIPTextEncode", "inputs": {"text": "unused", "clip": ["4", 1]}},
        "21": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 512, "batch_size": 1}},
        "22": {"class_type": "Note", "inputs": {"text": "write the prompt here"}},
    }));
    graph["23"] = json!({"class_type": "ShowText", "inputs": {"text": ["22", 0]}});
    let found = found(&graph);
    assert!(found.iter().all(|line| !line.contains(":2")), "{found:?}");
}

#[test]
fn analysis_tolerates_circles_and_broken_nodes() {
    check(
        json!({
            "1": {"class_type": "KSampler", "inputs": {"seed": 1, "positive": ["2", 0], "negative": ["9", 0], "latent_image": ["1", 0]}},
            "2": {"class_type": "CLIPTextEncode", "inputs": {"text": ["3", 0]}},
            "3": {"class_type": "Text", "inputs": {"value": ["3", 0]}},
            "4": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}},
        }),
        &["prompt:2.text", "seed:1.seed"],
    );
    check(
        json!({"1": null, "2": {"class_type": 3}, "3": {"class_type": "KSampler", "inputs": []}}),
        &[],
    );
}
