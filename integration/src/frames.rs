//! A body of an HTTP message that is sent frame by frame.
//!
//! Not by the `Channel` of http-body-util 0.1: when its sender goes while the body is polled, the body can end without
//! the last frames.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use anyhow::Result;
use bytes::Bytes;
use hyper::{
    HeaderMap,
    body::{Body, Frame},
};
use tokio::sync::mpsc;

/// The body: it ends when its sender has gone and all frames have been taken.
#[derive(Debug)]
pub struct Frames<E = Infallible>(mpsc::Receiver<Result<Frame<Bytes>, E>>);

/// What sends it.
#[derive(Debug)]
pub struct FrameSender<E = Infallible>(mpsc::Sender<Result<Frame<Bytes>, E>>);

/// A body and its sender; `waiting` frames at most wait to be taken.
#[must_use]
pub fn frames<E>(waiting: usize) -> (FrameSender<E>, Frames<E>) {
    let (sender, receiver) = mpsc::channel(waiting);
    (FrameSender(sender), Frames(receiver))
}

impl<E> Body for Frames<E> {
    type Data = Bytes;
    type Error = E;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, E>>> {
        self.0.poll_recv(context)
    }
}

impl<E> FrameSender<E> {
    /// Sends data.
    ///
    /// # Errors
    ///
    /// When the body is gone.
    pub async fn data(&self, data: impl Into<Bytes>) -> Result<()> {
        self.send(Ok(Frame::data(data.into()))).await
    }

    /// Sends trailers, which are the last frame.
    ///
    /// # Errors
    ///
    /// When the body is gone.
    pub async fn trailers(&self, trailers: HeaderMap) -> Result<()> {
        self.send(Ok(Frame::trailers(trailers))).await
    }

    /// Cuts the body off.
    ///
    /// # Errors
    ///
    /// When the body is gone.
    pub async fn abort(&self, error: E) -> Result<()> {
        self.send(Err(error)).await
    }

    async fn send(&self, frame: Result<Frame<Bytes>, E>) -> Result<()> {
        self.0.send(frame).await.map_err(|_| anyhow::anyhow!("the body is gone"))
    }
}
