//! `docs/limits.md`, written from the constants of the server's source.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pinhole::engine::Limits;

const HEAD: &str = "\
# Limits

Written by a test from the constants of `host/src` and what stands above each. A name that begins with `MAX_`, `MIN_` or
`PAGE_`, a time, and what a picture may be: each bounds something, and is declared in the one file where it holds. What a
client sends beyond a limit gets a 4xx that names the limit; what a guest or an upstream sends ends its call.
";

const CALL: &str = "
## One call of an engine

Each call has a fresh instance, and all of these at once (`engine/limits.rs`). The time from start to end of a job is
`PINHOLE_JOB_TIMEOUT_SECS`.

| limit | a job | `describe` | what it bounds |
|---|---|---|---|
";

/// A constant as its file declares it.
struct Constant {
    name: String,
    kind: String,
    value: String,
    /// The first paragraph above it.
    doc: String,
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/src")
}

/// All files, a module before those inside it, each with the name that the page has for it.
fn files() -> BTreeMap<String, String> {
    fn walk(folder: &Path, root: &Path, found: &mut BTreeMap<String, String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            // What only attacks, tests and fuzz targets use bounds nobody's work.
            let apart = ["adversary", "fuzz"];
            if path
                .file_stem()
                .is_some_and(|name| apart.iter().any(|it| name == *it))
            {
                continue;
            }
            if path.is_dir() {
                walk(&path, root, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap().with_extension("");
                let text = std::fs::read_to_string(&path).unwrap();
                // Tests have limits of their own.
                let text = text.split("#[cfg(test)]").next().unwrap().to_owned();
                found.insert(name.to_str().unwrap().replace('\\', "/"), text);
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(&source(), &source(), &mut found);
    found
}

/// The constants of a file, in their order. A limit right below another one shares its words.
fn constants(text: &str) -> Vec<Constant> {
    let mut found: Vec<Constant> = Vec::new();
    let mut doc: Vec<&str> = Vec::new();
    let mut above = None;
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let line = line.trim();
        if let Some(text) = line.strip_prefix("///") {
            doc.push(text.trim());
            continue;
        }
        if line.starts_with("#[") {
            continue;
        }
        let declared = declared(line);
        if let Some((name, mut rest)) = declared {
            while !rest.ends_with(';') {
                rest.push(' ');
                rest.push_str(lines.next().unwrap().trim());
            }
            let (kind, value) = rest.split_once('=').unwrap();
            let paragraph = doc.split(|line| line.is_empty()).next().unwrap();
            let shared = above.take().filter(|_| doc.is_empty()).unwrap_or_default();
            let constant = Constant {
                name,
                kind: kind.trim().to_owned(),
                value: value.trim_end_matches(';').trim().to_owned(),
                doc: match paragraph {
                    [] => shared,
                    lines => lines.join(" "),
                },
            };
            above = is_limit(&constant).then(|| constant.doc.clone());
            found.push(constant);
        } else {
            above = None;
        }
        doc.clear();
    }
    found
}

/// The name that a line declares a constant by, and what follows.
fn declared(line: &str) -> Option<(String, String)> {
    let visible = match line.strip_prefix("pub") {
        Some(rest) => rest.split_once("const ").map(|(_, rest)| rest),
        None => line.strip_prefix("const "),
    };
    let (name, rest) = visible?.split_once(": ")?;
    let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    name.chars()
        .all(is_name)
        .then(|| (name.to_owned(), rest.to_owned()))
}

fn is_limit(constant: &Constant) -> bool {
    let is_number = constant.kind.chars().all(|c| c.is_ascii_alphanumeric());
    let named = ["MAX_", "MIN_", "PAGE_"]
        .iter()
        .any(|start| constant.name.starts_with(start));
    (named && is_number) || ["Duration", "ImageLimits"].contains(&constant.kind.as_str())
}

/// What a value comes to, where it is simple: numbers, sums and shifts of them, times.
fn evaluated(value: &str, known: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let timed = |unit: &str| {
        let inner = value
            .strip_prefix("Duration::")?
            .strip_prefix(unit)?
            .strip_prefix('(')?;
        number(inner.strip_suffix(')')?, known)
    };
    if let Some(secs) = timed("from_secs") {
        return Some(time(Duration::from_secs(secs)));
    }
    if let Some(ms) = timed("from_millis") {
        return Some(time(Duration::from_millis(ms)));
    }
    if let Some(limits) = value.strip_prefix("ImageLimits {") {
        let limit = |name: &str| {
            let (_, rest) = limits.split_once(name)?;
            number(rest.split(',').next()?, known).map(grouped)
        };
        let (bytes, pixels) = (limit("max_bytes:")?, limit("max_pixels:")?);
        return Some(format!("{bytes} bytes, {pixels} pixels"));
    }
    number(value, known).map(grouped)
}

fn time(time: Duration) -> String {
    let secs = time.as_secs();
    match (secs, time.subsec_millis()) {
        (secs, 0) if secs >= 24 * 3600 && secs % (24 * 3600) == 0 => {
            format!("{} d", secs / (24 * 3600))
        }
        (secs, 0) if secs >= 3600 && secs % 3600 == 0 => format!("{} h", secs / 3600),
        (secs, 0) if secs > 60 && secs % 60 == 0 => format!("{} min", secs / 60),
        (secs, 0) => format!("{secs} s"),
        (_, _) => format!("{} ms", time.as_millis()),
    }
}

/// 33554432 as 33 554 432.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// Whole numbers with `<<`, `+`, `-`, `*`, `/` and brackets, as Rust binds them.
fn number(text: &str, known: &dyn Fn(&str) -> Option<String>) -> Option<u64> {
    let spaced = ["(", ")", "<<", "+", "-", "*", "/"]
        .iter()
        .fold(text.to_owned(), |text, sign| {
            text.replace(sign, &format!(" {sign} "))
        });
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut words = words.as_slice();
    let number = shift(&mut words, known)?;
    words.is_empty().then_some(number)
}

type Known<'a> = &'a dyn Fn(&str) -> Option<String>;

fn shift(words: &mut &[&str], known: Known) -> Option<u64> {
    let mut number = sum(words, known)?;
    while let ["<<", rest @ ..] = *words {
        *words = rest;
        number = number.checked_shl(u32::try_from(sum(words, known)?).ok()?)?;
    }
    Some(number)
}

fn sum(words: &mut &[&str], known: Known) -> Option<u64> {
    let mut number = product(words, known)?;
    while let [sign @ ("+" | "-"), rest @ ..] = *words {
        *words = rest;
        let other = product(words, known)?;
        number = match *sign {
            "+" => number.checked_add(other)?,
            _ => number.checked_sub(other)?,
        };
    }
    Some(number)
}

fn product(words: &mut &[&str], known: Known) -> Option<u64> {
    let mut number = single(words, known)?;
    while let [sign @ ("*" | "/"), rest @ ..] = *words {
        *words = rest;
        let other = single(words, known)?;
        number = match *sign {
            "*" => number.checked_mul(other)?,
            _ => number.checked_div(other)?,
        };
    }
    Some(number)
}

fn single(words: &mut &[&str], known: Known) -> Option<u64> {
    let (first, rest) = words.split_first()?;
    *words = rest;
    if *first == "(" {
        let number = shift(words, known)?;
        *words = words.strip_prefix(&[")"])?;
        return Some(number);
    }
    match first.replace('_', "").parse() {
        Ok(number) => Some(number),
        Err(_) => {
            let value = known(first)?;
            self::number(&value, known)
        }
    }
}

/// One row: the name, what was written, what it comes to, what it bounds.
fn row(constant: &Constant, known: Known) -> String {
    let Constant {
        name, value, doc, ..
    } = constant;
    let cell = |text: &str| text.replace('|', "\\|");
    let is_plain = ["Duration::", "ImageLimits "]
        .iter()
        .any(|it| value.starts_with(it))
        || value.parse::<u64>().is_ok();
    let value = match evaluated(value, known) {
        Some(plain) if is_plain || plain.replace(' ', "_") == *value => plain,
        Some(plain) => format!("{plain} (`{}`)", cell(value)),
        None => format!("`{}`", cell(value)),
    };
    format!("| `{name}` | {value} | {} |\n", cell(doc))
}

/// What one call may use: names and documentation from the source, values from the server itself.
fn call(files: &BTreeMap<String, String>, page: &mut String) {
    page.push_str(CALL);
    let text = &files["engine/limits"];
    let start = text.find("pub struct Limits {").unwrap();
    let body = text[start..].split("\n}").next().unwrap();
    let values = |limits: Limits| {
        let shown = format!("{limits:#?}");
        let pairs = shown
            .lines()
            .filter_map(|line| line.trim().split_once(": "));
        let plain = |value: &str| value.trim_end_matches(',').to_owned();
        let pairs = pairs.map(|(name, value)| (name.to_owned(), plain(value)));
        pairs.collect::<BTreeMap<_, _>>()
    };
    let (job, describe) = (
        values(Limits::job(Duration::ZERO)),
        values(Limits::describe()),
    );
    let mut doc = Vec::new();
    for line in body.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("/// ") {
            doc.push(text);
        } else if let Some((name, _)) = line
            .strip_prefix("pub ")
            .and_then(|rest| rest.split_once(": "))
        {
            let value = |of: &BTreeMap<String, String>| match of[name].parse() {
                Ok(number) => grouped(number),
                Err(_) => of[name].clone(),
            };
            match name {
                "wall" => writeln!(
                    page,
                    "| `wall` | | {} | {} |",
                    value(&describe),
                    doc.join(" ")
                ),
                // Two limits in one.
                "image" => write!(
                    page,
                    "| `image.max_bytes` | {} | | Length of one picture, in bytes. |\n\
                     | `image.max_pixels` | {} | | Width times height of one picture. |\n",
                    grouped(job["max_bytes"].parse().unwrap()),
                    grouped(job["max_pixels"].parse().unwrap()),
                ),
                _ => writeln!(
                    page,
                    "| `{name}` | {} | {} | {} |",
                    value(&job),
                    value(&describe),
                    doc.join(" ")
                ),
            }
            .unwrap();
            doc.clear();
        }
    }
}

#[test]
fn the_page_of_limits_is_current() {
    let files = files();
    let declared: BTreeMap<&String, Vec<Constant>> = files
        .iter()
        .map(|(file, text)| (file, constants(text)))
        .collect();
    let mut page = HEAD.to_owned();
    let mut undocumented = Vec::new();
    for (file, constants) in &declared {
        let limits: Vec<&Constant> = constants.iter().filter(|it| is_limit(it)).collect();
        if limits.is_empty() {
            continue;
        }
        let about = files[*file].lines().next().unwrap();
        let about = about.strip_prefix("//! ").unwrap_or_default();
        writeln!(page, "\n## `{file}.rs`\n\n{about}\n").unwrap();
        page.push_str("| limit | value | what it bounds |\n|---|---|---|\n");
        let known = |name: &str| {
            let all = declared.values().flatten();
            let mut found = constants.iter().chain(all).filter(|it| it.name == name);
            found.next().map(|it| it.value.clone())
        };
        for limit in limits {
            page.push_str(&row(limit, &known));
            if limit.doc.is_empty() {
                undocumented.push(format!("{file}.rs: {}", limit.name));
            }
        }
    }
    call(&files, &mut page);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/limits.md");
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    if written != page {
        std::fs::write(&path, page).unwrap();
    }
    assert!(
        undocumented.is_empty(),
        "limits without a line that says what they bound: {undocumented:#?}"
    );
    assert!(
        written == std::fs::read_to_string(&path).unwrap(),
        "docs/limits.md was not current and has been written anew: look at it and commit it"
    );
}

#[test]
fn what_constants_come_to() {
    let known = |name: &str| (name == "SIDE").then(|| "8 << 1".to_owned());
    for (value, expected) in [
        ("5", Some("5")),
        ("10_000", Some("10 000")),
        ("32 << 20", Some("33 554 432")),
        ("4096 * 4096", Some("16 777 216")),
        ("SIDE / 3 * 4 + (1 << 3)", Some("28")),
        ("1 << 2 + 1", Some("8")),
        ("Duration::from_secs(25)", Some("25 s")),
        ("Duration::from_secs(60 * 60)", Some("1 h")),
        ("Duration::from_secs(90)", Some("90 s")),
        ("Duration::from_millis(50)", Some("50 ms")),
        ("UPLOAD.max_bytes + 1", None),
        (
            "ImageLimits { max_bytes: 1 << 4, max_pixels: 3, }",
            Some("16 bytes, 3 pixels"),
        ),
        ("(1 << 2", None),
    ] {
        assert_eq!(evaluated(value, &known).as_deref(), expected, "{value}");
    }
}

#[test]
fn constants_are_found_with_what_stands_above_them() {
    let text = "/// How many.\n///\n/// Source: nobody.\npub(super) const MAX_A: u32 =\n    5;\n\
                const MAX_B: u32 = 6;\nlet x = 1;\nconst C: Duration = Duration::from_secs(1);\n\
                const MAX_D: u32 = C;\nfn const_e() {}\n";
    let found = constants(text);
    let found: Vec<_> = found
        .iter()
        .map(|it| {
            (
                it.name.as_str(),
                it.kind.as_str(),
                it.value.as_str(),
                it.doc.as_str(),
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            ("MAX_A", "u32", "5", "How many."),
            ("MAX_B", "u32", "6", "How many."),
            ("C", "Duration", "Duration::from_secs(1)", ""),
            ("MAX_D", "u32", "C", ""),
        ]
    );
}
