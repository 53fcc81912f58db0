//! `careplane playground`: one page on which a policy is edited and tried, for a browser without a network.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail, ensure};

use crate::input::{self, STDIN};
use crate::out;

/// The page, as `make playground` built it before this program.
#[cfg(playground)]
const PAGE: Option<&str> = Some(include_str!("../../playground/page/playground.html"));
#[cfg(not(playground))]
const PAGE: Option<&str> = None;

/// Where the page expects a policy, as a JSON text; `null` stands for its example.
const GIVEN: &str = r#"<script type="application/json" id="given">null</script>"#;

#[derive(clap::Args)]
pub struct Arguments {
    /// Where the page is written; `-` is the standard output
    #[arg(value_name = "FILE", default_value = "playground.html")]
    output: PathBuf,
    /// The policy to begin with, or a manifest with one inside; default: an example
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Opens the page in the browser
    #[arg(long)]
    open: bool,
}

/// Writes the page.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Some(page) = PAGE else {
        bail!("this careplane was built without the page: run `make playground`, then build careplane again")
    };
    let page = match &arguments.policy {
        Some(path) => with_policy(page, path)?,
        None => page.to_owned(),
    };
    if arguments.output.as_os_str() == STDIN {
        ensure!(!arguments.open, "--open needs a file: expected its name instead of -");
        out::print(&page)?;
        return Ok(ExitCode::SUCCESS);
    }
    let shown = arguments.output.display();
    std::fs::write(&arguments.output, page).with_context(|| format!("{shown} cannot be written"))?;
    if arguments.open {
        open(&arguments.output)?;
    } else {
        out::print(&format!("{shown}: open it in a browser; it needs no network\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn with_policy(page: &str, path: &Path) -> anyhow::Result<String> {
    let text = input::read_text(path)?;
    // No text can end the element that it is in.
    let json = serde_json::to_string(&text)?.replace('<', "\\u003c");
    ensure!(page.contains(GIVEN), "the page has no place for a policy");
    Ok(page.replace(GIVEN, &GIVEN.replace("null", &json)))
}

fn open(page: &Path) -> anyhow::Result<()> {
    let program = match std::env::consts::OS {
        "macos" => "open",
        "windows" => "explorer",
        _ => "xdg-open",
    };
    let page = page.canonicalize()?;
    let status = Command::new(program).arg(&page).status();
    let status = status.with_context(|| format!("{program} cannot be run: open {} in a browser", page.display()))?;
    // Windows' own explorer ends with 1 when all is well.
    ensure!(status.success() || program == "explorer", "{program} failed: open {} in a browser", page.display());
    Ok(())
}
