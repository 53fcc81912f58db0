//! `careplane playground`: the page that it writes. `make playground` builds it; a program without it says so.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const GIVEN: &str = r#"<script type="application/json" id="given">"#;

fn careplane(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_careplane"))
        .current_dir(folder)
        .arg("playground")
        .args(arguments)
        .output()
        .unwrap()
}

fn is_built() -> bool {
    let page: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../playground/page/playground.html");
    page.exists()
}

#[test]
fn the_page_begins_with_an_example_or_with_a_policy_of_ones_own() {
    let folder = tempfile::tempdir().unwrap();
    let output = careplane(folder.path(), &[]);
    if !is_built() {
        assert_eq!(output.status.code(), Some(2));
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains("run `make playground`"), "{error}");
        return;
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let page = std::fs::read_to_string(folder.path().join("playground.html")).unwrap();
    assert!(page.contains(&format!("{GIVEN}null</script>")));

    // Nothing in it can end the element that it is in.
    let policy = "version: careplane/v1\n# \"</script><script>alert(1)</script>\"\n";
    std::fs::write(folder.path().join("mine.yaml"), policy).unwrap();
    let output = careplane(folder.path(), &["--policy", "mine.yaml", "-"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let page = String::from_utf8(output.stdout).unwrap();
    let (_, rest) = page.split_once(GIVEN).unwrap();
    let (given, _) = rest.split_once("</script>").unwrap();
    assert_eq!(serde_json::from_str::<String>(given).unwrap(), policy);
}
