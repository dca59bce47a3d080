//! The contract in C: `sdk/c/image_engine.h` and `image_engine.c`, generated from `wit/engine.wit`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use wit_bindgen_core::Files;
use wit_parser::Resolve;

const WORLD: &str = "image-engine";
const DIRECTORY: &str = "sdk/c";

/// Writes the files that differ. Returns whether one did.
fn update(root: &Path) -> Result<bool> {
    let mut changed = false;
    for (name, text) in generate(root)?.iter() {
        let path = root.join(DIRECTORY).join(name);
        if fs::read(&path).ok().as_deref() != Some(text) {
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            changed = true;
        }
    }
    Ok(changed)
}

fn generate(root: &Path) -> Result<Files> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(root.join("wit"))?;
    let world = resolve.select_world(&[package], Some(WORLD))?;
    let options = wit_bindgen_c::Opts {
        // `pinhole engine encode` describes the world.
        no_object_file: true,
        ..Default::default()
    };
    let mut files = Files::default();
    options.build().generate(&mut resolve, world, &mut files)?;
    Ok(files)
}

#[test]
fn c_bindings_are_those_of_the_contract() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    assert!(
        !update(&root).unwrap(),
        "sdk/c has changed: commit it, and adapt pinhole.h, pinhole.c and host/templates/c"
    );
}
