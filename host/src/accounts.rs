//! Who may ask: accounts, sessions, keys and permissions.

mod attempts;
mod password;
mod presence;
mod rules;
mod session;

use std::net::IpAddr;
use std::sync::Arc;

use anyhow::Context;
use arc_swap::ArcSwap;
use cap_std::fs::Dir;

use pinhole_ground::environment::Environment;
use crate::store::{Account, AddError, Admission, NewAccount, Proof, Store, User, now};

use attempts::Attempts;
use password::Passwords;
use presence::Present;

pub use presence::LiveSession;
pub use rules::Rules;
pub use session::Session;

/// Length of a person's name, in bytes.
const MAX_NAME_BYTES: usize = 200;
/// Length of an email, in bytes.
///
/// Source: RFC 5321 allows a path of 256 with its brackets.
const MAX_EMAIL_BYTES: usize = 254;
/// What opens an API key; everything else that is shown is a session.
const KEY_PREFIX: &str = "sk-";
/// Longer keys are nobody's.
const MAX_KEY_BYTES: usize = 200;
/// Roles that an account may have.
pub const ROLES: [&str; 3] = ["admin", "user", "pending"];

/// Accounts, and what is needed to prove whose one is.
pub struct Accounts {
    rules: ArcSwap<Rules>,
    store: Store,
    sessions: session::Sessions,
    passwords: Passwords,
    attempts: Attempts,
    present: Present,
}

/// What somebody tells of themselves to get an account.
pub struct SignUp {
    /// For a person.
    pub name: String,
    /// In any case.
    pub email: String,
    /// In the clear.
    pub password: String,
}

/// Why an account was not made, entered or changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody may sign up.
    #[error("nobody may sign up here: ask an administrator for an account")]
    Closed,
    /// Something that was sent cannot be used.
    #[error("{message}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What it may be.
        message: String,
    },
    /// The email belongs to an account.
    #[error("no account can be made with this email: sign in with it, or choose another")]
    Taken,
    /// Email or password are wrong; which of them is not said.
    #[error("the email or the password is wrong")]
    Credentials,
    /// Too many attempts.
    #[error("too many attempts: try again in {} s", .wait_ms.div_ceil(1000))]
    TooMany {
        /// When to come again.
        wait_ms: u64,
    },
    /// Too many passwords are checked at once.
    #[error("too many people are signing in: try again in a moment")]
    Busy,
    /// Our own failure.
    #[error(transparent)]
    Ours(#[from] anyhow::Error),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Ours(error.into())
    }
}

impl From<AddError> for Error {
    fn from(error: AddError) -> Self {
        match error {
            AddError::Taken => Self::Taken,
            AddError::Store(error) => error.into(),
        }
    }
}

impl Accounts {
    /// Reads the rules, and the key for sessions from the environment or else from the data folder.
    pub fn open(data: &Dir, store: Store, environment: &Environment) -> anyhow::Result<Self> {
        let rules = Rules::read(environment).map_err(anyhow::Error::msg)?;
        let key = match environment.get("WEBUI_SECRET_KEY") {
            Some(secret) => secret.as_bytes().to_vec(),
            None => session::key_in(data).context("cannot use the data folder's session key")?,
        };
        Ok(Self {
            sessions: session::Sessions::new(key),
            passwords: Passwords::new(),
            attempts: Attempts::new(),
            present: Present::new(store.clone()),
            rules: ArcSwap::from_pointee(rules),
            store,
        })
    }

    /// What the operator has set.
    #[must_use]
    pub fn rules(&self) -> Arc<Rules> {
        self.rules.load_full()
    }

    /// Goes on with other rules. Sessions that were begun end when they would have.
    pub(crate) fn publish(&self, rules: Rules) {
        self.rules.store(Arc::new(rules));
    }

    /// Whose key or session this is, in any role. The session where it is one.
    pub async fn user(&self, shown: &str) -> sqlx::Result<Option<(User, Option<Session>)>> {
        if shown.starts_with(KEY_PREFIX) {
            if shown.len() > MAX_KEY_BYTES {
                return Ok(None);
            }
            let user = self.store.user_by_key(shown).await?;
            return Ok(user.map(|user| (user, None)));
        }
        let Some(session) = self.sessions.read(shown, now()) else {
            return Ok(None);
        };
        let user = self
            .store
            .user_by_session(&session.user_id, session.epoch, &session.id)
            .await?;
        Ok(user.map(|user| (user, Some(session))))
    }

    /// Has a connection that stays hear when what it showed, a key or a session, counts no longer.
    #[must_use]
    pub fn stay(&self, shown: &str, session: Option<Session>) -> LiveSession {
        self.present.enter(match session {
            None => Proof::of_key(shown),
            Some(session) => Proof::Session {
                id: session.id,
                user_id: session.user_id,
                epoch: session.epoch,
                expires_at: session.expires_at,
            },
        })
    }

    /// Counts an attempt of this address to sign up or in. Asked before the request is read.
    pub fn admit_address(&self, address: Option<IpAddr>) -> Result<(), Error> {
        self.attempts.of_address(address).map_err(too_many)
    }

    /// Makes an account. The first is an administrator's.
    pub async fn sign_up(&self, introduction: SignUp) -> Result<Account, Error> {
        let rules = self.rules();
        if !rules.sign_up {
            return Err(Error::Closed);
        }
        self.make(introduction, &rules.default_role, Admission::Open)
            .await
    }

