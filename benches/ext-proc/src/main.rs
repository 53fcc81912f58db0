//! `careplane-ext-proc POLICY.json`: the contender `ext_proc`: what careplane decides, decided in a server beside the
//! proxy.
//!
//! Prints the address that it listens on, and serves until it is killed. It classifies and places with careplane's own
//! policy crate, so its decisions are the same; it makes no pseudonyms and no chain of records.

#![forbid(unsafe_code)]

mod decision;

use std::{io::Write, pin::Pin};

use anyhow::{Context, Result};
use careplane_policy::Policy;
use envoy_types::pb::envoy::service::ext_proc::v3::{
    ProcessingRequest, ProcessingResponse,
    external_processor_server::{ExternalProcessor, ExternalProcessorServer},
};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::{
    Stream,
    wrappers::{ReceiverStream, TcpListenerStream},
};
use tonic::{Request, Response, Status, Streaming, transport::Server};

struct Processor {
    policy: std::sync::Arc<Policy>,
}

#[tonic::async_trait]
impl ExternalProcessor for Processor {
    type ProcessStream = Pin<Box<dyn Stream<Item = Result<ProcessingResponse, Status>> + Send>>;

    /// One HTTP request: its headers come, and later those of its response.
    async fn process(
        &self,
        request: Request<Streaming<ProcessingRequest>>,
    ) -> Result<Response<Self::ProcessStream>, Status> {
        let mut incoming = request.into_inner();
        let policy = std::sync::Arc::clone(&self.policy);
        let (answers, stream) = mpsc::channel(2);
        tokio::spawn(async move {
            let mut decision = None;
            while let Ok(Some(message)) = incoming.message().await {
                let answer = decision::answer(&policy, &message, &mut decision);
                // When the proxy has gone, nothing waits for an answer.
                if answers.send(Ok(answer)).await.is_err() {
                    break;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let file = std::env::args().nth(1).context("usage: careplane-ext-proc POLICY.json")?;
    let document = std::fs::read(&file).with_context(|| format!("cannot read {file}"))?;
    let policy = Policy::from_json(&document).map_err(|problems| anyhow::anyhow!("{file}: {problems}"))?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("{}", listener.local_addr()?);
    std::io::stdout().flush()?;
    let processor = Processor { policy: policy.into() };
    Server::builder()
        .tcp_nodelay(true)
        .add_service(ExternalProcessorServer::new(processor))
        .serve_with_incoming(TcpListenerStream::new(listener))
        .await?;
    Ok(())
}
