//! The host calls of proxy-wasm ABI 0.2.1 and the few of WASI that the module is linked with, each counted by its name.
//!
//! What the module never calls is not here; should it begin to, instantiation or the call says which one is missing.

use careplane_exchange::HeaderMap;
use careplane_export::OVERFLOW_PREFIX;
use wasmtime::error::Context;
use wasmtime::{Caller, Linker, Result, bail};

use crate::host::{CALL_BODY, PLUGIN_CONFIGURATION, State, Status};

/// `LogLevel`.
const WARNING: u32 = 3;
/// WASI: success.
const SUCCESS: u32 = 0;

type Calling<'a> = Caller<'a, State>;

/// Defines the calls; those of the module that are not among them trap.
pub(crate) fn link(linker: &mut Linker<State>) -> Result<()> {
    proxy_streams(linker)?;
    proxy_surroundings(linker)?;
    wasi(linker)
}

/// Headers, properties, answers.
fn proxy_streams(linker: &mut Linker<State>) -> Result<()> {
    const ENV: &str = "env";
    linker.func_wrap(ENV, "proxy_get_header_map_pairs", |mut caller: Calling, map: u32, data: u32, size: u32| {
        count(&mut caller, "proxy_get_header_map_pairs");
        let pairs = caller.data_mut().serialised(map).ok_or(Status::BadArgument);
        hand_over(&mut caller, pairs, data, size)
    })?;
    linker.func_wrap(
        ENV,
        "proxy_get_header_map_value",
        |mut caller: Calling, map: u32, name: u32, name_size: u32, data: u32, size: u32| {
            count(&mut caller, "proxy_get_header_map_value");
            let name = read(&mut caller, name, name_size)?;
            let value = caller.data_mut().header(map, &name);
            hand_over(&mut caller, value, data, size)
        },
    )?;
    linker.func_wrap(
        ENV,
        "proxy_replace_header_map_value",
        |mut caller: Calling, map: u32, name: u32, name_size: u32, value: u32, value_size: u32| {
            count(&mut caller, "proxy_replace_header_map_value");
            let (name, value) = (read(&mut caller, name, name_size)?, read(&mut caller, value, value_size)?);
            answer(caller.data_mut().set_header(map, &name, &value))
        },
    )?;
    linker.func_wrap(
        ENV,
        "proxy_remove_header_map_value",
        |mut caller: Calling, map: u32, name: u32, name_size: u32| {
            count(&mut caller, "proxy_remove_header_map_value");
            let name = read(&mut caller, name, name_size)?;
            answer(caller.data_mut().remove_header(map, &name))
        },
    )?;
    linker.func_wrap(
        ENV,
        "proxy_get_property",
        |mut caller: Calling, path: u32, path_size: u32, data: u32, size: u32| {
            count(&mut caller, "proxy_get_property");
            let path = read(&mut caller, path, path_size)?;
            let value = caller.data().property(&path);
            hand_over(&mut caller, value, data, size)
        },
    )?;
    linker.func_wrap(
        ENV,
        "proxy_set_property",
        |mut caller: Calling, path: u32, path_size: u32, value: u32, value_size: u32| {
            count(&mut caller, "proxy_set_property");
            let (path, value) = (read(&mut caller, path, path_size)?, read(&mut caller, value, value_size)?);
            caller.data_mut().properties.insert([b"wasm.", &*path].concat(), value);
            answer(Status::Ok)
        },
    )?;
    linker.func_wrap(
        ENV,
        "proxy_send_local_response",
        |mut caller: Calling,
         status: u32,
         details: u32,
         details_size: u32,
         body: u32,
         body_size: u32,
         headers: u32,
         headers_size: u32,
         _grpc_status: i32| {
            count(&mut caller, "proxy_send_local_response");
            let details = text(&mut caller, details, details_size)?;
            read(&mut caller, body, body_size)?;
            read(&mut caller, headers, headers_size)?;
            caller.data_mut().reply = Some((status, details));
            answer(Status::Ok)
        },
    )?;
    linker.func_wrap(ENV, "proxy_continue_stream", |mut caller: Calling, _stream: u32| {
        count(&mut caller, "proxy_continue_stream");
        caller.data_mut().resumed = true;
        answer(Status::Ok)
    })?;
    Ok(())
}

