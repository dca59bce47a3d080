//! `pinhole user`: the users of a data directory, also while its server runs.
//!
//! A person who can run these commands can read the database anyway. They restore access if no administrator
//! can sign in.

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use pinhole::accounts::{Accounts, SignUp, random_password};
use pinhole::app;
use pinhole::config::Config;
use pinhole::store::{OpenSession, SessionClient, Store, User, UserFilter, UserProfile};
use pinhole_ground::text::plain;
use serde_json::{Value, json};

use super::{WRONG_USE, print_json};

/// Users that one statement lists.
const PAGE_USERS: u32 = 500;
/// Length of a printed name in bytes; a longer one is cut.
const MAX_NAME_BYTES: usize = 200;

#[derive(Subcommand)]
pub(crate) enum UserCommand {
    /// List the users: id, role, email and name
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Add an account and print its password once
    Add(AddUser),
    /// List a user's open sessions: id, creation, last use, expiry (seconds since 1970, or -), IP address and client
    Sessions {
        /// Email or id of the user
        user: String,
    },
    /// End a user's sessions
    EndSessions {
        /// Email or id of the user
        user: String,
        /// End only the session with this id
        #[arg(long)]
        id: Option<String>,
    },
    /// Replace a user's password, print the new one once, and revoke the sessions and API keys of the user
    ResetPassword {
        /// Email or id of the user
        user: String,
    },
}

#[derive(Args)]
pub(crate) struct AddUser {
    /// Email of the account
    email: String,
    /// Name of the user [default: the email]
    #[arg(long)]
    name: Option<String>,
    /// Make the user an administrator
    #[arg(long)]
    admin: bool,
}

/// Runs the command. Returns the exit code.
pub(crate) async fn run(config: &Config, command: UserCommand) -> Result<u8> {
    eprintln!("data directory: {}", config.data.display());
    let (accounts, store) = app::open_accounts(config).await?;
    match command {
        UserCommand::List { json } => list(&store, json).await,
        UserCommand::Add(new) => add(&accounts, new).await,
        UserCommand::Sessions { user } => {
            let Some(profile) = find(&accounts, &user).await? else {
                return Ok(WRONG_USE);
            };
            let sessions = store.sessions(&profile.user.id).await?;
            sessions.iter().for_each(print_session);
            Ok(0)
        }
        UserCommand::EndSessions { user, id } => {
            let Some(profile) = find(&accounts, &user).await? else {
                return Ok(WRONG_USE);
            };
            end_sessions(&store, &profile, id.as_deref()).await
        }
        UserCommand::ResetPassword { user } => {
            let Some(profile) = find(&accounts, &user).await? else {
                return Ok(WRONG_USE);
            };
            if profile.email.is_empty() {
                eprintln!(
                    "pinhole: user {user} has no account: run `pinhole key reset {user}` instead"
                );
                return Ok(WRONG_USE);
            }
            let password = accounts.reset_password(&profile.user).await?;
            println!("password (shown once): {password}");
            Ok(0)
        }
    }
}

async fn list(store: &Store, as_json: bool) -> Result<u8> {
    let (mut offset, mut all) = (0, Vec::new());
    loop {
        let (users, _) = store
            .users(&UserFilter::default(), PAGE_USERS, offset)
            .await?;
        if users.is_empty() {
            break;
        }
        offset += users.len() as u64;
        if as_json {
            all.extend(users.iter().map(to_json));
        } else {
            for profile in &users {
                print_user(&profile.user, &profile.email);
            }
        }
    }
    if as_json {
        print_json(&all)?;
    }
    Ok(0)
}

fn to_json(profile: &UserProfile) -> Value {
    let UserProfile {
        user,
        email,
        created_at,
        last_active_at,
        image_count,
    } = profile;
    json!({
        "id": user.id, "role": user.role, "email": email, "name": user.name, "created_at": created_at,
        "last_active_at": last_active_at, "image_count": image_count,
    })
}

async fn add(accounts: &Accounts, new: AddUser) -> Result<u8> {
    let password = random_password()?;
    let sign_up = SignUp {
        name: new.name.unwrap_or_else(|| new.email.clone()),
        email: new.email,
        password: password.clone(),
    };
    let role = if new.admin { "admin" } else { "user" };
    let account = accounts
        .add(sign_up, role)
        .await
        .context("cannot add the account")?;
    print_user(&account.user, &account.email);
    println!("password (shown once): {password}");
    Ok(0)
}

/// The user with this email or id. Prints an error if no user has it.
pub(super) async fn find(accounts: &Accounts, name: &str) -> Result<Option<UserProfile>> {
    let profile = accounts.find_user(name).await?;
    if profile.is_none() {
        eprintln!("pinhole: unknown user {name}: list the users with `pinhole user list`");
    }
    Ok(profile)
}

async fn end_sessions(store: &Store, profile: &UserProfile, id: Option<&str>) -> Result<u8> {
    let user_id = &profile.user.id;
    let ended = match id {
        Some(id) => u64::from(store.end_session(user_id, id).await?),
        None => store.end_sessions(user_id, None).await?,
    };
    if let (0, Some(id)) = (ended, id) {
        eprintln!("pinhole: unknown session {id}: list the sessions with `pinhole user sessions`");
        return Ok(WRONG_USE);
    }
    println!("ended {ended} session(s)");
    Ok(0)
}

fn print_session(session: &OpenSession) {
    let time = |time: Option<i64>| time.map_or_else(|| "-".to_owned(), |time| time.to_string());
    let SessionClient { user_agent, ip } = &session.client;
    println!(
        "{}\t{}\t{}\t{}\t{}\t{}",
        session.id,
        session.created_at,
        time(session.last_used_at),
        time(session.expires_at),
        if ip.is_empty() { "-" } else { ip },
        plain(user_agent, MAX_NAME_BYTES)
    );
}

fn print_user(user: &User, email: &str) {
    let email = if email.is_empty() { "-" } else { email };
    let name = plain(&user.name, MAX_NAME_BYTES);
    println!("{}\t{}\t{email}\t{name}", user.id, user.role);
}
