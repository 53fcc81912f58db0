//! What a faulty proxy answers: any status, bytes and numbers, whatever the truth is.
//!
//! What it cannot do is what no proxy can: hand over a block of another size than it asked the module for, or write
//! outside it.

use anyhow::Result;
use careplane_wasm_host::{Call, Hook, Out, Reply, World};
use fastrand::Rng;

/// WASI's `EIO`.
const INPUT_OUTPUT_ERROR: u32 = 29;

/// How a proxy fails.
pub struct Faults {
    pub rng: Rng,
    /// Percent of the calls that are not answered as a proxy should.
    pub percent: u8,
    /// The longest wrong answer, in bytes.
    pub longest: usize,
}

impl Hook for Faults {
    fn answer(&mut self, call: &Call<'_>, world: &mut World) -> Result<Reply> {
        let is_wrong = self.rng.u8(..100) < self.percent;
        let reply = if is_wrong { self.wrong(call, world)? } else { world.answer(call)? };
        if !call.is_for_bytes() {
            return Ok(reply);
        }
        Ok(match reply {
            // The module may not look at this.
            Reply { status, .. } if status != 0 && self.rng.bool() => Reply { status, out: Out::Garbage },
            // For nothing there need not be a block, but there can.
            Reply { status, out: Out::Bytes(bytes) } if bytes.is_empty() && self.rng.bool() => {
                Reply { status, out: Out::Block(bytes) }
            }
            reply => reply,
        })
    }
}

impl Faults {
    fn wrong(&mut self, call: &Call<'_>, world: &mut World) -> Result<Reply> {
        Ok(match call.name {
            // These end the module: the world says so.
            "proc_exit" | "fd_write" => world.answer(call)?,
            "random_get" => Reply { status: INPUT_OUTPUT_ERROR, out: Out::Nothing },
            // What was logged is looked at.
            "proxy_log" => Reply { status: self.status(), ..world.answer(call)? },
            _ if call.is_for_bytes() => match self.bytes(call, world)? {
                Ok(bytes) => Reply::ok(Out::Bytes(bytes)),
                Err(status) => Reply { status, out: Out::Nothing },
            },
            // It may also say that it did what it did not do; a number is then that of a call that was made before, or
            // never.
            name => {
                let number = if name.contains("time") { self.rng.u64(..) } else { self.rng.u64(..64) };
                let status = if self.rng.bool() { 0 } else { self.status() };
                Reply { status, out: Out::Number(number) }
            }
        })
    }

    /// Any status, those that the ABI does not know among them; never 0.
    fn status(&mut self) -> u32 {
        match self.rng.u8(..4) {
            0 => self.rng.u32(1..),
            _ => self.rng.u32(1..=13),
        }
    }

    /// Anything: a status; bytes that mean nothing; a header map that is cut, counts wrong, or is full of what no
    /// header is.
    fn bytes(&mut self, call: &Call<'_>, world: &mut World) -> Result<Result<Vec<u8>, u32>> {
        let bytes = |rng: &mut Rng, length: usize| (0..length).map(|_| rng.u8(..)).collect::<Vec<u8>>();
        Ok(match self.rng.u8(..8) {
            0..=2 => Err(self.status()),
            3 => Ok(Vec::new()),
            4 => {
                let length = self.rng.usize(..=16);
                Ok(bytes(&mut self.rng, length))
            }
            5 => {
                let length = self.rng.usize(..=self.longest);
                Ok(vec![self.rng.u8(..); length])
            }
            6 => {
                let headers: Vec<(Vec<u8>, Vec<u8>)> = (0..self.rng.usize(..200))
                    .map(|_| {
                        let (name, value) = (self.rng.usize(..20), self.rng.usize(..60));
                        (bytes(&mut self.rng, name), bytes(&mut self.rng, value))
                    })
                    .collect();
                Ok(map(&headers))
            }
            _ => {
                let Reply { out: Out::Bytes(mut truth), .. } = world.answer(call)? else { return Ok(Ok(Vec::new())) };
                let changed = self.rng.usize(..=truth.len());
                match (self.rng.bool(), truth.get_mut(changed)) {
                    (true, Some(byte)) => *byte = self.rng.u8(..),
                    _ => truth.truncate(changed),
                }
                Ok(truth)
            }
        })
    }
}

/// A serialised header map. Not by the module's own code, which takes no names and values like these.
fn map(headers: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let number = |length: usize| u32::try_from(length).expect("short").to_le_bytes();
    let mut bytes = number(headers.len()).to_vec();
    for (name, value) in headers {
        bytes.extend([number(name.len()), number(value.len())].concat());
    }
    for (name, value) in headers {
        bytes.extend([name, &[0][..], value, &[0]].concat());
    }
    bytes
}
