//! Accounts, sessions, API keys and permissions.

mod attempt_limits;
mod fields;
mod live_sessions;
mod login;
mod passwords;
mod pending_revocations;
mod rules;
mod sessions;
mod setup;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwap;
use cap_std::fs::Dir;
use pinhole_ground::environment::Environment;
use pinhole_ground::text::hex;

use crate::cluster::Cluster;
use crate::files::link::LinkSigner;
use crate::store::{
    Account, AccountOrigin, AddAccountError, CredentialId, CredentialUser, NewAccount, Session,
    Store, User, UserProfile, now,
};
use attempt_limits::AttemptLimits;
use live_sessions::LiveSessions;
use passwords::BcryptAccounts;
use passwords::{PasswordHasher, check_password};
use pending_revocations::PendingRevocations;
use sessions::SessionSigner;
use setup::SetupCode;

pub use attempt_limits::{ATTEMPT_WINDOW, MAX_ATTEMPTS_PER_ACCOUNT, MAX_ATTEMPTS_PER_IP};
pub use fields::ROLES;
pub(crate) use fields::{check_name, check_role, parse_email};
pub use live_sessions::LiveSession;
pub use login::Login;
pub use passwords::{MAX_PASSWORD_BYTES, MIN_PASSWORD_BYTES};
pub(crate) use passwords::{UNUSABLE_HASH, is_bcrypt};
pub use rules::Rules;
pub use sessions::SessionToken;

/// The prefix of API keys. Every other credential is a session's token.
const KEY_PREFIX: &str = "sk-";
/// Length of an API key in bytes. Longer ones are unknown.
const MAX_KEY_BYTES: usize = 200;

/// Random bytes in a password that the server chooses.
const RANDOM_PASSWORD_BYTES: usize = 12;

/// Creates accounts and authenticates users.
pub struct Accounts {
    rules: ArcSwap<Rules>,
    store: Store,
    sessions: SessionSigner,
    /// Signs links with a key that is derived from the one for sessions.
    pub links: LinkSigner,
    passwords: PasswordHasher,
    attempts: AttemptLimits,
    live_sessions: LiveSessions,
    pending_revocations: PendingRevocations,
    setup_code: SetupCode,
}

/// The fields of a new account.
pub struct SignUp {
    pub name: String,
    /// In any case.
    pub email: String,
    /// In the clear.
    pub password: String,
}

/// The user of a credential.
pub struct Identity {
    pub user: User,
    /// `None` if the credential is an API key.
    pub session: Option<Session>,
    /// When the API key behind the credential expires, in seconds since 1970.
    pub key_expires_at: Option<i64>,
}

impl Identity {
    fn new(found: CredentialUser, session: Option<Session>) -> Self {
        Self {
            user: found.user,
            session,
            key_expires_at: found.key_expires_at,
        }
    }
}

/// Why an account was not created, signed in to or changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("sign-up is disabled: ask an administrator for an account")]
    SignUpDisabled,
    /// A field is invalid.
    #[error("{message}")]
    Invalid {
        field: &'static str,
        /// The values that the field accepts.
        message: String,
    },
    #[error("an account with this email exists: sign in with it, or choose another email")]
    EmailTaken,
    /// Does not reveal which of the two is wrong.
    #[error("the email or the password is wrong")]
    InvalidCredentials,
    #[error(
        "the API key is unknown or expired: send a valid key, or sign in with email and password"
    )]
    UnknownKey,
    #[error("the setup code is wrong: open the URL that the server printed at its last start")]
    WrongSetupCode,
    #[error("an administrator has a password already: sign in")]
    SetupDone,
    #[error("too many attempts: try again in {} s", .retry_after_ms.div_ceil(1000))]
    TooManyAttempts { retry_after_ms: u64 },
    /// Too many passwords are being hashed.
    #[error("too many concurrent sign-ins: try again in a moment")]
    Busy,
    /// The server failed.
    #[error(transparent)]
    Internal(#[from] anyhow::Error),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Internal(error.into())
    }
}

impl From<AddAccountError> for Error {
    fn from(error: AddAccountError) -> Self {
        match error {
            AddAccountError::EmailTaken => Self::EmailTaken,
            AddAccountError::Store(error) => error.into(),
        }
    }
}

