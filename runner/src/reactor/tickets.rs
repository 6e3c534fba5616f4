//! What a user remembers of the servers it has spoken TLS with, so that its next connection resumes a session rather
//! than beginning one. Each user remembers for itself, as each of a target's real users does: sessions resumed across
//! users would spare the target handshakes that its real users cost it. Start at [`for_user`].
//!
//! Bounded: [`SERVERS`] names for a user, and [`TICKETS`] tickets for a name, of which each carries the server's chain
//! of certificates; some 20 KB for a name whose chain is 4 KB long. Never outlives its user, never leaves the process.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::{ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, NamedGroup};

/// How many names a user remembers: what most scenarios visit, and then some.
const SERVERS: usize = 4;

/// How many TLS 1.3 tickets a user keeps for a name. Each is good for one connection, and servers give two at a time: so
/// many connections can be opened at once, all resumed.
const TICKETS: usize = 4;

/// The configuration of one more user: the same, with a memory of its own.
pub(super) fn for_user(config: &ClientConfig) -> Arc<ClientConfig> {
    let mut config = config.clone();
    config.resumption = Resumption::store(Arc::new(Tickets::default()));
    Arc::new(config)
}

/// One user's memory.
#[derive(Default)]
struct Tickets {
    /// The last used last. Only a few: a list is searched faster than a table, and takes nothing before its first entry.
    servers: Mutex<Vec<Server>>,
}

struct Server {
    name: ServerName<'static>,
    /// The group that the server took: offered first next time, or each handshake would cost another round.
    group: Option<NamedGroup>,
    tls12: Option<Tls12ClientSessionValue>,
    /// Oldest first.
    tls13: VecDeque<Tls13ClientSessionValue>,
}

impl Tickets {
    /// What `read` finds of a server, if there is one.
    fn of<T>(&self, name: &ServerName<'_>, read: impl FnOnce(&mut Server) -> Option<T>) -> Option<T> {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        servers.iter_mut().find(|server| server.name == *name).and_then(read)
    }

    /// Lets `change` have a server, which is remembered from now on; another may be forgotten for it.
    fn edit(&self, name: ServerName<'static>, change: impl FnOnce(&mut Server)) {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut server = match servers.iter().position(|server| server.name == name) {
            Some(position) => servers.remove(position),
            None => Server { name, group: None, tls12: None, tls13: VecDeque::new() },
        };
        change(&mut server);
        if servers.len() == SERVERS {
            servers.remove(0);
        }
        servers.push(server);
    }
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, name: ServerName<'static>, group: NamedGroup) {
        self.edit(name, |server| server.group = Some(group));
    }

    fn kx_hint(&self, name: &ServerName<'_>) -> Option<NamedGroup> {
        self.of(name, |server| server.group)
    }

    fn set_tls12_session(&self, name: ServerName<'static>, session: Tls12ClientSessionValue) {
        self.edit(name, |server| server.tls12 = Some(session));
    }

    fn tls12_session(&self, name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.of(name, |server| server.tls12.clone())
    }

    fn remove_tls12_session(&self, name: &ServerName<'static>) {
        self.of(name, |server| server.tls12.take());
    }

    fn insert_tls13_ticket(&self, name: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.edit(name, |server| {
            if server.tls13.len() == TICKETS {
                server.tls13.pop_front();
            }
            server.tls13.push_back(ticket);
        });
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.of(name, |server| server.tls13.pop_back())
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What it holds are secrets.
        f.debug_struct("Tickets").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rustls::crypto::ring;
    use rustls::pki_types::PrivateKeyDer;
    use rustls::{ClientConnection, RootCertStore, ServerConfig, ServerConnection};

    use super::*;

    fn name(number: usize) -> ServerName<'static> {
        ServerName::try_from(format!("{number}.test")).unwrap()
    }

    /// Tickets as a real server gives them: so many for the same session.
    fn tickets(count: usize) -> Vec<Tls13ClientSessionValue> {
        let pair = rcgen::generate_simple_self_signed(vec!["0.test".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(pair.signing_key.serialize_der()).unwrap();
        let mut server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![pair.cert.der().clone()], key)
            .unwrap();
        server.send_tls13_tickets = count;
        let mut roots = RootCertStore::empty();
        roots.add(pair.cert.der().clone()).unwrap();
        let mut client = ClientConfig::clone(&super::super::tls::with_roots(roots).unwrap());
        let store = Arc::new(Kept::default());
        client.resumption = Resumption::store(Arc::<Kept>::clone(&store));
        let mut client = ClientConnection::new(Arc::new(client), name(0)).unwrap();
        let mut server = ServerConnection::new(Arc::new(server)).unwrap();
        while client.wants_write() || server.wants_write() {
            let mut data = Vec::new();
            client.write_tls(&mut data).unwrap();
            let mut left = &data[..];
            while !left.is_empty() {
                server.read_tls(&mut left).unwrap();
                server.process_new_packets().unwrap();
            }
            let mut data = Vec::new();
            server.write_tls(&mut data).unwrap();
            let mut left = &data[..];
            while !left.is_empty() {
                client.read_tls(&mut left).unwrap();
                client.process_new_packets().unwrap();
            }
        }
        std::mem::take(&mut *store.0.lock().unwrap())
    }

    /// Keeps every ticket.
    #[derive(Debug, Default)]
    struct Kept(Mutex<Vec<Tls13ClientSessionValue>>);

    impl ClientSessionStore for Kept {
        fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}
        fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
            None
        }
        fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}
        fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
            None
        }
        fn remove_tls12_session(&self, _: &ServerName<'static>) {}
        fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
            self.0.lock().unwrap().push(ticket);
        }
        fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
            None
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn however_many_servers_and_tickets_a_user_meets_its_memory_is_bounded(
            order in proptest::collection::vec(0_usize..12, 0..120),
        ) {
            let memory = Tickets::default();
            let mut last: Vec<usize> = Vec::new();
            for (ticket, number) in tickets(order.len()).into_iter().zip(&order) {
                memory.insert_tls13_ticket(name(*number), ticket);
                memory.set_kx_hint(name(*number), NamedGroup::secp256r1);
                last.retain(|other| other != number);
                last.push(*number);
                let servers = memory.servers.lock().unwrap();
                prop_assert!(servers.len() <= SERVERS);
                prop_assert!(servers.iter().all(|server| server.tls13.len() <= TICKETS));
            }
            let (forgotten, kept) = last.split_at(last.len().saturating_sub(SERVERS));
            for number in kept {
                prop_assert_eq!(memory.kx_hint(&name(*number)), Some(NamedGroup::secp256r1));
                prop_assert!(memory.take_tls13_ticket(&name(*number)).is_some());
            }
            for number in forgotten {
                prop_assert_eq!(memory.kx_hint(&name(*number)), None);
                prop_assert!(memory.take_tls13_ticket(&name(*number)).is_none());
            }
        }
    }

    #[test]
    fn as_many_connections_as_tickets_are_resumed_at_once_and_none_twice_with_one() {
        let memory = Tickets::default();
        for ticket in tickets(TICKETS + 3) {
            memory.insert_tls13_ticket(name(0), ticket);
        }
        let taken = std::iter::from_fn(|| memory.take_tls13_ticket(&name(0))).count();
        assert_eq!(taken, TICKETS);
    }
}
