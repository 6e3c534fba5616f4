//! By which way a call gets to its target, as the keywords say it: `ssl`, `verify_ssl`, `proxy`, `proxy_auth`,
//! `proxy_headers`, `trust_env`. Becomes the reactor's [`Route`]. Start at [`Way::route`].

use std::sync::{Arc, LazyLock};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBool;

use super::{errors, payload};
use crate::reactor::identity::Identity;
use crate::reactor::proxy::{Proxy, ProxyError};
use crate::reactor::request::HeaderBlock;
use crate::reactor::route::{Environment, Logins, Proxies, Route};
use crate::reactor::trust::{self, TlsOptions, Trust};

/// What a call, or a session, was given.
#[derive(Default)]
pub(super) struct Way<'py> {
    pub(super) ssl: Option<Bound<'py, PyAny>>,
    pub(super) verify_ssl: Option<Bound<'py, PyAny>>,
    pub(super) proxy: Option<Bound<'py, PyAny>>,
    pub(super) proxy_auth: Option<Bound<'py, PyAny>>,
    pub(super) proxy_headers: Option<Bound<'py, PyAny>>,
}

/// A session's own way, which its calls may change for themselves.
#[derive(Default)]
pub(super) struct Usual {
    pub(super) route: Option<Arc<Route>>,
    /// The `Proxy-Authorization` for proxies that calls name.
    proxy_authorization: Option<String>,
}

impl Usual {
    /// That of a session with these arguments. `tls` is its connector's.
    pub(super) fn of_session(
        py: Python<'_>,
        tls: Option<Arc<trust::TlsSettings>>,
        proxy: Option<&Bound<'_, PyAny>>,
        proxy_auth: Option<&Bound<'_, PyAny>>,
        trust_env: bool,
    ) -> PyResult<Self> {
        let proxy_authorization = proxy_auth.map(authorization).transpose()?;
        let mut route = Route { tls, ..Route::default() };
        if trust_env {
            let (environment, logins) = environment(py)?;
            route.proxies = environment;
            route.logins = logins;
        }
        if let Some(url) = proxy {
            route.proxies = Proxies::Every(Arc::new(proxy_of(url, proxy_authorization.as_ref())?));
        }
        Ok(Self { route: usual(route), proxy_authorization })
    }
}

impl Way<'_> {
    /// The way of a call in a session whose own is `session`.
    pub(super) fn route(&self, session: &Usual) -> PyResult<Option<Arc<Route>>> {
        let mut route = session.route.as_deref().cloned().unwrap_or_default();
        if let Some(tls) = tls(self.ssl.as_ref(), self.verify_ssl.as_ref())? {
            route.tls = Some(tls);
        }
        let authorization = self.proxy_auth.as_ref().map(authorization).transpose()?;
        let proxy = match (&self.proxy, &route.proxies) {
            (Some(url), _) => {
                let authorization = authorization.or_else(|| session.proxy_authorization.clone());
                Some(proxy_of(url, authorization.as_ref())?)
            }
            (None, Proxies::Every(proxy)) => {
                let known = proxy.authorization.clone();
                Some(Proxy { authorization: authorization.or(known), ..Proxy::clone(proxy) })
            }
            (None, _) => None,
        };
        if let Some(mut proxy) = proxy {
            if let Some(headers) = &self.proxy_headers {
                proxy.headers = payload::add_headers(&proxy.headers, headers)?;
            }
            route.proxies = Proxies::Every(Arc::new(proxy));
        }
        Ok(usual(route))
    }
}

/// `None` where there is nothing unusual about it.
fn usual(route: Route) -> Option<Arc<Route>> {
    (route != Route::default()).then(|| Arc::new(route))
}

/// How TLS is spoken; `None`: as usual.
pub(super) fn tls(
    ssl: Option<&Bound<'_, PyAny>>,
    verify_ssl: Option<&Bound<'_, PyAny>>,
) -> PyResult<Option<Arc<trust::TlsSettings>>> {
    let is = |given: &Bound<'_, PyAny>, value: bool| {
        given.cast::<PyBool>().is_ok_and(|given| given.is_true() == value)
    };
    let ssl = ssl.filter(|ssl| !ssl.is_none() && !is(ssl, true));
    let unverified =
        verify_ssl.map_or(Ok(false), |verify| Ok::<_, PyErr>(!verify.is_none() && !verify.is_truthy()?))?;
    match ssl {
        Some(_) if unverified => Err(PyValueError::new_err(
            "ssl and verify_ssl=False cannot be given at the same time: ssl says it all",
        )),
        Some(ssl) if !is(ssl, false) => {
            let settings = imported!(ssl.py(), "aiotest.tls", "settings_of")?.call1((ssl,))?;
            Ok(Some(Arc::clone(&settings.cast_into::<TlsSettings>()?.get().0)))
        }
        None if !unverified => Ok(None),
        _ => Ok(Some(Arc::clone(unverified_settings()?))),
    }
}

