//! M: a component that is none, or not what it says.
//!
//! The components are those of the folder of hostile components, changed byte by byte. They are
//! admitted in this process, as a server does at its start.

mod compile;
mod files;
mod grants;
mod world;

use anyhow::{Context, Result, ensure};
use cap_std::fs::Dir;
use tempfile::TempDir;

use super::arena::Arena;
use super::{Case, Place};
use pinhole_ground::audit::{self, Kind};
use pinhole_ground::guard::Guard;
use pinhole_sandbox::Engines;
use pinhole_ground::data_dir as folder;

/// Length of the longest sentence that a refusal may be, in bytes.
const MAX_REASON_BYTES: usize = 600;
/// Stands in the hostile engine before the word by which it describes itself.
const MARK: &[u8] = b"describe as: ";
/// Length of that word with the spaces after it, in bytes.
const WORD_BYTES: usize = 11;
/// The hostile engine's file, and its name.
const HOSTILE: &str = "hostile.wasm";

/// Carried out in this process, whatever server is attacked.
macro_rules! here {
    ($name:literal, $guards:expr, $attack:path, $must_not:literal) => {
        Case {
            name: $name,
            must_not: $must_not,
            guards: $guards,
            noted: None,
            place: Place::WithoutEngine,
            attack: |arena| Box::pin($attack(arena)),
        }
    };
}

pub(super) const CASES: &[Case] = &[
    here!(
        "M1-no-component",
        &[Guard::ComponentKind],
        files::no_component,
        "a file that is no component is compiled, loaded or makes the host crash"
    ),
    here!(
        "M1-truncated",
        &[],
        files::truncated,
        "a component that breaks off is admitted or makes the host crash"
    ),
    here!(
        "M1-too-long",
        &[Guard::ComponentBytes],
        files::too_long,
        "a file of any length is read into memory"
    ),
    here!(
        "M2-takes-time",
        &[Guard::CompileTime],
        compile::takes_time,
        "compiling a component takes as long as it wants, or holds up the server"
    ),
    here!(
        "M2-takes-memory",
        &[Guard::CompileMemory],
        compile::takes_memory,
        "compiling a component takes as much memory as it wants"
    ),
    here!(
        "M2-becomes-code",
        &[Guard::CompiledCode],
        compile::becomes_code,
        "a component becomes as much code as it wants"
    ),
    here!(
        "M3-long-name",
        &[Guard::World],
        world::long_name,
        "a name of 90 000 bytes fills a log or an answer"
    ),
    here!(
        "M3-many-imports",
        &[],
        world::many_imports,
        "imports without number make the host crash, or tell a long story"
    ),
    here!(
        "M4-foreign-import",
        &[Guard::World],
        world::foreign_import,
        "a component that imports what no engine may have is admitted, or refused without saying what it is"
    ),
    here!(
        "M4-foreign-variable",
        &[Guard::OwnVariables],
        world::foreign_variable,
        "an engine is handed a variable of the process that is not its own"
    ),
    here!(
        "M4-secret-variable",
        &[Guard::HiddenVariables],
        world::secret_variable,
        "an engine is handed a variable that holds a secret, as a setting that it sees"
    ),
    Case {
        name: "M4-undeclared-request",
        must_not: "a request is sent that the engine did not declare",
        guards: &[Guard::GrantedRequests],
        noted: Some(Kind::Grant),
        place: Place::Anywhere,
        attack: |arena| Box::pin(grants::undeclared_request(arena)),
    },
    here!(
        "M5-other-release",
        &[Guard::World],
        world::other_release,
        "a component of another release of the contract is admitted, or refused without naming both"
    ),
    here!(
        "M5-other-function",
        &[],
        world::other_function,
        "a component with a function that differs is admitted, and fails when it is called"
    ),
    here!(
        "M6-without-description",
        &[],
        world::without_description,
        "an engine that crashes, spins or floods when it is asked what it is, is admitted or holds the host up"
    ),
    here!(
        "M6-wrong-description",
        &[Guard::Description],
        world::wrong_description,
        "an engine has a name or a title that forges lines or passes for another"
    ),
    here!(
        "M6-other-description-each-time",
        &[Guard::GrantNarrows],
        grants::other_description_each_time,
        "a component that describes itself otherwise at another start reaches or reads more than was granted"
    ),
    here!(
        "M7-one-name-twice",
        &[Guard::EngineNames],
        grants::one_name_twice,
        "a file takes the name of an engine that was granted to another file"
    ),
    here!(
        "M7-new-name",
        &[Guard::RenamedEngine],
        grants::new_name,
        "a component that was replaced is granted all it declares, because it calls itself otherwise"
    ),
    here!(
        "M7-declares-more",
        &[Guard::DeclaredMore],
        grants::declares_more,
        "a component that was replaced and declares more serves before an administrator has looked"
    ),
    here!(
        "M9-no-file",
        &[Guard::RegularFile],
        files::no_file,
        "a link out of the folder, a folder or a socket is read as a component"
    ),
    here!(
        "M9-forged-name",
        &[Guard::FileNames],
        files::forged_name,
        "the name of a file writes a line of its own into a log or onto a terminal"
    ),
    here!(
        "M9-without-number",
        &[Guard::FileCount],
        files::without_number,
        "files without number are all compiled"
    ),
    here!(
        "M10-replaced-while-it-runs",
        &[],
        grants::replaced_while_it_runs,
        "new bytes in an engine's file reach a server that runs without being admitted"
    ),
    here!(
        "M10-swapped-before-accepting",
        &[Guard::ShownDigest],
        grants::swapped_before_accepting,
        "what an administrator accepts is other bytes than were shown"
    ),
    here!(
        "M10-swapped-copy",
        &[Guard::KeptCopy],
        grants::swapped_copy,
        "other bytes serve in place of the component that was granted"
    ),
    here!(
        "M12-poisoned-code",
        &[Guard::CompiledMac],
        grants::poisoned_code,
        "compiled code that this host has not written is loaded"
    ),
    here!(
        "M13-unknown-right",
        &[Guard::GrantReadable],
        grants::unknown_right,
        "a grant with a word that the host does not know is taken for none, or for less than it says"
    ),
];

