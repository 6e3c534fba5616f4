//! A client's certificates and its key, as PEM files have them. Pure. Start at [`Identity::key`].

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use pkcs8::EncryptedPrivateKeyInfo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// What is shown to servers that ask who the client is.
#[derive(Clone)]
pub struct Identity {
    /// Its certificate, and those between it and an authority, in PEM.
    pub chain: Vec<u8>,
    /// Its private key, in PEM.
    pub key: Vec<u8>,
    /// What the key is encrypted with.
    pub password: Option<Vec<u8>>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What it holds are secrets.
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

impl Identity {
    /// The certificates.
    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, String> {
        CertificateDer::pem_slice_iter(&self.chain)
            .collect::<Result<_, _>>()
            .map_err(|error| format!("has a client certificate that cannot be read: {error}"))
    }

    /// The key: PKCS #8 (encrypted or not), PKCS #1 or SEC 1.
    pub(super) fn key(&self) -> Result<PrivateKeyDer<'static>, String> {
        let text = String::from_utf8_lossy(&self.key);
        if text.contains("Proc-Type: 4,ENCRYPTED") {
            return Err("has a client key encrypted as long ago, which is not built: \
                        `openssl pkcs8 -topk8 -in KEY -out NEW` makes it one that is"
                .to_owned());
        }
        let Some(sealed) = section(&text, "ENCRYPTED PRIVATE KEY") else {
            return PrivateKeyDer::from_pem_slice(&self.key)
                .map_err(|error| format!("has a client key that cannot be read: {error}"));
        };
        let unreadable =
            |error: &dyn fmt::Display| format!("has an encrypted client key that cannot be read: {error}");
        let password = self.password.as_ref().ok_or_else(|| unreadable(&"it needs a password"))?;
        let sealed = BASE64_STANDARD.decode(sealed).map_err(|error| unreadable(&error))?;
        let sealed = EncryptedPrivateKeyInfo::try_from(&sealed[..]).map_err(|error| unreadable(&error))?;
        let key = sealed.decrypt(password).map_err(|error| unreadable(&error))?;
        Ok(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into())
    }
}

/// The base64 of the first section of that name.
fn section(text: &str, name: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("-----BEGIN {name}-----"))?;
    let (inside, _) = rest.split_once(&format!("-----END {name}-----"))?;
    Some(inside.split_whitespace().collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn identity(key: impl Into<Vec<u8>>, password: Option<&str>) -> Identity {
        Identity {
            chain: Vec::new(),
            key: key.into(),
            password: password.map(|text| text.as_bytes().to_vec()),
        }
    }

    #[test]
    fn a_key_is_read_in_each_of_its_forms_and_an_encrypted_one_with_its_password_only() {
        let plain = rcgen::KeyPair::generate().unwrap();
        let key = plain.serialize_der();
        let pem = format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            BASE64_STANDARD.encode(&key)
        );
        assert_eq!(identity(pem, None).key().unwrap().secret_der(), key);
        let parameters =
            pkcs8::pkcs5::pbes2::Parameters::pbkdf2_sha256_aes256cbc(1000, b"salt", &[7; 16]).unwrap();
        let sealed = pkcs8::PrivateKeyInfo::try_from(&key[..]).unwrap();
        let sealed = sealed.encrypt_with_params(parameters, "secret").unwrap();
        let text = BASE64_STANDARD.encode(sealed.as_bytes());
        let (head, tail) = text.split_at(64);
        let pem = format!(
            "x\n-----BEGIN ENCRYPTED PRIVATE KEY-----\n{head}\n{tail}\n-----END ENCRYPTED PRIVATE KEY-----\n"
        );
        assert_eq!(identity(pem.clone(), Some("secret")).key().unwrap().secret_der(), key);
        assert!(identity(pem.clone(), Some("other")).key().unwrap_err().contains("cannot be read"));
        assert!(identity(pem, None).key().unwrap_err().contains("needs a password"));
        let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n";
        assert!(identity(old, Some("secret")).key().unwrap_err().contains("openssl pkcs8 -topk8"));
    }

    proptest! {
        #[test]
        fn whatever_is_in_the_files_is_a_key_or_an_error(
            rest in prop::collection::vec(any::<u8>(), 0..200),
            mark in prop::sample::select(vec!["PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "CERTIFICATE"]),
        ) {
            let text = format!("-----BEGIN {mark}-----\n{}\n-----END {mark}-----\n", BASE64_STANDARD.encode(&rest));
            let identity = Identity { chain: text.clone().into_bytes(), ..identity(text, Some("secret")) };
            let key = identity.key();
            prop_assert!(mark == "PRIVATE KEY" || key.is_err());
            prop_assert_eq!(identity.certificates().is_ok(), true);
        }
    }
}
