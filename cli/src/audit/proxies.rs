//! The proxies that should be on record.

use std::path::PathBuf;

use super::input::text;

#[derive(clap::Args)]
pub struct ProxiesArguments {
    /// The proxies that should be on record, one per line: a node id, POD.NAMESPACE or POD; `*` is any text, and a line
    /// with `#` a comment
    #[arg(long, value_name = "FILE")]
    proxies: Vec<PathBuf>,
}

impl ProxiesArguments {
    /// The files that it reads.
    pub fn files(&self) -> &[PathBuf] {
        &self.proxies
    }

    /// The proxies. `inputs` are what the command reads beside them.
    pub fn read(&self, inputs: &[PathBuf]) -> anyhow::Result<Vec<String>> {
        let wanting = self.proxies.iter().chain(inputs).filter(|path| path.as_os_str() == "-").count();
        let takes_stdin = self.proxies.iter().any(|path| path.as_os_str() == "-");
        anyhow::ensure!(
            !takes_stdin || wanting == 1,
            "the proxies and something else both want the standard input: give the proxies as a file"
        );
        let mut proxies = Vec::new();
        for path in &self.proxies {
            let text = text(path)?;
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
            proxies.extend(lines.map(str::to_owned));
        }
        Ok(proxies)
    }
}
