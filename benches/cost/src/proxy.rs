//! One VM with its plugins, counted.

use std::{
    collections::BTreeMap,
    ops::{Deref, DerefMut},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use careplane_wasm_host::World;
pub use careplane_wasm_host::{Request, Served};
use wasmtime::{Config, Engine, Module, OptLevel};

use crate::profiler::{Function, Profile, Profiler};
use crate::tally::{Counter, Tally};

/// A module, compiled so that it counts its instructions.
pub struct Compiled {
    module: Module,
    /// The functions of an instrumented module; see [`crate::profiler`].
    functions: Vec<Function>,
}

/// What the answer to one call took.
#[derive(Clone, Debug)]
pub struct Callback {
    /// What was asked for.
    pub path: String,
    /// Instructions of the module.
    pub instructions: u64,
    /// How long it took here.
    pub time: Duration,
}

/// One worker's VM.
pub struct Proxy(careplane_wasm_host::Proxy<Counter>);

// === impl Compiled ===

impl Compiled {
    /// Compiles the module in `file`. What is counted are its instructions; how fast they run here does not matter.
    ///
    /// # Errors
    /// When it cannot be read, or is no WebAssembly module.
    pub fn load(file: &Path) -> Result<Self> {
        Self::read(file, OptLevel::None)
    }

    /// The same, compiled to code that is fast: for times.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_fast(file: &Path) -> Result<Self> {
        Self::read(file, OptLevel::Speed)
    }

    fn read(file: &Path, level: OptLevel) -> Result<Self> {
        let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        Self::new(&bytes, level, Vec::new()).with_context(|| format!("{} cannot be compiled", file.display()))
    }

    pub(crate) fn new(bytes: &[u8], level: OptLevel, functions: Vec<Function>) -> Result<Self> {
        let mut config = Config::new();
        config.consume_fuel(true).cranelift_opt_level(level);
        Ok(Self { module: Module::new(&Engine::new(&config)?, bytes)?, functions })
    }
}

// === impl Proxy ===

impl Deref for Proxy {
    type Target = careplane_wasm_host::Proxy<Counter>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Proxy {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl Proxy {
    /// Starts a VM as a worker does, and gives each of `plugins` (root ids, in the order of the chain) the policy.
    ///
    /// # Errors
    /// When the module is not one for proxies, refuses the policy, or warns.
    pub fn start(compiled: &Compiled, plugins: &[&str], policy: &str) -> Result<Self> {
        let mut world = World::new(policy);
        world.environment.push("CAREPLANE_PSEUDONYM_KEY=a key of the benchmark, known to all".to_owned());
        let profiler = (!compiled.functions.is_empty()).then(|| Profiler::new(&compiled.functions));
        let counter = Counter { profiler, ..Counter::default() };
        let mut proxy = Self(careplane_wasm_host::Proxy::start(&compiled.module, world, counter)?);
        for plugin in plugins {
            proxy.add(plugin, policy)?;
        }
        Ok(proxy)
    }

    /// Adds a plugin, as an update of a listener does. Returns its root context.
    ///
    /// # Errors
    /// When the module refuses the policy, or warns.
    pub fn add(&mut self, plugin: &str, policy: &str) -> Result<u32> {
        self.world().configuration = policy.into();
        let (root, taken) = self.create_root(plugin)?;
        self.ensure_no_warnings()?;
        ensure!(taken, "the module refuses the policy");
        Ok(root)
    }

    /// Removes a plugin, as the end of a listener does.
    ///
    /// # Errors
    /// When the module traps.
    pub fn remove(&mut self, root: u32) -> Result<()> {
        self.call_in(root, "proxy_on_done", &[root])?;
        self.call_in(root, "proxy_on_delete", &[root])?;
        self.world().roots.remove(&root);
        Ok(())
    }

    /// Instructions and calls since the last time, or since the start.
    ///
    /// # Errors
    /// When there is no counter.
    pub fn take(&mut self) -> Result<(u64, Tally)> {
        Ok((self.take_instructions()?, std::mem::take(&mut self.hook().tally)))
    }

    /// What was profiled since the last time, if the module is instrumented.
    pub fn take_profile(&mut self) -> Option<Profile> {
        self.hook().profiler.as_mut().map(Profiler::take)
    }

    /// Lets time pass, and answers what the plugins ask of a web server that has these files, until they ask for
    /// nothing more.
    ///
    /// # Errors
    /// When the module traps, warns, or asks for a file that is not there.
    pub fn fetch(&mut self, files: &BTreeMap<String, Vec<u8>>) -> Result<Vec<Callback>> {
        let mut callbacks = Vec::new();
        // Longer than the interval of any policy here.
        self.world().pass(Duration::from_secs(3_600));
        for root in self.world().roots.keys().copied().collect::<Vec<_>>() {
            self.call_in(root, "proxy_on_tick", &[root])?;
        }
        while let Some(sent) = self.world().sent.pop() {
            let body = files.get(&sent.path).with_context(|| format!("{} is asked for", sent.path))?.clone();
            self.take()?;
            let began = Instant::now();
            self.answer(&sent, body)?;
            let time = began.elapsed();
            let (instructions, _) = self.take()?;
            callbacks.push(Callback { path: sent.path, instructions, time });
        }
        self.ensure_no_warnings()?;
        Ok(callbacks)
    }
}
