//! A call of the module to the proxy, and its answer.

/// `WasmResult`, or 0 for WASI's success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Ok = 0,
    NotFound = 1,
    BadArgument = 2,
}

/// A call, read from the module's memory.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// The import.
    pub name: &'a str,
    /// Its numbers, in their order.
    pub numbers: Vec<u64>,
    /// Its bytes, in their order.
    pub bytes: Vec<Vec<u8>>,
}

/// What the proxy answers: any status, those that are not in [`Status`] among them, and what it writes into the
/// module's memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub status: u32,
    pub out: Out,
}

/// What a reply writes where the call asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Out {
    Nothing,
    /// Bytes: into a block that the module allocates, or, for random numbers, into its buffer. No bytes need no block.
    Bytes(Vec<u8>),
    /// The same, in a block even if there are none.
    Block(Vec<u8>),
    /// A number, in as many bytes as the call has room for.
    Number(u64),
    /// Garbage for the address and the size of a block.
    Garbage,
}

/// The parameters of a call that the module makes; another one traps. `n`: a number. `b`: address and size of bytes.
/// `f`: address and size of a buffer to fill. `B`: where address and size of a block are wanted. `4`, `8`: where a
/// number of so many bytes is wanted.
pub(crate) fn parameters(name: &str) -> Option<&'static str> {
    Some(match name {
        "proxy_log" => "nb",
        "proxy_get_log_level" => "4",
        "proxy_get_current_time_nanoseconds" => "8",
        "proxy_get_buffer_bytes" => "nnnB",
        "proxy_get_header_map_pairs" => "nB",
        "proxy_get_header_map_value" => "nbB",
        "proxy_replace_header_map_value" => "nbb",
        "proxy_remove_header_map_value" => "nb",
        "proxy_get_property" => "bB",
        "proxy_set_property" => "bb",
        "proxy_send_local_response" => "nbbbn",
        "proxy_http_call" => "bbbbn4",
        "proxy_define_metric" => "nb4",
        "proxy_increment_metric" | "proxy_record_metric" | "environ_get" => "nn",
        "proxy_continue_stream" | "proxy_close_stream" | "proc_exit" => "n",
        "proxy_set_effective_context" | "proxy_set_tick_period_milliseconds" => "n",
        "random_get" => "f",
        "clock_time_get" => "nn8",
        "environ_sizes_get" => "44",
        "fd_write" => "nnnn",
        _ => return None,
    })
}

// === impl Call ===

impl Call<'_> {
    /// A number, in 32 bits as the ABI has most; 0 when there is none.
    #[must_use]
    pub fn number(&self, place: usize) -> u32 {
        self.numbers.get(place).copied().unwrap_or_default() as u32
    }

    /// Some of its bytes; none when there are none.
    #[must_use]
    pub fn bytes(&self, place: usize) -> &[u8] {
        self.bytes.get(place).map_or(&[], Vec::as_slice)
    }

    /// Whether the answer is a block of bytes.
    #[must_use]
    pub fn is_for_bytes(&self) -> bool {
        parameters(self.name).is_some_and(|parameters| parameters.ends_with('B'))
    }
}

// === impl Reply ===

impl Reply {
    /// It was done, and this is written.
    #[must_use]
    pub fn ok(out: Out) -> Self {
        Self { status: Status::Ok as u32, out }
    }
}

impl From<Status> for Reply {
    fn from(status: Status) -> Self {
        Self { status: status as u32, out: Out::Nothing }
    }
}

impl From<Result<Vec<u8>, Status>> for Reply {
    fn from(found: Result<Vec<u8>, Status>) -> Self {
        found.map_or_else(Self::from, |bytes| Self::ok(Out::Bytes(bytes)))
    }
}
