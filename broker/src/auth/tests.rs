//! Tokens: made once, kept, compared.

use std::path::Path;

use weir_log::{RealVfs, Vfs};
use weir_wire::error::ErrorCode;

use super::{AuthError, Authenticator, url_safe};

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn mode(path: &Path) -> u32 {
    rustix::fs::stat(path).unwrap().st_mode & 0o777
}

#[test]
fn the_token_is_made_once_and_kept() {
    let directory = directory();
    let path = directory.path().join("token");
    let first = Authenticator::with_token_file(&RealVfs::new(), &path).unwrap();
    let again = Authenticator::with_token_file(&RealVfs::new(), &path).unwrap();
    assert_eq!(first.token(), again.token());
    assert_eq!(first.token().unwrap().len(), 43, "256 bits");
    assert_eq!(mode(&path), 0o600);

    let elsewhere = directory.path().join("other");
    let other = Authenticator::with_token_file(&RealVfs::new(), &elsewhere).unwrap();
    assert_ne!(first.token(), other.token());
}

#[test]
fn only_the_token_or_a_certificate_opens() {
    let directory = directory();
    let path = directory.path().join("token");
    let auth = Authenticator::with_token_file(&RealVfs::new(), &path).unwrap();
    let token = auth.token().unwrap();

    auth.check(Some(token), false).unwrap();
    auth.check(Some(token), true).unwrap();
    auth.check(None, true).unwrap();
    for (wrong, certificate) in [
        (None, false),
        (Some(""), false),
        (Some(&token[1..]), false),
        (Some("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), false),
        (Some("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), true),
    ] {
        let fault = auth.check(wrong, certificate).unwrap_err();
        assert_eq!(fault.code, ErrorCode::NotAuthorised);
        assert!(fault.message.contains("--token-file"), "{fault}");
        assert!(
            !fault.message.contains(token),
            "a refusal must not tell the token"
        );
    }
    assert!(
        !format!("{auth:?}").contains(token),
        "neither must a debug print"
    );
}

#[test]
fn an_open_broker_asks_for_nothing() {
    let auth = Authenticator::open();
    assert!(auth.is_open());
    assert_eq!(auth.token(), None);
    auth.check(None, false).unwrap();
    auth.check(Some("whatever"), false).unwrap();
}

#[test]
fn a_token_of_ones_own_is_taken_or_refused_with_a_reason() {
    let directory = directory();
    let path = directory.path().join("token");
    let vfs = RealVfs::new();
    let good = "correct-horse-battery-staple-correct-horse";
    vfs.write_atomic(&path, format!(" {good}\n\n").as_bytes())
        .unwrap();
    let auth = Authenticator::with_token_file(&vfs, &path).unwrap();
    auth.check(Some(good), false).unwrap();

    let long = vec![b'a'; 5000];
    let bad: [&[u8]; 5] = [
        b"",
        b"short",
        &[0xff; 40],
        b"a token with blanks is not a good token",
        &long,
    ];
    for bytes in bad {
        vfs.write_atomic(&path, bytes).unwrap();
        let error = Authenticator::with_token_file(&vfs, &path).unwrap_err();
        assert!(matches!(error, AuthError::Unusable { .. }), "{error}");
    }
}

#[test]
fn the_alphabet_is_that_of_rfc_4648() {
    let cases: [(&[u8], &str); 6] = [
        (b"", ""),
        (b"f", "Zg"),
        (b"fo", "Zm8"),
        (b"foo", "Zm9v"),
        (b"foobar", "Zm9vYmFy"),
        (&[0xfb, 0xff, 0xbf], "-_-_"),
    ];
    for (bytes, text) in cases {
        assert_eq!(url_safe(bytes), text);
    }
}
