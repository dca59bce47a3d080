//! Components inside components.

use anyhow::{Context, Result};

use super::require_bytes_rejected;
use crate::target::AttackTarget;

/// A component with one core instance.
const NESTED: &[u8] = b"\0asm\x0d\0\x01\0\x01\x08\0asm\x01\0\0\0\x02\x04\x01\0\0\0";
const INSTANCES: u8 = 50;
const HEADER_BYTES: usize = 8;
const COMPONENT_SECTION: u8 = 4;
const INSTANCE_SECTION: u8 = 5;

pub(super) async fn many_instances(target: &AttackTarget) -> Result<()> {
    let mut component = target.component("core")?;
    let index = nested_components(&component).context("the component is malformed")?;
    component.extend([COMPONENT_SECTION, u8::try_from(NESTED.len())?]);
    component.extend(NESTED);
    let instances = [0, index, 0].repeat(usize::from(INSTANCES));
    let length = instances.len() + 1;
    component.extend([
        INSTANCE_SECTION,
        u8::try_from(length & 0x7f)? | 0x80,
        u8::try_from(length >> 7)?,
        INSTANCES,
    ]);
    component.extend(instances);
    require_bytes_rejected(target, &component, "instances").await
}

/// The number of components inside a component, which is the index of the next one.
fn nested_components(component: &[u8]) -> Option<u8> {
    let (mut rest, mut count) = (component.get(HEADER_BYTES..)?, 0);
    while let Some((id, after_id)) = rest.split_first() {
        count += u8::from(*id == COMPONENT_SECTION);
        let (length, content) = read_number(after_id)?;
        rest = content.get(length..)?;
    }
    Some(count)
}

/// A number in LEB128, and the bytes after it.
fn read_number(mut bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (mut number, mut shift) = (0, 0);
    loop {
        let (byte, rest) = bytes.split_first()?;
        number |= usize::from(byte & 0x7f) << shift;
        (shift, bytes) = (shift + 7, rest);
        if *byte < 0x80 {
            return Some((number, bytes));
        }
    }
}
