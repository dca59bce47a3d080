//! Components that a compiler would work on for hours.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::arena::Arena;
use pinhole_sandbox::Compiler;

/// Functions of a component that takes seconds to be compiled, and hundreds of megabytes.
const FUNCTIONS: usize = 60_000;
/// Two numbers, multiplied again and again.
const LOCALS: &[u8] = &[1, 2, 0x7e];
const STEP: &[u8] = &[0x20, 0, 0x20, 1, 0x7e, 0x42, 7, 0x81, 0x21, 0];
const STEPS: usize = 10;
const END: u8 = 0x0b;

pub(super) async fn takes_time(arena: &Arena) -> Result<()> {
    let compiler = Compiler {
        time: Duration::from_secs(1),
        ..enough(arena)
    };
    is_refused(arena, compiler, "takes more than 1 s to compile").await
}

pub(super) async fn takes_memory(arena: &Arena) -> Result<()> {
    let compiler = Compiler {
        memory_bytes: 256 << 20,
        ..enough(arena)
    };
    is_refused(arena, compiler, "needs more than 256 MiB of memory").await
}

pub(super) async fn becomes_code(arena: &Arena) -> Result<()> {
    let compiler = Compiler {
        code_bytes: 1 << 20,
        ..enough(arena)
    };
    is_refused(arena, compiler, "compiles to more than 1048576 bytes").await
}

/// Limits that the component does not break.
fn enough(arena: &Arena) -> Compiler {
    Compiler {
        time: Duration::from_secs(3600),
        memory_bytes: 8 << 30,
        code_bytes: usize::MAX,
        ..arena.compiler()
    }
}

/// It is refused with these words, and while it is compiled the server under attack answers.
async fn is_refused(arena: &Arena, compiler: Compiler, words: &str) -> Result<()> {
    let bomb = component();
    let files: [(&str, &[u8]); 1] = [("bomb.wasm", &bomb)];
    let refused = arena.admit_with(&files, compiler);
    tokio::pin!(refused);
    let refused = loop {
        tokio::select! {
            refused = &mut refused => break refused?,
            answer = arena.get("/health") => {
                ensure!(answer?.status.is_success(), "the server does not answer meanwhile");
            }
        }
    };
    ensure!(
        matches!(refused.as_slice(), [(_, reason)] if reason.starts_with(words)),
        "it was not refused with {words:?}: {refused:?}"
    );
    Ok(())
}

/// A component around a core module of many functions.
fn component() -> Vec<u8> {
    let body = [LOCALS, &STEP.repeat(STEPS), &[END]].concat();
    let function = with_length(&body);
    let module = [
        b"\0asm\x01\0\0\0".as_slice(),
        // One type, from nothing to nothing, which all have.
        &section(1, &[1, 0x60, 0, 0]),
        &section(3, &[number(FUNCTIONS), vec![0; FUNCTIONS]].concat()),
        &section(
            10,
            &[number(FUNCTIONS), function.repeat(FUNCTIONS)].concat(),
        ),
    ];
    [
        b"\0asm\x0d\0\x01\0".as_slice(),
        &section(1, &module.concat()),
    ]
    .concat()
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id], with_length(content).as_slice()].concat()
}

fn with_length(content: &[u8]) -> Vec<u8> {
    [number(content.len()), content.to_vec()].concat()
}

/// As WebAssembly writes it: seven bits at a time, the lowest first.
fn number(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        match value {
            0 => {
                bytes.push(low);
                return bytes;
            }
            _ => bytes.push(low | 0x80),
        }
    }
}
