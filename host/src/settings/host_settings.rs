//! The table of the server's own settings, and of those that Open WebUI has for its engines.
//!
//! Source: names and paths of Open WebUI's `config.py`. Paths under `pinhole.` are this server's.

use super::form_field::FormField;
use super::form_field::SettingGroup::{self, Accounts, Chat, Engine, Images, Server};
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
    title: &'static str,
    group: SettingGroup,
    choices: &'static [&'static str],
    is_multiline: bool,
    default: Option<&'static str>,
}

const fn setting(
    group: SettingGroup,
    name: &'static str,
    path: &'static str,
    kind: ValueKind,
    title: &'static str,
    description: &'static str,
) -> HostSetting {
    HostSetting {
        name,
        path,
        kind,
        description,
        title,
        group,
        choices: &[],
        is_multiline: matches!(kind, Object | List | SecretObject),
        default: None,
    }
}

impl HostSetting {
    const fn by_default(self, text: &'static str) -> Self {
        Self {
            default: Some(text),
            ..self
        }
    }

    const fn choices(self, choices: &'static [&'static str]) -> Self {
        Self { choices, ..self }
    }

    const fn multiline(self) -> Self {
        Self {
            is_multiline: true,
            ..self
        }
    }

    pub(super) fn form_field(&self) -> FormField {
        FormField {
            title: self.title.to_owned(),
            group: self.group,
            choices: self.choices.iter().map(|it| (*it).to_owned()).collect(),
            is_multiline: self.is_multiline,
            placeholder: self.default.map(str::to_owned),
            engine: None,
        }
    }
}

