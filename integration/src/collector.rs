//! A real OpenTelemetry Collector on loopback, with the configuration that the mesh deploys.

use std::{fs, net::SocketAddr, path::PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::{
    child_service::{ChildService, ReservedPort},
    otlp::{LogRecord, Span},
};

/// The name of its program in `.tools/mesh`.
pub const PROGRAM: &str = "otel-collector";

/// A collector that takes OTLP over HTTP and writes what it takes to files, as
/// `wasmplugin-manifests/base/observability/tracing/collector-config.yaml` has it, but for spans, which go to a file
/// too.
///
/// It can be stopped and started again at the same address. Dropping it kills it and removes its files.
#[derive(Debug)]
pub struct Collector {
    service: ChildService,
    otlp: ReservedPort,
}

impl Collector {
    /// Starts a collector and waits until it says that it is ready.
    ///
    /// # Errors
    ///
    /// When it ends, or is not ready within half a minute; the error has what it wrote.
    pub async fn start() -> Result<Self> {
        let mut collector = Self { service: ChildService::new(PROGRAM, "/")?, otlp: ReservedPort::bind()? };
        fs::create_dir_all(collector.service.file("queue"))?;
        collector.service.configure("collector-config.yaml", |document| collector.move_here(document))?;
        collector.start_again().await?;
        Ok(collector)
    }

    /// Starts one that also copies its records into a folder for each proxy, below [`archive`](Self::archive), and
    /// waits until it says that it is ready.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub async fn start_with_archive() -> Result<Self> {
        let mut collector = Self { service: ChildService::new(PROGRAM, "/")?, otlp: ReservedPort::bind()? };
        fs::create_dir_all(collector.service.file("queue"))?;
        collector.service.configure("collector-config.yaml", |document| {
            collector.move_here(document)?;
            document["exporters"]["file/archive"] = json!({
                "path": collector.archive().join("*/audit.jsonl"),
                "group_by": {"enabled": true, "resource_attribute": "service.instance.id"},
            });
            let exporters = document["service"]["pipelines"]["logs"]["exporters"].as_array_mut();
            exporters.context("the collector has no pipeline for logs")?.push(json!("file/archive"));
            Ok(())
        })?;
        collector.start_again().await?;
        Ok(collector)
    }

    /// The folder with a folder for each proxy.
    #[must_use]
    pub fn archive(&self) -> PathBuf {
        self.service.file("archive")
    }

    /// Where it takes OTLP/HTTP.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.otlp.address()
    }

    /// Its process, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.service.pid()
    }

    /// The file of its log records.
    #[must_use]
    pub fn audit_file(&self) -> PathBuf {
        self.service.file("audit.jsonl")
    }

    /// Starts it again, at the same address, with the files that it has written so far.
    ///
    /// # Errors
    ///
    /// When it is running, and as [`start`](Self::start).
    pub async fn start_again(&mut self) -> Result<()> {
        self.service.start().await
    }

    /// Stops it as an orchestrator would (SIGTERM).
    ///
    /// # Errors
    ///
    /// When it does not end within 15 s; it is then killed.
    pub async fn stop(&mut self) -> Result<()> {
        self.service.stop().await
    }

    /// Ends it at once (SIGKILL).
    ///
    /// # Errors
    ///
    /// What the operating system answered.
    pub fn kill(&mut self) -> Result<()> {
        self.service.kill()
    }

    /// The log records that it has written.
    ///
    /// # Errors
    ///
    /// When its file is not what OTLP says.
    pub fn logs(&self) -> Result<Vec<LogRecord>> {
        LogRecord::from_file(&self.service.file("audit.jsonl"))
    }

    /// The spans that it has written.
    ///
    /// # Errors
    ///
    /// When its file is not what OTLP says.
    pub fn spans(&self) -> Result<Vec<Span>> {
        Span::from_file(&self.service.file("spans.jsonl"))
    }

    /// Addresses and files of this machine.
    fn move_here(&self, document: &mut Value) -> Result<()> {
        document["receivers"]["otlp"]["protocols"] = json!({"http": {"endpoint": self.address()}});
        document["extensions"]["health_check"]["endpoint"] = json!(self.service.health());
        document["extensions"]["file_storage"] = json!({"directory": self.service.file("queue")});
        let exporters = document["exporters"].as_object_mut().context("the collector has no exporters")?;
        exporters.remove("otlp");
        let mut spans = exporters.get("file/audit").context("the collector has no exporter file/audit")?.clone();
        spans["path"] = json!(self.service.file("spans.jsonl"));
        exporters.insert("file/spans".to_owned(), spans);
        exporters["file/audit"]["path"] = json!(self.service.file("audit.jsonl"));
        document["service"]["pipelines"]["traces"]["exporters"] = json!(["file/spans"]);
        Ok(())
    }
}
