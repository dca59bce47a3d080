//! The settings that hold workflows and mappings, as messages name them.

use std::fmt;

/// A setting: its key, and the variable it is also known by.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) variable: &'static str,
}

/// The two settings of one kind of job.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) workflow: Key,
    pub(crate) nodes: Key,
}

pub(crate) const GENERATE: &Keys = &Keys {
    workflow: Key {
        name: "workflow",
        variable: "COMFYUI_WORKFLOW",
    },
    nodes: Key {
        name: "nodes",
        variable: "COMFYUI_WORKFLOW_NODES",
    },
};

pub(crate) const EDIT: &Keys = &Keys {
    workflow: Key {
        name: "edit-workflow",
        variable: "IMAGES_EDIT_COMFYUI_WORKFLOW",
    },
    nodes: Key {
        name: "edit-nodes",
        variable: "IMAGES_EDIT_COMFYUI_WORKFLOW_NODES",
    },
};

/// Such as `setting nodes (COMFYUI_WORKFLOW_NODES)`.
impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "setting {} ({})", self.name, self.variable)
    }
}
