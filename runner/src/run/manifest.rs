//! What `aiotest run PATH` is asked to carry out: one `LoadTest`, checked as a cluster would, and the files beside it.
//!
//! A manifest file finds the `ConfigMap`s of its folder; a folder is one manifest. Nothing is fetched from anywhere.
//! Start at [`load`].

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use aiotest_api::LoadTest;
use aiotest_api::check::{Problem, check};
use serde_json::{Value, json};

use super::documents::{self, Document};
use super::sources::{self, Files};

/// The name that an inline file gets.
const INLINE: &str = "aiotestfile.py";

/// A manifest that can be carried out.
#[derive(Debug)]
pub(crate) struct Manifest {
    /// What to run.
    pub(crate) load_test: LoadTest,
    /// The files that lie side by side.
    pub(crate) files: Files,
    /// Which of them is the aiotestfile.
    pub(crate) aiotestfile: String,
    /// The one file of each data set, by the set's name.
    pub(crate) data: BTreeMap<String, Files>,
    /// What was left out or means nothing here, a line each.
    pub(crate) notes: Vec<String>,
}

/// Why a manifest cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A file cannot be read as documents.
    #[error(transparent)]
    Documents(#[from] documents::Error),
    /// Nothing to run.
    #[error("`{}` holds no LoadTest; {}", path.display(), found_instead(found))]
    NoLoadTest {
        /// The manifest.
        path: PathBuf,
        /// What it holds.
        found: Vec<String>,
    },
    /// More than one thing to run.
    #[error("`{}` holds {} LoadTests, and one can be run at a time: {}", path.display(), found.len(), found.join(", "))]
    SeveralLoadTests {
        /// The manifest.
        path: PathBuf,
        /// The LoadTests.
        found: Vec<String>,
    },
    /// An object breaks the schema or a rule.
    #[error("{} `{name}` in {} is not valid:{}", kind, file.display(), indented(problems))]
    Invalid {
        /// The object's kind.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Where it stands.
        file: PathBuf,
        /// Field paths with the rules.
        problems: Vec<String>,
    },
    /// A map is not there.
    #[error("{field}: there is no ConfigMap `{name}` in {}; {}", path.display(), found_instead(found))]
    NoConfigMap {
        /// What names the map.
        field: String,
        /// The map's name.
        name: String,
        /// Where it was looked for.
        path: PathBuf,
        /// The maps that are there.
        found: Vec<String>,
    },
    /// Two maps of one name.
    #[error("{field}: ConfigMap `{name}` is defined more than once: {}", files.join(", "))]
    SeveralConfigMaps {
        /// What names the map.
        field: String,
        /// The map's name.
        name: String,
        /// Where the maps stand.
        files: Vec<String>,
    },
    /// A key is not in its map.
    #[error("{field}: ConfigMap `{name}` has no key `{key}`; {}", found_instead(found))]
    NoKey {
        /// What names the map.
        field: String,
        /// The map's name.
        name: String,
        /// The missing key.
        key: String,
        /// The keys that are there.
        found: Vec<String>,
    },
}

impl Error {
    /// Whether the manifest is well-formed and only what it refers to is missing: on a cluster it would be accepted
    /// and wait.
    pub(crate) const fn is_missing_source(&self) -> bool {
        matches!(self, Self::NoConfigMap { .. } | Self::NoKey { .. })
    }
}

/// Reads and checks the manifest at `path`, a file or a folder.
pub(crate) fn load(path: &Path) -> Result<Manifest, Error> {
    let documents = documents::read(path)?;
    let document = the_load_test(path, &documents)?;
    let load_test = check(&document.value).map_err(|problems| Error::Invalid {
        kind: "LoadTest",
        name: document.name().to_owned(),
        file: document.file.clone(),
        problems: problems.iter().map(Problem::to_string).collect(),
    })?;
    let mut notes = notes(document, &documents);
    let aiotestfile = &load_test.spec.aiotestfile;
    let (files, aiotestfile) = match (&aiotestfile.config_map, &aiotestfile.inline) {
        (Some(map), _) => {
            let field = "spec.aiotestfile.configMap".to_owned();
            let wanted = Wanted { field, name: &map.name, key: &map.key };
            (files_of_map(path, document, &wanted, &documents, &mut notes)?, map.key.clone())
        }
        (None, inline) => {
            let content = inline.clone().unwrap_or_default().into_bytes();
            (Files::from([(INLINE.to_owned(), content)]), INLINE.to_owned())
        }
    };
    let mut data = BTreeMap::new();
    for (index, set) in load_test.spec.data.iter().enumerate() {
        let (field, map) = (format!("spec.data[{index}].configMap"), &set.config_map);
        let wanted = Wanted { field, name: &map.name, key: &map.key };
        let mut file = files_of_map(path, document, &wanted, &documents, &mut notes)?;
        file.retain(|key, _| *key == map.key);
        data.insert(set.name.clone(), file);
    }
    Ok(Manifest { load_test, files, aiotestfile, data, notes })
}

/// A key of a map that the LoadTest names.
struct Wanted<'a> {
    /// Where it names it.
    field: String,
    name: &'a str,
    key: &'a str,
}

