//! The secret of a run, made from the operator's key: nothing has to be kept, and nothing read from the cluster.
//!
//! Pure but for reading the key's file. Start at [`Key`].

use std::fmt;
use std::path::{Path, PathBuf};

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

/// The shortest key that is taken, in bytes.
const SHORTEST_KEY: usize = 16;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    /// The file cannot be read.
    #[error("failed to read the operator's key {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Somebody could guess it.
    #[error("the operator's key {path} has {length} bytes: at least {SHORTEST_KEY} are needed")]
    Short {
        /// The file.
        path: PathBuf,
        /// What it holds.
        length: usize,
    },
}

/// The operator's own secret.
#[derive(Clone)]
pub(crate) struct Key(Vec<u8>);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Key {
    /// Reads it; surrounding white space does not count.
    pub(crate) fn read(path: &Path) -> Result<Self, KeyError> {
        let bytes = std::fs::read(path).map_err(|source| KeyError::Read { path: path.to_owned(), source })?;
        let key = bytes.trim_ascii().to_vec();
        if key.len() < SHORTEST_KEY {
            return Err(KeyError::Short { path: path.to_owned(), length: key.len() });
        }
        Ok(Self(key))
    }

    /// What every call of the run's control port must carry.
    pub(crate) fn token(&self, uid: &str, run_id: &str) -> String {
        self.sign(&format!("{uid}/{run_id}"))
    }

    /// Eight hexadecimal digits for the name of the run's Secret. Nobody can tell them without the key, so that a Secret
    /// of this name is ours without being read.
    pub(crate) fn secret_mark(&self, uid: &str, run_id: &str) -> String {
        self.sign(&format!("secret/{uid}/{run_id}")).chars().take(8).collect()
    }

    fn sign(&self, what: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(what.as_bytes());
        hex(&mac.finalize().into_bytes())
    }
}

/// A hash of parts that no other list of parts has, as 64 hexadecimal digits.
pub(crate) fn hash<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hex(&hash.finalize())
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
impl Key {
    pub(crate) fn of(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_the_hmac_of_uid_and_run() {
        // RFC 4231 gives no such text; the value is that of `printf uid/run | openssl dgst -sha256 -hmac 0123456789abcdef`.
        let key = Key::of("0123456789abcdef");
        assert_eq!(key.token("uid", "run"), key.token("uid", "run"));
        assert_eq!(key.token("uid", "run"), EXPECTED);
        assert_ne!(key.token("uid", "run"), key.token("uid", "rum"));
    }

    const EXPECTED: &str = "d2694e814b6af3a751b38b3974f5bdd783b5d03330d49c09cb2147dcb91beb94";

    #[test]
    fn a_key_is_never_printed_and_a_short_one_refused() {
        let file = std::env::temp_dir().join(format!("aiotest-key-{}", std::process::id()));
        std::fs::write(&file, "0123456789abcdef\n").unwrap();
        assert_eq!(format!("{:?}", Key::read(&file).unwrap()), "Key(…)");
        std::fs::write(&file, "short\n").unwrap();
        let error = Key::read(&file).unwrap_err().to_string();
        assert!(error.contains("has 5 bytes"), "{error}");
        std::fs::remove_file(&file).unwrap();
    }

    #[test]
    fn parts_that_join_to_the_same_text_have_different_hashes() {
        assert_ne!(hash([&b"ab"[..], b"c"]), hash([&b"a"[..], b"bc"]));
    }
}
