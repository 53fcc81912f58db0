//! Modules that make one host call many times, for what a call of that kind costs in Envoy.

use std::{fmt::Write, fs, path::PathBuf};

use anyhow::{Context, Result};

use crate::contender::built;

/// How often a module makes its call for each request.
pub const TIMES: usize = 16;

/// Where in memory names, values and answers are.
const NAMES: usize = 1024;
const NAME_SPACE: usize = 128;
const VALUE: usize = 8192;
const PAIRS: usize = 12_288;
const ANSWER: usize = 16_384;
const ANSWER_SIZE: usize = ANSWER + 4;
const HANDED_OVER: usize = 32_768;

/// One kind of host call.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Its name in the ABI.
    pub name: &'static str,
    /// What it is asked, in words.
    pub about: &'static str,
    /// The types of its parameters.
    parameters: &'static str,
    /// The name that it asks for, NUL between parts; `#` becomes the number of the call.
    argument: &'static str,
    /// Its arguments in order: `NAME`, `LENGTH` and so on stand for their addresses and sizes in memory.
    arguments: &'static str,
    /// Whether there is what it asks for. A call for what is not there is answered with a status that is not 0.
    is_there: bool,
}

/// Those that the filters make for a request.
pub const ALL: &[Call] = &[
    Call {
        name: "proxy_get_property",
        about: "an attribute that is there: `request.time`",
        parameters: "i32 i32 i32 i32",
        argument: "request\0time",
        arguments: "NAME LENGTH ANSWER SIZE",
        is_there: true,
    },
    Call {
        name: "proxy_get_property",
        about: "one that is not: `connection.uri_san_peer_certificate`, without TLS",
        parameters: "i32 i32 i32 i32",
        argument: "connection\0uri_san_peer_certificate",
        arguments: "NAME LENGTH ANSWER SIZE",
        is_there: false,
    },
    Call {
        name: "proxy_get_property",
        about: "a claim, in dynamic metadata",
        parameters: "i32 i32 i32 i32",
        argument: "metadata\0filter_metadata\0envoy.filters.http.jwt_authn\0payload\0tenant_id",
        arguments: "NAME LENGTH ANSWER SIZE",
        is_there: true,
    },
    Call {
        name: "proxy_get_header_map_pairs",
        about: "all 10 headers of the request, Envoy's own among them",
        parameters: "i32 i32 i32",
        argument: "",
        arguments: "REQUEST ANSWER SIZE",
        is_there: true,
    },
    Call {
        name: "proxy_get_header_map_value",
        about: "`x-request-id`",
        parameters: "i32 i32 i32 i32 i32",
        argument: "x-request-id",
        arguments: "REQUEST NAME LENGTH ANSWER SIZE",
        is_there: true,
    },
    Call {
        name: "proxy_replace_header_map_value",
        about: "a header of 16 bytes that was not there",
        parameters: "i32 i32 i32 i32 i32",
        argument: "x-one-of-many-#",
        arguments: "REQUEST NAME LENGTH VALUE SHORT",
        is_there: true,
    },
    Call {
        name: "proxy_set_header_map_pairs",
        about: "all 17 headers of a request, seven of them new",
        parameters: "i32 i32 i32",
        argument: "",
        arguments: "REQUEST PAIRS PAIRS_SIZE",
        is_there: true,
    },
    Call {
        name: "proxy_set_property",
        about: "filter state of 1,300 bytes, as a record has",
        parameters: "i32 i32 i32 i32",
        argument: "one_of_many_#",
        arguments: "NAME LENGTH VALUE LONG",
        is_there: true,
    },
    Call {
        name: "proxy_increment_metric",
        about: "a counter",
        parameters: "i32 i64",
        argument: "",
        arguments: "METRIC ONE",
        is_there: true,
    },
    Call {
        name: "proxy_get_current_time_nanoseconds",
        about: "the clock",
        parameters: "i32",
        argument: "",
        arguments: "ANSWER",
        is_there: true,
    },
];

