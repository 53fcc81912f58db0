//! What a source is written in, told by its first bytes and not by its name: text in UTF-8 or UTF-16, plain, gzip or
//! zstd.

use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};

use encoding_rs::{Decoder, Encoding, UTF_16BE, UTF_16LE};
use flate2::bufread::GzDecoder;
use memchr::memmem;
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

use super::line::SCHEMA;

/// What is read of a packed source at a time, in bytes.
const BUFFER: usize = 256 << 10;
/// How many bytes show the format of a source: the mark of a tar archive is at 257.
const HEAD: usize = 512;
/// How many packings can be within each other.
const NESTED: u32 = 3;
const UTF8_BOM: &[u8] = b"\xef\xbb\xbf";
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Packings that are not unpacked here: how they begin, and what unpacks them.
const REFUSED: [(&[u8], &str, &str); 10] = [
    (b"\xfd7zXZ\0", "xz", "xz -dc"),
    (b"BZh", "bzip2", "bzip2 -dc"),
    (b"\x04\x22\x4d\x18", "lz4", "lz4 -dc"),
    (b"\xff\x06\0\0sNaPpY", "snappy", "snzip -dc"),
    (b"PK\x03\x04", "zip", "unzip -p"),
    (b"7z\xbc\xaf\x27\x1c", "7z", "7z x -so"),
    (b"PAR1", "Parquet", "its own tool, as JSON lines"),
    (b"Obj\x01", "Avro", "its own tool, as JSON lines"),
    (b"ORC", "ORC", "its own tool, as JSON lines"),
    (b"LPKSHHRH", "a journal of systemd", "journalctl --file FILE --all -o cat"),
];

const UTF8_WITHIN: &str =
    "there is a record in UTF-8 within a file in UTF-16: convert the other part (iconv -f UTF-16 -t UTF-8)";

type Reader<'s> = Box<dyn Read + Send + 's>;

/// The text of a source, in UTF-8.
pub(super) fn text(reader: Reader<'_>) -> io::Result<Reader<'_>> {
    unpack(reader, NESTED)
}

fn unpack(mut reader: Reader<'_>, nested: u32) -> io::Result<Reader<'_>> {
    let mut head = Vec::with_capacity(HEAD);
    reader.by_ref().take(HEAD as u64).read_to_end(&mut head)?;
    // Letters alone are no mark: a log can begin with the word ORCA.
    if !is_text(&head) {
        if let Some((_, what, how)) = REFUSED.iter().find(|(begin, ..)| head.starts_with(begin)) {
            return Err(refusal(what, how));
        }
        if head.get(257..262) == Some(b"ustar") {
            return Err(refusal("a tar archive", "tar -xO"));
        }
    }
    let is_packed = head.starts_with(&[0x1f, 0x8b]) || is_zstd(&head);
    if is_packed && nested == 0 {
        return Err(refusal("packed more than three times", "its own tools"));
    }
    let utf16 = utf16(&head);
    let is_gzip = head.starts_with(&[0x1f, 0x8b]);
    let bom = if head.starts_with(UTF8_BOM) { UTF8_BOM.len() as u64 } else { 0 };
    let mut whole = Cursor::new(head);
    whole.set_position(bom);
    let whole = whole.chain(reader);
    if is_gzip {
        let unpacked = Gzip { member: Some(GzDecoder::new(BufReader::with_capacity(BUFFER, whole))) };
        return unpack(Box::new(unpacked), nested - 1);
    }
    if is_packed {
        let unpacked = Zstd { frame: None, rest: Some(BufReader::with_capacity(BUFFER, whole)) };
        return unpack(Box::new(unpacked), nested - 1);
    }
    Ok(match utf16 {
        Some(encoding) => Box::new(Utf16::new(Box::new(whole), encoding)),
        None => Box::new(whole),
    })
}

fn refusal(what: &str, how: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("this is {what}, which is not read: unpack it first ({how})"))
}

/// Whether it has no control characters but white space and the beginnings of escape sequences, as of colours. What is
/// packed has others soon.
fn is_text(head: &[u8]) -> bool {
    head.iter().all(|byte| !byte.is_ascii_control() || byte.is_ascii_whitespace() || *byte == b'\x1b')
}

/// A frame, or one that can be skipped.
fn is_zstd(head: &[u8]) -> bool {
    head.starts_with(&ZSTD) || matches!(head, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}

/// UTF-16, by its byte order mark, or by every other byte of the beginning being none.
fn utf16(head: &[u8]) -> Option<&'static Encoding> {
    match head {
        [0xff, 0xfe, ..] => return Some(UTF_16LE),
        [0xfe, 0xff, ..] => return Some(UTF_16BE),
        _ => {}
    }
    let (pairs, _) = head.get(..8)?.as_chunks::<2>();
    if pairs.iter().all(|[first, second]| *first != 0 && *second == 0) {
        Some(UTF_16LE)
    } else if pairs.iter().all(|[first, second]| *first == 0 && *second != 0) {
        Some(UTF_16BE)
    } else {
        None
    }
}

/// The content of gzip members, one after the other: a rotated file can be a concatenation. Zeros behind a member are
/// what a tape or a block device was filled up with, as for gzip itself.
struct Gzip<R: BufRead> {
    /// None at the end.
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> Read for Gzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let read = member.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            let Some(mut rest) = self.member.take().map(GzDecoder::into_inner) else { break };
            while rest.fill_buf()?.first() == Some(&0) {
                rest.consume(1);
            }
            self.member = (!rest.fill_buf()?.is_empty()).then(|| GzDecoder::new(rest));
        }
        Ok(0)
    }
}

