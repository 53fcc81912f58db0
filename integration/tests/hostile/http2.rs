//! HTTP/2 as frames (RFC 9113) with headers that are not compressed (RFC 7541, literals without indexing): what no
//! client library would write.

use std::net::SocketAddr;

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{End, Hostile, Wire, http1::Header};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// The pseudo-headers of GET /elsewhere.
pub const GET: [Header<'static>; 4] =
    [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/elsewhere")];

/// A frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame is small").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Headers as a block of literals.
pub fn block(headers: &[Header<'_>]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in headers {
        block.push(0);
        text(&mut block, name);
        text(&mut block, value);
    }
    block
}

fn text(block: &mut Vec<u8>, text: &[u8]) {
    // An integer with a prefix of seven bits.
    match text.len() {
        short @ 0..127 => block.push(u8::try_from(short).expect("below 127")),
        long => {
            block.push(127);
            let mut rest = long - 127;
            while rest >= 128 {
                block.push(u8::try_from(rest % 128).expect("below 128") | 128);
                rest /= 128;
            }
            block.push(u8::try_from(rest).expect("below 128"));
        }
    }
    block.extend_from_slice(text);
}

/// The frames of a block of headers on stream 1: one, and as many continuations as it takes.
pub fn headers(flags: u8, headers: &[Header<'_>]) -> Vec<u8> {
    let block = block(headers);
    let chunks: Vec<&[u8]> = if block.is_empty() { vec![&[]] } else { block.chunks(16_384).collect() };
    let last = chunks.len() - 1;
    let kind = |index| if index == 0 { HEADERS } else { CONTINUATION };
    let flags = |index| (if index == 0 { flags } else { 0 }) | (if index == last { END_HEADERS } else { 0 });
    chunks.iter().enumerate().flat_map(|(index, chunk)| frame(kind(index), flags(index), 1, chunk)).collect()
}

/// GET /elsewhere with these headers added.
pub fn get(name: impl Into<String>, added: &[Header<'_>]) -> Hostile {
    raw(name, headers(END_STREAM, &[&GET, added].concat()))
}

/// A request of exactly these headers, pseudo-headers among them.
pub fn only(name: impl Into<String>, all: &[Header<'_>]) -> Hostile {
    raw(name, headers(END_STREAM, all))
}

/// These frames.
pub fn raw(name: impl Into<String>, frames: impl AsRef<[u8]>) -> Hostile {
    Hostile { name: format!("h2: {}", name.into()), wire: Wire::Http2(frames.as_ref().to_vec()) }
}

/// Sends `frames`, and says how stream 1 ended.
pub async fn exchange(address: SocketAddr, frames: &[u8]) -> Result<End> {
    let (status, body) = answer(address, frames).await?;
    let refused = String::from_utf8_lossy(&body).contains("urn:problem-type:careplane:");
    Ok(match status {
        None => End::Closed,
        Some(status) if refused => End::Refused(status),
        Some(status) => End::Status(status),
    })
}

/// Sends the preface, settings and `frames`, and reads until stream 1 or the connection ends: its status and its body.
pub async fn answer(address: SocketAddr, frames: &[u8]) -> Result<(Option<u16>, Vec<u8>)> {
    let mut stream = TcpStream::connect(address).await?;
    let bytes = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(SETTINGS, 0, 0, b""), frames].concat();
    let (mut reader, mut writer) = stream.split();
    let write = async {
        let _ = writer.write_all(&bytes).await;
        std::future::pending::<()>().await;
    };
    let read = async {
        let (mut status, mut body) = (None, Vec::new());
        // An error is a closed connection.
        while let Ok((kind, flags, id, payload)) = read_frame(&mut reader).await {
            match (kind, id) {
                (HEADERS, 1) => status = status_of(&payload).filter(|status| *status >= 200).or(status),
                (DATA, 1) => body.extend(payload),
                // A ping is answered behind everything that was sent before it.
                (RST_STREAM, 1) | (PING | GOAWAY, _) => break,
                _ => {}
            }
            if id == 1 && matches!(kind, HEADERS | DATA) && flags & END_STREAM != 0 {
                break;
            }
        }
        (status, body)
    };
    Ok(tokio::select! {
        () = write => unreachable!("it never ends"),
        answer = read => answer,
    })
}

async fn read_frame(reader: &mut (impl AsyncReadExt + Unpin)) -> std::io::Result<(u8, u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    reader.read_exact(&mut head).await?;
    let [a, b, c, kind, flags, id @ ..] = head;
    let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
    reader.read_exact(&mut payload).await?;
    Ok((kind, flags, u32::from_be_bytes(id) & 0x7fff_ffff, payload))
}

/// The status that a block of response headers begins with (RFC 7541, appendix A, entries 8 to 14).
fn status_of(block: &[u8]) -> Option<u16> {
    // The size of the table may be changed first.
    let block = &block[block.iter().take_while(|byte| (0x20..0x40).contains(*byte)).count()..];
    match block {
        [0x88, ..] => Some(200),
        [0x89, ..] => Some(204),
        [0x8a, ..] => Some(206),
        [0x8b, ..] => Some(304),
        [0x8c, ..] => Some(400),
        [0x8d, ..] => Some(404),
        [0x8e, ..] => Some(500),
        // A literal with the name of entry 8 to 14, three digits, as they are or in Huffman's code.
        [first, 3, digits @ ..] if is_status_name(*first) => std::str::from_utf8(digits.get(..3)?).ok()?.parse().ok(),
        [first, length, coded @ ..] if is_status_name(*first) && length & 0x80 != 0 => {
            huffman_digits(coded.get(..usize::from(length & 0x7f))?)
        }
        _ => None,
    }
}

fn is_status_name(byte: u8) -> bool {
    (0x08..=0x0e).contains(&byte) || (0x48..=0x4e).contains(&byte)
}

/// Three digits in the code of RFC 7541, appendix B: 0 to 2 are 00000 to 00010, 3 to 9 are 011001 to 011111.
fn huffman_digits(coded: &[u8]) -> Option<u16> {
    let bits = coded.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
    let mut left = coded.len() * 8;
    let mut take = |count: usize| {
        left = left.checked_sub(count)?;
        u16::try_from(bits >> left & ((1 << count) - 1)).ok()
    };
    let mut number = 0;
    for _ in 0..3 {
        let five = take(5)?;
        let digit = if five <= 2 { five } else { ((five << 1) | take(1)?).checked_sub(0b01_1001)? + 3 };
        number = number * 10 + digit;
    }
    Some(number)
}