impl Call {
    /// Writes the module that makes this call, under `target/bench`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn build(&self) -> Result<PathBuf> {
        let words = self.about.replace(|char: char| !char.is_ascii_alphanumeric(), "-");
        let file = built().join(format!("{}-{words}.wasm", self.name));
        let module = wat::parse_str(self.text()).with_context(|| format!("the module for {}", self.name))?;
        fs::create_dir_all(built())?;
        fs::write(&file, module).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(file)
    }

    /// The module as text.
    fn text(&self) -> String {
        let pairs = pairs();
        let escaped: String = pairs.iter().map(|byte| format!("\\{byte:02x}")).collect();
        let (mut names, mut calls) = (String::new(), String::new());
        for number in 0..TIMES {
            let argument = self.argument.replace('#', &format!("{number:02}"));
            let place = NAMES + number * NAME_SPACE;
            let _ = writeln!(names, r#"(data (i32.const {place}) "{}")"#, argument.replace('\0', "\\00"));
            for word in self.arguments.split(' ') {
                let operand = match word {
                    "REQUEST" => "i32.const 0".to_owned(),
                    "NAME" => format!("i32.const {place}"),
                    "LENGTH" => format!("i32.const {}", argument.len()),
                    "VALUE" => format!("i32.const {VALUE}"),
                    "SHORT" => "i32.const 16".to_owned(),
                    "LONG" => "i32.const 1300".to_owned(),
                    "PAIRS" => format!("i32.const {PAIRS}"),
                    "PAIRS_SIZE" => format!("i32.const {}", pairs.len()),
                    "METRIC" => "global.get $metric".to_owned(),
                    "ONE" => "i64.const 1".to_owned(),
                    "SIZE" => format!("i32.const {ANSWER_SIZE}"),
                    _ => format!("i32.const {ANSWER}"),
                };
                calls += &operand;
                calls.push('\n');
            }
            // A module whose calls fail would be a cheap one.
            calls += if self.is_there { "call $call if unreachable end\n" } else { "call $call drop\n" };
        }
        format!(
            r#"(module
  (import "env" "{}" (func $call (param {}) (result i32)))
  (import "env" "proxy_define_metric" (func $define (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (global $metric (mut i32) (i32.const 0))
  (data (i32.const 0) "careplane.bench")
  (data (i32.const {VALUE}) "{}")
  (data (i32.const {PAIRS}) "{escaped}")
  {names}
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "_initialize"))
  (func (export "proxy_on_memory_allocate") (param i32) (result i32) i32.const {HANDED_OVER})
  (func (export "proxy_on_configure") (param i32 i32) (result i32)
    (call $define (i32.const 0) (i32.const 0) (i32.const 15) (i32.const {ANSWER})) if unreachable end
    (global.set $metric (i32.load (i32.const {ANSWER})))
    i32.const 1)
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    {calls}
    i32.const 0)
  (func (export "proxy_on_log") (param i32)))
"#,
            self.name,
            self.parameters,
            "v".repeat(1300)
        )
    }
}

/// The headers of a request as a map of the ABI: how many, the sizes of each, and each with a NUL after it.
fn pairs() -> Vec<u8> {
    let headers = [
        (":authority", "api.care.example"),
        (":path", "/api/v1/residents/1732/notes"),
        (":method", "GET"),
        (":scheme", "http"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)"),
        ("accept", "application/json"),
        ("x-forwarded-for", "10.1.2.3"),
        ("x-forwarded-proto", "http"),
        ("x-envoy-internal", "true"),
        ("x-request-id", "4f2a9c1e-7d3b-4a5c-9e8f-1b2c3d4e5f60"),
        ("x-tenant-id", "care-home-0107"),
        ("x-user-id", "sian.oneill@care.example"),
        ("x-healthcare-context", "resident"),
        ("x-compliance-level", "high"),
        ("x-tenant-pool", "pool-c"),
        ("x-release-cohort", "stable"),
        ("x-correlation-id", "019b7ca9-952e-763a-a857-9fbaa0a0d199"),
    ];
    let mut map = (headers.len() as u32).to_le_bytes().to_vec();
    for (name, value) in headers {
        map.extend([name, value].iter().flat_map(|text| (text.len() as u32).to_le_bytes()));
    }
    for (name, value) in headers {
        map.extend([name.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat());
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_module_is_webassembly() {
        for call in ALL {
            let text = call.text();
            assert!(wat::parse_str(&text).is_ok(), "{}: {text}", call.about);
            assert_eq!(text.matches("call $call").count(), TIMES);
        }
    }
}
