//! Checks the fields of accounts.

use super::Error;

/// Length of a user's name in bytes.
const MAX_NAME_BYTES: usize = 200;
/// Length of an email in bytes.
///
/// Source: RFC 5321 limits a path to 256 bytes, including its brackets.
const MAX_EMAIL_BYTES: usize = 254;
/// The roles of accounts.
pub const ROLES: [&str; 3] = ["admin", "user", "pending"];

/// Fails unless the name is a printable line.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    let has_valid_length = !name.trim().is_empty() && name.len() <= MAX_NAME_BYTES;
    if !has_valid_length || name.chars().any(char::is_control) {
        return Err(Error::Invalid {
            field: "name",
            message: format!("name must be a line of text of at most {MAX_NAME_BYTES} bytes"),
        });
    }
    Ok(())
}

/// Fails unless the role is one of [`ROLES`].
pub(crate) fn check_role(role: &str) -> Result<(), Error> {
    if !ROLES.contains(&role) {
        return Err(Error::Invalid {
            field: "role",
            message: format!("role must be one of {}", ROLES.join(", ")),
        });
    }
    Ok(())
}

/// The email in lower case, as it is stored.
pub(crate) fn parse_email(email: &str) -> Result<String, Error> {
    let email = email.trim().to_lowercase();
    let is_valid = email.len() <= MAX_EMAIL_BYTES
        && !email.contains(|letter: char| letter.is_whitespace() || letter.is_control())
        && email.split_once('@').is_some_and(|(local, domain)| {
            let has_empty_label = domain.split('.').any(str::is_empty);
            let is_complete = domain == "localhost" || domain.contains('.');
            !local.is_empty() && !has_empty_label && is_complete && !domain.contains('@')
        });
    if !is_valid {
        return Err(Error::Invalid {
            field: "email",
            message: "email must look like name@example.com".to_owned(),
        });
    }
    Ok(email)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(email: &str, expected: Option<&str>) {
        assert_eq!(parse_email(email).ok().as_deref(), expected, "{email:?}");
    }

    #[test]
    fn parse_email_normalizes_and_refuses_invalid_emails() {
        check(" Ada@Example.COM ", Some("ada@example.com"));
        check("root@localhost", Some("root@localhost"));
        for invalid in [
            "", "ada", "@b.c", "a@b", "a@b.", "a@.c", "a@b@c.d", "a b@c.d", "a\n@c.d",
        ] {
            check(invalid, None);
        }
        check(&format!("{}@example.com", "a".repeat(300)), None);
    }
}