/// What is not of a stream: configuration, log, clock, metrics, calls to others.
fn proxy_surroundings(linker: &mut Linker<State>) -> Result<()> {
    const ENV: &str = "env";
    linker.func_wrap(
        ENV,
        "proxy_get_buffer_bytes",
        |mut caller: Calling, buffer: u32, start: u32, max: u32, data: u32, size: u32| {
            count(&mut caller, "proxy_get_buffer_bytes");
            let bytes = match buffer {
                PLUGIN_CONFIGURATION => Ok(caller.data().configuration.clone()),
                // An OTLP collector that took everything says so with an empty message.
                CALL_BODY => Ok(caller.data().answer_body.clone()),
                _ => Err(Status::NotFound),
            };
            let part = bytes.map(|bytes| bytes.into_iter().skip(start as usize).take(max as usize).collect());
            hand_over(&mut caller, part, data, size)
        },
    )?;
    linker.func_wrap(ENV, "proxy_log", |mut caller: Calling, level: u32, line: u32, size: u32| {
        count(&mut caller, "proxy_log");
        let line = text(&mut caller, line, size)?;
        if level >= WARNING && !is_checkpoint(&line) {
            caller.data_mut().log.push(line);
        }
        answer(Status::Ok)
    })?;
    linker.func_wrap(ENV, "proxy_get_log_level", |mut caller: Calling, level: u32| {
        count(&mut caller, "proxy_get_log_level");
        write(&mut caller, level, &WARNING.to_le_bytes())?;
        answer(Status::Ok)
    })?;
    linker.func_wrap(ENV, "proxy_get_current_time_nanoseconds", |mut caller: Calling, time: u32| {
        count(&mut caller, "proxy_get_current_time_nanoseconds");
        let now = caller.data().now();
        write(&mut caller, time, &now.to_le_bytes())?;
        answer(Status::Ok)
    })?;
    linker.func_wrap(ENV, "proxy_set_effective_context", |mut caller: Calling, context: u32| {
        count(&mut caller, "proxy_set_effective_context");
        caller.data_mut().context = context;
        answer(Status::Ok)
    })?;
    linker.func_wrap(ENV, "proxy_set_tick_period_milliseconds", |mut caller: Calling, period: u32| {
        count(&mut caller, "proxy_set_tick_period_milliseconds");
        let root = caller.data().root();
        if let Some((_, present)) = caller.data_mut().roots.get_mut(&root) {
            *present = period;
        }
        answer(Status::Ok)
    })?;
    linker.func_wrap(
        ENV,
        "proxy_define_metric",
        |mut caller: Calling, _kind: u32, name: u32, name_size: u32, id: u32| {
            count(&mut caller, "proxy_define_metric");
            let name = text(&mut caller, name, name_size)?;
            let number = caller.data_mut().define_metric(name);
            write(&mut caller, id, &number.to_le_bytes())?;
            answer(Status::Ok)
        },
    )?;
    linker.func_wrap(ENV, "proxy_increment_metric", |mut caller: Calling, id: u32, by: i64| {
        count(&mut caller, "proxy_increment_metric");
        let Some(value) = caller.data_mut().values.get_mut(id as usize) else { return answer(Status::NotFound) };
        *value = value.saturating_add_signed(by);
        answer(Status::Ok)
    })?;
    linker.func_wrap(ENV, "proxy_record_metric", |mut caller: Calling, id: u32, to: u64| {
        count(&mut caller, "proxy_record_metric");
        let Some(value) = caller.data_mut().values.get_mut(id as usize) else { return answer(Status::NotFound) };
        *value = to;
        answer(Status::Ok)
    })?;
    linker.func_wrap(
        ENV,
        "proxy_http_call",
        |mut caller: Calling,
         cluster: u32,
         cluster_size: u32,
         headers: u32,
         headers_size: u32,
         body: u32,
         body_size: u32,
         trailers: u32,
         trailers_size: u32,
         _timeout: u32,
         token: u32| {
            count(&mut caller, "proxy_http_call");
            for (part, size) in [(cluster, cluster_size), (trailers, trailers_size)] {
                read(&mut caller, part, size)?;
            }
            let headers = HeaderMap::new(read(&mut caller, headers, headers_size)?).unwrap_or_default();
            let path = headers.iter().find(|(name, _)| *name == b":path").map(|(_, path)| path);
            let path = path.map(|path| String::from_utf8_lossy(path).into_owned()).unwrap_or_default();
            let body = read(&mut caller, body, body_size)?;
            let number = caller.data_mut().send(body.len(), path);
            write(&mut caller, token, &number.to_le_bytes())?;
            answer(Status::Ok)
        },
    )?;
    Ok(())
}

