//! N: where a connection goes.

use anyhow::{Result, ensure};

use super::arena::Arena;
use super::{Case, Place};
use crate::audit::Kind;
use crate::check::Check;

pub(super) const CASES: &[Case] = &[Case {
    name: "N14-result-at-a-private-address",
    must_not: "the address of a result leads the host to a private address that nobody granted",
    guards: &[Check::PrivateAddress],
    noted: Some(Kind::Address),
    place: Place::Anywhere,
    attack: |arena| Box::pin(result_at_a_private_address(arena)),
}];

async fn result_at_a_private_address(arena: &Arena) -> Result<()> {
    let answer = arena
        .draw(&format!("address {}/picture.png", arena.trap.url()))
        .await?;
    ensure!(
        !answer.status.is_success(),
        "the host fetched it: {}",
        answer.status
    );
    Ok(())
}
