//! The operator's settings: their declarations, and the names by which messages refer to them.

use std::fmt;

use pinhole_sdk::{Setting, SettingKind};

pub(crate) const BASE_URL: &str = "base-url";
pub(crate) const API_KEY: &str = "api-key";
pub(crate) const PREVIEW_METHOD: &str = "preview-method";
/// The choice of `preview-method` that leaves it to the server.
pub(crate) const SERVER_PREVIEWS: &str = "server";
/// The choices of `preview-method`.
const PREVIEW_METHODS: [&str; 5] = [SERVER_PREVIEWS, "none", "auto", "latent2rgb", "taesd"];

/// A setting with its environment variable.
#[derive(Debug)]
pub(crate) struct SettingKey {
    pub(crate) name: &'static str,
    pub(crate) variable: &'static str,
}

/// The settings of the workflow for one kind of job.
#[derive(Debug)]
pub(crate) struct WorkflowKeys {
    pub(crate) workflow: SettingKey,
    pub(crate) nodes: SettingKey,
}

pub(crate) const GENERATE: &WorkflowKeys = &WorkflowKeys {
    workflow: SettingKey {
        name: "workflow",
        variable: "COMFYUI_WORKFLOW",
    },
    nodes: SettingKey {
        name: "nodes",
        variable: "COMFYUI_WORKFLOW_NODES",
    },
};

pub(crate) const EDIT: &WorkflowKeys = &WorkflowKeys {
    workflow: SettingKey {
        name: "edit-workflow",
        variable: "IMAGES_EDIT_COMFYUI_WORKFLOW",
    },
    nodes: SettingKey {
        name: "edit-nodes",
        variable: "IMAGES_EDIT_COMFYUI_WORKFLOW_NODES",
    },
};

/// Such as `setting nodes (COMFYUI_WORKFLOW_NODES)`.
impl fmt::Display for SettingKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "setting {} ({})", self.name, self.variable)
    }
}

pub(crate) fn declare() -> Vec<Setting> {
    let document = |key: &SettingKey, title, description| {
        Setting::new(key.name, SettingKind::Document, title, description)
    };
    vec![
        Setting::new(
            BASE_URL,
            SettingKind::Url,
            "Base URL",
            "URL of ComfyUI, such as http://127.0.0.1:8188.",
        )
        .with_variables(&["COMFYUI_BASE_URL"], &["IMAGES_EDIT_COMFYUI_BASE_URL"]),
        Setting::new(
            API_KEY,
            SettingKind::Secret,
            "API key",
            "Bearer token for a proxy in front of ComfyUI.",
        )
        .with_variables(&["COMFYUI_API_KEY"], &["IMAGES_EDIT_COMFYUI_API_KEY"]),
        document(
            &GENERATE.workflow,
            "Workflow",
            "Graph that generates images: JSON from Save (API Format). Empty: a basic Stable \
             Diffusion 1.5 graph, for which a job names the checkpoint.",
        )
        .with_variables(&[GENERATE.workflow.variable], &[]),
        document(
            &GENERATE.nodes,
            "Nodes",
            "Node inputs for the values of a job: JSON list of {\"type\", \"node_ids\", \"key\"}. \
             Types: model, prompt, negative_prompt, width, height, n, steps, seed, strength, or a \
             parameter of a job. Without a type, an entry writes its \"value\". Empty, or without node_ids: found by \
             the links of the workflow.",
        )
        .with_variables(&[GENERATE.nodes.variable], &[]),
        document(
            &EDIT.workflow,
            "Edit workflow",
            "The same for edits. Uploads stay in ComfyUI's folder input/pinhole.",
        )
        .with_variables(&[], &[EDIT.workflow.variable]),
        document(
            &EDIT.nodes,
            "Edit nodes",
            "The same for edits, with two more types: mask, and image, whose nodes load the images \
             in order.",
        )
        .with_variables(&[], &[EDIT.nodes.variable]),
        Setting::new(
            PREVIEW_METHOD,
            SettingKind::Choice(PREVIEW_METHODS.map(str::to_owned).into()),
            "Preview method",
            "How ComfyUI creates previews. server: as it was started, by default without. Older \
             versions ignore the other choices.",
        )
        .with_default(SERVER_PREVIEWS),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_server_settings_are_shared_by_generate_and_edit() {
        for setting in declare() {
            let sides = [setting.generate_variables, setting.edit_variables];
            let has_both = sides.iter().all(|side| !side.is_empty());
            let is_shared = [BASE_URL, API_KEY].contains(&setting.key.as_str());
            assert_eq!(has_both, is_shared, "{}", setting.key);
        }
    }
}
