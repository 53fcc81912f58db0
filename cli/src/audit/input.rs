//! Records, from wherever they ended up.

use std::io;
use std::path::PathBuf;

use careplane_evidence::Record;
use careplane_evidence::source::{Source, Way};

/// The unreadable records that are told of one by one.
const TOLD_MAX: u64 = 10;

/// What was read.
#[derive(Debug, Default)]
pub struct Read {
    /// Records.
    pub records: u64,
    /// What has the marks of a record and is none.
    pub broken: u64,
}

/// Hands out the records in `paths`, in order. What cannot be read is counted, and `told` of on the standard error, with its place.
pub fn read(
    paths: &[PathBuf],
    told: bool,
    mut found: impl FnMut(&Record<'_>, Way) -> anyhow::Result<()>,
) -> anyhow::Result<Read> {
    let mut read = Read::default();
    for source in Source::expand(paths)? {
        source.read(|item| {
            let (place, record) = match item {
                Ok(item) => {
                    (item.place, Record::parse(item.text).map(|record| (record, item.way)).map_err(|it| it.to_string()))
                }
                Err(broken) => (broken.place, Err(broken.why)),
            };
            match record {
                Ok((record, way)) => {
                    found(&record, way).map_err(|error| io::Error::other(format!("{place}: {error:#}")))?;
                    read.records += 1;
                }
                Err(why) => {
                    read.broken += 1;
                    if told && read.broken <= TOLD_MAX {
                        eprintln!("careplane: {place}: not an audit record: {why}");
                    }
                }
            }
            Ok(())
        })?;
    }
    if told && read.broken > TOLD_MAX {
        eprintln!("careplane: and {} more that are no audit records", read.broken - TOLD_MAX);
    }
    anyhow::ensure!(
        read.records > 0,
        "no audit record in {}: expected lines of an access log, of a collector or of a proxy's log",
        paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    );
    Ok(read)
}
