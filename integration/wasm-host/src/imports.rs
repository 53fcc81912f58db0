//! Host calls as wasmtime sees them: parameters are read from the module's memory, and answers are written into it.

use anyhow::{Context, Result, bail};
use wasmtime::{Caller, Extern, Linker, Memory, Module, TypedFunc, Val};

use crate::call::parameters;
use crate::{Call, Hook, Out, World};

/// The modules that a proxy's imports are in.
const MODULES: [&str; 2] = ["env", "wasi_snapshot_preview1"];

/// The proxy's side of one VM.
pub struct State<H> {
    /// What the proxy knows.
    pub world: World,
    /// What happens beside.
    pub hook: H,
    pub(crate) memory: Option<Memory>,
}

/// Defines each call of a proxy that the module imports.
pub(crate) fn link<H: Hook>(linker: &mut Linker<State<H>>, module: &Module) -> Result<()> {
    for import in module.imports().filter(|import| MODULES.contains(&import.module())) {
        let Some(function) = import.ty().func().cloned() else { bail!("{} is no function", import.name()) };
        let name = import.name().to_owned();
        linker.func_new(import.module(), import.name(), function, move |mut caller, arguments, results| {
            let status = answer(&mut caller, &name, arguments).map_err(wasmtime::Error::from_anyhow)?;
            if let Some(result) = results.first_mut() {
                *result = Val::I32(status.cast_signed());
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn answer<H: Hook>(caller: &mut Caller<'_, State<H>>, name: &str, arguments: &[Val]) -> Result<u32> {
    let parameters = parameters(name).with_context(|| format!("this proxy has no {name}"))?;
    let mut arguments = arguments.iter().filter_map(number);
    let mut next = || arguments.next().with_context(|| format!("{name} has too few parameters"));
    let mut call = Call { name, numbers: Vec::new(), bytes: Vec::new() };
    // Where the answer is wanted.
    let mut places = Vec::new();
    for parameter in parameters.chars() {
        let first = next()?;
        match parameter {
            'n' => call.numbers.push(first),
            'b' => {
                let bytes = read(caller, first as u32, next()? as u32)?;
                call.bytes.push(bytes);
            }
            'f' => {
                places.push(first as u32);
                call.numbers.push(next()?);
            }
            'B' => places.extend([first as u32, next()? as u32]),
            _ => places.push(first as u32),
        }
    }
    // The environment is for the module's start, and no hook's business.
    if name.starts_with("environ") {
        environment(caller, &call, &places)?;
        return Ok(0);
    }
    let State { world, hook, .. } = caller.data_mut();
    let reply = hook.answer(&call, world)?;
    let width = if parameters.ends_with('4') { 4 } else { 8 };
    match (places.as_slice(), reply.out) {
        ([place], Out::Number(number)) => write(caller, *place, &number.to_le_bytes()[..width])?,
        ([place], Out::Bytes(bytes)) => write(caller, *place, &bytes)?,
        ([address, size], Out::Garbage) => {
            [address, size].into_iter().try_for_each(|place| write(caller, *place, &u32::MAX.to_le_bytes()))?;
        }
        ([address, size], Out::Bytes(bytes)) if bytes.is_empty() => {
            [address, size].into_iter().try_for_each(|place| write(caller, *place, &[0; 4]))?;
        }
        // As Envoy does: in a block that the module allocates, whose address and size it finds where it asked for them.
        ([address, size], Out::Bytes(bytes) | Out::Block(bytes)) => {
            let length = u32::try_from(bytes.len())?;
            let block = allocate(caller, length)?;
            write(caller, block, &bytes)?;
            write(caller, *address, &block.to_le_bytes())?;
            write(caller, *size, &length.to_le_bytes())?;
        }
        _ => {}
    }
    Ok(reply.status)
}

fn number(value: &Val) -> Option<u64> {
    value.i32().map(|number| number.cast_unsigned().into()).or(value.i64().map(i64::cast_unsigned))
}

fn environment<H: Hook>(caller: &mut Caller<'_, State<H>>, call: &Call<'_>, places: &[u32]) -> Result<()> {
    let entries: Vec<_> = caller.data().world.environment.iter().map(|entry| format!("{entry}\0")).collect();
    if let [count, size] = places {
        write(caller, *count, &(entries.len() as u32).to_le_bytes())?;
        return write(caller, *size, &(entries.concat().len() as u32).to_le_bytes());
    }
    let (mut pointers, mut buffer) = (call.number(0), call.number(1));
    for entry in entries {
        write(caller, pointers, &buffer.to_le_bytes())?;
        write(caller, buffer, entry.as_bytes())?;
        pointers += 4;
        buffer += entry.len() as u32;
    }
    Ok(())
}

fn allocate<H: Hook>(caller: &mut Caller<'_, State<H>>, size: u32) -> Result<u32> {
    let function = caller.get_export("proxy_on_memory_allocate").and_then(Extern::into_func);
    let function: TypedFunc<u32, u32> = function.context("the module has no allocator")?.typed(&*caller)?;
    Ok(function.call(caller, size)?)
}

fn memory<H>(caller: &Caller<'_, State<H>>) -> Result<Memory> {
    caller.data().memory.context("the module called before it was there")
}

fn read<H: Hook>(caller: &mut Caller<'_, State<H>>, address: u32, size: u32) -> Result<Vec<u8>> {
    let from = address as usize;
    let bytes = memory(caller)?.data(&*caller).get(from..from + size as usize);
    let bytes = bytes.with_context(|| format!("{size} bytes at {address} are not in the module's memory"))?.to_vec();
    caller.data_mut().hook.copied(size.into());
    Ok(bytes)
}

fn write<H: Hook>(caller: &mut Caller<'_, State<H>>, address: u32, bytes: &[u8]) -> Result<()> {
    let place = || format!("the {} bytes at {address} are not in the module's memory", bytes.len());
    memory(caller)?.write(&mut *caller, address as usize, bytes).with_context(place)?;
    caller.data_mut().hook.copied(bytes.len() as u64);
    Ok(())
}
