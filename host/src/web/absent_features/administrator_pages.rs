//! The values on the pages of Open WebUI's administrator's area. They are those of this server if it has them, or else
//! say that the feature is off.
//!
//! Source: Open WebUI's routers of release 0.6.43. Newer clients treat a value that is missing as off.

use serde_json::{Value, json};

use super::placeholder::{Access, Body, Placeholder};
use crate::app::App;
use crate::settings::{MARKER, ModelServer};

const fn page(
    path: &'static str,
    operation: &'static str,
    summary: &'static str,
    body: Body,
    save_path: Option<&'static str>,
) -> Placeholder {
    Placeholder {
        path,
        operation,
        summary,
        access: Access::Administrators,
        body,
        save_path,
    }
}

pub(super) const ADMINISTRATOR_PAGES: &[Placeholder] = &[
    page(
        "/api/v1/auths/admin/config",
        "account_page",
        "Return the settings of accounts, and that other general features are off",
        Body::Object(accounts),
        Some("/api/v1/auths/admin/config"),
    ),
    page(
        "/api/v1/auths/admin/config/ldap",
        "ldap_page",
        "Return that there is no LDAP",
        Body::Object(|_| json!({"ENABLE_LDAP": false})),
        Some("/api/v1/auths/admin/config/ldap"),
    ),
    page(
        "/api/v1/auths/admin/config/ldap/server",
        "ldap_server_page",
        "Return that there is no LDAP server",
        Body::Object(|_| {
            json!({
                "label": "", "host": "", "port": null, "attribute_for_mail": "",
                "attribute_for_username": "", "app_dn": "", "app_dn_password": "", "search_base": "",
                "search_filters": "", "use_tls": false, "certificate_path": null,
                "validate_cert": false, "ciphers": null,
            })
        }),
        Some("/api/v1/auths/admin/config/ldap/server"),
    ),
    page(
        "/api/webhook",
        "webhook_page",
        "Return that there is no webhook",
        Body::Object(|_| json!({"url": ""})),
        Some("/api/webhook"),
    ),
    page(
        "/openai/config",
        "openai_page",
        "Return the servers of language models, with `********` for each key",
        Body::Object(language_models),
        Some("/openai/config/update"),
    ),
    page(
        "/ollama/config",
        "ollama_page",
        "Return that there is no Ollama server",
        Body::Object(
            |_| json!({"ENABLE_OLLAMA_API": false, "OLLAMA_BASE_URLS": [], "OLLAMA_API_CONFIGS": {}}),
        ),
        Some("/ollama/config/update"),
    ),
    page(
        "/api/v1/configs/connections",
        "connection_page",
        "Return that users have no connections of their own",
        Body::Object(
            |_| json!({"ENABLE_DIRECT_CONNECTIONS": false, "ENABLE_BASE_MODELS_CACHE": false}),
        ),
        Some("/api/v1/configs/connections"),
    ),
    page(
        "/api/v1/configs/tool_servers",
        "tool_server_page",
        "Return that there are no tool servers",
        Body::Object(|_| json!({"TOOL_SERVER_CONNECTIONS": []})),
        Some("/api/v1/configs/tool_servers"),
    ),
    page(
        "/api/v1/configs/code_execution",
        "code_execution_page",
        "Return that no code is executed",
        Body::Object(|_| {
            json!({
                "ENABLE_CODE_EXECUTION": false, "CODE_EXECUTION_ENGINE": "",
                "CODE_EXECUTION_JUPYTER_URL": null, "CODE_EXECUTION_JUPYTER_AUTH": null,
                "CODE_EXECUTION_JUPYTER_AUTH_TOKEN": null,
                "CODE_EXECUTION_JUPYTER_AUTH_PASSWORD": null,
                "CODE_EXECUTION_JUPYTER_TIMEOUT": null,
                "ENABLE_CODE_INTERPRETER": false, "CODE_INTERPRETER_ENGINE": "",
                "CODE_INTERPRETER_PROMPT_TEMPLATE": null, "CODE_INTERPRETER_JUPYTER_URL": null,
                "CODE_INTERPRETER_JUPYTER_AUTH": null,
                "CODE_INTERPRETER_JUPYTER_AUTH_TOKEN": null,
                "CODE_INTERPRETER_JUPYTER_AUTH_PASSWORD": null,
                "CODE_INTERPRETER_JUPYTER_TIMEOUT": null,
            })
        }),
        Some("/api/v1/configs/code_execution"),
    ),
    page(
        "/api/v1/configs/models",
        "model_page",
        "Return that no model is the default, and that models have no order",
        Body::Object(
            |_| json!({"DEFAULT_MODELS": null, "DEFAULT_PINNED_MODELS": null, "MODEL_ORDER_LIST": []}),
        ),
        Some("/api/v1/configs/models"),
    ),
    Placeholder {
        path: "/api/v1/configs/banners",
        operation: "list_banners",
        summary: "Return an empty list: there are no banners",
        access: Access::Users,
        body: Body::List,
        save_path: None,
    },
    page(
        "/api/v1/models/base",
        "list_base_models",
        "Return an empty list: no model has settings of its own",
        Body::List,
        None,
    ),
    page(
        "/api/v1/functions/list",
        "list_function_page",
        "Return an empty list: there are no functions",
        Body::List,
        None,
    ),
    page(
        "/api/v1/pipelines/list",
        "list_pipelines",
        "Return an empty list: there are no pipelines",
        Body::Object(|_| json!({"data": []})),
        None,
    ),
    page(
        "/api/v1/evaluations/config",
        "evaluation_page",
        "Return that models are not evaluated",
        Body::Object(
            |_| json!({"ENABLE_EVALUATION_ARENA_MODELS": false, "EVALUATION_ARENA_MODELS": []}),
        ),
        Some("/api/v1/evaluations/config"),
    ),
    page(
        "/api/v1/evaluations/feedbacks/all",
        "list_feedback",
        "Return an empty list: there is no feedback",
        Body::List,
        None,
    ),
    page(
        "/api/v1/evaluations/feedbacks/list",
        "list_feedback_page",
        "Return an empty page: there is no feedback",
        Body::Page,
        None,
    ),
    page(
        "/api/v1/audio/config",
        "audio_page",
        "Return that there is no speech",
        Body::Object(|_| {
            json!({
                "tts": {
                    "OPENAI_API_BASE_URL": "", "OPENAI_API_KEY": "", "OPENAI_PARAMS": {},
                    "API_KEY": "", "ENGINE": "", "MODEL": "", "VOICE": "", "SPLIT_ON": "",
                    "AZURE_SPEECH_REGION": "", "AZURE_SPEECH_BASE_URL": "",
                    "AZURE_SPEECH_OUTPUT_FORMAT": "",
                },
                "stt": {
                    "OPENAI_API_BASE_URL": "", "OPENAI_API_KEY": "", "ENGINE": "", "MODEL": "",
                    "SUPPORTED_CONTENT_TYPES": [], "WHISPER_MODEL": "", "DEEPGRAM_API_KEY": "",
                    "AZURE_API_KEY": "", "AZURE_REGION": "", "AZURE_LOCALES": "",
                    "AZURE_BASE_URL": "", "AZURE_MAX_SPEAKERS": "", "MISTRAL_API_KEY": "",
                    "MISTRAL_API_BASE_URL": "", "MISTRAL_USE_CHAT_COMPLETIONS": false,
                },
            })
        }),
        Some("/api/v1/audio/config/update"),
    ),
    Placeholder {
        path: "/api/v1/audio/models",
        operation: "list_audio_models",
        summary: "Return an empty list: there is no speech",
        access: Access::Users,
        body: Body::Object(|_| json!({"models": []})),
        save_path: None,
    },
    Placeholder {
        path: "/api/v1/audio/voices",
        operation: "list_voices",
        summary: "Return an empty list: there is no speech",
        access: Access::Users,
        body: Body::Object(|_| json!({"voices": []})),
        save_path: None,
    },
    page(
        "/api/v1/retrieval/config",
        "retrieval_page",
        "Return that documents are not searched, and the web is not either",
        Body::Object(|_| {
            json!({
                "status": true, "RAG_TEMPLATE": "", "TOP_K": 0,
                "BYPASS_EMBEDDING_AND_RETRIEVAL": true, "RAG_FULL_CONTEXT": false,
                "ENABLE_RAG_HYBRID_SEARCH": false, "CONTENT_EXTRACTION_ENGINE": "",
                "PDF_EXTRACT_IMAGES": false, "DATALAB_MARKER_ADDITIONAL_CONFIG": "",
                "DOCLING_PARAMS": {}, "MINERU_PARAMS": {}, "TEXT_SPLITTER": "", "CHUNK_SIZE": 0,
                "CHUNK_OVERLAP": 0, "FILE_MAX_SIZE": null, "FILE_MAX_COUNT": null,
                "ALLOWED_FILE_EXTENSIONS": [], "ENABLE_GOOGLE_DRIVE_INTEGRATION": false,
                "ENABLE_ONEDRIVE_INTEGRATION": false,
                "web": {
                    "ENABLE_WEB_SEARCH": false, "WEB_SEARCH_ENGINE": "",
                    "WEB_SEARCH_DOMAIN_FILTER_LIST": [], "WEB_LOADER_ENGINE": "",
                    "YOUTUBE_LOADER_LANGUAGE": [], "YOUTUBE_LOADER_PROXY_URL": "",
                    "YOUTUBE_LOADER_TRANSLATION": null,
                },
            })
        }),
        Some("/api/v1/retrieval/config/update"),
    ),
    page(
        "/api/v1/retrieval/embedding",
        "embedding_page",
        "Return that documents are not searched",
        Body::Object(|_| {
            json!({
                "status": true, "RAG_EMBEDDING_ENGINE": "", "RAG_EMBEDDING_MODEL": "",
                "RAG_EMBEDDING_BATCH_SIZE": 0, "ENABLE_ASYNC_EMBEDDING": false,
                "openai_config": {"url": "", "key": ""}, "ollama_config": {"url": "", "key": ""},
                "azure_openai_config": {"url": "", "key": "", "version": ""},
            })
        }),
        Some("/api/v1/retrieval/embedding/update"),
    ),
];

