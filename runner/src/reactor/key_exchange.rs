//! X25519 by AWS-LC in place of ring's, for TLS. Two of its multiplications are a third of the CPU of a new connection, and
//! AWS-LC's take two thirds of the time of ring's. Everything else of TLS is ring's. Start at [`X25519`].

use aws_lc_rs::agreement::{self, EphemeralPrivateKey, PublicKey, UnparsedPublicKey};
use aws_lc_rs::rand::SystemRandom;
use rustls::crypto::{ActiveKeyExchange, GetRandomFailed, SharedSecret, SupportedKxGroup};
use rustls::{Error, NamedGroup, PeerMisbehaved};

/// The group, for a provider's list.
pub(super) static X25519: &dyn SupportedKxGroup = &Group;

#[derive(Debug)]
struct Group;

/// A key pair that serves for one handshake.
struct Exchange {
    private: EphemeralPrivateKey,
    public: PublicKey,
}

impl SupportedKxGroup for Group {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let private = EphemeralPrivateKey::generate(&agreement::X25519, &SystemRandom::new())
            .map_err(|_| GetRandomFailed)?;
        let public = private.compute_public_key().map_err(|_| GetRandomFailed)?;
        Ok(Box::new(Exchange { private, public }))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

impl ActiveKeyExchange for Exchange {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let peer = UnparsedPublicKey::new(&agreement::X25519, peer);
        let refused = Error::from(PeerMisbehaved::InvalidKeyShare);
        agreement::agree_ephemeral(self.private, peer, refused, |secret| Ok(SharedSecret::from(secret)))
    }

    fn pub_key(&self) -> &[u8] {
        self.public.as_ref()
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

#[cfg(test)]
mod tests {
    use rustls::crypto::ring;

    use super::*;

    #[test]
    fn it_agrees_with_rings_and_refuses_what_is_no_key() {
        let rings = ring::kx_group::X25519.start().unwrap();
        let ours = X25519.start().unwrap();
        let (their_key, our_key) = (rings.pub_key().to_vec(), ours.pub_key().to_vec());
        let secrets = [ours.complete(&their_key), rings.complete(&our_key)].map(Result::unwrap);
        assert_eq!(secrets[0].secret_bytes(), secrets[1].secret_bytes());
        for no_key in [&[][..], &their_key[1..], &[0; 32]] {
            let refused = X25519.start().unwrap().complete(no_key).map(|_| ());
            assert_eq!(refused, Err(PeerMisbehaved::InvalidKeyShare.into()));
        }
    }

    #[test]
    fn no_two_handshakes_share_a_key() {
        let [one, other] = [(); 2].map(|()| X25519.start().unwrap().pub_key().to_vec());
        assert_ne!(one, other);
    }
}
