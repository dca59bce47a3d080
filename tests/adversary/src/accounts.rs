//! T: what users and clients do to accounts, the audit log and the data directory.

mod audit_log;
mod control_socket;
mod credentials;
mod data_directory;
mod setup;
mod small_server;

use pinhole_ground::guard::Guard;

use crate::case::AttackCase;

/// The cases need a server each, with settings and users of their own.
macro_rules! accounts {
    ($name:literal, $guarantee:literal, $guards:expr, $attack:path) => {
        AttackCase::new($name, $guarantee, |target| Box::pin($attack(target)))
            .guarded_by($guards)
            .on_own_server()
    };
}

pub(crate) const CASES: &[AttackCase] = &[
    accounts!(
        "T45-flood",
        "a user who is refused again and again does not push earlier lines out of the audit log",
        &[Guard::AuditLines],
        audit_log::flood
    ),
    accounts!(
        "T46-uploads",
        "the refused uploads of one user do not hide those of another",
        &[],
        audit_log::hidden_by_other_user
    ),
    accounts!(
        "T47-last-account-deleted",
        "a client does not become administrator by signing up after the last account was deleted",
        &[Guard::FirstAccount],
        credentials::sign_up_after_deletion
    ),
    accounts!(
        "T48-own-password",
        "an API key is unusable after its user changed the password",
        &[Guard::RevokedKeys],
        credentials::key_after_password_change
    ),
    accounts!(
        "T48-reset-password",
        "an API key is unusable after an administrator reset the password",
        &[Guard::RevokedKeys],
        credentials::key_after_password_reset
    ),
    accounts!(
        "T49-short-secret",
        "the server does not sign sessions with a secret that can be guessed",
        &[Guard::SessionSecret],
        credentials::short_secret
    ),
    accounts!(
        "T50-second-server",
        "a second server does not start with the data directory of a running one",
        &[Guard::DataLock],
        data_directory::second_server
    ),
    accounts!(
        "T51-readable-files",
        "no other user of the machine can read a file of the server in a directory that is open to all",
        &[Guard::PrivateFiles],
        data_directory::readable_files
    ),
    accounts!(
        "T52-two-cookies",
        "a request with the session cookies of two users is not authenticated",
        &[Guard::OneCookie],
        credentials::two_cookies
    ),
    accounts!(
        "T53-failed-sign-ins",
        "failed sign-ins are recorded with the IP address of the client",
        &[],
        audit_log::failed_sign_ins
    ),
    accounts!(
        "T54-control-socket",
        "another user of the machine cannot use the control socket, also if its permissions were changed",
        &[Guard::ControlPeer],
        control_socket::other_user
    ),
    accounts!(
        "T55-guessed-code",
        "a client that guesses setup codes sets no password, and is limited",
        &[Guard::SetupCode],
        setup::guessed_code
    ),
    accounts!(
        "T55-later-setup",
        "the setup code is of no use once an administrator has a password",
        &[],
        setup::later_setup
    ),
    accounts!(
        "T56-other-credentials",
        "a user neither sees nor ends keys and sessions of another user",
        &[],
        credentials::of_another_user
    ),
    accounts!(
        "T57-key-outlives-key",
        "a key that expires, and a session of it, create no key that outlives it",
        &[Guard::KeyExpiry],
        credentials::key_outlives_key
    ),
];
