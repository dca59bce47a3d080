//! Settings of users that only their clients understand.

use serde_json::{Map, Value};

use super::Store;
use super::chat_content::with_fields;
use super::database::query;
use super::messages::parse_json;
use super::users::lock_user;

/// Length of a user's settings, in bytes of JSON.
pub const MAX_USER_SETTINGS_BYTES: usize = 256 << 10;

impl Store {
    /// The settings that a user's clients stored.
    pub async fn user_settings(&self, user_id: &str) -> sqlx::Result<Option<Map<String, Value>>> {
        let text: Option<String> = query("SELECT settings FROM user_settings WHERE user_id = $1")
            .bind(user_id)
            .fetch_optional_value(&self.database)
            .await?;
        text.as_deref().map(parse_json).transpose()
    }

    /// Replaces these fields of a user's settings. Returns false and changes nothing if the settings would be
    /// longer than [`MAX_USER_SETTINGS_BYTES`].
    pub async fn set_user_settings(
        &self,
        user_id: &str,
        fields: &Map<String, Value>,
    ) -> sqlx::Result<bool> {
        let mut transaction = self.begin().await?;
        lock_user(&mut transaction, user_id).await?;
        let old: Option<String> = query("SELECT settings FROM user_settings WHERE user_id = $1")
            .bind(user_id)
            .fetch_optional_value(&mut *transaction)
            .await?;
        let settings = with_fields(old.as_deref().unwrap_or("{}"), fields)?;
        if settings.len() > MAX_USER_SETTINGS_BYTES {
            return Ok(false);
        }
        query(
            "INSERT INTO user_settings (user_id, settings) VALUES ($1, $2)
             ON CONFLICT (user_id) DO UPDATE SET settings = excluded.settings",
        )
        .bind(user_id)
        .bind(settings)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(true)
    }
}
