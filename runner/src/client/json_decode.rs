//! What `json.loads` makes of UTF-8, without a str of the whole between. What is unusual (errors, NaN, numbers beyond 64
//! bits, deep nesting, half a surrogate pair) is left to `json.loads`, so that every result and every error is Python's
//! own. Start at [`decode`].

use std::fmt;
use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Keys that are kept for the next reply, and the longest of them in bytes. One takes the place of another.
const KEYS: usize = 512;
const LONGEST_KEY: usize = 64;

/// Where a number may be an integer that the parser has rounded.
const LARGE: f64 = 9e18;

/// `json.loads(text)`; `None`: ask `json.loads` itself.
pub(super) fn decode<'py>(py: Python<'py>, text: &[u8]) -> Option<Bound<'py, PyAny>> {
    let mut parser = serde_json::Deserializer::from_slice(text);
    let value = AnyValue(py).deserialize(&mut parser).ok()?;
    parser.end().ok()?;
    Some(value)
}

#[derive(Clone, Copy)]
struct AnyValue<'py>(Python<'py>);

impl<'py, 'de> DeserializeSeed<'de> for AnyValue<'py> {
    type Value = Bound<'py, PyAny>;

    fn deserialize<D: Deserializer<'de>>(self, parser: D) -> Result<Self::Value, D::Error> {
        parser.deserialize_any(self)
    }
}

impl<'py, 'de> Visitor<'de> for AnyValue<'py> {
    type Value = Bound<'py, PyAny>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(self.0.None().into_bound(self.0))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(PyBool::new(self.0, value).to_owned().into_any())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(PyInt::new(self.0, value).into_any())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(PyInt::new(self.0, value).into_any())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        // `-0` is an integer for Python.
        if LARGE <= value.abs() || (value == 0.0 && value.is_sign_negative()) {
            return Err(E::custom("perhaps an integer"));
        }
        Ok(PyFloat::new(self.0, value).into_any())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(PyString::new(self.0, value).into_any())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let list = PyList::empty(self.0);
        while let Some(item) = items.next_element_seed(self)? {
            list.append(item).map_err(A::Error::custom)?;
        }
        Ok(list.into_any())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Self::Value, A::Error> {
        let dict = PyDict::new(self.0);
        while let Some(key) = pairs.next_key_seed(Key(self.0))? {
            dict.set_item(key, pairs.next_value_seed(self)?).map_err(A::Error::custom)?;
        }
        Ok(dict.into_any())
    }
}

struct Key<'py>(Python<'py>);

impl<'py, 'de> DeserializeSeed<'de> for Key<'py> {
    type Value = Bound<'py, PyString>;

    fn deserialize<D: Deserializer<'de>>(self, parser: D) -> Result<Self::Value, D::Error> {
        parser.deserialize_str(self)
    }
}

impl<'py> Visitor<'_> for Key<'py> {
    type Value = Bound<'py, PyString>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a key")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(key(self.0, text))
    }
}

/// A key as an object. Replies have the same few again and again, and a str that was a key once has its hash.
fn key<'py>(py: Python<'py>, text: &str) -> Bound<'py, PyString> {
    type Slot = Option<(Box<str>, Py<PyString>)>;
    static KNOWN: Mutex<Vec<Slot>> = Mutex::new(Vec::new());
    if LONGEST_KEY < text.len() {
        return PyString::new(py, text);
    }
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if known.is_empty() {
        known.resize_with(KEYS, || None);
    }
    let slot = &mut known[slot_of(text)];
    if let Some((known, object)) = slot
        && **known == *text
    {
        return object.bind(py).clone();
    }
    let object = PyString::new(py, text);
    *slot = Some((text.into(), object.clone().unbind()));
    object
}

/// FNV-1a: a few bytes are hashed faster than a hasher is set up. Who chooses keys that collide loses only the cache.
fn slot_of(text: &str) -> usize {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash >> 32) as usize % KEYS
}
