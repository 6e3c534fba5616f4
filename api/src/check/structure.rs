//! Checks a manifest against the structural schema, and makes the copy that the rules and the decoder may trust.
//!
//! The copy holds only fields that the schema knows, with defaults filled in; a value that is refused is null in it,
//! so it is never deeper than the schema. Start at [`Walk::root`].

use std::fmt::Write;

use regex::Regex;
use serde_json::{Map, Value};

use super::Problem;
use super::near::near;
use crate::duration::Duration;
use crate::threshold::Expression;

pub(super) struct Walk<'a> {
    schema: &'a Value,
    pub(super) problems: Vec<Problem>,
    path: String,
}

/// How much of a refused value or name an error repeats, in characters.
const SHOWN: usize = 64;

impl<'a> Walk<'a> {
    pub(super) fn new(schema: &'a Value) -> Self {
        Self { schema, problems: Vec::new(), path: String::new() }
    }

    /// The trusted copy; `None` for what is no `LoadTest` at all, of which only that is said.
    pub(super) fn root(&mut self, manifest: &Value) -> Option<Value> {
        let schema = self.schema;
        if !manifest.is_object() {
            self.path.push_str("manifest");
            self.wrong_type("an object", manifest);
            return None;
        }
        for field in ["apiVersion", "kind"] {
            let given = manifest.get(field).unwrap_or(&Value::Null);
            self.at(field, |walk| match given {
                Value::Null => walk.problem("is required"),
                given => drop(walk.value(&schema["properties"][field], given)),
            });
        }
        self.problems.is_empty().then(|| self.value(schema, manifest))
    }

    /// Goes a step down, and back.
    fn at<T>(&mut self, name: &str, step: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        if !self.path.is_empty() && !name.starts_with('[') {
            self.path.push('.');
        }
        self.path.push_str(&cut(name));
        let result = step(self);
        self.path.truncate(length);
        result
    }

    fn problem(&mut self, why: impl Into<String>) {
        self.problems.push(Problem { path: self.path.clone(), why: why.into() });
    }

    fn wrong_type(&mut self, wanted: &str, found: &Value) {
        self.problem(format!("must be {wanted}, found {}", describe(found)));
    }

    /// The trusted copy of a value; null where it is refused or means nothing here.
    fn value(&mut self, schema: &Value, value: &Value) -> Value {
        let known = self.problems.len();
        let copy = match (schema["type"].as_str(), value) {
            (None, _) => return Value::Null,
            (Some("object"), Value::Object(fields)) => return self.object(schema, fields),
            (Some("array"), Value::Array(items)) => self.array(schema, items),
            (Some("string"), Value::String(text)) => {
                self.string(schema, text);
                value.clone()
            }
            (Some("integer"), Value::Number(number)) if !number.is_f64() => {
                self.integer(schema, value);
                value.clone()
            }
            (Some("boolean"), Value::Bool(_)) => value.clone(),
            (Some(wanted), _) => {
                let article = if wanted.starts_with(['a', 'i', 'o']) { "an" } else { "a" };
                self.wrong_type(&format!("{article} {wanted}"), value);
                Value::Null
            }
        };
        if self.problems.len() == known || copy.is_array() { copy } else { Value::Null }
    }