fn the_load_test<'a>(path: &Path, documents: &'a [Document]) -> Result<&'a Document, Error> {
    let load_tests: Vec<_> = documents.iter().filter(|document| document.kind() == "LoadTest").collect();
    match load_tests[..] {
        [one] => Ok(one),
        [] => {
            Err(Error::NoLoadTest { path: path.to_owned(), found: documents.iter().map(describe).collect() })
        }
        _ => Err(Error::SeveralLoadTests {
            path: path.to_owned(),
            found: load_tests.into_iter().map(describe).collect(),
        }),
    }
}

/// What is said before the run: objects that are not used, and fields that only mean something on a cluster.
fn notes(load_test: &Document, documents: &[Document]) -> Vec<String> {
    let unused =
        documents.iter().filter(|document| document.kind() != "LoadTest" && !is_config_map(document));
    let mut notes: Vec<_> = unused
        .map(|document| format!("skipped {}: only a LoadTest and ConfigMaps are used", describe(document)))
        .collect();
    for (field, pointer, why) in [
        ("spec.deadlines.results", "/spec/deadlines/results", "the report is taken as soon as it is there"),
        ("metadata.namespace", "/metadata/namespace", "nothing is created in a cluster"),
        ("status", "/status", "a run starts afresh"),
    ] {
        if load_test.value.pointer(pointer).is_some_and(|value| !value.is_null()) {
            notes.push(format!("{field} means nothing on this machine: {why}"));
        }
    }
    notes
}

/// The files of the map that the LoadTest names: out of its own manifest, or else out of the files beside it.
fn files_of_map(
    path: &Path,
    load_test: &Document,
    wanted: &Wanted<'_>,
    documents: &[Document],
    notes: &mut Vec<String>,
) -> Result<Files, Error> {
    let beside;
    let mut candidates: Vec<_> = maps_in_reach(documents, load_test).collect();
    if !candidates.iter().any(|map| map.name() == wanted.name) && path.is_file() {
        let (others, unreadable) = documents::read_beside(path);
        notes.extend(unreadable.iter().map(|error| format!("skipped a file beside the manifest: {error}")));
        beside = others;
        candidates.extend(maps_in_reach(&beside, load_test));
    }
    let named: Vec<_> = candidates.iter().filter(|map| map.name() == wanted.name).collect();
    let map = match named[..] {
        [map] => map,
        [] => {
            let found = candidates.iter().map(|map| format!("`{}`", map.name())).collect();
            let folder = if path.is_file() {
                path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
            } else {
                path
            };
            if let Some(file) = file_of_key(folder, wanted, notes) {
                return Ok(file);
            }
            let (field, name) = (wanted.field.clone(), wanted.name.to_owned());
            return Err(Error::NoConfigMap { field, name, path: folder.to_owned(), found });
        }
        _ => {
            let files = named.iter().map(|map| map.file.display().to_string()).collect();
            let (field, name) = (wanted.field.clone(), wanted.name.to_owned());
            return Err(Error::SeveralConfigMaps { field, name, files });
        }
    };
    let files = sources::files_of(&map.value).map_err(|problems| Error::Invalid {
        kind: "ConfigMap",
        name: wanted.name.to_owned(),
        file: map.file.clone(),
        problems,
    })?;
    if !files.contains_key(wanted.key) {
        let found = files.keys().map(|key| format!("`{key}`")).collect();
        let (field, name, key) = (wanted.field.clone(), wanted.name.to_owned(), wanted.key.to_owned());
        return Err(Error::NoKey { field, name, key, found });
    }
    Ok(files)
}

/// What a map of the one file that is named like the wanted key would hold, where that lies in `folder`: so it is
/// written in an editor, and only a cluster needs a map of it.
fn file_of_key(folder: &Path, wanted: &Wanted<'_>, notes: &mut Vec<String>) -> Option<Files> {
    let (name, key) = (wanted.name, wanted.key);
    let content = fs::read_to_string(folder.join(key)).ok()?;
    let files = sources::files_of(&json!({"data": {key: content}})).ok()?;
    notes.push(format!(
        "ConfigMap `{name}` is the file {key} here; a cluster is given it by \
         `kubectl create configmap {name} --from-file={key}`"
    ));
    Some(files)
}

/// The maps that the LoadTest could see on a cluster: those of its own namespace. One that names no namespace goes
/// wherever it is applied.
fn maps_in_reach<'a>(
    documents: &'a [Document],
    load_test: &'a Document,
) -> impl Iterator<Item = &'a Document> {
    let own = load_test.text("/metadata/namespace");
    documents.iter().filter(move |document| {
        let namespace = document.text("/metadata/namespace");
        is_config_map(document) && (own.is_empty() || namespace.is_empty() || own == namespace)
    })
}

fn is_config_map(document: &Document) -> bool {
    document.kind() == "ConfigMap" && document.value.get("apiVersion").and_then(Value::as_str) == Some("v1")
}

fn describe(document: &Document) -> String {
    let file = document.file.display();
    match (document.kind(), document.name()) {
        ("", _) => format!("a document without a kind in {file}"),
        (kind, "") => format!("{kind} without a name in {file}"),
        (kind, name) => format!("{kind} `{name}` in {file}"),
    }
}

fn found_instead(found: &[String]) -> String {
    if found.is_empty() {
        "there is none at all".to_owned()
    } else {
        format!("there is {}", found.join(", "))
    }
}

fn indented(lines: &[String]) -> String {
    lines.iter().flat_map(|line| ["\n  ", line]).collect()
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
