//! `pinhole user`: the users of a data directory, also while its server runs.
//!
//! A person who can run these commands can read the database anyway. They restore access if no administrator
//! can sign in.

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use pinhole::accounts::{Accounts, SignUp, random_password};
use pinhole::app;
use pinhole::config::Config;
use pinhole::store::{Store, UserProfile};
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
        let (users, _) = store.users(PAGE_USERS, offset).await?;
        if users.is_empty() {
            break;
        }
        offset += users.len() as u64;
        if as_json {
            all.extend(users.iter().map(to_json));
        } else {
            users.iter().for_each(print_user);
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
    } = profile;
    json!({
        "id": user.id, "role": user.role, "email": email, "name": user.name, "created_at": created_at,
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
    print_user(&UserProfile {
        user: account.user,
        email: account.email,
        created_at: 0,
    });
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

fn print_user(profile: &UserProfile) {
    let UserProfile { user, email, .. } = profile;
    let email = if email.is_empty() { "-" } else { email };
    let name = plain(&user.name, MAX_NAME_BYTES);
    println!("{}\t{}\t{email}\t{name}", user.id, user.role);
}
