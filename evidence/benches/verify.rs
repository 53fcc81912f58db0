//! How fast records verify, how fast a search among them answers, and in how much memory: several chains interleaved,
//! in the order of writing and in no order at all. Beside it, over the same file: the same on one thread and with the
//! JSON parser for every record; what a script does, with trees of values; and `sha256sum` and `jq`, which read it
//! once.
//!
//! `cargo bench -p careplane-evidence`; other numbers of records than 100,000 and 1,000,000: `… -- 5000000`

#[path = "verify/baseline.rs"]
mod baseline;
#[path = "../tests/support/mod.rs"]
mod support;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use careplane_evidence::search::{Person, Query};
use careplane_evidence::source::Source;
use careplane_evidence::verify::{Demands, Keyring, Settings, Verifier};
use jiff::Timestamp;
use support::{Random, Writer};

const CHAINS: u64 = 16;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [word, file] = &arguments[..] {
        match word.as_str() {
            "tree" => return measured(|| baseline::tree(file)),
            "search" => return measured(|| search(file)),
            "parser" => {
                let settings = Settings { threads: Some(1), parser_alone: true, ..Settings::default() };
                return measured(|| verify(file, settings));
            }
            _ => return measured(|| verify(file, Settings::default())),
        }
    }
    let given: Vec<u64> = arguments.iter().filter_map(|argument| argument.parse().ok()).collect();
    println!(
        "{:>10} {:>8} {:>8} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "records", "order", "MB", "seconds", "of CPU", "records/s", "MB/s", "peak MB"
    );
    for records in if given.is_empty() { vec![100_000, 1_000_000] } else { given } {
        let folder = tempfile::tempdir().unwrap();
        let written = folder.path().join("written");
        write(records, BufWriter::new(File::create(&written).unwrap()));
        let shuffled = folder.path().join("shuffled");
        shuffle(File::open(&written).unwrap(), BufWriter::new(File::create(&shuffled).unwrap()));
        for (order, file) in [("written", written), ("random", shuffled)] {
            let megabytes = fs::metadata(&file).unwrap().len() as f64 / 1e6;
            let Run { seconds, cpu, peak } = alone("verify", &file);
            println!(
                "{records:>10} {order:>8} {megabytes:>8.0} {seconds:>9.2} {cpu:>9.2} {:>9.0} {:>9.0} {peak:>9}",
                records as f64 / seconds,
                megabytes / seconds
            );
            beside(&file, order == "written", seconds, cpu);
        }
    }
}

/// What a run took: seconds of the clock and of processors, and the peak of resident memory in MB.
struct Run {
    seconds: f64,
    cpu: f64,
    peak: String,
}

/// Runs this program in a process of its own: peak memory is a process's.
fn alone(word: &str, file: &Path) -> Run {
    let output = Command::new(std::env::current_exe().unwrap()).arg(word).arg(file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told = String::from_utf8(output.stdout).unwrap();
    let [seconds, cpu, peak] = told.trim().split(' ').collect::<Vec<_>>().try_into().unwrap();
    Run { seconds: seconds.parse().unwrap(), cpu: cpu.parse().unwrap(), peak: peak.to_owned() }
}

/// What others take over the same file, and how many times as long, by the clock and by processor time. A verifier on
/// one thread has one core at most: its rate beside that of all cores is the ratio of the clock on a free machine.
fn beside(file: &Path, is_ordered: bool, seconds: f64, cpu: f64) {
    let say = |name: &str, run: &Run| {
        let (by_clock, by_cpu) = (run.seconds / seconds, run.cpu / cpu);
        let Run { seconds, cpu, .. } = run;
        println!("{name:>29}: {seconds:.2} s ({by_clock:.1} times), {cpu:.2} s of CPU ({by_cpu:.2} times)");
    };
    say("search for a person", &alone("search", file));
    say("one thread, with the parser", &alone("parser", file));
    if is_ordered {
        say("one thread, by trees", &alone("tree", file));
    }
    for (program, arguments) in [("sha256sum", &[][..]), ("jq", &["-c", "."])] {
        let (began, before) = (Instant::now(), self::cpu());
        match Command::new(program).args(arguments).arg(file).stdout(std::process::Stdio::null()).status() {
            Ok(status) if status.success() => {
                let (seconds, cpu) = (began.elapsed().as_secs_f64(), self::cpu() - before);
                say(program, &Run { seconds, cpu, peak: String::new() });
            }
            _ => println!("{program:>29}: SKIPPED, it is not installed"),
        }
    }
}

/// Seconds of processor time of this process and of children that have ended; 0 where that is not told.
fn cpu() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let behind_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    // A tick is a hundredth of a second on Linux.
    behind_name.split_whitespace().skip(11).take(4).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn verify(file: &str, settings: Settings) {
    let mut verifier = Verifier::new(settings);
    verifier.read(&Source::file(file)).unwrap();
    let verification = verifier.finish().unwrap();
    assert!(verification.holds(Demands { closed: true, ..Demands::default() }), "{:?}", verification.chains[0]);
}

/// Verifies all records, and finds those of one person that have one request's number: one in each chain.
fn search(file: &str) {
    let query = Query {
        people: vec![Person::Subject(vec!["p-abcdefgh-abcdefghijklmnopabcdefghijklmnop".into()])],
        request_id: Some("0f5a8c1e-7d2b-a3c4-9e6f-000000000002".into()),
        ..Query::default()
    };
    let answer =
        careplane_evidence::search::search(&query, Keyring::default(), Timestamp::now(), &[Source::file(file)]);
    assert_eq!(answer.unwrap().hits.len() as u64, CHAINS);
}

/// Prints what it takes: see [`Run`].
fn measured(run: impl FnOnce()) {
    let began = Instant::now();
    run();
    let seconds = began.elapsed().as_secs_f64();
    let peak = fs::read_to_string("/proc/self/status").ok().and_then(|status| {
        let line =
            status.lines().find(|line| line.starts_with("VmHWM:"))?.split_whitespace().nth(1)?.parse::<f64>().ok()?;
        Some(format!("{:.0}", line / 1000.0))
    });
    println!("{seconds} {:.2} {}", cpu(), peak.as_deref().unwrap_or("-"));
}

/// Chains of equal length, interleaved.
fn write(records: u64, mut out: impl Write) {
    let mut chains: Vec<Writer> = (0..CHAINS).map(Writer::new).collect();
    for number in 0..records {
        let chain = &mut chains[(number % CHAINS) as usize];
        let record = match number / CHAINS {
            0 => chain.checkpoint("start"),
            _ if number + CHAINS >= records => chain.checkpoint("end"),
            seq if seq % 60 == 59 => chain.checkpoint("head"),
            _ => chain.request(),
        };
        writeln!(out, "{record}").unwrap();
    }
}

/// The lines of `from` in a random order, without all of them in memory.
fn shuffle(from: File, mut out: impl Write) {
    let mut starts = vec![0_u64];
    let mut reader = BufReader::new(&from);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).unwrap() > 0 {
        starts.push(starts.last().unwrap() + line.len() as u64);
        line.clear();
    }
    let mut lines: Vec<(u64, usize)> =
        starts.windows(2).map(|pair| (pair[0], usize::try_from(pair[1] - pair[0]).unwrap())).collect();
    Random(11).shuffle(&mut lines);
    for (start, length) in lines {
        line.resize(length, 0);
        (&from).seek(SeekFrom::Start(start)).unwrap();
        (&from).read_exact(&mut line).unwrap();
        out.write_all(&line).unwrap();
    }
}
