//! HTTP/1 as bytes: what is sent is what was written, and the answer is read until it is complete.

use std::net::SocketAddr;

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{End, Hostile, Wire, support::status};

/// A header as bytes.
pub type Header<'a> = (&'a [u8], &'a [u8]);

/// A request to be written; says `connection: close`, so that the connection ends with it.
pub fn request(line: impl AsRef<[u8]>, headers: &[Header<'_>], body: &[u8]) -> Vec<u8> {
    let mut bytes = [line.as_ref(), b"\r\nhost: a\r\n"].concat();
    for (name, value) in headers {
        bytes.extend([name, &b": "[..], value, b"\r\n"].concat());
    }
    bytes.extend([b"connection: close\r\n\r\n", body].concat());
    bytes
}

/// GET with these headers.
pub fn get(name: impl Into<String>, path: &str, headers: &[Header<'_>]) -> Hostile {
    Hostile { name: name.into(), wire: Wire::Http1(request(format!("GET {path} HTTP/1.1"), headers, b"")) }
}

/// These bytes.
pub fn raw(name: impl Into<String>, bytes: impl AsRef<[u8]>) -> Hostile {
    Hostile { name: name.into(), wire: Wire::Http1(bytes.as_ref().to_vec()) }
}

/// These bytes, and then the caller hangs up.
pub fn cut(name: impl Into<String>, bytes: impl AsRef<[u8]>) -> Hostile {
    Hostile { name: name.into(), wire: Wire::Http1Cut(bytes.as_ref().to_vec()) }
}

/// Sends `bytes`, and says how the answer ended.
pub async fn exchange(address: SocketAddr, bytes: &[u8], hang_up: bool) -> Result<End> {
    Ok(end(&answer(address, bytes, hang_up).await?))
}

/// Sends `bytes` and reads until the answer is complete or the connection is closed.
pub async fn answer(address: SocketAddr, bytes: &[u8], hang_up: bool) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    let (mut reader, mut writer) = stream.split();
    let write = async {
        // Envoy may close before it has read everything.
        let _ = writer.write_all(bytes).await;
        if hang_up {
            let _ = writer.shutdown().await;
        }
        std::future::pending::<()>().await;
    };
    let read = async {
        let mut answer = Vec::new();
        let mut buffer = vec![0; 65_536];
        while let Ok(length @ 1..) = reader.read(&mut buffer).await {
            answer.extend_from_slice(&buffer[..length]);
            if !hang_up && is_complete(&answer) {
                break;
            }
        }
        answer
    };
    Ok(tokio::select! {
        () = write => unreachable!("it never ends"),
        answer = read => answer,
    })
}

fn end(answer: &[u8]) -> End {
    let text = String::from_utf8_lossy(answer);
    let final_answer = text.strip_prefix("HTTP/1.1 100 Continue\r\n\r\n").unwrap_or(&text);
    match status(final_answer.as_bytes()) {
        None => End::Closed,
        Some(code) if text.contains("application/problem+json") => End::Refused(code),
        Some(code) => End::Status(code),
    }
}

/// Whether there is a final answer with all of its body.
fn is_complete(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let text = text.strip_prefix("HTTP/1.1 100 Continue\r\n\r\n").unwrap_or(&text);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    // Without a length it ends with the connection.
    length.is_some_and(|length| body.len() >= length)
}
