//! The setup of the first administrator, who exists with an API key only.
//!
//! The person who starts the server reads a code from its output, and sets name, email and password with it. The code
//! is of this process only, and of no use once an administrator has a password.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use pinhole_ground::guard::Guard;
use pinhole_ground::text::hex;
use sha2::{Digest, Sha256};

use super::fields::{check_name, parse_email};
use super::{Accounts, Error, SignUp};
use crate::store::{Account, NewAccount};

/// Random bytes in a code. It cannot be guessed in the time of a process.
const CODE_BYTES: usize = 16;

/// The code of this process.
pub(super) struct SetupCode {
    code: String,
    /// An administrator has an account: the code is of no use any more.
    is_done: AtomicBool,
}

impl SetupCode {
    pub(super) fn new() -> anyhow::Result<Self> {
        let mut random = [0; CODE_BYTES];
        getrandom::fill(&mut random)
            .context("cannot create a setup code: the system has no random numbers")?;
        Ok(Self {
            code: hex(&random),
            is_done: AtomicBool::new(false),
        })
    }

    /// Compares hashes, so that the time reveals nothing about the code.
    fn is(&self, code: &str) -> bool {
        let is_same = Sha256::digest(code.trim()) == Sha256::digest(&self.code);
        is_same && !self.is_done.load(Ordering::Acquire)
    }
}

impl Accounts {
    /// The code for [`Self::set_up`]. Only the person who starts the server may read it.
    #[must_use]
    pub fn setup_code(&self) -> &str {
        &self.setup_code.code
    }

    /// True if no administrator has a password. Reads the database until one has.
    pub async fn is_setup_needed(&self) -> sqlx::Result<bool> {
        if self.setup_code.is_done.load(Ordering::Acquire) {
            return Ok(false);
        }
        let is_needed = self.store.needs_setup().await?;
        self.setup_code.is_done.store(!is_needed, Ordering::Release);
        Ok(is_needed)
    }

    /// Gives the first administrator a name, an email and a password. Call [`Self::count_attempt`] before.
    pub async fn set_up(&self, code: &str, sign_up: SignUp) -> Result<Account, Error> {
        if !self.is_setup_needed().await? {
            return Err(Error::SetupDone);
        }
        if Guard::SetupCode.applies(!self.setup_code.is(code)) {
            return Err(Error::WrongSetupCode);
        }
        check_name(&sign_up.name)?;
        let email = parse_email(&sign_up.email)?;
        let hash = self.hash_password(sign_up.password).await?;
        let new = NewAccount {
            name: &sign_up.name,
            email: &email,
            password: &hash,
            role: "admin",
        };
        let account = self.store.set_up_administrator(new).await?;
        self.setup_code.is_done.store(true, Ordering::Release);
        account.ok_or(Error::SetupDone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setup_code_has_128_bits_and_is_compared_whole() {
        let code = SetupCode::new().unwrap();
        let text = code.code.clone();
        assert_eq!(text.len(), 32);
        assert_ne!(text, SetupCode::new().unwrap().code);
        assert!(code.is(&text) && code.is(&format!(" {text}\n")));
        for wrong in ["", &text[..31], &format!("{text}0")] {
            assert!(!code.is(wrong), "{wrong}");
        }
        code.is_done.store(true, Ordering::Release);
        assert!(!code.is(&text));
    }
}
