//! Counts the instructions of each function while an instrumented module runs.

/// The module that an instrumented module imports `enter` and `leave` from.
pub(crate) const MODULE: &str = "careplane_profile";
/// Instructions of a wrapper until `enter` runs: its entry, a constant, the call.
const BEFORE: u64 = 3;
/// Instructions after that, beside a read of each parameter: the call of the function, a constant, the call.
const AFTER: u64 = 3;

/// A function of an instrumented module.
#[derive(Clone, Debug)]
pub struct Function {
    pub(crate) name: String,
    pub(crate) parameters: u64,
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

    pub(crate) fn enter(&mut self, function: usize, used: u64) {
        self.added += BEFORE;
        self.depths[function] += 1;
        self.stack.push(Frame { function, began: used - self.added, others: 0 });
    }

    pub(crate) fn leave(&mut self, function: usize, used: u64) {
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

    /// Returns what was counted since the last call, and resets it. Call it when no function runs and the fuel is full.
    pub(crate) fn take(&mut self) -> Profile {
        self.added = 0;
        let names = self.functions.iter().map(|function| function.name.clone());
        names.zip(self.parts.iter_mut().map(std::mem::take)).filter(|(_, part)| part.calls > 0).collect()
    }
}
