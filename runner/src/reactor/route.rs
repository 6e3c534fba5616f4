//! The way from a call to its target, where that is not the usual one: how TLS is spoken, and through which proxy. Pure.
//! A call without a [`Route`] goes straight, and trusts the system's authorities. Connections are kept by target and
//! route, so that none is used by a call that asked for another way. Start at [`Route::proxy`].

use std::collections::BTreeMap;
use std::sync::Arc;

use super::proxy::Proxy;
use super::request::Target;
use super::trust::TlsSettings;

/// How a call's connections are made.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Route {
    /// How TLS is spoken; `None`: as usual.
    pub tls: Option<Arc<TlsSettings>>,
    /// Which proxy is used.
    pub proxies: Proxies,
    /// Who the user is to servers that the scenario gives no other `Authorization` for.
    pub logins: Option<Arc<Logins>>,
}

/// Which proxy a target is reached through; it may be another one after a redirect.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Proxies {
    /// None.
    #[default]
    None,
    /// The same for every target.
    Every(Arc<Proxy>),
    /// As the environment says.
    Environment(Arc<Environment>),
}

/// What `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` say.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Environment {
    /// For `http` targets.
    pub http: Option<Arc<Proxy>>,
    /// For `https` targets.
    pub https: Option<Arc<Proxy>>,
    /// Hosts that no proxy is used for, separated by commas; `*` for all.
    pub except: String,
}

/// Values of the `Authorization` header by host, as a netrc file gives them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Logins {
    /// By host name.
    pub hosts: BTreeMap<String, String>,
    /// For every other host.
    pub default: Option<String>,
}

impl Route {
    /// The proxy that `target` is reached through.
    pub fn proxy(&self, target: &Target) -> Option<&Arc<Proxy>> {
        match &self.proxies {
            Proxies::None => None,
            Proxies::Every(proxy) => Some(proxy),
            Proxies::Environment(environment) => environment.proxy(target),
        }
    }

    /// The `Authorization` for `target`, if there is one: what its URL said, or what the netrc file says of its host.
    pub fn login<'a>(route: Option<&'a Self>, target: &'a Target) -> Option<&'a str> {
        target.authorization.as_deref().or_else(|| route?.logins.as_ref()?.of(&target.authority.host))
    }
}

/// Whether connections of one way serve the other.
pub(super) fn same(a: Option<&Arc<Route>>, b: Option<&Arc<Route>>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => Arc::ptr_eq(a, b) || a == b,
        _ => false,
    }
}

impl Environment {
    fn proxy(&self, target: &Target) -> Option<&Arc<Proxy>> {
        let proxy = if target.authority.tls { &self.https } else { &self.http };
        proxy.as_ref().filter(|_| !self.excepts(&target.authority.host))
    }

    /// As `urllib.request.proxy_bypass_environment`: a name excepts itself and what lies beneath it.
    fn excepts(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let within =
            |name: &str| host.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        let mut names =
            self.except.split(',').map(|name| name.trim().trim_start_matches('.').to_ascii_lowercase());
        self.except.trim() == "*" || names.any(|name| !name.is_empty() && within(&name))
    }
}

impl Logins {
    fn of(&self, host: &str) -> Option<&str> {
        self.hosts.get(host).or(self.default.as_ref()).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> Target {
        Target::parse(url).unwrap()
    }

    fn proxy(url: &str) -> Arc<Proxy> {
        Arc::new(Proxy::parse(url).unwrap())
    }

    #[test]
    fn the_environment_names_a_proxy_for_each_scheme_and_hosts_without() {
        let environment = Environment {
            http: Some(proxy("http://one:1")),
            https: Some(proxy("http://two:2")),
            except: " .example.org, Other.test,10.0.0.1,".to_owned(),
        };
        let route = Route { proxies: Proxies::Environment(Arc::new(environment)), ..Route::default() };
        let host = |url: &str| route.proxy(&target(url)).map(|proxy| proxy.authority.host.clone());
        assert_eq!(host("http://any/").as_deref(), Some("one"));
        assert_eq!(host("https://any/").as_deref(), Some("two"));
        for without in ["example.org", "a.b.EXAMPLE.org", "other.test", "10.0.0.1"] {
            assert_eq!(host(&format!("http://{without}/")), None, "{without}");
        }
        for with in ["myexample.org", "example.org.net", "10.0.0.10", "test"] {
            assert!(host(&format!("http://{with}/")).is_some(), "{with}");
        }
        let none = Environment {
            http: Some(proxy("http://one:1")),
            except: "*".to_owned(),
            ..Environment::default()
        };
        assert_eq!(none.proxy(&target("http://any/")), None);
    }

    #[test]
    fn ways_are_the_same_by_what_they_say() {
        let route =
            |url: &str| Some(Arc::new(Route { proxies: Proxies::Every(proxy(url)), ..Route::default() }));
        assert!(same(None, None));
        assert!(!same(None, route("http://one:1").as_ref()));
        assert!(same(route("http://one:1").as_ref(), route("http://one:1").as_ref()));
        assert!(!same(route("http://one:1").as_ref(), route("http://a:b@one:1").as_ref()));
        assert!(!same(route("http://one:1").as_ref(), route("http://one:2").as_ref()));
    }

    #[test]
    fn what_a_url_says_of_its_user_comes_before_the_netrc_file() {
        let logins = Logins {
            hosts: BTreeMap::from([("known.test".to_owned(), "Basic known".to_owned())]),
            default: Some("Basic other".to_owned()),
        };
        let route = Route { logins: Some(Arc::new(logins)), ..Route::default() };
        let login = |url: &str| Route::login(Some(&route), &target(url)).map(str::to_owned);
        assert_eq!(login("http://known.test/").as_deref(), Some("Basic known"));
        assert_eq!(login("http://unknown.test/").as_deref(), Some("Basic other"));
        assert_eq!(login("http://a:b@known.test/").as_deref(), Some("Basic YTpi"));
        assert_eq!(Route::login(None, &target("http://known.test/")), None);
    }
}
