//! What an operator has set about people, by Open WebUI's names.

use pinhole_ground::environment::Environment;

use super::ROLES;

/// How long a session lasts where nothing is set: four weeks.
const SESSION_SECS: i64 = 28 * 24 * 3600;
/// How long one may last: ten years.
const MAX_SESSION_SECS: i64 = 10 * 365 * 24 * 3600;

/// Settings about people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// `ENABLE_SIGNUP`: may people sign up? Not where it is not set: the server has an administrator,
    /// who has its key, before anybody could.
    pub sign_up: bool,
    /// `DEFAULT_USER_ROLE`: of those who sign up after the first; `pending` where it is not set.
    pub default_role: String,
    /// `JWT_EXPIRES_IN`: how long a session lasts; `None` is for ever.
    pub session_secs: Option<i64>,
    /// `USER_PERMISSIONS_FEATURES_IMAGE_GENERATION`: on where it is not set.
    pub everybody_makes_pictures: bool,
    /// `WEBUI_AUTH_COOKIE_SECURE` or `WEBUI_SESSION_COOKIE_SECURE`: is the cookie for `https` alone?
    pub secure_cookie: bool,
}

impl Rules {
    /// Reads the rules. The error names the variable and what it may hold.
    pub(crate) fn read(environment: &Environment) -> Result<Self, String> {
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
        let secure = is_true("WEBUI_AUTH_COOKIE_SECURE");
        Ok(Self {
            sign_up: is_true("ENABLE_SIGNUP").unwrap_or(false),
            default_role: role.to_owned(),
            session_secs: session_secs(environment.get("JWT_EXPIRES_IN"))?,
            everybody_makes_pictures: is_true("USER_PERMISSIONS_FEATURES_IMAGE_GENERATION")
                .unwrap_or(true),
            secure_cookie: secure
                .or_else(|| is_true("WEBUI_SESSION_COOKIE_SECURE"))
                .unwrap_or(false),
        })
    }
}

/// `-1` and `0` are for ever, `30m`, `12h`, `4w` and sums such as `1h30m` are times.
fn session_secs(text: Option<&str>) -> Result<Option<i64>, String> {
    match text.map(str::trim) {
        None => Ok(Some(SESSION_SECS)),
        Some("-1" | "0") => Ok(None),
        Some(text) => match sum(text) {
            Some(secs) if (1..=MAX_SESSION_SECS).contains(&secs) => Ok(Some(secs)),
            _ => Err(format!(
                "JWT_EXPIRES_IN is {text:?}: it must be a time of at most ten years such as 30m, \
                 12h, 7d or 4w, or -1 for no end"
            )),
        },
    }
}

fn sum(mut text: &str) -> Option<i64> {
    let mut total: i64 = 0;
    while !text.is_empty() {
        let (number, rest) = text.split_at(text.find(|letter: char| !letter.is_ascii_digit())?);
        let unit = rest.chars().next()?;
        let secs = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 24 * 3600,
            'w' => 7 * 24 * 3600,
            _ => return None,
        };
        let number: i64 = number.parse().ok()?;
        total = total.checked_add(number.checked_mul(secs)?)?;
        text = rest.strip_prefix(unit)?;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, value: &str) -> Result<Rules, String> {
        Rules::read(&Environment::new([(name.to_owned(), value.to_owned())]))
    }

    fn check(text: &str, expected: Option<i64>) {
        let rules = read("JWT_EXPIRES_IN", text).unwrap();
        assert_eq!(rules.session_secs, expected, "{text:?}");
    }

    #[test]
    fn times_are_open_webuis() {
        check("", Some(28 * 24 * 3600));
        check("-1", None);
        check("0", None);
        check("90s", Some(90));
        check("1h30m", Some(5400));
        check(" 4w ", Some(28 * 24 * 3600));
        for wrong in [
            "4",
            "w",
            "-4w",
            "1y",
            "0s",
            "99999999999999999999w",
            "9999999999w",
            "1h 30m",
        ] {
            let error = read("JWT_EXPIRES_IN", wrong).unwrap_err();
            assert!(error.contains("JWT_EXPIRES_IN"), "{error}");
        }
    }

    #[test]
    fn who_may_sign_up_and_as_what() {
        let unset = Rules::read(&Environment::default()).unwrap();
        assert!(!unset.sign_up);
        assert_eq!(unset.default_role, "pending");
        assert!(unset.everybody_makes_pictures);
        assert!(read("ENABLE_SIGNUP", "True").unwrap().sign_up);
        assert!(!read("ENABLE_SIGNUP", "no").unwrap().sign_up);
        let error = read("DEFAULT_USER_ROLE", "root").unwrap_err();
        assert!(error.contains("DEFAULT_USER_ROLE"), "{error}");
    }
}
