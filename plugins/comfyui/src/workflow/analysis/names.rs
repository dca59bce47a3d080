//! What the name of an input, or a node's title, says about the value that it takes.
//!
//! Without a server a graph has no types. These words are those of ComfyUI's own nodes and of the widely
//! used custom ones. Where they do not decide, the server's schemas do.

/// What a link leads to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum LinkKind {
    Positive,
    Negative,
    /// A conditioning of either kind.
    Conditioning,
    Text,
    /// Pixels or a latent image.
    Image,
    Model,
    Noise,
    Sigmas,
    /// Something that holds no text of the prompt, such as a VAE or a mask.
    Opaque,
    Unknown,
}

const POSITIVE: &[&str] = &["positive", "pos"];
const NEGATIVE: &[&str] = &[
    "negative",
    "neg",
    "uncond",
    "unconditional",
    "unconditioned",
];
/// Words of inputs that hold a text for the prompt.
const TEXT: &[&str] = &[
    "text",
    "texts",
    "prompt",
    "prompts",
    "string",
    "strings",
    "str",
    "caption",
    "tags",
    "words",
    "instruction",
    "instructions",
    "description",
    "t5xxl",
    "umt5",
    "llama",
    "gemma",
    "positive",
    "pos",
    "negative",
    "neg",
];
/// Names of the inputs of text encoders that no word describes.
const ENCODER_TEXTS: &[&str] = &["clip_l", "clip_g", "clip_h", "t5", "qwen25_7b"];
/// Words of inputs that hold another text: an option, a file, or a part of how a text is used.
const OTHER_TEXT: &[&str] = &[
    "system",
    "delimiter",
    "separator",
    "sep",
    "joiner",
    "find",
    "replace",
    "regex",
    "pattern",
    "lora",
    "loras",
    "name",
    "path",
    "file",
    "filename",
    "folder",
    "mode",
    "method",
    "type",
    "format",
    "language",
    "model",
    "normalization",
    "interpretation",
    "weight",
    "encoder",
    "device",
    "dtype",
    "padding",
    "preset",
    "style",
    "sampler",
    "scheduler",
    "api",
    "key",
    "token",
    "url",
    "title",
    "label",
    "color",
    "font",
    "strength",
    "uncond",
];
const CONDITIONING: &[&str] = &["cond", "conditioning", "embeds"];
const IMAGE: &[&str] = &[
    "image",
    "images",
    "pixels",
    "samples",
    "latent",
    "latents",
    "frames",
    "video",
    "destination",
    "source",
];
const OPAQUE: &[&str] = &[
    "clip",
    "vae",
    "mask",
    "masks",
    "control",
    "controlnet",
    "vision",
    "style",
    "gligen",
    "audio",
    "bbox",
    "detector",
    "segs",
    "hint",
    "sampler",
    "upscale",
    "ipadapter",
    "lora",
];

/// The words of a name: `text_G1` has `text` and `g`.
fn words(name: &str) -> impl Iterator<Item = String> {
    name.split(|letter: char| !letter.is_alphanumeric())
        .map(|word| {
            word.trim_end_matches(|letter: char| letter.is_ascii_digit())
                .to_lowercase()
        })
        .filter(|word| !word.is_empty())
}

fn has_word(name: &str, list: &[&str]) -> bool {
    // `t5xxl` loses no digit, and `umt5` does.
    words(name).any(|word| list.contains(&word.as_str()))
        || list.contains(&name.to_lowercase().as_str())
}

pub(super) fn is_positive(name: &str) -> bool {
    has_word(name, POSITIVE)
}

pub(super) fn is_negative(name: &str) -> bool {
    has_word(name, NEGATIVE)
}

/// Whether the name alone says that the input holds a text for a prompt.
pub(super) fn is_text(name: &str) -> bool {
    ENCODER_TEXTS.contains(&name) || has_word(name, TEXT) && !is_other_text(name)
}

/// Whether the name alone says that the input holds a text that no prompt belongs in.
pub(super) fn is_other_text(name: &str) -> bool {
    has_word(name, OTHER_TEXT)
}

/// Whether a node's title or an input's name calls its text the prompt.
pub(super) fn is_prompt(name: &str) -> bool {
    has_word(name, &["prompt", "prompts", "positive"]) && !is_negative(name) && !is_other_text(name)
}

/// Whether an input takes a seed.
pub(super) fn is_seed(name: &str) -> bool {
    has_word(name, &["seed"])
}

pub(super) fn link_kind(name: &str) -> LinkKind {
    let is_plain_text = is_text(name) && !is_positive(name) && !is_negative(name);
    if is_positive(name) {
        LinkKind::Positive
    } else if is_negative(name) || name == "empty_conditioning" {
        LinkKind::Negative
    } else if has_word(name, CONDITIONING) && !has_word(name, IMAGE) {
        LinkKind::Conditioning
    } else if is_plain_text {
        LinkKind::Text
    } else if name == "noise" {
        LinkKind::Noise
    } else if name == "sigmas" {
        LinkKind::Sigmas
    } else if has_word(name, OPAQUE) {
        LinkKind::Opaque
    } else if has_word(name, IMAGE) {
        LinkKind::Image
    } else if has_word(name, &["model", "unet"]) {
        LinkKind::Model
    } else {
        LinkKind::Unknown
    }
}

/// Whether a text is the name of a model file.
pub(super) fn is_model_file(text: &str) -> bool {
    let endings = [
        ".safetensors",
        ".ckpt",
        ".gguf",
        ".sft",
        ".pt",
        ".pth",
        ".bin",
    ];
    let text = text.to_lowercase();
    endings.iter().any(|ending| text.ends_with(ending))
}

/// Whether a text is the name of an image file.
pub(crate) fn is_image_file(text: &str) -> bool {
    let endings = [".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".avif"];
    // A folder may follow: `a.png [input]`.
    let text = text.split(" [").next().unwrap_or(text).to_lowercase();
    endings.iter().any(|ending| text.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_tells_texts_of_the_prompt() {
        for name in [
            "text",
            "text_g",
            "text1",
            "clip_l",
            "t5xxl",
            "llama",
            "user_prompt",
            "positive",
            "positive_prompt",
            "string_a",
            "Text_Input",
            "caption",
        ] {
            assert!(is_text(name), "{name}");
        }
        for name in [
            "system_prompt",
            "delimiter",
            "text_encoder",
            "lora_name",
            "prompt_style",
            "sampler_name",
            "empty_padding",
            "filename_prefix",
            "token_normalization",
            "ckpt_name",
            "prompt_mode",
        ] {
            assert!(!is_text(name), "{name}");
        }
    }

    #[test]
    fn name_tells_what_a_link_leads_to() {
        for (name, kind) in [
            ("positive", LinkKind::Positive),
            ("cond_neg", LinkKind::Negative),
            ("empty_conditioning", LinkKind::Negative),
            ("conditioning_1", LinkKind::Conditioning),
            ("cond2", LinkKind::Conditioning),
            ("guider", LinkKind::Unknown),
            ("text_embeds", LinkKind::Conditioning),
            ("text_b", LinkKind::Text),
            ("latent_image", LinkKind::Image),
            ("image2", LinkKind::Image),
            ("model", LinkKind::Model),
            ("clip", LinkKind::Opaque),
            ("control_net", LinkKind::Opaque),
            ("clip_vision_output", LinkKind::Opaque),
            ("pipe", LinkKind::Unknown),
        ] {
            assert_eq!(link_kind(name), kind, "{name}");
        }
    }
}