impl Accounts {
    /// Reads the rules, and the key that signs sessions: `WEBUI_SECRET_KEY`, or else the key in the data
    /// directory.
    pub fn open(data: &Dir, store: Store, environment: &Environment) -> anyhow::Result<Self> {
        let rules = Rules::from_environment(environment).map_err(anyhow::Error::msg)?;
        let key = match environment.get("WEBUI_SECRET_KEY") {
            Some(secret) => sessions::parse_secret(secret)?,
            None => sessions::read_or_create_key(data)
                .context("cannot use the session key in the data directory")?,
        };
        Ok(Self {
            links: LinkSigner::new(&key),
            sessions: SessionSigner::new(key),
            passwords: PasswordHasher::new(),
            attempts: AttemptLimits::new(None),
            live_sessions: LiveSessions::new(store.clone()),
            pending_revocations: PendingRevocations::default(),
            setup_code: SetupCode::new()?,
            rules: ArcSwap::from_pointee(rules),
            store,
        })
    }

    /// The accounts with limits of attempts that all hosts share.
    #[must_use]
    pub fn shared(mut self, cluster: Option<Cluster>) -> Self {
        self.attempts = AttemptLimits::new(cluster);
        self
    }

    /// The current rules.
    #[must_use]
    pub fn rules(&self) -> Arc<Rules> {
        self.rules.load_full()
    }

    /// Replaces the rules. Existing sessions retain their expiry.
    pub(crate) fn publish(&self, rules: Rules) {
        self.rules.store(Arc::new(rules));
    }

    /// The user of an API key or a session's token, in any role.
    pub async fn authenticate(&self, credential: &str) -> sqlx::Result<Option<Identity>> {
        if credential.starts_with(KEY_PREFIX) {
            if credential.len() > MAX_KEY_BYTES {
                return Ok(None);
            }
            let found = self.store.credential_user_by_key(credential).await?;
            return Ok(found.map(|it| Identity::new(it, None)));
        }
        let Some(session) = self.sessions.verify(credential, now()) else {
            return Ok(None);
        };
        if self.pending_revocations.contains(&session.id) {
            return Ok(None);
        }
        let found = self.store.user_by_session(&session).await?;
        Ok(found.map(|it| Identity::new(it, Some(session))))
    }

    /// Watches the credential of a long-lived connection until it becomes invalid.
    #[must_use]
    pub fn watch(&self, credential: &str, session: Option<Session>) -> LiveSession {
        self.live_sessions.add(match session {
            None => CredentialId::from_key(credential),
            Some(session) => CredentialId::Session(session),
        })
    }

    /// Counts an attempt to sign up or in from this IP address. Call it before reading the request.
    pub async fn count_attempt(&self, ip: Option<IpAddr>) -> Result<(), Error> {
        self.attempts.count_ip(ip).await.map_err(too_many_attempts)
    }

    /// Creates an account for a user who signs up. The first account that the server ever had is an
    /// administrator's.
    pub async fn sign_up(&self, sign_up: SignUp) -> Result<Account, Error> {
        let rules = self.rules();
        if !rules.is_sign_up_open {
            return Err(Error::SignUpDisabled);
        }
        self.create(sign_up, &rules.default_role, AccountOrigin::SignUp)
            .await
    }

    /// True if the next user to sign up becomes an administrator.
    pub async fn is_first_sign_up_open(&self) -> sqlx::Result<bool> {
        Ok(self.rules().is_sign_up_open && !self.store.had_accounts().await?)
    }

    /// Creates an account for an administrator, with this role.
    pub async fn add(&self, sign_up: SignUp, role: &str) -> Result<Account, Error> {
        check_role(role)?;
        self.create(sign_up, role, AccountOrigin::Administrator)
            .await
    }

    /// Hashes the password even if the email is taken, so that the duration does not reveal it.
    async fn create(
        &self,
        sign_up: SignUp,
        role: &str,
        origin: AccountOrigin,
    ) -> Result<Account, Error> {
        let SignUp {
            name,
            email,
            password,
        } = sign_up;
        check_name(&name)?;
        let email = parse_email(&email)?;
        let hash = self.hash_password(password).await?;
        let new = NewAccount {
            name: &name,
            email: &email,
            password: &hash,
            role,
        };
        Ok(self.store.add_account(new, origin).await?)
    }

    /// The account with this email and password. Takes equally long, with the same error, if the email is
    /// unknown.
    pub async fn sign_in(&self, email: &str, password: String) -> Result<Account, Error> {
        let Ok(email) = parse_email(email) else {
            return Err(Error::InvalidCredentials);
        };
        self.attempts
            .count_account(&email)
            .await
            .map_err(too_many_attempts)?;
        let account = self.store.account_by_email(&email).await?;
        let hash = account.as_ref().map(|account| account.password.clone());
        match (self.verify_password(password.clone(), hash).await?, account) {
            (true, Some(account)) => {
                if is_bcrypt(&account.password) {
                    self.replace_bcrypt(&account, password).await;
                }
                Ok(account)
            }
            _ => Err(Error::InvalidCredentials),
        }
    }

