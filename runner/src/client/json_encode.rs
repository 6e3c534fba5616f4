//! The bytes of `json.dumps(value)`, without a str and its copies between. For the plain types only, exactly: what is a
//! subclass, what has other keys than str, what is deep or unclear is left to `json.dumps`, so that every result and
//! every error is Python's own. Never runs code of the scenario. Start at [`encode`].

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

/// How deep lists and dicts may lie in each other. What holds itself ends here too.
const DEPTH: usize = 100;

/// What most bodies have room in.
const ROOM: usize = 1024;

/// `json.dumps(value).encode()`; `None`: ask `json.dumps` itself.
pub(super) fn encode(value: &Bound<'_, PyAny>) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(ROOM);
    any(&mut out, value, DEPTH)?;
    Some(out)
}

fn any(out: &mut Vec<u8>, value: &Bound<'_, PyAny>, depth: usize) -> Option<()> {
    if let Ok(text) = value.cast_exact::<PyString>() {
        string(out, text.to_str().ok()?);
    } else if let Ok(integer) = value.cast_exact::<PyInt>() {
        int(out, integer)?;
    } else if let Ok(number) = value.cast_exact::<PyFloat>() {
        float(out, number)?;
    } else if let Ok(dict) = value.cast_exact::<PyDict>() {
        object(out, dict, depth.checked_sub(1)?)?;
    } else if let Ok(list) = value.cast_exact::<PyList>() {
        array(out, list.iter(), depth.checked_sub(1)?)?;
    } else if let Ok(tuple) = value.cast_exact::<PyTuple>() {
        array(out, tuple.iter(), depth.checked_sub(1)?)?;
    } else if let Ok(flag) = value.cast_exact::<PyBool>() {
        out.extend_from_slice(if flag.is_true() { b"true" } else { b"false" });
    } else if value.is_none() {
        out.extend_from_slice(b"null");
    } else {
        return None;
    }
    Some(())
}

fn object(out: &mut Vec<u8>, dict: &Bound<'_, PyDict>, depth: usize) -> Option<()> {
    out.push(b'{');
    for (index, (key, value)) in dict.iter().enumerate() {
        if index > 0 {
            out.extend_from_slice(b", ");
        }
        string(out, key.cast_exact::<PyString>().ok()?.to_str().ok()?);
        out.extend_from_slice(b": ");
        any(out, &value, depth)?;
    }
    out.push(b'}');
    Some(())
}

fn array<'py>(out: &mut Vec<u8>, items: impl Iterator<Item = Bound<'py, PyAny>>, depth: usize) -> Option<()> {
    out.push(b'[');
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.extend_from_slice(b", ");
        }
        any(out, &item, depth)?;
    }
    out.push(b']');
    Some(())
}

fn int(out: &mut Vec<u8>, integer: &Bound<'_, PyInt>) -> Option<()> {
    match integer.extract::<i64>() {
        Ok(small) => serde_json::to_writer(out, &small).ok(),
        Err(_) => repr(out, integer),
    }
}

fn float(out: &mut Vec<u8>, number: &Bound<'_, PyFloat>) -> Option<()> {
    let value = number.value();
    if value == 0.0 || (1e-4..1e16).contains(&value.abs()) {
        // Without an exponent both write the shortest digits that are read back as the same number.
        return serde_json::to_writer(out, &value).ok();
    }
    if value.is_finite() {
        return repr(out, number);
    }
    let name: &[u8] = match value {
        f64::INFINITY => b"Infinity",
        f64::NEG_INFINITY => b"-Infinity",
        _ => b"NaN",
    };
    out.extend_from_slice(name);
    Some(())
}

/// A number as Python writes it, which it may refuse to.
fn repr(out: &mut Vec<u8>, number: &Bound<'_, PyAny>) -> Option<()> {
    out.extend_from_slice(number.repr().ok()?.to_str().ok()?.as_bytes());
    Some(())
}

fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text;
    // The first byte of a character outside of ASCII is not plain either, so `at` is never within one.
    while let Some(at) = rest.bytes().position(|byte| !is_plain(byte)) {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let mut characters = rest[at..].chars();
        if let Some(character) = characters.next() {
            escape(out, character);
        }
        rest = characters.as_str();
    }
    out.extend_from_slice(rest.as_bytes());
    out.push(b'"');
}

const fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

fn escape(out: &mut Vec<u8>, character: char) {
    let short = match character {
        '"' | '\\' => character as u8,
        '\n' => b'n',
        '\r' => b'r',
        '\t' => b't',
        '\u{8}' => b'b',
        '\u{c}' => b'f',
        _ => {
            for unit in character.encode_utf16(&mut [0; 2]) {
                out.extend_from_slice(b"\\u");
                out.extend([12, 8, 4, 0].map(|shift| b"0123456789abcdef"[usize::from(*unit >> shift & 0xf)]));
            }
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}