pub(super) const HOST_SETTINGS: &[HostSetting] = &[
    setting(
        Images,
        "ENABLE_IMAGE_GENERATION",
        "image_generation.enable",
        Boolean,
        "Image generation",
        "Enables image generation.",
    )
    .by_default("true"),
    setting(
        Images,
        "IMAGE_GENERATION_ENGINE",
        "image_generation.engine",
        Text,
        "Engine",
        "Engine that generates images. If it is not set: the engine that the environment configures, if it is the only one, else sketch. An empty text means automatic1111, as in Open WebUI.",
    ),
    setting(
        Images,
        "IMAGE_GENERATION_MODEL",
        "image_generation.model",
        Text,
        "Model",
        "Model that generates images. Empty leaves the choice to the engine.",
    ),
    setting(
        Images,
        "IMAGE_SIZE",
        "image_generation.size",
        Text,
        "Size",
        "Size of generated images, such as 1024x1024. Empty and auto leave the choice to the engine.",
    ),
    setting(
        Images,
        "IMAGE_STEPS",
        "image_generation.steps",
        Integer,
        "Steps",
        "Inference steps, for engines that have them.",
    ),
    setting(
        Chat,
        "ENABLE_IMAGE_PROMPT_GENERATION",
        "image_generation.prompt.enable",
        Boolean,
        "Prompt by a language model",
        "Lets a language model write the image prompt from the conversation.",
    )
    .by_default("true"),
    setting(
        Engine,
        "IMAGES_OPENAI_API_BASE_URL",
        "image_generation.openai.api_base_url",
        Url,
        "Base URL",
        "OpenAI: base URL of the images API, with its version.",
    ),
    setting(
        Engine,
        "IMAGES_OPENAI_API_KEY",
        "image_generation.openai.api_key",
        Secret,
        "API key",
        "OpenAI: API key.",
    ),
    setting(
        Engine,
        "IMAGES_OPENAI_API_VERSION",
        "image_generation.openai.api_version",
        Text,
        "API version",
        "OpenAI: query parameter api-version, which Azure requires.",
    ),
    setting(
        Engine,
        "IMAGES_OPENAI_API_PARAMS",
        "image_generation.openai.params",
        Object,
        "Parameters",
        "OpenAI: parameters that are merged into every request for a new image.",
    ),
    setting(
        Engine,
        "IMAGES_GEMINI_API_BASE_URL",
        "image_generation.gemini.api_base_url",
        Url,
        "Base URL",
        "Gemini: base URL of the API, with its version.",
    ),
    setting(
        Engine,
        "IMAGES_GEMINI_API_KEY",
        "image_generation.gemini.api_key",
        Secret,
        "API key",
        "Gemini: API key.",
    ),
    setting(
        Engine,
        "IMAGES_GEMINI_ENDPOINT_METHOD",
        "image_generation.gemini.endpoint_method",
        Text,
        "Endpoint method",
        "Gemini: generateContent, streamGenerateContent or predict.",
    ),
    setting(
        Engine,
        "AUTOMATIC1111_BASE_URL",
        "image_generation.automatic1111.base_url",
        Url,
        "Base URL",
        "AUTOMATIC1111: URL of the web UI.",
    ),
    setting(
        Engine,
        "AUTOMATIC1111_API_AUTH",
        "image_generation.automatic1111.api_auth",
        Secret,
        "User and password",
        "AUTOMATIC1111: the value of its option --api-auth, as user:password.",
    ),
    setting(
        Engine,
        "AUTOMATIC1111_PARAMS",
        "image_generation.automatic1111.api_params",
        Object,
        "Parameters",
        "AUTOMATIC1111: parameters that are merged into every txt2img request.",
    ),
    setting(
        Engine,
        "COMFYUI_BASE_URL",
        "image_generation.comfyui.base_url",
        Url,
        "Base URL",
        "ComfyUI: URL of the server.",
    ),
    setting(
        Engine,
        "COMFYUI_API_KEY",
        "image_generation.comfyui.api_key",
        Secret,
        "API key",
        "ComfyUI: API key for a proxy in front of it.",
    ),
    setting(
        Engine,
        "COMFYUI_WORKFLOW",
        "image_generation.comfyui.workflow",
        Text,
        "Workflow",
        "ComfyUI: workflow that generates images, in the API format.",
    )
    .multiline(),
    setting(
        Engine,
        "COMFYUI_WORKFLOW_NODES",
        "image_generation.comfyui.nodes",
        List,
        "Nodes",
        "ComfyUI: the nodes that receive prompt, size and other inputs.",
    ),
    setting(
        Images,
        "ENABLE_IMAGE_EDIT",
        "images.edit.enable",
        Boolean,
        "Image editing",
        "Enables image editing.",
    )
    .by_default("true"),
    setting(
        Images,
        "IMAGE_EDIT_ENGINE",
        "images.edit.engine",
        Text,
        "Engine for edits",
        "Engine that edits images. Empty means the one that generates. If it is not set: the engine that the environment configures for edits, if it is the only one, else the one that generates.",
    ),
    setting(
        Images,
        "IMAGE_EDIT_MODEL",
        "images.edit.model",
        Text,
        "Model for edits",
        "Model that edits images. Empty leaves the choice to the engine.",
    ),
    setting(
        Images,
        "IMAGE_EDIT_SIZE",
        "images.edit.size",
        Text,
        "Size of edits",
        "Size of edited images. Empty and auto leave the choice to the engine.",
    ),
    setting(
        Engine,
        "IMAGES_EDIT_OPENAI_API_BASE_URL",
        "images.edit.openai.api_base_url",
        Url,
        "Base URL",
        "OpenAI for edits: base URL of the images API.",
    ),
    setting(
        Engine,
        "IMAGES_EDIT_OPENAI_API_KEY",
        "images.edit.openai.api_key",
        Secret,
        "API key",
        "OpenAI for edits: API key.",
    ),
    setting(
        Engine,
        "IMAGES_EDIT_OPENAI_API_VERSION",
        "images.edit.openai.api_version",
        Text,
        "API version",
        "OpenAI for edits: query parameter api-version.",
    ),
    setting(
        Engine,
        "IMAGES_EDIT_GEMINI_API_BASE_URL",
        "images.edit.gemini.api_base_url",
        Url,
        "Base URL",
        "Gemini for edits: base URL of the API.",
    ),
    setting(
        Engine,
        "IMAGES_EDIT_GEMINI_API_KEY",
        "images.edit.gemini.api_key",
        Secret,
        "API key",
        "Gemini for edits: API key.",
    ),
    setting(
        Engine,
        "IMAGES_EDIT_COMFYUI_BASE_URL",
        "images.edit.comfyui.base_url",
        Url,
        "Base URL",
        "ComfyUI for edits: URL of the server.",
    ),
    setting(
        Engine,
        "IMAGES_EDIT_COMFYUI_API_KEY",
        "images.edit.comfyui.api_key",
        Secret,
        "API key",
        "ComfyUI for edits: API key for a proxy in front of it.",
    ),
    setting(
        Engine,
        "IMAGES_EDIT_COMFYUI_WORKFLOW",
        "images.edit.comfyui.workflow",
        Text,
        "Workflow",
        "ComfyUI for edits: workflow that edits images, in the API format.",
    )
    .multiline(),
    setting(
        Engine,
        "IMAGES_EDIT_COMFYUI_WORKFLOW_NODES",
        "images.edit.comfyui.nodes",
        List,
        "Nodes",
        "ComfyUI for edits: the nodes that receive prompt, images and other inputs.",
    ),
    setting(
        Chat,
        "IMAGE_PROMPT_GENERATION_PROMPT_TEMPLATE",
        "task.image.prompt_template",
        Text,
        "Template of the prompt",
        "Prompt template for the task model. Empty uses the built-in template.",
    )
    .multiline(),
    setting(
        Chat,
        "TASK_MODEL",
        "task.model.default",
        Text,
        "Task model for local models",
        "Task model that is used when the chat model is local.",
    ),
    setting(
        Chat,
        "TASK_MODEL_EXTERNAL",
        "task.model.external",
        Text,
        "Task model for remote models",
        "Task model that is used when the chat model is remote.",
    ),
    setting(
        Accounts,
        "USER_PERMISSIONS_FEATURES_IMAGE_GENERATION",
        "user.permissions.features.image_generation",
        Boolean,
        "All users may create images",
        "Allows all users to create images.",
    )
    .by_default("true"),
    setting(
        Accounts,
        "ENABLE_SIGNUP",
        "ui.enable_signup",
        Boolean,
        "Sign-up",
        "Allows users to sign up.",
    )
    .by_default("false"),
    setting(
        Accounts,
        "DEFAULT_USER_ROLE",
        "ui.default_user_role",
        Text,
        "Role of new users",
        "Role of users who sign up: admin, user or pending.",
    )
    .by_default("pending")
    .choices(&["pending", "user", "admin"]),
    setting(
        Accounts,
        "JWT_EXPIRES_IN",
        "auth.jwt_expiry",
        Text,
        "Lifetime of sessions",
        "Lifetime of a session, such as 12h or 4w. -1 means that it never expires.",
    )
    .by_default("4w"),
    setting(
        Chat,
        "PINHOLE_EDIT_INTENT",
        "pinhole.edit_intent",
        Text,
        "When a chat edits",
        "When a chat turn edits an image: any-image, whenever the chat has one; ask, if the task model classifies the message as an edit.",
    )
    .by_default("any-image")
    .choices(&["any-image", "ask"]),
    setting(
        Images,
        "PINHOLE_IMAGE_METADATA",
        "pinhole.image_metadata",
        Text,
        "Metadata of images",
        "Metadata that generated images retain: essential (color profile and orientation), strip (none) or keep (all).",
    )
    .by_default("essential")
    .choices(&["essential", "strip", "keep"]),
    setting(
        Server,
        "WEBUI_URL",
        "webui.url",
        Url,
        "Public URL",
        "URL at which browsers reach the server, for links to images. Empty uses the host of each request.",
    ),
    setting(
        Images,
        "PINHOLE_LINK_LIFETIME",
        "pinhole.link_lifetime",
        Text,
        "Lifetime of links",
        "How long a link to an image works without a key, such as 30m, 24h (the default) or 4w.",
    )
    .by_default("24h"),
    setting(
        Images,
        "PINHOLE_RESPONSE_FORMAT",
        "pinhole.response_format",
        Text,
        "Format of responses",
        "Images in responses of OpenAI's API without response_format: b64_json (the default) or url. Models named dall-e-… return url and gpt-image-… b64_json, as OpenAI's do.",
    )
    .by_default("b64_json")
    .choices(&["b64_json", "url"]),
    setting(
        Images,
        "PINHOLE_BINDINGS",
        "pinhole.bindings",
        SecretObject,
        "Named configurations",
        "Additional named configurations of engines.",
    ),
    setting(
        Images,
        "PINHOLE_MODEL_ALIASES",
        "pinhole.model_aliases",
        Object,
        "Aliases of models",
        "Names of models that clients send, each with a configuration (\"sketch\"), or a model of one (\"flux-dev@comfyui\"), that makes the image.",
    ),
    setting(
        Images,
        "PINHOLE_FALLBACKS",
        "pinhole.fallbacks",
        Text,
        "Fallbacks",
        "Names of configurations, separated by commas, to try if one is unavailable.",
    ),
];
