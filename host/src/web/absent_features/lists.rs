//! What Open WebUI's web client reads on every page.

use serde_json::json;

use super::placeholder::{Access, Body, Placeholder};

const fn empty(
    path: &'static str,
    operation: &'static str,
    summary: &'static str,
    body: Body,
) -> Placeholder {
    Placeholder {
        path,
        operation,
        summary,
        access: Access::Users,
        body,
        save_path: None,
    }
}

pub(super) const LISTS: &[Placeholder] = &[
    empty(
        "/api/version/updates",
        "version_updates",
        "Return the version of the server, and the same as the latest: the server does not look for a newer one",
        Body::Object(|_| {
            let version = env!("CARGO_PKG_VERSION");
            json!({"current": version, "latest": version})
        }),
    ),
    empty(
        "/api/changelog",
        "changelog",
        "Return an empty object: the changes are in the project's CHANGELOG.md",
        Body::Object(|_| json!({})),
    ),
    empty(
        "/ollama/api/version",
        "ollama_version",
        "Return that there is no Ollama server",
        Body::Object(|_| json!({"version": false})),
    ),
    empty(
        "/api/v1/tools/",
        "list_tools",
        "Return an empty list: there are no tools",
        Body::List,
    ),
    empty(
        "/api/v1/tools/list",
        "list_own_tools",
        "Return an empty list: there are no tools",
        Body::List,
    ),
    empty(
        "/api/v1/functions/",
        "list_functions",
        "Return an empty list: there are no functions",
        Body::List,
    ),
    empty(
        "/api/v1/folders/",
        "list_folders",
        "Return an empty list: there are no folders",
        Body::List,
    ),
    empty(
        "/api/v1/folders/shared",
        "list_shared_folders",
        "Return an empty list: there are no folders",
        Body::List,
    ),
    empty(
        "/api/v1/channels/",
        "list_channels",
        "Return an empty list: there are no channels",
        Body::List,
    ),
    empty(
        "/api/v1/prompts/",
        "list_prompts",
        "Return an empty list: there are no prompts",
        Body::List,
    ),
    empty(
        "/api/v1/skills/",
        "list_skills",
        "Return an empty list: there are no skills",
        Body::List,
    ),
    empty(
        "/api/v1/skills/list",
        "list_skill_page",
        "Return an empty page: there are no skills",
        Body::Page,
    ),
    empty(
        "/api/v1/models/list",
        "list_workspace_models",
        "Return an empty page: there are no models with instructions of their own",
        Body::Page,
    ),
    empty(
        "/api/v1/knowledge/search",
        "find_knowledge",
        "Return an empty page: there are no knowledge bases",
        Body::Page,
    ),
    empty(
        "/api/v1/notes/search",
        "find_notes",
        "Return an empty page: there are no notes",
        Body::Page,
    ),
];
