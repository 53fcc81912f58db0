//! `careplane image`: the module as an OCI image: built, pushed to a registry, and named in the manifests.

mod digest;
mod forms;
mod layout;
mod pin;
mod provenance;
mod referrers;
mod registry;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use oci_client::manifest::ImageIndexEntry;

use crate::out;
use digest::sha256;
use forms::Form;
use layout::Layout;
pub use pin::addressed;
pub use registry::Address;

#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Writes a module as an OCI image layout, in both forms that Istio takes: the same module, the same digests
    Build {
        /// The module
        #[arg(long, value_name = "FILE")]
        module: PathBuf,
        /// The directory of the layout
        #[arg(long, value_name = "DIR")]
        output: PathBuf,
        /// Further annotations, such as org.opencontainers.image.source=https://…
        #[arg(long = "annotation", value_name = "KEY=VALUE", value_parser = annotation)]
        annotations: Vec<(String, String)>,
        /// The checkout that the module was built from: its commit, lock file and toolchain go with the image, as SLSA
        /// provenance
        #[arg(long, value_name = "DIR")]
        source: Option<PathBuf>,
        /// The CycloneDX bill of materials of the module, to go with the image
        #[arg(long, value_name = "FILE")]
        sbom: Option<PathBuf>,
    },
    /// Pushes an image of a layout, and prints the address to pin. Credentials are those of `docker login`
    Push {
        /// The directory of the layout
        #[arg(long, value_name = "DIR")]
        layout: PathBuf,
        /// Which form: an image that any registry takes, or an artifact with the bare module
        #[arg(long, value_enum, default_value_t = Form::Compat)]
        form: Form,
        /// HTTP instead of HTTPS, for a registry on this machine
        #[arg(long)]
        plain_http: bool,
        /// Where to: oci://registry/repository:tag
        address: Address,
    },
    /// Writes an image with its digest into every manifest that names the image, whatever registry, tag or digest it
    /// has there
    Pin {
        /// The folder of the manifests
        #[arg(long, value_name = "DIR")]
        manifests: PathBuf,
        /// What `careplane image push` printed: oci://registry/repository:tag@sha256:…
        address: Address,
    },
}

/// Exit code 0; what went wrong is for the caller to print.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    match &arguments.command {
        Command::Build { module, output, annotations, source, sbom } => {
            build(module, output, annotations, source.as_deref(), sbom.as_deref())?;
        }
        Command::Push { layout, form, plain_http, address } => {
            let pinned = registry::push(&Layout::open(layout)?, *form, address, *plain_http)?;
            out::print(&format!("{pinned}\n"))?;
        }
        Command::Pin { manifests, address } => {
            for change in pin::pin(manifests, address)? {
                out::print(&format!("{change}\n"))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn build(
    module: &Path,
    output: &Path,
    annotations: &[(String, String)],
    source: Option<&Path>,
    sbom: Option<&Path>,
) -> Result<()> {
    let bytes = std::fs::read(module).with_context(|| format!("cannot read {}", module.display()))?;
    anyhow::ensure!(
        bytes.starts_with(b"\0asm"),
        "{} is not a WebAssembly module: expected a file that `make build` wrote to dist/",
        module.display()
    );
    let title = module.file_stem().and_then(|stem| stem.to_str()).context("the module has no name")?;
    let mut all = forms::annotations(title);
    all.extend(annotations.iter().cloned());
    // What is said about the module, by what kind of thing it is. Read before anything is written.
    let mut said = Vec::new();
    if let Some(directory) = source {
        let statement = provenance::Source::read(directory)?.statement(&format!("{title}.wasm"), &sha256(&bytes));
        said.push((provenance::MEDIA_TYPE, serde_json::to_vec(&statement)?));
    }
    if let Some(file) = sbom {
        let bill = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        referrers::check_bill(&bill, &bytes).with_context(|| file.display().to_string())?;
        said.push((referrers::SBOM, bill));
    }

    let layout = Layout::create(output)?;
    let images = Form::ALL.iter().map(|form| form.write(&layout, &bytes, &all)).collect::<Result<Vec<_>>>()?;
    for (form, image) in Form::ALL.iter().zip(&images) {
        out::print(&format!("{:<9} {}\n", form.name(), image.digest))?;
    }
    let about = |image: &ImageIndexEntry| {
        let attached = said.iter().map(|(kind, content)| referrers::attach(&layout, image, kind, content));
        attached.collect::<Result<Vec<_>>>()
    };
    let referrers = images.iter().map(about).collect::<Result<Vec<_>>>()?;
    layout.finish(images.into_iter().chain(referrers.into_iter().flatten()).collect())
}

fn annotation(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}
