//! What a measurement was made on.

use std::fs;

use serde::Serialize;

use crate::{process::Cores, running::ENVOY};

/// The machine and the programs.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// The model of the processor, as Linux has it.
    pub processor: String,
    /// How many cores.
    pub cores: usize,
    /// The kernel.
    pub kernel: String,
    /// The cores of each program.
    pub division: String,
    /// The Envoy that is measured.
    pub envoy: String,
    /// The size of `dist/careplane.wasm`, in bytes.
    pub module: u64,
    /// The command that measured.
    pub command: String,
}

// === impl Machine ===

impl Machine {
    /// This one.
    #[must_use]
    pub fn here(cores: &Cores, command: &str) -> Self {
        let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
        let processor = read("/proc/cpuinfo");
        let processor = processor.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let module = careplane_integration::workspace::dist().join("careplane.wasm");
        Self {
            processor: processor.map_or("unknown", |(_, model)| model.trim()).to_owned(),
            cores: fs::read_to_string("/proc/stat")
                .unwrap_or_default()
                .lines()
                .filter(|line| line.starts_with("cpu"))
                .count()
                .saturating_sub(1),
            kernel: format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
            division: cores.describe(),
            envoy: format!("{ENVOY}, one worker"),
            module: fs::metadata(module).map_or(0, |file| file.len()),
            command: command.to_owned(),
        }
    }

    /// As a paragraph of Markdown.
    #[must_use]
    pub fn paragraph(&self) -> String {
        format!(
            "Measured by `{}` on {} cores of {}, {}. {}. Envoy {}. The module has {} bytes.\n",
            self.command, self.cores, self.processor, self.kernel, self.division, self.envoy, self.module
        )
    }
}
