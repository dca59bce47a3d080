//! `docs/reference/settings.md`, generated from the settings of the server and of the engines.

use std::path::Path;

use pinhole::config::Config;
use pinhole::jobs::Jobs;
use pinhole::settings::{SettingKey, setting_keys};
use pinhole_ground::audit::AuditLog;
use pinhole_images::Decoder;
use pinhole_tests::environment;

const HEAD: &str = "\
# Settings

A test writes this page from the settings of the server and of the shipped engines.

Every setting is an environment variable, with Open WebUI's name if Open WebUI has it. An empty variable counts as unset. The
settings below can also be changed while the server runs. Stored values are in the database, under the setting's path, and override
environment variables. A change applies from the next request. [Operating a server](../guides/operating.md#configuration) lists the
variables that are read only at start.

| request | effect |
|---|---|
| `GET /api/v1/settings` | every setting: value, origin, description |
| `POST /api/v1/settings` | sets `{\"NAME\": value}`, by name, any of its variables, or path. `null` deletes the stored value, so that the environment applies; an empty string hides the environment |
| `GET /api/v1/settings/changes` | who changed what, newest first, without values of secrets. The newest 10 000 are stored |
| `GET /api/v1/images/config`, `POST …/update` | Open WebUI's images form: 33 fields, all required |
| `GET /api/v1/tasks/config`, `POST …/update` | Open WebUI's form of task models |
| `GET`, `POST /api/v1/users/default/permissions` | permissions of all users |
| `GET /api/v1/configs/export`, `POST …/import` | the stored values as a tree; an import replaces it |

A change is applied completely or not at all. The server and the engines check every value first, and only errors that the change
itself causes refuse it. A value has at most 1 MiB.

## Secrets

A secret is returned as `********`. Sending that back leaves it unchanged; an empty string deletes it. In the database, secrets are
encrypted with AES-256-GCM, under `PINHOLE_SETTINGS_KEY`, or else under the key in the file `settings-key` of the data directory, which
the first start creates for its owner only. Anyone with the data directory and that file can read the secrets: set the variable if backups
are stored elsewhere. A secret encrypted under another key counts as unset, and the log reports it.

In `PINHOLE_BINDINGS`, a string is a secret if its name is that of an engine's secret setting, or ends in `key`, `auth`, `secret`,
`token` or `password`.

## The images form

The form has the current values or an engine's defaults; unset fields for edits are empty. A key that comes from `OPENAI_API_KEY` or
`GEMINI_API_KEY` is also returned as `********`, and deleting it in the form does not change those. A field with an unchanged value is not a change.
`IMAGE_SIZE` and `IMAGE_STEPS` can be `null`, which is unset. An engine that was not set explicitly stays the default, whatever the other fields are.
Open WebUI's own form rebuilds the list of ComfyUI's nodes from the types that it knows: if a request has exactly those types, entries of
other types stay, and entries without nodes are removed.
";

fn table_cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', "<br>")
}

fn names(key: &SettingKey) -> String {
    let others = key.variables.iter().filter(|name| **name != key.name);
    let others: Vec<String> = others.map(|name| format!("`{name}`")).collect();
    let also = if others.is_empty() {
        String::new()
    } else {
        format!("<br>also {}", others.join(", "))
    };
    format!(
        "`{}`{also} | `{}` | {}",
        key.name,
        key.path,
        key.kind.name()
    )
}

fn row(key: &SettingKey) -> String {
    format!("| {} | {} |\n", names(key), table_cell(&key.description))
}

/// A row without description: the page of engines has it.
fn engine_row(key: &SettingKey) -> String {
    format!("| {} |\n", names(key))
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_page_is_current() {
    let data = tempfile::tempdir().unwrap();
    let config = Config::new(environment(&data, &[])).unwrap();
    let jobs = Jobs::open(&config, AuditLog::default(), Decoder::default())
        .await
        .unwrap();
    let engines = jobs.engines.admitted().map(|engine| &engine.description);
    let keys = setting_keys(engines);
    let mut page = HEAD.to_owned();
    let is_of_engine = |key: &&SettingKey| key.path.starts_with("pinhole.engines.");
    page.push_str("\n## Settings of Open WebUI and of the server\n\n");
    page.push_str("| variable | path | type | meaning |\n|---|---|---|---|\n");
    page.extend(keys.iter().filter(|key| !is_of_engine(key)).map(row));
    page.push_str("\n## Further settings of engines\n\n[Engines](engines.md) describes them.\n\n");
    page.push_str("| variable | path | type |\n|---|---|---|\n");
    page.extend(keys.iter().filter(is_of_engine).map(engine_row));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/settings.md");
    let present = std::fs::read_to_string(&path).unwrap_or_default();
    if present != page {
        std::fs::write(&path, page).unwrap();
        panic!(
            "docs/reference/settings.md was out of date and has been rewritten: review and commit it"
        );
    }
}