    /// May whoever comes next sign up as an administrator?
    pub async fn awaits_first(&self) -> sqlx::Result<bool> {
        Ok(self.rules().sign_up && !self.store.has_accounts().await?)
    }

    /// Makes an account that an administrator asks for.
    pub async fn add(&self, introduction: SignUp, role: &str) -> Result<Account, Error> {
        check_role(role)?;
        self.make(introduction, role, Admission::Added).await
    }

    /// The password is hashed whether or not the email is free, so that time does not tell.
    async fn make(
        &self,
        introduction: SignUp,
        role: &str,
        admission: Admission,
    ) -> Result<Account, Error> {
        let SignUp {
            name,
            email,
            password,
        } = introduction;
        check_name(&name)?;
        let email = checked_email(&email)?;
        let password = self.hash(password).await?;
        let new = NewAccount {
            name: &name,
            email: &email,
            password: &password,
            role,
        };
        Ok(self.store.add_account(new, admission).await?)
    }

    /// The account of this email and password. Takes as long, and says the same, where there is none.
    pub async fn sign_in(&self, email: &str, password: String) -> Result<Account, Error> {
        let Ok(email) = checked_email(email) else {
            return Err(Error::Credentials);
        };
        self.attempts.of_account(&email).map_err(too_many)?;
        let account = self.store.account_by_email(&email).await?;
        let known = account.as_ref().map(|account| account.password.clone());
        match (self.passwords.matches(password, known).await?, account) {
            (true, Some(account)) => Ok(account),
            _ => Err(Error::Credentials),
        }
    }

    /// Changes one's own password, which ends every session.
    pub async fn change_password(
        &self,
        user: &User,
        old: String,
        new: String,
    ) -> Result<(), Error> {
        let account = self.store.account(&user.id).await?;
        let account = account.ok_or(Error::Credentials)?;
        password::check(&new)?;
        self.attempts.of_account(&account.email).map_err(too_many)?;
        if !self.passwords.matches(old, Some(account.password)).await? {
            return Err(Error::Credentials);
        }
        let hash = self.hash(new).await?;
        Ok(self.store.set_password(&user.id, &hash).await?)
    }

    /// A password as it is kept; one that an account may have.
    pub async fn hash(&self, password: String) -> Result<String, Error> {
        password::check(&password)?;
        self.passwords.hash(password).await
    }

    /// Begins a session: what the client shows from now on, and when it is over.
    pub fn begin(&self, account: &Account) -> (String, Option<i64>) {
        let secs = self.rules().session_secs;
        self.sessions
            .begin(&account.user.id, account.epoch, now(), secs)
    }

    /// Ends a session before its time.
    pub async fn end(&self, session: &Session) -> sqlx::Result<()> {
        let expires_at = session.expires_at.unwrap_or(i64::MAX);
        self.store.end_session(&session.id, expires_at).await
    }

    /// The permission `features.image_generation`: of everybody by the rules, else of a group's
    /// members; administrators need none. Those who are pending have none.
    ///
    /// Source: Open WebUI `utils/access_control.py`, `has_permission`.
    pub async fn may_make_pictures(&self, user: &User) -> sqlx::Result<bool> {
        match user.role.as_str() {
            "admin" => Ok(true),
            "user" if self.rules().everybody_makes_pictures => Ok(true),
            "user" => self.store.in_picture_group(&user.id).await,
            _ => Ok(false),
        }
    }
}

/// A name that may be shown.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    let fits = !name.trim().is_empty() && name.len() <= MAX_NAME_BYTES;
    match fits && !name.chars().any(char::is_control) {
        true => Ok(()),
        false => Err(Error::Invalid {
            field: "name",
            message: format!("name must be a line of text of at most {MAX_NAME_BYTES} bytes"),
        }),
    }
}

/// A role that there is.
pub(crate) fn check_role(role: &str) -> Result<(), Error> {
    match ROLES.contains(&role) {
        true => Ok(()),
        false => Err(Error::Invalid {
            field: "role",
            message: format!("role must be one of {}", ROLES.join(", ")),
        }),
    }
}

/// An email in lower case, the form in which it is kept and found.
fn checked_email(email: &str) -> Result<String, Error> {
    let email = email.trim().to_lowercase();
    let whole = email.len() <= MAX_EMAIL_BYTES
        && !email.contains(|letter: char| letter.is_whitespace() || letter.is_control())
        && email.split_once('@').is_some_and(|(local, domain)| {
            let dotted = domain.split('.').all(|label| !label.is_empty());
            let known = domain == "localhost" || domain.contains('.');
            !local.is_empty() && dotted && known && !domain.contains('@')
        });
    match whole {
        true => Ok(email),
        false => Err(Error::Invalid {
            field: "email",
            message: "email must be an address such as name@example.com".to_owned(),
        }),
    }
}

fn too_many(wait: std::time::Duration) -> Error {
    let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    Error::TooMany { wait_ms }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(email: &str, expected: Option<&str>) {
        assert_eq!(checked_email(email).ok().as_deref(), expected, "{email:?}");
    }

    #[test]
    fn emails_are_kept_in_one_form() {
        check(" Ada@Example.COM ", Some("ada@example.com"));
        check("root@localhost", Some("root@localhost"));
        for wrong in [
            "", "ada", "@b.c", "a@b", "a@b.", "a@.c", "a@b@c.d", "a b@c.d", "a\n@c.d",
        ] {
            check(wrong, None);
        }
        check(&format!("{}@example.com", "a".repeat(300)), None);
    }
}
