//! Where the instructions go: a module in which each function says when it begins and ends, and who counts between.
//!
//! Each function is put behind another of the same type, which calls `enter`, the function, and `leave`. What that adds is known
//! exactly and taken off again, so the parts sum up to what the module costs without it (`tests/profile.rs`).

use std::path::Path;

use anyhow::{Context, Result};
use walrus::ir::{self, VisitorMut};
use walrus::{ElementItems, ExportItem, FunctionBuilder, FunctionId, FunctionKind, ValType};
use wasmtime::{AsContext, Caller, Linker, OptLevel};

use crate::proxy::Compiled;
use crate::tally::Counter;

/// The proxy that counts.
type State = careplane_wasm_host::State<Counter>;

const MODULE: &str = "careplane_profile";
/// Of a wrapper until the proxy is told: its entry, a constant, the call.
const BEFORE: u64 = 3;
/// Of a wrapper after that, beside a read of each parameter: the call of the function, a constant, the call.
const AFTER: u64 = 3;

/// A function of an instrumented module.
#[derive(Clone, Debug)]
pub struct Function {
    name: String,
    parameters: u64,
}

/// What a function took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// How often it was called.
    pub calls: u64,
    /// Instructions of its own.
    pub own: u64,
    /// Instructions with those of the functions that it called.
    pub all: u64,
}

/// What all functions took, by name; those that were not called are left out.
pub type Profile = Vec<(String, Part)>;

/// Counts, while an instrumented module runs.
pub(crate) struct Profiler {
    functions: Vec<Function>,
    parts: Vec<Part>,
    /// How many calls of each function have begun and not ended.
    depths: Vec<u32>,
    stack: Vec<Frame>,
    /// Instructions that the instrumentation has added so far.
    added: u64,
}

struct Frame {
    function: usize,
    began: u64,
    /// Instructions of the functions that it called.
    others: u64,
}

/// Compiles the module in `file`, instrumented. Functions have names if the module was linked with them.
///
/// # Errors
/// When it cannot be read, or is no WebAssembly module.
pub fn instrument(file: &Path) -> Result<Compiled> {
    let mut module = walrus::Module::from_file(file).with_context(|| format!("cannot read {}", file.display()))?;
    let told = module.types.add(&[ValType::I32], &[]);
    let (enter, _) = module.add_import_func(MODULE, "enter", told);
    let (leave, _) = module.add_import_func(MODULE, "leave", told);

    let originals: Vec<FunctionId> = module.funcs.iter_local().map(|(id, _)| id).collect();
    let mut wrappers = Redirection::default();
    let mut functions = Vec::new();
    for (number, original) in originals.iter().enumerate() {
        let function = module.funcs.get(*original);
        let name = function.name.as_deref().map_or_else(|| format!("function {number}"), demangled);
        let (parameters, results) = module.types.params_results(function.ty());
        let (parameters, results) = (parameters.to_vec(), results.to_vec());
        functions.push(Function { name, parameters: parameters.len() as u64 });

        let mut wrapper = FunctionBuilder::new(&mut module.types, &parameters, &results);
        let arguments: Vec<_> = parameters.iter().map(|kind| module.locals.add(*kind)).collect();
        let mut body = wrapper.func_body();
        body.i32_const(number as i32).call(enter);
        arguments.iter().for_each(|argument| {
            body.local_get(*argument);
        });
        body.call(*original).i32_const(number as i32).call(leave);
        wrappers.0.insert(*original, wrapper.finish(arguments, &mut module.funcs));
    }

    for original in &originals {
        if let FunctionKind::Local(function) = &mut module.funcs.get_mut(*original).kind {
            let entry = function.entry_block();
            ir::dfs_pre_order_mut(&mut wrappers, function, entry);
        }
    }
    for segment in module.elements.iter_mut() {
        match &mut segment.items {
            ElementItems::Functions(functions) => functions.iter_mut().for_each(|function| wrappers.apply(function)),
            // Not what a linker of today writes.
            ElementItems::Expressions(..) => anyhow::bail!("the module has tables of expressions"),
        }
    }
    for export in module.exports.iter_mut() {
        if let ExportItem::Function(function) = &mut export.item {
            wrappers.apply(function);
        }
    }
    Compiled::new(&module.emit_wasm(), OptLevel::None, functions)
}

pub(crate) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker
        .func_wrap(MODULE, "enter", |caller: Caller<State>, function: u32| tell(caller, function, Profiler::enter))?;
    linker
        .func_wrap(MODULE, "leave", |caller: Caller<State>, function: u32| tell(caller, function, Profiler::leave))?;
    Ok(())
}

fn tell(mut caller: Caller<State>, function: u32, what: fn(&mut Profiler, usize, u64)) -> wasmtime::Result<()> {
    let used = u64::MAX - caller.as_context().get_fuel()?;
    if let Some(profiler) = &mut caller.data_mut().hook.profiler {
        what(profiler, function as usize, used);
    }
    Ok(())
}

/// From each function to the one that stands before it.
#[derive(Default)]
struct Redirection(std::collections::HashMap<FunctionId, FunctionId>);

impl Redirection {
    fn apply(&self, function: &mut FunctionId) {
        if let Some(wrapper) = self.0.get(function) {
            *function = *wrapper;
        }
    }
}

impl VisitorMut for Redirection {
    fn visit_function_id_mut(&mut self, function: &mut FunctionId) {
        self.apply(function);
    }
}

// === impl Profiler ===

impl Profiler {
    pub(crate) fn new(functions: &[Function]) -> Self {
        let count = functions.len();
        Self {
            functions: functions.to_vec(),
            parts: vec![Part::default(); count],
            depths: vec![0; count],
            stack: Vec::new(),
            added: 0,
        }
    }

    fn enter(&mut self, function: usize, used: u64) {
        self.added += BEFORE;
        self.depths[function] += 1;
        self.stack.push(Frame { function, began: used - self.added, others: 0 });
    }

    fn leave(&mut self, function: usize, used: u64) {
        self.added += AFTER + self.functions[function].parameters;
        let Some(frame) = self.stack.pop() else { return };
        debug_assert_eq!(frame.function, function, "functions end in the reverse order of their beginnings");
        let all = used - self.added - frame.began;
        let part = &mut self.parts[function];
        part.calls += 1;
        part.own += all - frame.others;
        self.depths[function] -= 1;
        // Of a function that calls itself, the outermost call has it all.
        if self.depths[function] == 0 {
            part.all += all;
        }
        if let Some(caller) = self.stack.last_mut() {
            caller.others += all;
        }
    }

    /// What was counted since the last time, and forgets it; to be asked when no function runs, and the fuel is full.
    pub(crate) fn take(&mut self) -> Profile {
        self.added = 0;
        let names = self.functions.iter().map(|function| function.name.clone());
        names.zip(self.parts.iter_mut().map(std::mem::take)).filter(|(_, part)| part.calls > 0).collect()
    }
}

fn demangled(name: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(name))
}
