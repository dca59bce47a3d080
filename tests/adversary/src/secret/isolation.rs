//! Users, jobs and grants that must stay separate.

use anyhow::{Context, Result, ensure};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::report_of;
use crate::target::{AttackTarget, ClientRequest};

/// More jobs than the server has slots, so that memory which is used again would show.
const JOBS: usize = 20;

/// A user who signed in.
pub(crate) struct SignedInUser {
    pub(crate) id: String,
    pub(crate) key: String,
}

pub(super) async fn files_of_other_user(target: &AttackTarget) -> Result<()> {
    let id = generate_file(target).await?;
    let other_user = add_user(target).await?;
    let as_other_user = target.client.with_key(&other_user.key)?;
    let requests = [
        (Method::GET, format!("/api/v1/files/{id}")),
        (Method::GET, format!("/api/v1/files/{id}/content")),
        (Method::DELETE, format!("/api/v1/files/{id}")),
    ];
    for (method, path) in requests {
        let request = ClientRequest::without_body(method.clone(), &path);
        let response = target.client.send_as(&as_other_user, request).await?;
        ensure!(
            response.status == StatusCode::NOT_FOUND,
            "{method} {path}: {}",
            response.status
        );
    }
    for path in ["/api/v1/files/", "/api/v1/files/search?filename=*"] {
        let request = ClientRequest::get(path);
        let response = target.client.send_as(&as_other_user, request).await?;
        ensure!(!response.text().contains(&id), "{path} lists the file");
    }
    let content = target
        .client
        .get(&format!("/api/v1/files/{id}/content"))
        .await?;
    ensure!(
        content.status == StatusCode::OK,
        "the file is lost: {}",
        content.status
    );
    remove_user(target, &other_user).await
}

pub(super) async fn gallery_of_other_user(target: &AttackTarget) -> Result<()> {
    let id = generate_file(target).await?;
    let other_user = add_user(target).await?;
    let as_other_user = target.client.with_key(&other_user.key)?;
    let ids = json!({"ids": [id], "starred": true});
    for (path, changed) in [
        ("/api/v1/gallery/star", "changed"),
        ("/api/v1/gallery/delete", "deleted"),
        ("/api/v1/gallery/restore", "restored"),
    ] {
        let request = ClientRequest::json(path, &ids);
        let response = target.client.send_as(&as_other_user, request).await?;
        let response = response.json()?;
        ensure!(
            response.get(changed) == Some(&json!(0)),
            "{path}: {response}"
        );
    }
    let link_path = format!("/api/v1/files/{id}/link");
    let (image_path, archive_path) = (
        format!("/api/v1/gallery/{id}"),
        format!("/api/v1/gallery/zip?ids={id}"),
    );
    for request in [
        ClientRequest::json(&link_path, &json!({})),
        ClientRequest::get(&image_path),
        ClientRequest::get(&archive_path),
    ] {
        let path = request.path;
        let response = target.client.send_as(&as_other_user, request).await?;
        ensure!(
            response.status == StatusCode::NOT_FOUND,
            "{path}: {}",
            response.status
        );
    }
    let request = ClientRequest::get("/api/v1/gallery?limit=200");
    let page = target.client.send_as(&as_other_user, request).await?;
    ensure!(!page.text().contains(&id), "the gallery lists the image");
    let image = target.client.get(&image_path).await?.json()?;
    ensure!(
        image.get("starred") == Some(&json!(false)),
        "the image is changed: {image}"
    );
    remove_user(target, &other_user).await
}

/// Removes a user whom a case has added.
pub(crate) async fn remove_user(target: &AttackTarget, user: &SignedInUser) -> Result<()> {
    let path = format!("/api/v1/users/{}", user.id);
    let removal = target.client.delete(&path).await?;
    removal.require_success("removing the user")
}

/// Generates an image that the server stores. Returns its file's id.
async fn generate_file(target: &AttackTarget) -> Result<String> {
    let body = json!({"prompt": "picture", "response_format": "url"});
    let response = target.generate_with(body).await?.json()?;
    let url = response
        .pointer("/data/0/url")
        .and_then(Value::as_str)
        .context("no image was stored")?;
    let id = url.split('/').rev().find(|segment| segment.len() == 36);
    Ok(id
        .with_context(|| format!("{url} contains no id"))?
        .to_owned())
}

/// Adds a user who is not an administrator.
pub(crate) async fn add_user(target: &AttackTarget) -> Result<SignedInUser> {
    let email = format!("{}@adversary.invalid", uuid::Uuid::new_v4());
    let password = uuid::Uuid::new_v4().to_string();
    let user = json!({"name": "Other", "email": email, "password": password, "role": "user"});
    let added = target.client.post("/api/v1/auths/add", &user).await?;
    added.require_success("adding a user")?;
    let body = json!({"email": email, "password": password});
    let request = ClientRequest::json("/api/v1/auths/signin", &body);
    let response = target
        .client
        .send_as(&target.client.anonymous, request)
        .await?
        .json()?;
    let text = |field: &str| response.get(field)?.as_str().map(str::to_owned);
    Ok(SignedInUser {
        id: text("id").context("the user has no id")?,
        key: text("token").context("the user cannot sign in")?,
    })
}

pub(super) async fn memory(target: &AttackTarget) -> Result<()> {
    for _ in 0..JOBS {
        report_of(target, "leave a text that no other job may find").await?;
        let found = report_of(target, "find").await?;
        ensure!(found == "nothing", "a job finds {found:?}");
    }
    Ok(())
}

pub(super) async fn paths_outside_grant(target: &AttackTarget) -> Result<()> {
    for request in [
        "GET api /upload/image",
        "GET api /prompt",
        "GET api /",
        "POST api /allowed/x",
        "DELETE api /allowed/x",
        "GET api /allowed",
    ] {
        let response = target.generate(&format!("send {request}")).await?;
        response.require_not_granted()?;
    }
    let requests = target.upstream.requests();
    ensure!(
        requests.is_empty(),
        "the upstream received {} requests",
        requests.len()
    );
    Ok(())
}
