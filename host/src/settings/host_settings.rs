//! The table of the server's own settings, and of those that Open WebUI has for its engines.
//!
//! Source: names and paths of Open WebUI's `config.py`. Paths under `pinhole.` are this server's.

use super::value_kind::ValueKind::{
    self, Boolean, Integer, List, Object, Secret, SecretObject, Text, Url,
};

/// A setting that the server declares.
pub(super) struct HostSetting {
    /// The environment variable.
    pub(super) name: &'static str,
    /// The key in the database: a dotted path.
    pub(super) path: &'static str,
    pub(super) kind: ValueKind,
    pub(super) description: &'static str,
}

const fn setting(
    name: &'static str,
    path: &'static str,
    kind: ValueKind,
    description: &'static str,
) -> HostSetting {
    HostSetting {
        name,
        path,
        kind,
        description,
    }
}

pub(super) const HOST_SETTINGS: &[HostSetting] = &[
    setting(
        "ENABLE_IMAGE_GENERATION",
        "image_generation.enable",
        Boolean,
        "Enables image generation.",
    ),
    setting(
        "IMAGE_GENERATION_ENGINE",
        "image_generation.engine",
        Text,
        "Engine that generates images. If it is not set: the engine that the environment configures, if it is the only one, else sketch. An empty text means automatic1111, as in Open WebUI.",
    ),
    setting(
        "IMAGE_GENERATION_MODEL",
        "image_generation.model",
        Text,
        "Model that generates images. Empty leaves the choice to the engine.",
    ),
    setting(
        "IMAGE_SIZE",
        "image_generation.size",
        Text,
        "Size of generated images, such as 1024x1024. Empty and auto leave the choice to the engine.",
    ),
    setting(
        "IMAGE_STEPS",
        "image_generation.steps",
        Integer,
        "Inference steps, for engines that have them.",
    ),
    setting(
        "ENABLE_IMAGE_PROMPT_GENERATION",
        "image_generation.prompt.enable",
        Boolean,
        "Lets a language model write the image prompt from the conversation.",
    ),
    setting(
        "IMAGES_OPENAI_API_BASE_URL",
        "image_generation.openai.api_base_url",
        Url,
        "OpenAI: base URL of the images API, with its version.",
    ),
    setting(
        "IMAGES_OPENAI_API_KEY",
        "image_generation.openai.api_key",
        Secret,
        "OpenAI: API key.",
    ),
    setting(
        "IMAGES_OPENAI_API_VERSION",
        "image_generation.openai.api_version",
        Text,
        "OpenAI: query parameter api-version, which Azure requires.",
    ),
    setting(
        "IMAGES_OPENAI_API_PARAMS",
        "image_generation.openai.params",
        Object,
        "OpenAI: parameters that are merged into every request for a new image.",
    ),
    setting(
        "IMAGES_GEMINI_API_BASE_URL",
        "image_generation.gemini.api_base_url",
        Url,
        "Gemini: base URL of the API, with its version.",
    ),
    setting(
        "IMAGES_GEMINI_API_KEY",
        "image_generation.gemini.api_key",
        Secret,
        "Gemini: API key.",
    ),
    setting(
        "IMAGES_GEMINI_ENDPOINT_METHOD",
        "image_generation.gemini.endpoint_method",
        Text,
        "Gemini: generateContent, streamGenerateContent or predict.",
    ),
    setting(
        "AUTOMATIC1111_BASE_URL",
        "image_generation.automatic1111.base_url",
        Url,
        "AUTOMATIC1111: URL of the web UI.",
    ),
    setting(
        "AUTOMATIC1111_API_AUTH",
        "image_generation.automatic1111.api_auth",
        Secret,
        "AUTOMATIC1111: the value of its option --api-auth, as user:password.",
    ),
    setting(
        "AUTOMATIC1111_PARAMS",
        "image_generation.automatic1111.api_params",
        Object,
        "AUTOMATIC1111: parameters that are merged into every txt2img request.",
    ),
    setting(
        "COMFYUI_BASE_URL",
        "image_generation.comfyui.base_url",
        Url,
        "ComfyUI: URL of the server.",
    ),
    setting(
        "COMFYUI_API_KEY",
        "image_generation.comfyui.api_key",
        Secret,
        "ComfyUI: API key for a proxy in front of it.",
    ),
    setting(
        "COMFYUI_WORKFLOW",
        "image_generation.comfyui.workflow",
        Text,
        "ComfyUI: workflow that generates images, in the API format.",
    ),
    setting(
        "COMFYUI_WORKFLOW_NODES",
        "image_generation.comfyui.nodes",
        List,
        "ComfyUI: the nodes that receive prompt, size and other inputs.",
    ),
    setting(
        "ENABLE_IMAGE_EDIT",
        "images.edit.enable",
        Boolean,
        "Enables image editing.",
    ),
    setting(
        "IMAGE_EDIT_ENGINE",
        "images.edit.engine",
        Text,
        "Engine that edits images. Empty means the one that generates. If it is not set: the engine that the environment configures for edits, if it is the only one, else the one that generates.",
    ),
    setting(
        "IMAGE_EDIT_MODEL",
        "images.edit.model",
        Text,
        "Model that edits images. Empty leaves the choice to the engine.",
    ),
    setting(
        "IMAGE_EDIT_SIZE",
        "images.edit.size",
        Text,
        "Size of edited images. Empty and auto leave the choice to the engine.",
    ),
    setting(
        "IMAGES_EDIT_OPENAI_API_BASE_URL",
        "images.edit.openai.api_base_url",
        Url,
        "OpenAI for edits: base URL of the images API.",
    ),
    setting(
        "IMAGES_EDIT_OPENAI_API_KEY",
        "images.edit.openai.api_key",
        Secret,
        "OpenAI for edits: API key.",
    ),
    setting(
        "IMAGES_EDIT_OPENAI_API_VERSION",
        "images.edit.openai.api_version",
        Text,
        "OpenAI for edits: query parameter api-version.",
    ),
    setting(
        "IMAGES_EDIT_GEMINI_API_BASE_URL",
        "images.edit.gemini.api_base_url",
        Url,
        "Gemini for edits: base URL of the API.",
    ),
    setting(
        "IMAGES_EDIT_GEMINI_API_KEY",
        "images.edit.gemini.api_key",
        Secret,
        "Gemini for edits: API key.",
    ),
    setting(
        "IMAGES_EDIT_COMFYUI_BASE_URL",
        "images.edit.comfyui.base_url",
        Url,
        "ComfyUI for edits: URL of the server.",
    ),
    setting(
        "IMAGES_EDIT_COMFYUI_API_KEY",
        "images.edit.comfyui.api_key",
        Secret,
        "ComfyUI for edits: API key for a proxy in front of it.",
    ),
    setting(
        "IMAGES_EDIT_COMFYUI_WORKFLOW",
        "images.edit.comfyui.workflow",
        Text,
        "ComfyUI for edits: workflow that edits images, in the API format.",
    ),
    setting(
        "IMAGES_EDIT_COMFYUI_WORKFLOW_NODES",
        "images.edit.comfyui.nodes",
        List,
        "ComfyUI for edits: the nodes that receive prompt, images and other inputs.",
    ),
    setting(
        "IMAGE_PROMPT_GENERATION_PROMPT_TEMPLATE",
        "task.image.prompt_template",
        Text,
        "Prompt template for the task model. Empty uses the built-in template.",
    ),
    setting(
        "TASK_MODEL",
        "task.model.default",
        Text,
        "Task model that is used when the chat model is local.",
    ),
    setting(
        "TASK_MODEL_EXTERNAL",
        "task.model.external",
        Text,
        "Task model that is used when the chat model is remote.",
    ),
    setting(
        "USER_PERMISSIONS_FEATURES_IMAGE_GENERATION",
        "user.permissions.features.image_generation",
        Boolean,
        "Allows all users to create images.",
    ),
    setting(
        "ENABLE_SIGNUP",
        "ui.enable_signup",
        Boolean,
        "Allows users to sign up.",
    ),
    setting(
        "DEFAULT_USER_ROLE",
        "ui.default_user_role",
        Text,
        "Role of users who sign up: admin, user or pending.",
    ),
    setting(
        "JWT_EXPIRES_IN",
        "auth.jwt_expiry",
        Text,
        "Lifetime of a session, such as 12h or 4w. -1 means that it never expires.",
    ),
    setting(
        "PINHOLE_EDIT_INTENT",
        "pinhole.edit_intent",
        Text,
        "When a chat turn edits an image: any-image, whenever the chat has one; ask, if the task model classifies the message as an edit.",
    ),
    setting(
        "PINHOLE_IMAGE_METADATA",
        "pinhole.image_metadata",
        Text,
        "Metadata that generated images retain: essential (color profile and orientation), strip (none) or keep (all).",
    ),
    setting(
        "WEBUI_URL",
        "webui.url",
        Url,
        "URL at which browsers reach the server, for links to images. Empty uses the host of each request.",
    ),
    setting(
        "PINHOLE_LINK_LIFETIME",
        "pinhole.link_lifetime",
        Text,
        "How long a link to an image works without a key, such as 30m, 24h (the default) or 4w.",
    ),
    setting(
        "PINHOLE_RESPONSE_FORMAT",
        "pinhole.response_format",
        Text,
        "Images in responses of OpenAI's API without response_format: b64_json (the default) or url. Models named dall-e-… return url and gpt-image-… b64_json, as OpenAI's do.",
    ),
    setting(
        "PINHOLE_BINDINGS",
        "pinhole.bindings",
        SecretObject,
        "Additional named configurations of engines.",
    ),
    setting(
        "PINHOLE_MODEL_ALIASES",
        "pinhole.model_aliases",
        Object,
        "Names of models that clients send, each with a configuration (\"sketch\"), or a model of one (\"flux-dev@comfyui\"), that makes the image.",
    ),
    setting(
        "PINHOLE_FALLBACKS",
        "pinhole.fallbacks",
        Text,
        "Names of configurations, separated by commas, to try if one is unavailable.",
    ),
];