/// The settings of accounts.
fn accounts(app: &App) -> Value {
    let (rules, snapshot) = (app.accounts.rules(), app.jobs.snapshot());
    let lifetime = match rules.session_secs {
        Some(secs) => format!("{secs}s"),
        None => "-1".to_owned(),
    };
    json!({
        "SHOW_ADMIN_DETAILS": false,
        "WEBUI_URL": snapshot.settings.public_url.as_deref().unwrap_or_default(),
        "ENABLE_SIGNUP": rules.is_sign_up_open,
        "ENABLE_API_KEYS": true,
        "ENABLE_API_KEYS_ENDPOINT_RESTRICTIONS": false,
        "API_KEYS_ALLOWED_ENDPOINTS": "",
        "DEFAULT_USER_ROLE": rules.default_role,
        "DEFAULT_GROUP_ID": "",
        "JWT_EXPIRES_IN": lifetime,
        "ENABLE_COMMUNITY_SHARING": false,
        "ENABLE_MESSAGE_RATING": false,
        "ENABLE_FOLDERS": false,
        "ENABLE_CHANNELS": false,
        "ENABLE_NOTES": false,
        "ENABLE_USER_WEBHOOKS": false,
        "PENDING_USER_OVERLAY_TITLE": "",
        "PENDING_USER_OVERLAY_CONTENT": "",
        "RESPONSE_WATERMARK": "",
    })
}

/// The servers of language models. Keys do not leave the server.
fn language_models(app: &App) -> Value {
    let snapshot = app.jobs.snapshot();
    let servers = snapshot.settings.model_servers.iter();
    let urls: Vec<&str> = servers.clone().map(|it| it.base_url.as_str()).collect();
    let shown_key = |server: &ModelServer| server.key.as_ref().map_or("", |_| MARKER);
    let keys: Vec<&str> = servers.map(shown_key).collect();
    json!({
        "ENABLE_OPENAI_API": !urls.is_empty(),
        "OPENAI_API_BASE_URLS": urls,
        "OPENAI_API_KEYS": keys,
        "OPENAI_API_CONFIGS": {},
    })
}
