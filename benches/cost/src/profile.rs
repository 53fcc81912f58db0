//! Where the instructions go: a module in which each function reports when it begins and when it ends.
//!
//! A wrapper of the same type stands before each function. It calls `enter`, the function, and `leave`. The
//! instructions that this adds are known exactly and subtracted, so the parts sum up to what the plain module costs
//! (`tests/table.rs`).

use std::path::Path;

use anyhow::{Context, Result};
use walrus::ir::{self, VisitorMut};
use walrus::{ElementItems, ExportItem, FunctionBuilder, FunctionId, FunctionKind, ValType};
use wasmtime::OptLevel;

use crate::profiler::{Function, MODULE};
pub use crate::profiler::{Part, Profile};
use crate::proxy::Compiled;

/// Compiles the module in `file`, instrumented. Functions have names if the module was linked with them.
///
/// # Errors
/// When it cannot be read, or is no WebAssembly module.
pub fn instrument(file: &Path) -> Result<Compiled> {
    let mut module = walrus::Module::from_file(file).with_context(|| format!("cannot read {}", file.display()))?;
    let signature = module.types.add(&[ValType::I32], &[]);
    let (enter, _) = module.add_import_func(MODULE, "enter", signature);
    let (leave, _) = module.add_import_func(MODULE, "leave", signature);

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

/// Maps each function to its wrapper.
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

fn demangled(name: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(name))
}
