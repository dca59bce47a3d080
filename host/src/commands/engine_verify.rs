//! `pinhole engine verify`: checks whether an engine works, and shows where the values of a job go.

use anyhow::Result;
use pinhole::config::Config;
use pinhole_sandbox::EngineReport;
use pinhole_sandbox::contract::{Explanation, Placement};
use serde_json::{Value, json};

use super::{CommandJobs, MissingData, print_error};

/// Width of a column of the table, in characters; the last column is longer.
const MAX_COLUMN: usize = 40;
/// Width of the last column, in characters.
const MAX_VALUE: usize = 60;

/// Checks the settings, and whether the upstream accepts the key. Returns the exit code.
pub(crate) async fn verify(config: &Config, engine: Option<&str>, as_json: bool) -> Result<u8> {
    let CommandJobs { jobs, .. } = &CommandJobs::open(config, MissingData::Temporary).await?;
    let snapshot = jobs.snapshot();
    let verified = match snapshot.operator_binding(engine) {
        Ok(binding) => jobs
            .verify(binding)
            .await
            .map(|found| (binding.name.as_str(), found)),
        Err(error) => Err(error),
    };
    match verified {
        Ok((name, found)) if as_json => {
            println!("{}", to_json(name, &found));
            Ok(0)
        }
        Ok((name, found)) => {
            print!("{}", to_text(name, &found));
            Ok(0)
        }
        Err(error) => {
            if as_json {
                let message = error.for_operator();
                println!("{}", json!({"works": false, "error": message}));
            }
            Ok(print_error(&error))
        }
    }
}

/// Explains the settings. Returns the exit code.
pub(crate) async fn explain(config: &Config, engine: Option<&str>, as_json: bool) -> Result<u8> {
    let CommandJobs { jobs, .. } = &CommandJobs::open(config, MissingData::Temporary).await?;
    let snapshot = jobs.snapshot();
    let explained = match snapshot.operator_binding(engine) {
        Ok(binding) => jobs.explain(binding).await.map(|found| (binding, found)),
        Err(error) => Err(error),
    };
    let (binding, Explanation { rows, problems }) = match explained {
        Ok(explained) => explained,
        Err(error) => return Ok(print_error(&error)),
    };
    let name = &binding.name;
    if as_json {
        let rows = rows.iter().map(row_json).collect::<Vec<_>>();
        println!(
            "{}",
            json!({"engine": name, "rows": rows, "problems": problems})
        );
    } else if rows.is_empty() && problems.is_empty() {
        println!("engine {name} has no document to explain");
    } else {
        print!("engine {name}\n{}", tables(&rows, &problems));
    }
    Ok(0)
}

fn row_json(row: &Placement) -> Value {
    json!({
        "setting": row.setting, "role": row.role, "node": row.node,
        "title": row.title, "input": row.input, "value": row.value,
    })
}

fn to_json(name: &str, found: &EngineReport) -> Value {
    json!({
        "engine": name,
        "works": true,
        "server": found.server,
        "rows": found.rows.iter().map(row_json).collect::<Vec<_>>(),
        "problems": found.problems,
    })
}

/// The result for people: the engine, its server, a table for each setting, and the problems.
fn to_text(name: &str, found: &EngineReport) -> String {
    let mut text = format!("engine {name} works\n");
    if let Some(server) = &found.server {
        text.push_str(&format!("  server     {server}\n"));
    }
    text + &tables(&found.rows, &found.problems)
}

/// A table for each setting, and the problems.
fn tables(rows: &[Placement], problems: &[String]) -> String {
    let mut text = String::new();
    for rows_of_setting in rows.chunk_by(|row, next| row.setting == next.setting) {
        let setting = rows_of_setting.first();
        let setting = setting.map_or("", |row| row.setting.as_str());
        text.push_str(&format!("  {setting}\n{}", table(rows_of_setting)));
    }
    for problem in problems {
        text.push_str(&format!("  problem    {problem}\n"));
    }
    text
}

/// The rows below a heading, in aligned columns.
fn table(rows: &[Placement]) -> String {
    let heading = ["ROLE", "NODE", "TITLE", "INPUT", "VALUE"].map(str::to_owned);
    let cells = rows.iter().map(|row| {
        [&row.role, &row.node, &row.title, &row.input]
            .map(|cell| cut(cell, MAX_COLUMN))
            .into_iter()
            .chain([cut(&row.value, MAX_VALUE)])
            .collect()
    });
    let lines: Vec<Vec<String>> = std::iter::once(heading.to_vec()).chain(cells).collect();
    let width = |column: usize| {
        let column_cells = lines.iter().filter_map(|line| line.get(column));
        column_cells
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..4).map(width).collect();
    let format_line = |line: &Vec<String>| {
        let mut text = "   ".to_owned();
        for (index, cell) in line.iter().enumerate() {
            let cell_width = widths.get(index).copied().unwrap_or(0);
            text.push_str(&format!(" {cell:cell_width$}"));
        }
        format!("{}\n", text.trim_end())
    };
    lines.iter().map(format_line).collect()
}

fn cut(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    text.chars()
        .take(max.saturating_sub(1))
        .chain(['…'])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(setting: &str, role: &str, value: &str) -> Placement {
        Placement {
            setting: setting.to_owned(),
            role: role.to_owned(),
            node: "6".to_owned(),
            title: "Positive".to_owned(),
            input: "text".to_owned(),
            value: value.to_owned(),
        }
    }

    #[test]
    fn text_has_a_table_for_each_setting() {
        let found = EngineReport {
            server: Some("ComfyUI 0.3.64".to_owned()),
            rows: vec![
                row("workflow", "prompt", "a cabin"),
                row("workflow", "negative_prompt", ""),
                row("edit-workflow", "image 1", &"x".repeat(MAX_VALUE + 1)),
            ],
            problems: vec!["no node takes: steps".to_owned()],
        };
        let long = format!("{}…", "x".repeat(MAX_VALUE - 1));
        let last = format!("    image 1 6    Positive text  {long}");
        let expected = [
            "engine comfyui works",
            "  server     ComfyUI 0.3.64",
            "  workflow",
            "    ROLE            NODE TITLE    INPUT VALUE",
            "    prompt          6    Positive text  a cabin",
            "    negative_prompt 6    Positive text",
            "  edit-workflow",
            "    ROLE    NODE TITLE    INPUT VALUE",
            last.as_str(),
            "  problem    no node takes: steps",
        ];
        let text = to_text("comfyui", &found);
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }
}
