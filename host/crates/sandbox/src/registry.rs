//! Which components serve: each file of the folder is admitted, names are settled, and the grants
//! decide.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::{Component, Engines, Refused, admission};
use pinhole_ground::audit::{Event, RefusalKind};
use pinhole_ground::guard::Guard;
use crate::grant::{FirstUse, Grant, Right};
use pinhole_ground::text::{hex, plain};

/// Engines in the folder; those that come after in alphabetical order are refused.
pub const MAX_FILES: usize = 256;
/// Length of a file's name as it is shown, in bytes.
const MAX_FILE_NAME_BYTES: usize = 100;

/// A component that an administrator has to grant before it serves.
#[derive(Clone, Debug)]
pub struct Pending {
    /// The engine's name.
    pub engine: String,
    /// Its file in the folder of engines.
    pub file: String,
    /// SHA-256 of the file, in hexadecimal.
    pub digest: String,
    /// All that it declares.
    pub declared: BTreeSet<Right>,
    /// What of it is not granted; empty where its name alone is new.
    pub more: BTreeSet<Right>,
    /// The engine that this file was before.
    pub was: Option<String>,
    /// Does the component that was granted serve on?
    pub served: bool,
}

/// What is known before anything is published.
struct Before {
    first_use: FirstUse,
    /// The names that files of the folder claim.
    claimed: BTreeSet<String>,
    grants: BTreeMap<String, Grant>,
}

impl Before {
    /// The engine that a file was when it was last granted.
    fn was(&self, file: &str) -> Option<&str> {
        let mut grants = self.grants.iter();
        let (engine, _) = grants.find(|(_, grant)| grant.file == file)?;
        Some(engine)
            .filter(|_| Guard::RenamedEngine.holds())
            .map(String::as_str)
    }
}

impl Pending {
    /// One sentence for the operator: what is missing, and how to grant it.
    #[must_use]
    pub fn reason(&self) -> String {
        let more: Vec<_> = self.more.iter().map(|right| format!("+ {right}")).collect();
        let was = match &self.was {
            Some(was) => format!(" was engine {was} and now calls itself {};", self.engine),
            None => String::new(),
        };
        format!(
            "is pending:{was} look at what it declares, and accept it, with: pinhole engine grant {}; not granted are {}",
            self.engine,
            more.join(", ")
        )
    }
}

impl Engines {
    /// Admits every file of the folder and publishes what is granted.
    pub(super) async fn admit_all(&mut self, first_use: FirstUse) -> Result<()> {
        let mut claims: BTreeMap<String, Vec<Component>> = BTreeMap::new();
        for file in self.files()? {
            match admission::admit(&self.sandbox, &self.folder, &file).await {
                Ok(component) => {
                    let name = component.description.name.clone();
                    claims.entry(name).or_default().push(component);
                }
                Err(reason) => self.refuse(file, reason),
            }
        }
        let before = Before {
            first_use,
            claimed: claims.keys().cloned().collect(),
            grants: self.grants.all()?,
        };
        for (name, components) in claims {
            let component = self.settle(&name, components);
            let Some(component) = component else { continue };
            let file = component.file.clone();
            if let Err(reason) = self.publish(component, &before).await {
                self.refuse(file, reason);
            }
        }
        self.grants.sweep()
    }

    /// The names of the components' files, in alphabetical order.
    fn files(&mut self) -> Result<Vec<String>> {
        let unreadable = || "cannot read the folder of engines".to_owned();
        let mut files = Vec::new();
        for entry in self.folder.entries().with_context(unreadable)? {
            let name = entry.with_context(unreadable)?.file_name();
            let shown = name.to_string_lossy();
            if !shown.ends_with(".wasm") {
                continue;
            }
            let ordinary = |byte: u8| byte.is_ascii_alphanumeric() || b".-_+ ()@".contains(&byte);
            match name.to_str() {
                Some(name) if !Guard::FileNames.holds() || name.bytes().all(ordinary) => {
                    files.push(name.to_owned());
                }
                _ => self.refuse(
                    plain(&shown, MAX_FILE_NAME_BYTES),
                    "has a name that no log can show as it is: give it letters, digits, dots and dashes".to_owned(),
                ),
            }
        }
        files.sort();
        let most = Guard::FileCount.limit(MAX_FILES).min(files.len());
        for file in files.split_off(most) {
            let reason =
                format!("comes after {MAX_FILES} other engines, which is as many as there may be");
            self.refuse(file, reason);
        }
        Ok(files)
    }

    fn refuse(&mut self, file: String, reason: String) {
        let line = format!("engine file {file} is not admitted: it {reason}");
        self.sandbox.audit.record(&Event { kind: RefusalKind::Admission, guard: None, engine: &file, job: "", message: &line });
        self.refused.push(Refused { file, reason });
    }

    /// Of several components with one name, the one that serves already; else the one whose file
    /// did; else the first in alphabetical order. The others are refused.
    fn settle(&mut self, name: &str, mut components: Vec<Component>) -> Option<Component> {
        let grant = self.grants.of(name).ok().flatten().unwrap_or_default();
        let place = |is: &dyn Fn(&Component) -> bool| components.iter().position(is);
        let chosen = match Guard::EngineNames.holds() {
            true => place(&|it| it.digest == grant.digest)
                .or_else(|| place(&|it| it.file == grant.file))
                .unwrap_or_default(),
            false => components.len().checked_sub(1)?,
        };
        let chosen = components.remove(chosen);
        for other in components {
            let reason = format!("names its engine {name}, as {} already does", chosen.file);
            self.refuse(other.file, reason);
        }
        Some(chosen)
    }

