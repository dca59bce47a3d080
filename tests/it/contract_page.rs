//! `docs/reference/contract.md`, written from the comments of `wit/engine.wit`.

use std::fmt::Write;
use std::path::Path;

const HEAD: &str = "\
# The contract

A test writes this page from [`wit/engine.wit`](../../wit/engine.wit), with which an engine is built.
[`wit/README.md`](../../wit/README.md) says how versions of it go together. [Recipes](../guides/engine-recipes.md) show what to do with it.
";

/// A part of the page.
enum Item<'a> {
    /// An interface or a world: its comment and its name.
    Heading(String, &'a str),
    /// A type or a function of an interface: its comment and its declaration.
    Declaration(String, &'a str),
    /// A field, a case or a method of a type: its comment and its declaration.
    Member(String, &'a str),
}

/// The items of the text, in order. The file has one declaration in each line, and its comment before it.
fn items(wit: &str) -> Vec<Item<'_>> {
    let (mut items, mut comment, mut depth) = (Vec::new(), String::new(), 0);
    for line in wit.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("///") {
            if !comment.is_empty() {
                comment.push(' ');
            }
            comment.push_str(text.trim());
            continue;
        }
        let is_declaration = !line.is_empty() && line != "}" && !line.starts_with("use ");
        let declared = line.trim_end_matches(['{', ';', ',']).trim();
        if is_declaration && !line.starts_with("package ") {
            let text = std::mem::take(&mut comment);
            items.push(match depth {
                0 => Item::Heading(text, declared),
                1 => Item::Declaration(text, declared),
                _ => Item::Member(text, declared),
            });
        }
        comment.clear();
        depth += i32::from(line.ends_with('{')) - i32::from(line == "}");
    }
    items
}

fn page(wit: &str) -> String {
    let mut page = HEAD.to_owned();
    let mut is_in_list = false;
    for item in items(wit) {
        match item {
            Item::Heading(comment, name) => {
                writeln!(page, "\n## {}\n\n{comment}", capitalized(name)).unwrap();
                is_in_list = false;
            }
            Item::Declaration(comment, declared) if is_type(declared) => {
                let separator = if comment.is_empty() { "" } else { "\n\n" };
                writeln!(page, "\n### `{declared}`{separator}{comment}").unwrap();
                is_in_list = false;
            }
            Item::Declaration(comment, declared) | Item::Member(comment, declared) => {
                if !is_in_list {
                    page.push('\n');
                    is_in_list = true;
                }
                let separator = if comment.is_empty() { "" } else { ": " };
                writeln!(page, "- `{declared}`{separator}{comment}").unwrap();
            }
        }
    }
    page
}

fn is_type(declared: &str) -> bool {
    let kind = declared.split(' ').next().unwrap_or_default();
    ["enum", "record", "resource", "variant"].contains(&kind)
}

/// `Interface images` of `interface images`.
fn capitalized(name: &str) -> String {
    let (kind, rest) = name.split_once(' ').unwrap_or((name, ""));
    let mut letters = kind.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    format!("{}{} `{rest}`", first.unwrap_or(' '), letters.as_str())
}

#[test]
fn contract_page_is_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let wit = std::fs::read_to_string(root.join("wit/engine.wit")).unwrap();
    let path = root.join("docs/reference/contract.md");
    let expected = page(&wit);
    let present = std::fs::read_to_string(&path).unwrap_or_default();
    if present != expected {
        std::fs::write(&path, expected).unwrap();
        panic!("docs/reference/contract.md was not current: it is written now");
    }
}

#[test]
fn every_declaration_has_a_comment_or_follows_one_of_its_kind() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let wit = std::fs::read_to_string(root.join("wit/engine.wit")).unwrap();
    let bare: Vec<&str> = items(&wit)
        .iter()
        .filter_map(|item| match item {
            Item::Heading(comment, name) | Item::Declaration(comment, name)
                if comment.is_empty() && !name.starts_with("import") =>
            {
                Some(*name)
            }
            _ => None,
        })
        .filter(|name| !name.starts_with("export") && !name.starts_with("include"))
        .collect();
    assert!(bare.is_empty(), "{bare:?}");
}
