//! Every input of the corpus, through its target: what was found once is not found again.

use std::fs;
use std::path::{Path, PathBuf};

use careplane_fuzz::{TARGETS, target};

fn corpus(name: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn replay(name: &str) {
    let (_, run) = target(name).unwrap();
    let files = corpus(name);
    assert!(!files.is_empty(), "{name} has no corpus");
    for file in files {
        let data = fs::read(&file).unwrap();
        let outcome = std::panic::catch_unwind(|| run(&data));
        assert!(outcome.is_ok(), "{} breaks {name}", file.display());
    }
}

macro_rules! replays {
    ($($name:ident),*) => {
        $(#[test]
        fn $name() {
            replay(stringify!($name));
        })*

        #[test]
        fn every_target_is_replayed() {
            let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

replays!(policy, path, headers, traceparent, claims, grants, directory, collector, record);

#[test]
fn a_target_that_is_none_is_told_what_there_is() {
    assert!(target("paths").unwrap_err().contains("expected one of policy, path, "));
}
