//! The page of a web client: the script that this server adds, and the policy for its scripts.

use sha2::{Digest, Sha256};

/// Path of the added script.
pub(super) const SCRIPT_PATH: &str = "/pinhole/engine-choices.js";
/// Scripts of the page that the policy allows.
const MAX_SCRIPTS: usize = 50;

/// What a page may load. `wasm-unsafe-eval` compiles WebAssembly and evaluates no text.
const POLICY: [&str; 12] = [
    "default-src 'none'",
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data: blob:",
    "font-src 'self' data:",
    "media-src 'self' data: blob:",
    "connect-src 'self' data: blob:",
    "worker-src 'self' blob:",
    "frame-src 'self' blob:",
    "manifest-src 'self'",
    "base-uri 'self'",
    "form-action 'self'",
    "frame-ancestors 'self'",
];

/// The page with a tag for the added script at the end of its head.
pub(super) fn with_script(page: String) -> String {
    let tag = format!("<script src=\"{SCRIPT_PATH}\" defer></script>");
    match page.find("</head>") {
        Some(end) => {
            let (head, rest) = page.split_at(end);
            format!("{head}{tag}{rest}")
        }
        None => page,
    }
}

/// The content security policy of a page: its own scripts run, and those of the server.
pub(super) fn policy(page: &str) -> String {
    let mut scripts = "script-src 'self' 'wasm-unsafe-eval'".to_owned();
    for script in inline_scripts(page).take(MAX_SCRIPTS) {
        // Browsers hash the text after parsing, which has no carriage returns.
        let text = script.replace("\r\n", "\n").replace('\r', "\n");
        let hash = base64_simd::STANDARD.encode_to_string(Sha256::digest(text));
        scripts.push_str(&format!(" 'sha256-{hash}'"));
    }
    format!("{}; {scripts}", POLICY.join("; "))
}

/// The texts of the scripts in the page, without those that have a URL.
fn inline_scripts(page: &str) -> impl Iterator<Item = &str> {
    page.split("<script").skip(1).filter_map(|rest| {
        let (attributes, rest) = rest.split_once('>')?;
        let (text, _) = rest.split_once("</script>")?;
        (!attributes.contains("src=")).then_some(text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "<html><head><script src=\"/a.js\"></script><script>\r\n1\r\n</script></head>\
        <body><script type=\"module\">2</script></body></html>";

    #[test]
    fn policy_allows_the_scripts_of_the_page_by_their_hashes() {
        let texts: Vec<_> = inline_scripts(PAGE).collect();
        assert_eq!(texts, ["\r\n1\r\n", "2"]);
        let policy = policy(PAGE);
        // printf '\n1\n' | openssl sha256 -binary | base64
        for hash in [
            "PBL+VNcqg2ezLpeQ7yj8J15XmnKAnnIb2qth9B/WTJ4=",
            "1HNeOiZeFu7gP1lxi5tdAwGcB9i2xR+Q2jpmbuwTqzU=",
        ] {
            assert!(policy.contains(&format!("'sha256-{hash}'")), "{policy}");
        }
        assert!(!policy.contains("script-src 'self' 'unsafe-inline'"));
        assert!(!super::policy("").contains("sha256"));
    }

    #[test]
    fn script_is_added_to_the_head_once() {
        let page = with_script(PAGE.to_owned());
        let tag = "<script src=\"/pinhole/engine-choices.js\" defer></script></head>";
        assert_eq!(page.matches(tag).count(), 1);
        assert_eq!(with_script("text".to_owned()), "text");
    }
}
