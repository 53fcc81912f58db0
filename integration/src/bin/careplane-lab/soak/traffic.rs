//! Everything that callers do: what is kept, sampled, refused, held, too much, or given up halfway.

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use careplane_integration::{Client, Lab, Request, client::Caller, upstream};
use rustix::net::sockopt::set_socket_linger;
use serde_json::json;
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

/// Callers at a time, and how often each does something at most.
const CALLERS: u64 = 16;
const PACE: Duration = Duration::from_millis(25);
/// Longer than a caller that gives up waits.
const SLOW: Duration = Duration::from_millis(200);

/// A request that is answered, and with what.
struct Answered {
    what: &'static str,
    status: u16,
    /// Whether there is a record of it.
    is_audited: bool,
    make: fn(&str, u64) -> Request,
}

const ANSWERED: [Answered; 12] = [
    answered("kept", 200, |token, n| Request::get(format!("/api/v1/medications/{n}")).bearer(token)),
    answered("sampled", 200, |token, n| Request::get(format!("/api/v1/care-plans/{n}")).bearer(token)),
    answered("of no context", 200, |token, n| Request::get(format!("/elsewhere/{n}")).bearer(token)),
    Answered { is_audited: false, ..answered("a health check", 200, |_, _| Request::get("/health")) },
    answered("held", 200, |token, _| Request::post("/api/v1/medications/administer", "{}").bearer(token)),
    answered("of two tenants", 400, |_, n| {
        Request::get(format!("/api/v1/residents/{n}")).header("x-tenant-id", "a").header("x-tenant-id", "b")
    }),
    answered("without a token", 401, |_, _| Request::get("/secure")),
    answered("forbidden by Envoy", 403, |token, _| Request::get("/forbidden").bearer(token)),
    answered("failed by the application", 503, |token, n| {
        Request::get(format!("/api/v1/residents/{n}")).bearer(token).header(upstream::STATUS_HEADER, "503")
    }),
    answered("without an upstream", 503, |token, _| Request::get("/failing").bearer(token)),
    answered("with big headers", 200, |token, n| {
        let big = Request::get(format!("/api/v1/assessments/{n}")).bearer(token);
        (0..40).fold(big, |request, header| request.header(format!("x-big-{header}"), "b".repeat(1000)))
    }),
    answered("with a big body", 200, |token, _| Request::post("/api/v1/residents", vec![b'b'; 65_536]).bearer(token)),
];

const fn answered(what: &'static str, status: u16, make: fn(&str, u64) -> Request) -> Answered {
    Answered { what, status, is_audited: true, make }
}

/// How far a request comes before its caller hangs up.
const ABANDONED: [Phase; 3] = [Phase::Head, Phase::Body, Phase::Answer];

#[derive(Clone, Copy)]
enum Phase {
    Head,
    Body,
    Answer,
}

impl Phase {
    fn bytes(self, token: &str) -> String {
        let delay = format!("{}: {}", upstream::DELAY_HEADER, SLOW.as_millis());
        let head =
            format!("POST /api/v1/residents HTTP/1.1\r\nhost: care\r\nauthorization: Bearer {token}\r\n{delay}\r\n");
        match self {
            Self::Head => head,
            Self::Body => format!("{head}content-length: 10\r\n\r\nhalf"),
            Self::Answer => format!("{head}content-length: 2\r\n\r\n{{}}"),
        }
    }
}

/// Requests without pause, until they are stopped.
pub struct Traffic {
    stop: Arc<AtomicBool>,
    begun: Arc<AtomicU64>,
    callers: JoinSet<Result<Sent>>,
}

/// What became of them.
#[derive(Debug, Default)]
pub struct Sent {
    /// Answered as expected.
    pub answered: u64,
    /// Of those: with a record.
    pub audited: u64,
    /// Given up by the caller.
    pub abandoned: u64,
    /// Not answered as expected, or not at all.
    pub wrong: Vec<String>,
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { answered, abandoned, wrong, .. } = self;
        write!(f, "{answered} answered as expected, {} not; {abandoned} given up by their callers", wrong.len())
    }
}

// === impl Traffic ===

impl Traffic {
    /// Begins.
    ///
    /// # Errors
    ///
    /// When no token can be signed.
    pub fn begin(lab: &Lab) -> Result<Self> {
        let token = lab.identity().token("care-home-0107", "user-1", json!({"roles": ["nurse"]}))?;
        let (stop, begun) = (Arc::default(), Arc::default());
        let mut callers = JoinSet::new();
        for number in 0..CALLERS {
            callers.spawn(call(number, lab.gateway(), token.clone(), Arc::clone(&stop), Arc::clone(&begun)));
        }
        Ok(Self { stop, begun, callers })
    }

    /// How many requests there were so far.
    pub fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// Ends it, and waits for the answers that are due.
    ///
    /// # Errors
    ///
    /// When a caller failed for a reason of its own.
    pub async fn end(mut self) -> Result<Sent> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Sent::default();
        while let Some(sent) = self.callers.join_next().await {
            let sent = sent??;
            all.answered += sent.answered;
            all.audited += sent.audited;
            all.abandoned += sent.abandoned;
            all.wrong.extend(sent.wrong);
        }
        Ok(all)
    }
}

async fn call(
    number: u64,
    client: Client,
    token: String,
    stop: Arc<AtomicBool>,
    begun: Arc<AtomicU64>,
) -> Result<Sent> {
    let (mut sent, mut caller, mut given_up) = (Sent::default(), Caller::new(client.clone()), None);
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Each caller begins elsewhere, so that all kinds go on at any time.
    for turn in number.. {
        pace.tick().await;
        drop(given_up.take());
        if stop.load(Ordering::Relaxed) {
            break;
        }
        begun.fetch_add(1, Ordering::Relaxed);
        let kind = usize::try_from(turn)? % (ANSWERED.len() + ABANDONED.len());
        if let Some(phase) = kind.checked_sub(ANSWERED.len()) {
            given_up = Some(give_up(client.address(), &ABANDONED[phase].bytes(&token), turn % 2 == 0).await?);
            sent.abandoned += 1;
            continue;
        }
        let expected = &ANSWERED[kind];
        match caller.send((expected.make)(&token, turn)).await {
            Ok(response) if response.status == expected.status => {
                sent.answered += 1;
                sent.audited += u64::from(expected.is_audited);
            }
            Ok(response) => sent.wrong.push(format!("{}: {}: {}", expected.what, response.status, response.text())),
            Err(error) => sent.wrong.push(format!("{}: {error:#}", expected.what)),
        }
    }
    Ok(sent)
}

/// Sends `bytes`. Dropping the result hangs up, by a reset or in good order.
async fn give_up(address: SocketAddr, bytes: &str, reset: bool) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    if reset {
        set_socket_linger(&stream, Some(Duration::ZERO))?;
    }
    stream.write_all(bytes.as_bytes()).await?;
    Ok(stream)
}
