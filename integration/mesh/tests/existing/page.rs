//! The commands of `docs/existing-mesh.md`, as a person would copy them.

use std::fs;

use anyhow::{Context, Result, bail, ensure};
use careplane_integration::workspace;

/// A part of the page below one heading.
#[derive(Debug, Default)]
pub struct Section {
    pub heading: String,
    pub blocks: Vec<Block>,
}

/// A block of code.
#[derive(Debug)]
pub enum Block {
    /// To be run.
    Shell(String),
    /// To be added to the meshConfig.
    Yaml(String),
}

/// Every section that has code in it, in the order of the page.
pub fn read() -> Result<Vec<Section>> {
    let page = fs::read_to_string(workspace::root().join("docs/existing-mesh.md"))?;
    let mut sections = Vec::new();
    let mut section = Section::default();
    let mut open: Option<(String, String)> = None;
    for line in page.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => open = Some((language.to_owned(), String::new())),
            (Some(_), Some(_)) => {
                let (language, text) = open.take().context("no block is open")?;
                section.blocks.push(match language.as_str() {
                    "sh" => Block::Shell(text),
                    "yaml" => Block::Yaml(text),
                    other => bail!("a block of {other:?} under {:?}: is it to be run?", section.heading),
                });
            }
            (Some((_, text)), None) => *text += &format!("{line}\n"),
            (None, None) => {
                if let Some(heading) = line.strip_prefix("## ") {
                    sections.push(std::mem::take(&mut section));
                    section.heading = heading.to_owned();
                }
            }
        }
    }
    sections.push(section);
    sections.retain(|section| !section.blocks.is_empty());
    ensure!(open.is_none(), "a block is not closed");
    Ok(sections)
}

/// The names that a block of assignments assigns.
pub fn assigned(block: &str) -> Vec<&str> {
    block.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect()
}
