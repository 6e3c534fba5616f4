//! Where `--report-json` writes: never half a report, and a place that cannot be written is refused before the run.
//! Start at [`ReportFile::at`].

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use aiotest_core::report::Report;
use tempfile::NamedTempFile;

/// Why a report cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("--report-json: failed to write `{}`: {source}", path.display())]
pub(crate) struct Error {
    path: PathBuf,
    source: io::Error,
}

/// A place for a report.
#[derive(Debug)]
pub(crate) struct ReportFile {
    path: PathBuf,
    /// A new file in the same folder, which takes the place's name once it is whole; `None` for what is no file, such
    /// as `/dev/stdout`.
    fresh: Option<NamedTempFile>,
}

impl ReportFile {
    /// A place that can be written now.
    pub(crate) fn at(path: &Path) -> Result<Self, Error> {
        let fresh = match fs::metadata(path) {
            Ok(there) if there.is_dir() => Err(io::Error::from(io::ErrorKind::IsADirectory)),
            Ok(there) if !there.is_file() => Ok(None),
            _ => {
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
                // As any new file is, before the umask; a temporary one is its owner's alone otherwise.
                let open = fs::Permissions::from_mode(0o666);
                let mut name = tempfile::Builder::new();
                let name = name.prefix(".report-").suffix(".json").permissions(open);
                name.tempfile_in(folder.unwrap_or(Path::new("."))).map(Some)
            }
        };
        match fresh {
            Ok(fresh) => Ok(Self { path: path.to_owned(), fresh }),
            Err(source) => Err(Error { path: path.to_owned(), source }),
        }
    }

    /// Writes the report, readable by whoever may read the folder's other files.
    pub(crate) fn write(self, report: &Report) -> Result<(), Error> {
        let path = self.path;
        let attempt = || -> io::Result<()> {
            let mut text = serde_json::to_vec_pretty(report)?;
            text.push(b'\n');
            let Some(mut fresh) = self.fresh else {
                return OpenOptions::new().write(true).open(&path)?.write_all(&text);
            };
            fresh.write_all(&text)?;
            fresh.as_file().sync_all()?;
            fresh.persist(&path)?;
            Ok(())
        };
        attempt().map_err(|source| Error { path: path.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_takes_its_place_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        fs::write(&path, "before").unwrap();
        let file = ReportFile::at(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "before", "until there is a report");
        let report = Report { version: 1, ..Report::default() };
        file.write(&report).unwrap();
        assert_eq!(serde_json::from_slice::<Report>(&fs::read(&path).unwrap()).unwrap(), report);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
        let other = folder.path().join("other");
        fs::write(&other, "").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&path), mode(&other), "whoever may read other new files may read it");
    }

    #[test]
    fn a_run_without_a_report_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        drop(ReportFile::at(&folder.path().join("report.json")).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let absent = ReportFile::at(&folder.path().join("absent/report.json")).unwrap_err().to_string();
        assert!(
            absent.starts_with("--report-json: failed to write `") && absent.contains("No such file"),
            "{absent}"
        );
        assert!(ReportFile::at(folder.path()).unwrap_err().to_string().contains("is a directory"));
    }
}
