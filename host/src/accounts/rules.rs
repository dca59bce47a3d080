//! The settings of accounts, with Open WebUI's names.

use pinhole_ground::duration::parse_duration_secs;
use pinhole_ground::environment::Environment;

use super::ROLES;

/// Default duration of a session: four weeks.
const DEFAULT_SESSION_SECS: i64 = 28 * 24 * 3600;
/// Maximum duration of a session: ten years.
const MAX_SESSION_SECS: i64 = 10 * 365 * 24 * 3600;

/// The settings of accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// `ENABLE_SIGNUP`. Off by default, because the server creates an administrator with an API key.
    pub is_sign_up_open: bool,
    /// `DEFAULT_USER_ROLE`: the role of every sign-up after the first. Default: `pending`.
    pub default_role: String,
    /// `JWT_EXPIRES_IN`: the duration of a session. `None` if sessions do not expire.
    pub session_secs: Option<i64>,
    /// `USER_PERMISSIONS_FEATURES_IMAGE_GENERATION`. On by default.
    pub all_users_may_create_images: bool,
    /// `WEBUI_AUTH_COOKIE_SECURE` or `WEBUI_SESSION_COOKIE_SECURE`: send the cookie over HTTPS only.
    pub has_secure_cookie: bool,
}

impl Rules {
    /// Reads the rules. The error names the variable and the values that it accepts.
    pub(crate) fn from_environment(environment: &Environment) -> Result<Self, String> {
        let is_true = |name: &str| {
            let value = environment.get(name);
            value.map(|value| value.eq_ignore_ascii_case("true"))
        };
        let role = environment.get("DEFAULT_USER_ROLE").unwrap_or("pending");
        if !ROLES.contains(&role) {
            let roles = ROLES.join(", ");
            return Err(format!(
                "DEFAULT_USER_ROLE is {role:?}: it must be one of {roles}"
            ));
        }
        Ok(Self {
            is_sign_up_open: is_true("ENABLE_SIGNUP").unwrap_or(false),
            default_role: role.to_owned(),
            session_secs: parse_session_secs(environment.get("JWT_EXPIRES_IN"))?,
            all_users_may_create_images: is_true("USER_PERMISSIONS_FEATURES_IMAGE_GENERATION")
                .unwrap_or(true),
            has_secure_cookie: is_true("WEBUI_AUTH_COOKIE_SECURE")
                .or_else(|| is_true("WEBUI_SESSION_COOKIE_SECURE"))
                .unwrap_or(false),
        })
    }
}

/// Accepts durations such as `30m`, `12h`, `4w` and `1h30m`. `-1` and `0` mean no expiry.
fn parse_session_secs(text: Option<&str>) -> Result<Option<i64>, String> {
    match text.map(str::trim) {
        None => Ok(Some(DEFAULT_SESSION_SECS)),
        Some("-1" | "0") => Ok(None),
        Some(text) => match parse_duration_secs(text) {
            Some(secs) if (1..=MAX_SESSION_SECS).contains(&secs) => Ok(Some(secs)),
            _ => Err(format!(
                "JWT_EXPIRES_IN is {text:?}: it must be a duration of at most ten years such as \
                 30m, 12h, 7d or 4w, or -1 for no expiry"
            )),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules_with(name: &str, value: &str) -> Result<Rules, String> {
        Rules::from_environment(&Environment::new([(name.to_owned(), value.to_owned())]))
    }

    fn check(text: &str, expected: Option<i64>) {
        let rules = rules_with("JWT_EXPIRES_IN", text).unwrap();
        assert_eq!(rules.session_secs, expected, "{text:?}");
    }

    #[test]
    fn rules_parse_session_durations_of_open_webui() {
        check("", Some(28 * 24 * 3600));
        check("-1", None);
        check("0", None);
        check("90s", Some(90));
        check("1h30m", Some(5400));
        check(" 4w ", Some(28 * 24 * 3600));
        for invalid in [
            "4",
            "w",
            "-4w",
            "1y",
            "0s",
            "99999999999999999999w",
            "9999999999w",
            "1h 30m",
        ] {
            let error = rules_with("JWT_EXPIRES_IN", invalid).unwrap_err();
            assert!(error.contains("JWT_EXPIRES_IN"), "{error}");
        }
    }

    #[test]
    fn rules_parse_sign_up_and_default_role() {
        let unset = Rules::from_environment(&Environment::default()).unwrap();
        assert!(!unset.is_sign_up_open);
        assert_eq!(unset.default_role, "pending");
        assert!(unset.all_users_may_create_images);
        assert!(rules_with("ENABLE_SIGNUP", "True").unwrap().is_sign_up_open);
        assert!(!rules_with("ENABLE_SIGNUP", "no").unwrap().is_sign_up_open);
        let error = rules_with("DEFAULT_USER_ROLE", "root").unwrap_err();
        assert!(error.contains("DEFAULT_USER_ROLE"), "{error}");
    }
}
