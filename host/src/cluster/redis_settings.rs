//! Settings that an Open WebUI has in the same Redis.
//!
//! A second key of each setting has the text on which both servers agreed last. It shows which of them has changed the
//! setting since. If it is lost, the database wins.
//!
//! Source: `AppConfig` of Open WebUI 0.6.43: `{prefix}:config:<NAME>` has JSON and never expires.

use super::Shared;
use super::link::LinkError;

/// Length of a setting's JSON that is read, in bytes.
pub const MAX_SETTING_JSON_BYTES: usize = 2 << 20;

const READ: &str = include_str!("scripts/read_setting.lua");
const WRITE: &str = include_str!("scripts/write_setting.lua");

/// A setting in Redis.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedisSetting {
    /// The JSON. Empty without a value. A longer one than [`MAX_SETTING_JSON_BYTES`] is cut after one more byte.
    pub json: Vec<u8>,
    /// The text of the setting's variable on which both servers agreed last.
    pub agreed: Option<String>,
}

/// A value of the database for Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgreedValue {
    pub json: String,
    /// The text of the setting's variable.
    pub text: String,
}

impl Shared {
    /// What Redis has of a setting.
    pub(super) async fn read_setting(&self, name: &str) -> Result<RedisSetting, LinkError> {
        let mut command = redis::cmd("EVAL");
        command.arg(READ).arg(2);
        command.arg(self.keys.setting(name));
        command.arg(self.keys.agreed_setting(name));
        command.arg(MAX_SETTING_JSON_BYTES);
        let (json, agreed): (Vec<u8>, Option<String>) = self.link.query(&command).await?;
        Ok(RedisSetting { json, agreed })
    }

    /// Writes a setting, or removes it, unless it is not `seen` any more.
    pub(super) async fn write_setting(
        &self,
        name: &str,
        seen: &RedisSetting,
        value: Option<&AgreedValue>,
    ) -> Result<(), LinkError> {
        let mut command = redis::cmd("EVAL");
        command.arg(WRITE).arg(2);
        command.arg(self.keys.setting(name));
        command.arg(self.keys.agreed_setting(name));
        command.arg(MAX_SETTING_JSON_BYTES).arg(&seen.json);
        command.arg(value.map_or("", |it| &it.json));
        command.arg(value.map_or("", |it| &it.text));
        self.link.query(&command).await
    }

    /// Notes that the database has the text that was read.
    pub(super) async fn agree_on_setting(&self, name: &str, text: &str) -> Result<(), LinkError> {
        let mut command = redis::cmd("SET");
        command.arg(self.keys.agreed_setting(name)).arg(text);
        self.link.query(&command).await
    }
}
