//! Paths in spellings that a server may read as others.

use anyhow::{Result, ensure};

use crate::message::request::require_refused;
use crate::target::AttackTarget;

pub(super) async fn overlong(target: &AttackTarget) -> Result<()> {
    for path in [
        "/allowed/%c0%ae%c0%ae/secret",
        "/allowed/%e0%80%ae%e0%80%ae/secret",
        "/allowed/%f0%80%80%ae./secret",
        "/allowed/..%c0%afsecret",
        "/allowed/..%c1%9csecret",
        "/allowed/%ff/secret",
        "/allowed/%ed%a0%80/secret",
    ] {
        require_refused(target, &format!("reach api {path}")).await?;
    }
    Ok(())
}

pub(super) async fn similar_characters(target: &AttackTarget) -> Result<()> {
    for path in [
        // Full width: two dots, a slash, a backslash, a percent sign.
        "/allowed/%ef%bc%8e%ef%bc%8e/secret",
        "/allowed/.%ef%bc%8e/secret",
        "/allowed/x%ef%bc%8fsecret",
        "/allowed/x%ef%bc%bcsecret",
        "/allowed/%ef%bc%852e%ef%bc%852e/secret",
        // A two dot leader, one dot leaders, a small full stop.
        "/allowed/%e2%80%a5/secret",
        "/allowed/%e2%80%a4%e2%80%a4/secret",
        "/allowed/%ef%b9%92./secret",
        // A division slash, a fraction slash, a set minus.
        "/allowed/x%e2%88%95secret",
        "/allowed/x%e2%81%84secret",
        "/allowed/x%e2%88%96secret",
    ] {
        require_refused(target, &format!("reach api {path}")).await?;
    }
    // Other characters outside ASCII are names.
    let response = target
        .generate("reach api /allowed/h%C3%BCgel%E2%80%A6")
        .await?;
    ensure!(
        target.upstream.requests().len() == 1,
        "a path with other characters is refused: {}",
        response.text()
    );
    Ok(())
}