    /// Publishes a component that declares no more than is granted; otherwise parks it, and the one
    /// that was granted serves on.
    ///
    /// The error says why neither can serve.
    async fn publish(&mut self, component: Component, before: &Before) -> Result<(), String> {
        let name = component.description.name.clone();
        let Some(mut grant) = self.grants.of(&name)? else {
            let was = before.was(&component.file);
            if was.is_none() && before.first_use == FirstUse::Declared {
                return self.grant_first(component);
            }
            // The engine that this file was serves on, unless another file is that now.
            let old = was.filter(|was| !before.claimed.contains(*was));
            let served = match old {
                Some(old) => self.serve_kept(old).await,
                None => false,
            };
            let more = component.declared.clone();
            self.park(component, more, was.map(str::to_owned), served);
            return Ok(());
        };
        let more = grant.unseen(&component.declared);
        let changed = grant.digest != component.digest;
        if changed && !more.is_empty() && Guard::DeclaredMore.holds() {
            let served = self.serve_kept(&name).await;
            self.park(component, more, None, served);
            return Ok(());
        }
        if changed || grant.file != component.file || !self.grants.has_copy(&grant.digest) {
            grant.digest.clone_from(&component.digest);
            grant.file.clone_from(&component.file);
            self.bind(&name, &grant)?;
        }
        self.serve(component, grant);
        Ok(())
    }

    /// An administrator has put the file there: it is granted what it declares.
    fn grant_first(&mut self, component: Component) -> Result<(), String> {
        let Component { file, digest, .. } = &component;
        let grant = Grant::all(digest, file, component.declared.clone());
        let name = component.description.name.clone();
        self.bind(&name, &grant)?;
        let lines: Vec<_> = grant.allows.iter().map(ToString::to_string).collect();
        tracing::info!(
            "engine {name} is new and is granted what {file} declares: {}",
            lines.join("; ")
        );
        self.serve(component, grant);
        Ok(())
    }

    /// Writes a grant, with a copy of the component that it is for.
    fn bind(&self, name: &str, grant: &Grant) -> Result<(), String> {
        if !self.grants.has_copy(&grant.digest) {
            let bytes = admission::read(&self.folder, &grant.file)?;
            let is_it = hex(&Sha256::digest(&bytes)) == grant.digest;
            if !is_it && Guard::ShownDigest.holds() {
                return Err("was changed while it was being looked at: start again".to_owned());
            }
            self.grants.keep_copy(&grant.digest, &bytes)?;
        }
        self.grants.save(name, grant)
    }

    /// Publishes a component within its grant.
    fn serve(&mut self, mut component: Component, grant: Grant) {
        component.description = grant.narrow(component.description);
        component.grant = grant;
        let name = component.description.name.clone();
        self.admitted.insert(name, component.into());
    }

    /// Publishes the component that an engine's grant names, from its copy. Whether it serves.
    async fn serve_kept(&mut self, name: &str) -> bool {
        let kept = match self.grants.of(name) {
            Ok(Some(grant)) => self.admit_kept(name, &grant).await.map(|it| (it, grant)),
            Ok(None) => return false,
            Err(why) => Err(why),
        };
        match kept {
            Ok((component, grant)) => {
                self.serve(component, grant);
                true
            }
            Err(why) => {
                let line = format!(
                    "the component that was granted as engine {name} cannot serve on: it {why}"
                );
                self.sandbox.audit.record(&Event { kind: RefusalKind::Admission, guard: None, engine: name, job: "", message: &line });
                false
            }
        }
    }

    async fn admit_kept(&self, name: &str, grant: &Grant) -> Result<Component, String> {
        let (folder, copy) = self.grants.copy(&grant.digest);
        let mut component = admission::admit(&self.sandbox, folder, &copy).await?;
        let is_it = component.digest == grant.digest || !Guard::KeptCopy.holds();
        if !is_it || component.description.name != name {
            return Err(format!("is not what was granted ({copy} was changed)"));
        }
        component.file.clone_from(&grant.file);
        Ok(component)
    }

    fn park(
        &mut self,
        component: Component,
        more: BTreeSet<Right>,
        was: Option<String>,
        served: bool,
    ) {
        let pending = Pending {
            engine: component.description.name,
            file: component.file,
            digest: component.digest,
            declared: component.declared,
            more,
            was,
            served,
        };
        let reason = pending.reason();
        let serves = match served {
            true => "the component that was granted serves on",
            false => "nothing serves in its place",
        };
        let line = format!("{serves}: engine file {} {reason}", pending.file);
        self.sandbox.audit.record(&Event { kind: RefusalKind::Grant, guard: None, engine: &pending.engine, job: "", message: &line });
        self.pending.push(pending);
    }

    /// Grants a pending component what it declares, but for what was taken away. It serves from the
    /// next start on.
    ///
    /// Fails where its file is no longer what was admitted.
    pub fn accept(&self, pending: &Pending) -> Result<(), String> {
        let before = self.grants.of(&pending.engine)?.unwrap_or_default();
        let taken_away = |right: &Right| before.denies.iter().any(|it| it.includes(right));
        let mut allows = pending.declared.clone();
        allows.retain(|right| !taken_away(right));
        let grant = Grant {
            denies: before.denies.clone(),
            ..Grant::all(&pending.digest, &pending.file, allows)
        };
        self.bind(&pending.engine, &grant)
    }
}
