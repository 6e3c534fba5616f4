//! From the text of a URL to its parsed target: a bounded cache, shared by the sessions with one base URL.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyIterator, PyString};

use super::errors;
use crate::reactor::request::{Target, TargetError};

/// Texts kept per base URL, and base URLs kept. Beyond that all are forgotten: a scenario with so many distinct URLs
/// gains nothing from a cache.
const BOUND: usize = 4096;

/// The targets that were called with one base URL, by text.
pub(super) struct Targets {
    base: Option<Target>,
    known: Mutex<HashMap<String, Arc<Target>>>,
}

impl Targets {
    /// The cache for `base`, the text of a session's `base_url`.
    pub(super) fn of(base: Option<&str>) -> Result<Arc<Self>, TargetError> {
        type Bases = HashMap<Option<String>, Arc<Targets>>;
        static BASES: LazyLock<Mutex<Bases>> = LazyLock::new(Mutex::default);
        let mut bases = BASES.lock().unwrap_or_else(PoisonError::into_inner);
        let key = base.map(str::to_owned);
        if let Some(targets) = bases.get(&key) {
            return Ok(Arc::clone(targets));
        }
        let base = base.map(Target::parse).transpose()?;
        let targets = Arc::new(Self { base, known: Mutex::default() });
        if BOUND <= bases.len() {
            bases.clear();
        }
        bases.insert(key, Arc::clone(&targets));
        Ok(targets)
    }

    /// The base URL.
    pub(super) fn base(&self) -> Option<&Target> {
        self.base.as_ref()
    }

    fn find(&self, text: &str) -> Result<Arc<Target>, TargetError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(target) = known.get(text) {
            return Ok(Arc::clone(target));
        }
        let target = match &self.base {
            Some(base) => base.join(text).map(|target| with_base_login(target, base, text)),
            None => Target::parse(text),
        };
        let target = Arc::new(target?);
        if BOUND <= known.len() {
            known.clear();
        }
        known.insert(text.to_owned(), Arc::clone(&target));
        Ok(target)
    }

    /// The target of a call to `url` (text or yarl's) with `params` added to its query.
    pub(super) fn target(
        &self,
        url: &Bound<'_, PyAny>,
        params: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Arc<Target>> {
        let py = url.py();
        let text = match url.cast::<PyString>() {
            Ok(text) => text.clone(),
            Err(_) if url.is_instance(imported!(py, "yarl", "URL")?)? => url.str()?,
            Err(_) => {
                let kind = url.get_type().name()?;
                return Err(PyTypeError::new_err(format!("url must be a str or a yarl.URL, not {kind}")));
            }
        };
        let text = text.to_cow()?;
        let target = self.find(&text).map_err(|error| self.refused(py, &text, &error))?;
        let Some(params) = params.filter(|params| !params.is_none()) else { return Ok(target) };
        let mut with_params = target.url.clone();
        add_params(&mut with_params, params)?;
        let found = Target::from_url(with_params).map_err(|error| self.refused(py, &text, &error))?;
        Ok(Arc::new(Target { authorization: target.authorization.clone(), ..found }))
    }

    fn refused(&self, py: Python<'_>, text: &str, error: &TargetError) -> PyErr {
        if self.base.is_none() && !text.contains("://") {
            let reason =
                "a relative URL needs a host: `host` of the user class, --host, or `base_url` of the session";
            return errors::invalid_url(py, text, reason);
        }
        errors::invalid_url(py, text, &error.to_string())
    }
}

/// A user in the base URL is the user of what is relative to it.
fn with_base_login(mut target: Target, base: &Target, text: &str) -> Target {
    let relative = !text.starts_with("//") && url::Url::parse(text).is_err();
    if relative && target.authorization.is_none() {
        target.authorization.clone_from(&base.authorization);
    }
    target
}

fn add_params(url: &mut url::Url, params: &Bound<'_, PyAny>) -> PyResult<()> {
    if let Ok(query) = params.cast::<PyString>() {
        let query = query.to_cow()?;
        let joined = match url.query() {
            Some(before) if !before.is_empty() => format!("{before}&{query}"),
            _ => query.into_owned(),
        };
        url.set_query(Some(&joined).filter(|joined| !joined.is_empty()).map(String::as_str));
        return Ok(());
    }
    let pairs = pairs("params", params)?;
    if !pairs.is_empty() {
        url.query_pairs_mut().extend_pairs(pairs);
    }
    Ok(())
}

/// Names and values of a mapping or of a sequence of pairs; a list as a value repeats its name.
pub(super) fn pairs(argument: &str, given: &Bound<'_, PyAny>) -> PyResult<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    for item in items(argument, given)? {
        let (name, value) = item?.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>().map_err(|_| {
            PyTypeError::new_err(format!(
                "{argument} must be a mapping or a sequence of pairs of name and value"
            ))
        })?;
        let name = scalar(argument, "a name", &name)?;
        if value.is_instance_of::<pyo3::types::PyList>() || value.is_instance_of::<pyo3::types::PyTuple>() {
            for value in value.try_iter()? {
                pairs.push((name.clone(), scalar(argument, &name, &value?)?));
            }
        } else {
            let value = scalar(argument, &name, &value)?;
            pairs.push((name, value));
        }
    }
    Ok(pairs)
}

/// The pairs of a mapping, or what was given, which is to be a sequence of pairs.
pub(super) fn items<'py>(argument: &str, given: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyIterator>> {
    let items = match given.cast::<PyDict>() {
        Ok(dict) => dict.items().into_any(),
        Err(_) => given.getattr_opt("items")?.map_or_else(|| Ok(given.clone()), |items| items.call0())?,
    };
    items.try_iter().map_err(|error| {
        let Ok(kind) = given.get_type().name() else { return error };
        let what = "must be a mapping or a sequence of pairs of name and value";
        PyTypeError::new_err(format!("{argument} {what}, not {kind}"))
    })
}

fn scalar(argument: &str, name: &str, value: &Bound<'_, PyAny>) -> PyResult<String> {
    use pyo3::types::{PyBool, PyFloat, PyInt};
    let number = value.is_instance_of::<PyInt>() || value.is_instance_of::<PyFloat>();
    if value.is_instance_of::<PyString>() || (number && !value.is_instance_of::<PyBool>()) {
        return Ok(value.str()?.to_cow()?.into_owned());
    }
    let kind = value.get_type().name()?;
    Err(PyTypeError::new_err(format!("{argument}: `{name}` must be a str, int or float, not {kind}")))
}
