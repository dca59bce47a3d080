//! `docs/settings.md`, written from what the host and the engines say of their settings.

use std::fmt::Write;
use std::path::Path;

use pinhole::config::Config;
use pinhole::jobs::Jobs;
use pinhole::settings::{Key, keys};
use pinhole_tests::environment;

const HEAD: &str = "\
# Settings

Written by a test from what the host and the engines that ship say of their settings. [engines.md](engines.md) tells more
of each engine's.

Every setting is an environment variable, by Open WebUI's name where Open WebUI has it. A variable that is empty counts as
unset. Those below can be changed while the server runs, too: what an administrator sets is kept in the database, under its
path, and comes before the environment. The next request meets it; what runs goes on as it began.

| | |
|---|---|
| `GET /api/v1/settings` | every setting: value, where it comes from, what it means |
| `POST /api/v1/settings` | `{\"NAME\": value}`, by name, any of its variables, or path. `null` removes what is stored, so that the environment counts again; an empty text hides the environment |
| `GET /api/v1/settings/changes` | who has changed what, newest first; of secrets only that they were changed. The newest 10 000 are kept |
| `GET /api/v1/images/config`, `POST …/update` | Open WebUI's form of images: 33 fields, all of them required |
| `GET /api/v1/tasks/config`, `POST …/update` | Open WebUI's form of task models |
| `GET` and `POST /api/v1/users/default/permissions` | what everybody may |
| `GET /api/v1/configs/export`, `POST …/import` | what is stored, as one tree; an import takes its place |

A change is made whole or not at all: every value is checked first, by the host and by the engines it is for, and only what
the change itself would break refuses it.

**Secrets** are shown as `********`. Sent back, that leaves them as they are; an empty text removes them. In the database
they are sealed with AES-256-GCM, under `PINHOLE_SETTINGS_KEY` (64 hexadecimal digits; `openssl rand -hex 32` makes some)
or else under the key in the file `settings-key` of the data folder, which is made at the first start for its owner alone.
Who has the data folder with that file has the secrets: set the variable where backups of the folder go elsewhere. What was
sealed with another key counts as unset, and the log says so.

**At start**, `ENABLE_PERSISTENT_CONFIG=false` leaves what is stored unread; changes are still written, and hold while the
process runs. `RESET_CONFIG_ON_START=true` removes everything that is stored.

**The form of images** shows what is set, or an engine's default; a field for editing that nobody has set is empty. A key that
`OPENAI_API_KEY` or `GEMINI_API_KEY` stands in for is shown as a marker too, and removing it changes nothing of that. What is
sent as it was shown is no change. `IMAGE_SIZE` and `IMAGE_STEPS` may be `null`, which is unset. An engine that nobody has
chosen stays the one that is shown, whatever the other fields say. Open WebUI's own form rebuilds the list of ComfyUI's
nodes from the types it knows: where exactly those types come, the entries of other types stay, and entries without nodes
are left out.

In `PINHOLE_BINDINGS`, every text is a secret that stands under the name of a secret setting of an engine, or under a name
that ends in `key`, `auth`, `secret`, `token` or `password`.
";

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', "<br>")
}

fn row(key: &Key) -> String {
    let others = key.variables.iter().filter(|name| **name != key.name);
    let others: Vec<String> = others.map(|name| format!("`{name}`")).collect();
    let also = match others.is_empty() {
        true => String::new(),
        false => format!("<br>also {}", others.join(", ")),
    };
    let (name, path, kind, doc) = (&key.name, &key.path, key.kind.name(), cell(&key.doc));
    format!("| `{name}`{also} | `{path}` | {kind} | {doc} |\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_settings_is_what_they_say() {
    let data = tempfile::tempdir().unwrap();
    let config = Config::new(environment(&data, &[])).unwrap();
    let jobs = Jobs::open(&config).await.unwrap();
    let engines = jobs.engines.admitted().map(|engine| &engine.description);
    let keys = keys(engines);
    let mut page = HEAD.to_owned();
    let table = "| variable | path | kind | what it is |\n|---|---|---|---|\n";
    let of_engine = |key: &&Key| key.path.starts_with("pinhole.engines.");
    write!(page, "\n## Open WebUI's, and the host's\n\n{table}").unwrap();
    page.extend(keys.iter().filter(|key| !of_engine(key)).map(row));
    write!(page, "\n## What else engines declare\n\n{table}").unwrap();
    page.extend(keys.iter().filter(of_engine).map(row));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/settings.md");
    let present = std::fs::read_to_string(&path).unwrap_or_default();
    if present != page {
        std::fs::write(&path, page).unwrap();
        panic!("docs/settings.md was not what the settings say: it is written anew, commit it");
    }
}
