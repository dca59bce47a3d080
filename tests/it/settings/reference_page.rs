//! `docs/reference/settings.md`, generated from the settings of the server and of the engines.

use std::fmt::Write;
use std::path::Path;

use pinhole::config::Config;
use pinhole::jobs::Jobs;
use pinhole::settings::{SettingKey, setting_keys};
use pinhole_ground::audit::AuditLog;
use pinhole_images::Decoder;
use pinhole_tests::environment;

const HEAD: &str = "\
# Settings

A test writes this page. Every setting is an environment variable, with Open WebUI's name if Open WebUI has it. An empty variable counts
as unset, unless the setting is a text of an engine that has a default: then its description says what empty means. These settings can also be changed while the server runs, from the next request on. Stored values are in the database, under
the setting's path, and override environment variables. [Operating a server](../guides/operating.md#configuration) lists the variables
that are read only at start.

- `GET /api/v1/settings` returns every setting: value, origin, description, and what a form needs: label, choices, problem, what applies
  while it is not set, who changed it.
- `POST /api/v1/settings` sets `{\"NAME\": value}`, by name, any of its variables, or path. `null` deletes the stored value, so that the
  environment applies; an empty string hides the environment. A value has at most 1 MiB.
- `POST /api/v1/settings/check` takes the same and changes nothing. It returns the problem of each value, and the engines that would
  generate and edit. [Bindings](../guides/bindings.md#test-before-you-save) can be tested with values that are not stored.
- `GET /api/v1/settings/changes` returns who changed what: the newest 10,000 changes, without secrets.
- Open WebUI's forms: `/api/v1/images/config`, `/api/v1/tasks/config`, `/api/v1/users/default/permissions`.
- `GET /api/v1/configs/export` returns the stored values as a tree; `POST /api/v1/configs/import` replaces it.
- With `PINHOLE_REDIS_CONFIG=open-webui`, an [Open WebUI that uses the same Redis](../guides/several-hosts.md#share-settings-with-open-webui)
  has the same image settings, without secrets.

A change is applied completely or not at all. The server and the engines check every value first, and only errors that the change
itself causes refuse it.

## Secrets

A secret is returned as `********`. Sending that back leaves it unchanged; an empty string deletes it. In the database, secrets are
encrypted with AES-256-GCM under `PINHOLE_SETTINGS_KEY`, or else under the key in the file `settings-key` of the data directory, which
the first start creates for its owner only. Anyone with the data directory can then read the secrets: set the variable if backups
are stored elsewhere. A secret encrypted under another key counts as unset, and the log reports it.

In `PINHOLE_BINDINGS`, a string is a secret if its name is that of an engine's secret setting, or ends in `key`, `auth`, `secret`,
`token` or `password`, or if it is the value of a header. In `PINHOLE_<ENGINE>_HEADERS` every value is.

## The images form

All 33 fields are required. They have the current values or an engine's defaults; unset fields for edits are empty, and `IMAGE_SIZE` and
`IMAGE_STEPS` can be `null`. A field with an unchanged value is not a change. A key from `OPENAI_API_KEY` or `GEMINI_API_KEY` is also
returned as `********`, and deleting it in the form does not change those. An engine that was not set explicitly stays the default.
Open WebUI's form drops ComfyUI's nodes of types that it does not know: if a request has exactly the types that it knows, entries of
other types stay, and entries without nodes are removed.
";

/// Such as `IMAGE_STEPS` (`image_generation.steps`, integer), without the kind of a text.
fn name_and_path(key: &SettingKey) -> String {
    let kind = match key.kind.name() {
        "text" => String::new(),
        kind => format!(", {kind}"),
    };
    format!("`{}` (`{}`{kind})", key.name, key.path)
}

/// Whether an engine defines the setting: then the page of engines describes it.
fn is_of_engine(key: &SettingKey, engines: &[&str]) -> bool {
    key.path.split('.').any(|part| engines.contains(&part))
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_page_is_current() {
    let data = tempfile::tempdir().unwrap();
    let config = Config::new(environment(&data, &[])).unwrap();
    let jobs = Jobs::open(&config, AuditLog::default(), Decoder::default())
        .await
        .unwrap();
    let snapshot = jobs.snapshot();
    let engines: Vec<_> = snapshot
        .engines
        .admitted()
        .map(|it| &it.description)
        .collect();
    let names: Vec<&str> = engines.iter().map(|engine| engine.name.as_str()).collect();
    let (of_engines, of_server): (Vec<_>, Vec<_>) = setting_keys(engines.iter().copied())
        .into_iter()
        .partition(|key| is_of_engine(key, &names));
    let mut page = HEAD.to_owned();
    page.push_str(
        "\n## Settings of the server\n\nIn parentheses: the path and, unless it is a text, the type.\n\n",
    );
    for key in &of_server {
        writeln!(page, "- {}: {}", name_and_path(key), key.description).unwrap();
    }
    page.push_str(
        "\n## Settings of engines\n\n[Engines](engines.md) describes them and lists further variables of each.\n\n",
    );
    for key in &of_engines {
        writeln!(page, "- {}", name_and_path(key)).unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/settings.md");
    let present = std::fs::read_to_string(&path).unwrap_or_default();
    if present != page {
        std::fs::write(&path, page).unwrap();
        panic!(
            "docs/reference/settings.md was out of date and has been rewritten: review and commit it"
        );
    }
}