    async fn verify_password(&self, password: String, hash: Option<String>) -> Result<bool, Error> {
        let bcrypt_accounts = if self.store.has_bcrypt_accounts().await? {
            BcryptAccounts::Exist
        } else {
            BcryptAccounts::None
        };
        self.passwords.verify(password, hash, bcrypt_accounts).await
    }

    /// Replaces the hash of an imported account by one of its own password. The next sign-in retries a failure.
    async fn replace_bcrypt(&self, account: &Account, password: String) {
        let replaced = async {
            let hash = self.passwords.hash(password).await?;
            let id = &account.user.id;
            self.store
                .replace_hash(id, &account.password, &hash)
                .await?;
            Ok::<_, Error>(())
        };
        if let Err(error) = replaced.await {
            tracing::warn!("cannot replace the password hash of an imported account: {error}");
        }
    }

    /// Changes the user's own password, which revokes all sessions and API keys of the user.
    pub async fn change_password(
        &self,
        user: &User,
        old: String,
        new: String,
    ) -> Result<(), Error> {
        let account = self.store.account(&user.id).await?;
        let account = account.ok_or(Error::InvalidCredentials)?;
        check_password(&new)?;
        self.attempts
            .count_account(&account.email)
            .await
            .map_err(too_many_attempts)?;
        if !self.verify_password(old, Some(account.password)).await? {
            return Err(Error::InvalidCredentials);
        }
        let hash = self.hash_password(new).await?;
        Ok(self.store.set_password(&user.id, &hash).await?)
    }

    /// Sets a random password, which it returns, and revokes all sessions and API keys of the user.
    pub async fn reset_password(&self, user: &User) -> Result<String, Error> {
        let password = random_password()?;
        let hash = self.hash_password(password.clone()).await?;
        self.store.set_password(&user.id, &hash).await?;
        Ok(password)
    }

    /// The user with this id or email.
    pub async fn find_user(&self, name: &str) -> sqlx::Result<Option<UserProfile>> {
        if let Ok(email) = parse_email(name) {
            let Some(account) = self.store.account_by_email(&email).await? else {
                return Ok(None);
            };
            return self.store.user(&account.user.id).await;
        }
        self.store.user(name).await
    }

    /// The hash of a valid password.
    pub async fn hash_password(&self, password: String) -> Result<String, Error> {
        check_password(&password)?;
        self.passwords.hash(password).await
    }

    /// Revokes a session before it expires.
    ///
    /// It ends now, even if the database cannot be written: then [`Self::store_revocations`] retries.
    pub async fn revoke_session(&self, session: &Session) -> sqlx::Result<()> {
        let expires_at = session.expires_at.unwrap_or(i64::MAX);
        let is_pending = self.pending_revocations.add(&session.id, expires_at);
        match self.store.revoke_session(&session.id, expires_at).await {
            Ok(()) => self.pending_revocations.remove(&session.id),
            Err(error) if is_pending => {
                tracing::error!("cannot store that a session was revoked, will retry: {error}");
                let credential = CredentialId::Session(session.clone());
                self.live_sessions.invalidate(&[credential]);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Stores revocations that could not be stored before.
    pub async fn store_revocations(&self) {
        for (session_id, expires_at) in self.pending_revocations.all() {
            if let Err(error) = self.store.revoke_session(&session_id, expires_at).await {
                tracing::debug!("revoked sessions are not stored yet: {error}");
                return;
            }
            self.pending_revocations.remove(&session_id);
        }
    }

    /// True if the user has the permission `features.image_generation`: by role, by the rules, or as a
    /// member of a group.
    ///
    /// Source: Open WebUI `utils/access_control.py`, `has_permission`.
    pub async fn may_create_images(&self, user: &User) -> sqlx::Result<bool> {
        match user.role.as_str() {
            "admin" => Ok(true),
            "user" if self.rules().all_users_may_create_images => Ok(true),
            "user" => self.store.has_group_image_permission(&user.id).await,
            _ => Ok(false),
        }
    }
}

/// A password for a person who chooses another later.
pub fn random_password() -> anyhow::Result<String> {
    let mut random = [0; RANDOM_PASSWORD_BYTES];
    getrandom::fill(&mut random)
        .context("cannot create a password: the system has no random numbers")?;
    Ok(hex(&random))
}

fn too_many_attempts(wait: Duration) -> Error {
    let retry_after_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    Error::TooManyAttempts { retry_after_ms }
}
