//! `bindgen!` and re-exports; nothing else.

wasmtime::component::bindgen!({
    path: "../../../wit",
    world: "image-engine",
    imports: { default: async | trappable },
    exports: { default: async },
    with: {
        "pinhole:engine/images.image": crate::images::HeldImage,
        "pinhole:engine/upstream.document": crate::upstream::HeldDocument,
        "pinhole:engine/upstream.response": crate::upstream::HeldResponse,
        "pinhole:engine/upstream.pending": crate::upstream::HeldPending,
        "pinhole:engine/upstream.message": crate::socket::HeldMessage,
        "pinhole:engine/upstream.socket": crate::socket::HeldSocket,
    },
});

pub use exports::pinhole::engine::engine::{
    Abilities, Credential, Description, Output, Picture, Setting, SettingKind,
};
pub use pinhole::engine::types::{Error as EngineError, ErrorKind, Job, Model, SettingValue, Size};