/// A folder of engines, and the data folder that remembers what was granted.
struct Folders<'a> {
    arena: &'a Arena,
    engines: TempDir,
    data: TempDir,
}

impl<'a> Folders<'a> {
    fn new(arena: &'a Arena) -> Result<Self> {
        let folders = Self {
            arena,
            engines: tempfile::tempdir()?,
            data: tempfile::tempdir()?,
        };
        Ok(folders)
    }

    /// In which the hostile engine, described as this word says, was granted what it declares.
    async fn granted(arena: &'a Arena, word: &str) -> Result<Self> {
        let folders = Self::new(arena)?;
        folders.put(HOSTILE, &described(arena, word)?)?;
        let engines = folders.open().await?;
        ensure!(
            engines.get("hostile").is_some(),
            "the hostile engine is not admitted: {:?}",
            engines.rejected_files()
        );
        Ok(folders)
    }

    fn folder(&self) -> Result<Dir> {
        Ok(folder::open(self.engines.path())?)
    }

    /// A folder in the data folder.
    fn kept(&self, name: &str) -> Result<Dir> {
        Ok(folder::open(&self.data.path().join(name))?)
    }

    fn put(&self, file: &str, bytes: &[u8]) -> Result<()> {
        Ok(self.folder()?.write(file, bytes)?)
    }

    async fn open(&self) -> Result<Engines> {
        let (engines, data) = (self.engines.path(), self.data.path());
        self.arena.open_engines(engines, data).await
    }
}

/// Each of these files, alone, must be refused with a reason that says this, and be noted.
async fn refused(arena: &Arena, files: &[(&str, Vec<u8>, &str)]) -> Result<()> {
    for (what, bytes, gist) in files {
        let folders = Folders::new(arena)?;
        folders.put("attack.wasm", bytes)?;
        is_refused(&folders, "attack.wasm", gist)
            .await
            .with_context(|| (*what).to_owned())?;
    }
    Ok(())
}

/// The only file that is refused is this one, with a reason that says this, and it is noted.
async fn is_refused(folders: &Folders<'_>, file: &str, gist: &str) -> Result<()> {
    let before = audit::count(Some(Kind::Admission));
    let engines = folders.open().await?;
    let [refused] = engines.rejected_files() else {
        let admitted = engines.admitted().map(|it| it.file.as_str());
        anyhow::bail!(
            "refused are {:?}, admitted are {:?}",
            engines.rejected_files(),
            admitted.collect::<Vec<_>>()
        );
    };
    let reason = &refused.reason;
    ensure!(
        refused.file == file && reason.contains(gist),
        "{:?} is refused because it {reason:?}, which does not say {gist:?}",
        refused.file
    );
    ensure!(
        reason.len() <= MAX_REASON_BYTES && !reason.contains(char::is_control),
        "the reason is no line that can be shown: {} bytes",
        reason.len()
    );
    ensure!(
        audit::count(Some(Kind::Admission)) > before,
        "the refusal was not noted"
    );
    Ok(())
}

/// The hostile engine, describing itself as this word says.
fn described(arena: &Arena, word: &str) -> Result<Vec<u8>> {
    let mut bytes = arena.component("hostile")?;
    let mut places = bytes.windows(MARK.len()).enumerate();
    let place = places.find(|(_, window)| *window == MARK);
    let (place, _) = place.context("the hostile engine has no mark for its description")?;
    let begin = place + MARK.len();
    let marked = bytes.get_mut(begin..begin + WORD_BYTES);
    let marked = marked.context("the mark is cut")?;
    marked.copy_from_slice(format!("{word:WORD_BYTES$}").as_bytes());
    Ok(bytes)
}

/// The bytes with every `from` made `to`, which is as long, so that they stay well-formed.
fn patched(bytes: &[u8], from: &str, to: &str) -> Result<Vec<u8>> {
    ensure!(from.len() == to.len(), "{from} and {to} differ in length");
    let (mut patched, mut rest) = (Vec::with_capacity(bytes.len()), bytes);
    let mut found = 0;
    while let Some((first, tail)) = rest.split_first() {
        match rest.strip_prefix(from.as_bytes()) {
            Some(after) => {
                patched.extend_from_slice(to.as_bytes());
                (rest, found) = (after, found + 1);
            }
            None => {
                patched.push(*first);
                rest = tail;
            }
        }
    }
    ensure!(found > 0, "the component has no {from}");
    Ok(patched)
}