/// A frame: its first bytes, which were looked at, and what follows.
type Frame<R> = StreamingDecoder<Chain<Cursor<[u8; 4]>, BufReader<R>>, FrameDecoder>;

/// The content of zstd frames, one after the other.
struct Zstd<R: Read> {
    frame: Option<Box<Frame<R>>>,
    /// What is behind the last frame, while there is none.
    rest: Option<BufReader<R>>,
}

impl<R: Read> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if let Some(frame) = &mut self.frame {
                let read = frame.read(buffer)?;
                if read > 0 {
                    return Ok(read);
                }
                self.rest = self.frame.take().map(|frame| frame.into_inner().into_inner().1);
            }
            let Some(mut rest) = self.rest.take() else { return Ok(0) };
            if rest.fill_buf()?.is_empty() {
                return Ok(0);
            }
            self.next_frame(rest)?;
        }
    }
}

impl<R: Read> Zstd<R> {
    fn next_frame(&mut self, mut rest: BufReader<R>) -> io::Result<()> {
        let broken =
            |error: &dyn std::fmt::Display| io::Error::new(io::ErrorKind::InvalidData, format!("zstd: {error}"));
        // The beginning of a frame can be at the end of a buffer.
        let mut begin = [0; 4];
        rest.read_exact(&mut begin)?;
        if matches!(begin, [0x50..=0x5f, 0x2a, 0x4d, 0x18]) {
            let mut size = [0; 4];
            rest.read_exact(&mut size)?;
            let size = u64::from(u32::from_le_bytes(size));
            if io::copy(&mut rest.by_ref().take(size), &mut io::sink())? < size {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.rest = Some(rest);
            return Ok(());
        }
        if begin != ZSTD {
            return Err(broken(&"there is something else behind the last frame"));
        }
        let frame = StreamingDecoder::new(Cursor::new(begin).chain(rest)).map_err(|error| broken(&error))?;
        self.frame = Some(Box::new(frame));
        Ok(())
    }
}

/// Text in UTF-16 as UTF-8.
struct Utf16<'s> {
    reader: BufReader<Reader<'s>>,
    decoder: Decoder,
    /// What was decoded, and how much of it was read.
    text: Vec<u8>,
    read: usize,
    /// The last bytes that were read, in which the mark of a record can begin.
    last: Vec<u8>,
    is_over: bool,
}

impl<'s> Utf16<'s> {
    fn new(reader: Reader<'s>, encoding: &'static Encoding) -> Self {
        let reader = BufReader::with_capacity(BUFFER, reader);
        let decoder = encoding.new_decoder_with_bom_removal();
        Self { reader, decoder, text: Vec::new(), read: 0, last: Vec::new(), is_over: false }
    }
}

impl Read for Utf16<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.read == self.text.len() && !self.is_over {
            let bytes = self.reader.fill_buf()?;
            self.is_over = bytes.is_empty();
            self.text.resize(self.decoder.max_utf8_buffer_length(bytes.len()).unwrap_or(4 * BUFFER), 0);
            // What is no UTF-16 becomes a replacement, so that its record does not have its hash.
            let (_, used, written, _) = self.decoder.decode_to_utf8(bytes, &mut self.text, self.is_over);
            // Two letters of UTF-8 would be read as one character of UTF-16.
            self.last.extend_from_slice(&bytes[..used]);
            if memmem::find(&self.last, SCHEMA).is_some() {
                return Err(io::Error::new(io::ErrorKind::InvalidData, UTF8_WITHIN));
            }
            self.last.drain(..self.last.len().saturating_sub(SCHEMA.len()));
            self.reader.consume(used);
            self.text.truncate(written);
            self.read = 0;
        }
        let length = buffer.len().min(self.text.len() - self.read);
        buffer[..length].copy_from_slice(&self.text[self.read..self.read + length]);
        self.read += length;
        Ok(length)
    }
}
