//! `pinhole engine log`: the last lines that an engine has logged in the running server.

use std::io::Write;

use pinhole::config::Config;
use pinhole_ground::text::utc_time;
use pinhole_sandbox::{LogLevel, LogLine};

use super::WRONG_USE;
use super::control_client::{CommandError, ControlClient, engine_path};

/// Prints the log of an engine. Returns the exit code.
pub(crate) async fn log(
    config: &Config,
    engine: &str,
    level: LogLevel,
    is_following: bool,
    as_json: bool,
) -> Result<u8, CommandError> {
    let Some(server) = ControlClient::of_running_server(config) else {
        return Err(CommandError {
            message: "no server runs with this data directory, and only a server has logs: start it first".to_owned(),
            code: WRONG_USE,
        });
    };
    eprintln!("data directory: {}", config.data.display());
    let path = engine_path(engine, "log");
    let path = format!("{path}?level={}&follow={is_following}", level.name());
    let mut out = std::io::stdout().lock();
    server
        .follow(&path, |event| {
            let line = if as_json {
                event.to_owned()
            } else {
                let line: LogLine = serde_json::from_str(event)?;
                describe(&line)
            };
            writeln!(out, "{line}")?;
            out.flush()?;
            Ok(())
        })
        .await?;
    Ok(0)
}

fn describe(line: &LogLine) -> String {
    let LogLine {
        at_ms,
        level,
        job,
        text,
        ..
    } = line;
    let secs = i64::try_from(at_ms / 1000).unwrap_or(i64::MAX);
    format!("{}  {:5}  {job}  {text}", utc_time(secs), level.name())
}