fn unverified_settings() -> PyResult<&'static Arc<trust::TlsSettings>> {
    static SETTINGS: LazyLock<Result<Arc<trust::TlsSettings>, String>> = LazyLock::new(|| {
        let options =
            TlsOptions { trust: Trust::Anybody, identity: None, tls12: true, tls13: true, ciphers: None };
        trust::TlsSettings::new(options).map(Arc::new)
    });
    SETTINGS.as_ref().map_err(|text| PyValueError::new_err(format!("ssl=False {text}")))
}

fn authorization(auth: &Bound<'_, PyAny>) -> PyResult<String> {
    imported!(auth.py(), "aiotest.client", "_authorization")?.call1((auth, "proxy_auth"))?.extract()
}

fn proxy_of(url: &Bound<'_, PyAny>, authorization: Option<&String>) -> PyResult<Proxy> {
    let text = url.str()?.to_cow()?.into_owned();
    let mut proxy = Proxy::parse(&text).map_err(|error| match error {
        ProxyError::Url(error) => errors::invalid_url(url.py(), &text, &format!("proxy: {error}")),
        ProxyError::Scheme(_) => PyValueError::new_err(format!("proxy: {error}")),
    })?;
    if let Some(value) = authorization {
        proxy.authorization = Some(value.clone());
    }
    // It goes on the wire as it is.
    if let Some(value) = &proxy.authorization {
        HeaderBlock::default()
            .push("Proxy-Authorization", value.as_bytes())
            .map_err(|error| PyValueError::new_err(format!("proxy_auth: {error}")))?;
    }
    Ok(proxy)
}

/// What the environment and the netrc file say at the moment.
fn environment(py: Python<'_>) -> PyResult<(Proxies, Option<Arc<Logins>>)> {
    type Found<'py> =
        (Vec<(String, String, Option<String>)>, String, Option<(Vec<(String, String)>, Option<String>)>);
    let found: Found<'_> = imported!(py, "aiotest.proxies", "environment")?.call0()?.extract()?;
    let (proxies, except, logins) = found;
    let mut environment = Environment { except, ..Environment::default() };
    for (scheme, url, authorization) in proxies {
        let url = pyo3::types::PyString::new(py, &url).into_any();
        let proxy = Some(Arc::new(proxy_of(&url, authorization.as_ref())?));
        match &*scheme {
            "http" => environment.http = proxy,
            _ => environment.https = proxy,
        }
    }
    let none = environment.http.is_none() && environment.https.is_none();
    let proxies = if none { Proxies::None } else { Proxies::Environment(Arc::new(environment)) };
    let logins =
        logins.map(|(hosts, default)| Arc::new(Logins { hosts: hosts.into_iter().collect(), default }));
    Ok((proxies, logins))
}

/// Certificates and key of a client, in PEM, and the key's password.
type Files = (Vec<u8>, Vec<u8>, Option<Vec<u8>>);

/// How TLS is spoken, made ready once: what `aiotest.tls` makes of a context.
#[pyclass(module = "aiotest._native", frozen, weakref)]
pub(super) struct TlsSettings(Arc<trust::TlsSettings>);

#[pymethods]
impl TlsSettings {
    #[new]
    #[pyo3(signature = (*, authorities=None, system=false, check_hostname=true, fingerprint=None, identity=None,
        tls12=true, tls13=true, ciphers=None))]
    #[expect(
        clippy::too_many_arguments,
        clippy::fn_params_excessive_bools,
        reason = "what a context says, by name"
    )]
    fn new(
        py: Python<'_>,
        authorities: Option<Vec<Vec<u8>>>,
        system: bool,
        check_hostname: bool,
        fingerprint: Option<[u8; 32]>,
        identity: Option<Files>,
        tls12: bool,
        tls13: bool,
        ciphers: Option<Vec<u16>>,
    ) -> PyResult<Self> {
        let trust = match (fingerprint, authorities) {
            (Some(fingerprint), _) => Trust::Pinned(fingerprint),
            (None, Some(own)) => Trust::Authorities { system, own, names: check_hostname },
            (None, None) => Trust::Anybody,
        };
        let identity = identity.map(|(chain, key, password)| Identity { chain, key, password });
        let options = TlsOptions { trust, identity, tls12, tls13, ciphers };
        let settings = py.detach(|| trust::TlsSettings::new(options));
        settings
            .map(|settings| Self(Arc::new(settings)))
            .map_err(|text| PyValueError::new_err(format!("ssl: the context {text}")))
    }
}