    fn object(&mut self, schema: &Value, fields: &Map<String, Value>) -> Value {
        let no_properties = Map::new();
        let properties = schema["properties"].as_object().unwrap_or(&no_properties);
        let mut copy = Map::new();
        for (name, value) in fields {
            let property = properties.get(name).or_else(|| schema.get("additionalProperties"));
            match property {
                None => self.at(name, |walk| walk.unknown(name, properties)),
                // A null field is an absent one.
                Some(_) if value.is_null() => {}
                Some(property) => {
                    let value = self.at(name, |walk| walk.value(property, value));
                    if property.get("type").is_some() {
                        copy.insert(name.clone(), value);
                    }
                }
            }
        }
        for (name, property) in properties {
            if let (None, Some(default)) = (copy.get(name), property.get("default")) {
                let default = self.at(name, |walk| walk.value(property, default));
                copy.insert(name.clone(), default);
            }
        }
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !copy.contains_key(name) {
                self.at(name, |walk| walk.problem("is required"));
            }
        }
        Value::Object(copy)
    }

    fn unknown(&mut self, name: &str, properties: &Map<String, Value>) {
        let names = || properties.keys().map(String::as_str);
        let mut why = "unknown field".to_owned();
        if let Some(meant) = near(name, names()) {
            let _ = write!(why, ", did you mean `{meant}`?");
        } else if properties.is_empty() {
            why.push_str(", nothing goes in here");
        } else {
            let _ = write!(why, ", known are {}", names().collect::<Vec<_>>().join(", "));
        }
        self.problem(why);
    }

    fn array(&mut self, schema: &Value, items: &[Value]) -> Value {
        let most =
            bound(schema, "maxItems").and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
        if items.len() > most {
            self.problem(format!("must have at most {most} items, found {}", items.len()));
        }
        let items = items.iter().take(most).enumerate();
        let copies =
            items.map(|(i, item)| self.at(&format!("[{i}]"), |walk| walk.value(&schema["items"], item)));
        Value::Array(copies.collect())
    }

    fn string(&mut self, schema: &Value, text: &str) {
        let length = i128::try_from(text.chars().count()).unwrap_or(i128::MAX);
        if let Some(most) = bound(schema, "maxLength").filter(|most| length > *most) {
            return self.problem(format!("must be at most {most} characters long, found {length}"));
        }
        if let Some(least) = bound(schema, "minLength").filter(|least| length < *least) {
            return self.problem(format!("must be at least {least} characters long, found {length}"));
        }
        if let Some(allowed) = schema["enum"].as_array()
            && !allowed.iter().any(|value| value == text)
        {
            let allowed: Vec<_> = allowed.iter().filter_map(Value::as_str).collect();
            self.problem(format!("must be {}, found `{}`", allowed.join(" or "), cut(text)));
        }
        if let Some(pattern) = schema["pattern"].as_str()
            && let Some(why) = mismatch(pattern, text)
        {
            self.problem(why);
        }
    }

    fn integer(&mut self, schema: &Value, value: &Value) {
        let Some(number) = value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from)) else {
            return self.wrong_type("an integer", value);
        };
        if let Some(least) = bound(schema, "minimum").filter(|least| number < *least) {
            self.problem(format!("must be at least {least}, found {number}"));
        }
        if let Some(most) = bound(schema, "maximum").filter(|most| number > *most) {
            self.problem(format!("must be at most {most}, found {number}"));
        }
    }
}

/// A bound of the schema: bounds are whole numbers, which Kubernetes keeps as floats.
fn bound(schema: &Value, name: &str) -> Option<i128> {
    schema[name].as_f64().map(|bound| bound as i128)
}

/// Why a text does not match a pattern: by the grammar where the pattern stands for one.
fn mismatch(pattern: &str, text: &str) -> Option<String> {
    if pattern == Duration::PATTERN {
        // Too long a duration matches the pattern; a rule in CEL refuses it.
        let error = text.parse::<Duration>().err().filter(|error| error.allowed != Duration::AT_MOST)?;
        return Some(format!("`{text}` is no duration: {error}"));
    }
    if pattern == Expression::pattern() {
        let error = text.parse::<Expression>().err()?;
        return Some(format!("`{text}` is no threshold: {error}"));
    }
    let matches = Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text));
    (!matches).then(|| format!("must match {pattern}, found `{}`", cut(text)))
}

fn cut(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(given) => format!("the boolean {given}"),
        Value::Number(given) => format!("the number {given}"),
        Value::String(given) => format!("the string `{}`", cut(given)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}