fn wasi(linker: &mut Linker<State>) -> Result<()> {
    const WASI: &str = "wasi_snapshot_preview1";
    linker.func_wrap(WASI, "random_get", |mut caller: Calling, buffer: u32, size: u32| {
        count(&mut caller, "random_get");
        let random = caller.data_mut().random(size as usize);
        write(&mut caller, buffer, &random)?;
        done()
    })?;
    linker.func_wrap(WASI, "clock_time_get", |mut caller: Calling, _clock: u32, _precision: u64, time: u32| {
        count(&mut caller, "clock_time_get");
        let now = caller.data().now();
        write(&mut caller, time, &now.to_le_bytes())?;
        done()
    })?;
    linker.func_wrap(WASI, "environ_sizes_get", |mut caller: Calling, number: u32, size: u32| {
        count(&mut caller, "environ_sizes_get");
        let environment = &caller.data().environment;
        let entries = environment.len() as u32;
        let bytes = environment.iter().map(|entry| entry.len() as u32 + 1).sum::<u32>();
        write(&mut caller, number, &entries.to_le_bytes())?;
        write(&mut caller, size, &bytes.to_le_bytes())?;
        done()
    })?;
    linker.func_wrap(WASI, "environ_get", |mut caller: Calling, mut pointers: u32, mut buffer: u32| {
        count(&mut caller, "environ_get");
        for entry in caller.data().environment.clone() {
            write(&mut caller, pointers, &buffer.to_le_bytes())?;
            write(&mut caller, buffer, &[entry.as_bytes(), b"\0"].concat())?;
            pointers += 4;
            buffer += entry.len() as u32 + 1;
        }
        done()
    })?;
    linker.func_wrap(WASI, "fd_write", |_: Calling, _: u32, _: u32, _: u32, _: u32| -> Result<u32> {
        bail!("the module wrote to standard output or error: a panic, most likely")
    })?;
    linker.func_wrap(WASI, "proc_exit", |_: Calling, code: u32| -> Result<()> {
        bail!("the module ended itself with code {code}")
    })?;
    Ok(())
}

/// Whether a line is no worry, but a checkpoint of the chain.
fn is_checkpoint(line: &str) -> bool {
    let record = line.strip_prefix(OVERFLOW_PREFIX).unwrap_or_default();
    [r#""kind":"start""#, r#""kind":"head""#, r#""kind":"end""#].iter().any(|kind| record.contains(kind))
}

fn answer(status: Status) -> Result<u32> {
    Ok(status as u32)
}

fn done() -> Result<u32> {
    Ok(SUCCESS)
}

fn count(caller: &mut Calling, name: &'static str) {
    *caller.data_mut().tally.calls.entry(name).or_default() += 1;
}

fn read(caller: &mut Calling, address: u32, size: u32) -> Result<Vec<u8>> {
    let memory = caller.data().memory.context("the module called before it was there")?;
    let from = address as usize;
    let bytes = memory.data(&*caller).get(from..from + size as usize);
    let bytes = bytes.with_context(|| format!("{size} bytes at {address} are not in the module's memory"))?.to_vec();
    caller.data_mut().tally.bytes += u64::from(size);
    Ok(bytes)
}

fn text(caller: &mut Calling, address: u32, size: u32) -> Result<String> {
    Ok(String::from_utf8_lossy(&read(caller, address, size)?).into_owned())
}

fn write(caller: &mut Calling, address: u32, bytes: &[u8]) -> Result<()> {
    let memory = caller.data().memory.context("the module called before it was there")?;
    memory.write(&mut *caller, address as usize, bytes)?;
    caller.data_mut().tally.bytes += bytes.len() as u64;
    Ok(())
}

/// Hands bytes over as Envoy does: in a block that the module allocates, whose address and size it finds where it asked for them.
fn hand_over(
    caller: &mut Calling,
    bytes: std::result::Result<Vec<u8>, Status>,
    address: u32,
    size: u32,
) -> Result<u32> {
    let bytes = match bytes {
        Ok(bytes) => bytes,
        Err(status) => return answer(status),
    };
    let length = bytes.len() as u32;
    let mut block = 0;
    if length > 0 {
        let allocate = caller.data().allocate.clone().context("the module called before it was there")?;
        block = allocate.call(&mut *caller, length)?;
        write(caller, block, &bytes)?;
    }
    write(caller, address, &block.to_le_bytes())?;
    write(caller, size, &length.to_le_bytes())?;
    answer(Status::Ok)
}
