//! An accepted form of a credential takes a key, and a refusal does not repeat it.

use pinhole_egress::{AwsKey, Credential};
use pinhole_sandbox::engine_settings::CredentialForm;

/// Length of a word that may be a key, in bytes. Longer than the region in an example.
const MIN_KEY_BYTES: usize = 10;
const KEY: &str = "sk-test-4711";

/// Input: the form of a credential as an operator writes it, such as `header x-api-key`.
///
/// A refusal contains no word of the text that looks like a key. An accepted form takes an ordinary key, so that a
/// setting which is stored does not fail in each job.
pub fn credential(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let form = match CredentialForm::parse(&text) {
        Ok(form) => form,
        Err(problem) => {
            let is_key = |word: &&str| {
                word.len() >= MIN_KEY_BYTES && word.bytes().any(|byte| byte.is_ascii_digit())
            };
            for word in text.split_whitespace().filter(is_key) {
                assert!(!problem.contains(word), "{problem:?} repeats {word:?}");
            }
            return;
        }
    };
    let credential = match &form {
        CredentialForm::None | CredentialForm::Google { .. } => return,
        CredentialForm::Bearer => Credential::bearer(KEY),
        CredentialForm::Basic => Credential::basic(KEY),
        CredentialForm::Header { name, prefix } => {
            let prefix = prefix.as_ref().map(|prefix| format!("{prefix} "));
            Credential::header(name, &format!("{}{KEY}", prefix.unwrap_or_default()))
        }
        CredentialForm::Query { name } => Credential::query(name, KEY),
        CredentialForm::Body { pointer } => Credential::body_field(pointer, KEY),
        CredentialForm::Aws { region, service } => Credential::aws(AwsKey {
            access_key_id: "AKIA",
            secret_access_key: KEY,
            session_token: None,
            region,
            service,
        }),
    };
    credential.unwrap_or_else(|problem| panic!("{form:?}: {problem}"));
}
