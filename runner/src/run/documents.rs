//! Reads the files of a manifest into documents, each with where it came from. Judges nothing but size and syntax:
//! what the documents mean is [`super::manifest`]'s. Start at [`read`].

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::yaml::{self, YamlError};

/// The largest file that is read, in bytes: what a `ConfigMap` can hold, thrice.
const LARGEST_FILE: u64 = 3 * 1024 * 1024;

/// One object of a manifest.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Document {
    /// The file that it stands in.
    pub(crate) file: PathBuf,
    /// The object.
    pub(crate) value: Value,
}

impl Document {
    /// The object's kind; empty where it has none.
    pub(crate) fn kind(&self) -> &str {
        self.text("/kind")
    }

    /// The object's name; empty where it has none.
    pub(crate) fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    /// A text inside the object; empty where there is none.
    pub(crate) fn text(&self, pointer: &str) -> &str {
        self.value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }
}

/// Why files cannot be read as documents.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Not there, or not allowed.
    #[error("failed to read `{}`: {source}", path.display())]
    Read {
        /// What was asked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A pipe, a device or the like.
    #[error("`{}` is neither a file nor a folder", path.display())]
    NeitherFileNorFolder {
        /// What was asked for.
        path: PathBuf,
    },
    /// Larger than a manifest can be.
    #[error("`{}` is larger than {LARGEST_FILE} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Not UTF-8.
    #[error("`{}` is not UTF-8 text: the byte at {at} is wrong", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// Bytes before the fault.
        at: usize,
    },
    /// Not YAML.
    #[error("{}:{problem}", path.display())]
    Yaml {
        /// The file.
        path: PathBuf,
        /// Line, column and fault.
        problem: YamlError,
    },
    /// A folder without any manifest.
    #[error("the folder `{}` has no file that ends with .yaml or .yml", path.display())]
    EmptyFolder {
        /// The folder.
        path: PathBuf,
    },
}

/// The documents of a file, or of all YAML files of a folder by name.
pub(crate) fn read(path: &Path) -> Result<Vec<Document>, Error> {
    let kind = fs::metadata(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    if kind.is_file() {
        return read_file(path);
    }
    if !kind.is_dir() {
        return Err(Error::NeitherFileNorFolder { path: path.to_owned() });
    }
    let files = yaml_files(path)?;
    if files.is_empty() {
        return Err(Error::EmptyFolder { path: path.to_owned() });
    }
    let mut documents = Vec::new();
    for file in files {
        documents.extend(read_file(&file)?);
    }
    Ok(documents)
}

/// The documents that lie beside a file, as far as they can be read, and what could not be.
pub(crate) fn read_beside(file: &Path) -> (Vec<Document>, Vec<Error>) {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let (mut documents, mut errors) = (Vec::new(), Vec::new());
    match yaml_files(folder) {
        Ok(files) => {
            for other in files.iter().filter(|other| other.file_name() != file.file_name()) {
                match read_file(other) {
                    Ok(more) => documents.extend(more),
                    Err(error) => errors.push(error),
                }
            }
        }
        Err(error) => errors.push(error),
    }
    (documents, errors)
}

fn yaml_files(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |source| Error::Read { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let named = path.extension().is_some_and(|end| end == "yaml" || end == "yml");
        if named && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read_file(path: &Path) -> Result<Vec<Document>, Error> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LARGEST_FILE + 1).read_to_end(&mut bytes))
        .map_err(|source| Error::Read { path: path.to_owned(), source })?;
    if LARGEST_FILE < bytes.len() as u64 {
        return Err(Error::TooLarge { path: path.to_owned() });
    }
    let text = String::from_utf8(bytes)
        .map_err(|error| Error::NotText { path: path.to_owned(), at: error.utf8_error().valid_up_to() })?;
    let values = yaml::documents(&text).map_err(|problem| Error::Yaml { path: path.to_owned(), problem })?;
    let mut documents = Vec::new();
    for value in values {
        flatten(path, value, &mut documents);
    }
    Ok(documents)
}

/// `kind: List`, as kubectl prints several objects, stands for its items.
fn flatten(file: &Path, mut value: Value, documents: &mut Vec<Document>) {
    let is_list = value.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"));
    match value.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) if is_list => {
            for item in items {
                flatten(file, item, documents);
            }
        }
        Some(items) => {
            value["items"] = items;
            documents.push(Document { file: file.to_owned(), value });
        }
        None => documents.push(Document { file: file.to_owned(), value }),
    }
}
