//! A day of a national platform, minute by minute: homes in regions, busy rounds, and an
//! unavailable collector.

use anyhow::{Result, ensure};
use careplane_evidence::synthetic::HOURS;
use clap::Args;
use fastrand::Rng;
use serde::Serialize;

use crate::constants::Constants;

const MINUTES: usize = 24 * 60;
/// Of a program's CPU at the busiest minute, so that it has room for what the minute hides.
const UTILISATION: f64 = 0.6;
/// What a record takes in the queue beside its bytes on the way.
const QUEUE_OVERHEAD: f64 = 64.0;
/// How long a collector is away, in minutes.
const OUTAGES: [usize; 5] = [1, 5, 15, 60, 240];

/// The platform.
#[derive(Args, Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Platform {
    /// Care homes
    #[arg(long, default_value_t = 20_000)]
    pub homes: usize,
    /// Residents
    #[arg(long, default_value_t = 2_000_000)]
    pub residents: u64,
    /// Regions, each with a mesh, collectors and a store of its own
    #[arg(long, default_value_t = 50)]
    pub regions: usize,
    /// Records a day
    #[arg(long, default_value_t = 10e9)]
    pub records: f64,
    /// Records a second of one worker of a proxy at the busiest minute
    #[arg(long, default_value_t = 50.0)]
    pub rate: f64,
    /// `export.queueBytes` of the policy
    #[arg(long, default_value_t = 4_194_304.0)]
    pub queue_bytes: f64,
    /// Years for which records are kept
    #[arg(long, default_value_t = 8.0)]
    pub years: f64,
    /// The seed of the random numbers
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// A day of the platform.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Day {
    /// Records a second in the mean.
    pub mean_rate: f64,
    /// Records a second in the busiest minute of the whole.
    pub peak_rate: f64,
    /// The region with the most homes.
    pub largest: Region,
    /// What the whole needs, of each kind.
    pub needs: Vec<Need>,
    /// What becomes of the records of the largest region when its collector goes away in the busiest minute.
    pub outages: Vec<Outage>,
}

/// One region.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Region {
    /// Its part of the homes' work.
    pub share: f64,
    /// Records a second in its busiest minute.
    pub peak_rate: f64,
    /// Workers of its proxies.
    pub workers: f64,
    /// Cores of its collectors.
    pub collectors: f64,
}

/// Cores, bytes a second or bytes.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Need {
    /// Of what.
    pub what: &'static str,
    /// For the largest region at its busiest minute; for what is not about an instant, in a day.
    pub region: f64,
    /// For all regions.
    pub all: f64,
    /// The unit of both.
    pub unit: &'static str,
}

/// A collector that was away.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outage {
    /// For how many minutes.
    pub minutes: usize,
    /// Records that came meanwhile and until the queues were empty again.
    pub came: f64,
    /// Of these, records that did not fit a queue and went to the proxies' logs.
    pub overflowed: f64,
    /// Minutes from its return until the queues were empty; none when that took more than two days.
    pub drained_after: Option<usize>,
    /// `export.queueBytes` with which nothing would have overflowed.
    pub enough_queue_bytes: f64,
}

// === impl Platform ===

impl Platform {
    /// Refuses what cannot be simulated.
    ///
    /// # Errors
    /// The number, and what is expected instead.
    pub fn check(&self) -> Result<()> {
        ensure!(self.regions > 0, "--regions {}: expected at least 1", self.regions);
        ensure!(
            self.homes >= self.regions,
            "--homes {}: expected at least one for each of {} regions",
            self.homes,
            self.regions
        );
        for (name, value) in
            [("records", self.records), ("rate", self.rate), ("queue-bytes", self.queue_bytes), ("years", self.years)]
        {
            ensure!(value.is_finite() && value > 0.0, "--{name} {value}: expected a number above 0");
        }
        Ok(())
    }

    /// The part of each region of the platform's work: homes of different sizes, more of them in some regions than in
    /// others.
    fn shares(&self, rng: &mut Rng) -> Vec<f64> {
        let weights: Vec<f64> = (0..self.regions).map(|_| 0.5 + rng.f64()).collect();
        let all: f64 = weights.iter().sum();
        let mut shares = vec![0.0; self.regions];
        for (share, weight) in shares.iter_mut().zip(&weights) {
            let homes = (weight / all * self.homes as f64).ceil() as usize;
            // From a dozen residents to some two hundred.
            *share = (0..homes).map(|_| 12.0 + rng.f64().powi(2) * 200.0).sum();
        }
        let all: f64 = shares.iter().sum();
        shares.iter().map(|share| share / all).collect()
    }

    /// Records a second of a region in each minute.
    fn demand(&self, share: f64, rng: &mut Rng) -> Vec<f64> {
        let weights = HOURS.map(f64::from);
        let hours: f64 = weights.iter().sum();
        let drawn: Vec<f64> = (0..MINUTES)
            .map(|minute| {
                // From the middle of one hour to the middle of the next, in a straight line.
                let position = (minute as f64 - 30.0).rem_euclid(MINUTES as f64) / 60.0;
                let (before, after) = (position as usize % 24, (position as usize + 1) % 24);
                let part = weights[before] + (weights[after] - weights[before]) * position.fract();
                part / hours * (0.9 + 0.2 * rng.f64())
            })
            .collect();
        // The noise takes nothing from the day and adds nothing.
        let sum: f64 = drawn.iter().sum();
        drawn.iter().map(|part| self.records * share * part / sum / 60.0).collect()
    }
}

// === impl Day ===

impl Day {
    /// A day of `platform`, whose programs cost what `constants` say.
    pub fn simulate(platform: &Platform, constants: &Constants) -> Self {
        let mut rng = Rng::with_seed(platform.seed);
        let shares = platform.shares(&mut rng);
        let demands: Vec<Vec<f64>> = shares.iter().map(|share| platform.demand(*share, &mut rng)).collect();
        let peak = |demand: &[f64]| demand.iter().copied().fold(0.0, f64::max);
        let together: Vec<f64> = (0..MINUTES).map(|minute| demands.iter().map(|demand| demand[minute]).sum()).collect();
        let peaks: f64 = demands.iter().map(|demand| peak(demand)).sum();
        let largest =
            (0..shares.len()).max_by(|one, other| shares[*one].total_cmp(&shares[*other])).unwrap_or_default();
        let region_peak = peak(&demands[largest]);
        let workers = (region_peak / platform.rate).ceil();
        let cores = |micros: f64, rate: f64| micros * rate / 1e6;
        let collectors = cores(constants.collector_micros, region_peak) / UTILISATION;
        let region_records = platform.records * shares[largest];

        let at_peak = |what, micros| Need {
            what,
            region: cores(micros, region_peak) / UTILISATION,
            all: cores(micros, peaks) / UTILISATION,
            unit: "cores",
        };
        let bytes = |what, each: f64, days: f64| Need {
            what,
            region: each * region_records * days / 1e12,
            all: each * platform.records * days / 1e12,
            unit: "TB",
        };
        let hours = |what, micros: f64| Need {
            what,
            region: micros * region_records / 3.6e9,
            all: micros * platform.records / 3.6e9,
            unit: "core hours a day",
        };
        let needs = vec![
            Need {
                what: "proxies: CPU that careplane adds",
                region: cores(constants.proxy_micros, region_peak),
                all: cores(constants.proxy_micros, peaks),
                unit: "cores",
            },
            Need {
                what: "proxies: memory that careplane adds",
                region: workers * constants.proxy_memory / 1e3,
                all: (peaks / platform.rate).ceil() * constants.proxy_memory / 1e3,
                unit: "GB",
            },
            Need {
                what: "network, proxies to collectors",
                region: constants.otlp_bytes * region_peak * 8.0 / 1e9,
                all: constants.otlp_bytes * peaks * 8.0 / 1e9,
                unit: "Gbit/s",
            },
            at_peak("collectors", constants.collector_micros),
            at_peak("ClickHouse, taking records in", constants.insert_micros),
            bytes("object storage, gzip, a day", constants.gzip_bytes, 1.0),
            bytes("object storage, gzip, all years", constants.gzip_bytes, platform.years * 365.25),
            bytes("ClickHouse, a day", constants.clickhouse_bytes, 1.0),
            bytes("ClickHouse, all years", constants.clickhouse_bytes, platform.years * 365.25),
            hours("`careplane audit verify` of a day", constants.verify_micros),
            hours("the same in ClickHouse", constants.clickhouse_verify_micros),
            hours("`careplane audit search` for one person in a day", constants.search_micros),
            hours("the same in ClickHouse", constants.clickhouse_search_micros),
        ];
        let size = constants.otlp_bytes + QUEUE_OVERHEAD;
        // The collectors have what the busiest minute needs, and the room beyond it.
        let capacity = region_peak / UTILISATION;
        let demand = &demands[largest];
        let busiest = demand.iter().position(|rate| *rate == region_peak).unwrap_or_default();
        let from_there = || demand.iter().copied().cycle().skip(busiest).take(2 * MINUTES);
        let outages = OUTAGES
            .map(|minutes| outage(from_there(), minutes, capacity, workers, platform.queue_bytes / size))
            .map(|outage| Outage { enough_queue_bytes: outage.enough_queue_bytes * size, ..outage });
        Self {
            mean_rate: platform.records / (MINUTES as f64 * 60.0),
            peak_rate: peak(&together),
            largest: Region { share: shares[largest], peak_rate: region_peak, workers, collectors },
            needs,
            outages: outages.to_vec(),
        }
    }
}

/// The collectors of a region go away for the first `minutes` of `demand`, which is in records a second for each
/// minute; then they take `capacity` records a second. `queue` is how many records each of `workers` can keep. The
/// answer has the queue that would have been enough in records a worker.
fn outage(demand: impl Iterator<Item = f64>, minutes: usize, capacity: f64, workers: f64, queue: f64) -> Outage {
    let (mut came, mut overflowed, mut queued, mut unbounded, mut most) = (0.0, 0.0, 0.0, 0.0_f64, 0.0_f64);
    let mut drained_after = None;
    for (minute, rate) in demand.enumerate() {
        let arriving = rate * 60.0;
        let sent = if minute < minutes { 0.0 } else { capacity * 60.0 };
        came += arriving;
        queued += arriving - (queued + arriving).min(sent);
        overflowed += (queued - workers * queue).max(0.0);
        queued = queued.min(workers * queue);
        unbounded += arriving - (unbounded + arriving).min(sent);
        most = most.max(unbounded);
        if minute >= minutes && unbounded == 0.0 {
            drained_after = Some(minute + 1 - minutes);
            break;
        }
    }
    Outage { minutes, came, overflowed, drained_after, enough_queue_bytes: most / workers }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform() -> Platform {
        Platform {
            homes: 200,
            residents: 20_000,
            regions: 5,
            records: 1e6,
            rate: 1.0,
            queue_bytes: 1e5,
            years: 8.0,
            seed: 3,
        }
    }

    #[test]
    fn the_regions_and_minutes_are_the_whole_day() {
        let (platform, mut rng) = (platform(), Rng::with_seed(1));
        let shares = platform.shares(&mut rng);
        assert_eq!(shares.len(), 5);
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        let records: f64 =
            shares.iter().map(|share| platform.demand(*share, &mut rng).iter().sum::<f64>() * 60.0).sum();
        assert!((records / platform.records - 1.0).abs() < 1e-9, "{records}");
    }

    #[test]
    fn an_outage_loses_nothing_and_drains() {
        // Ten records a second, and a collector that takes twenty: what waited is gone as long after as it was away.
        let steady = || std::iter::repeat_n(10.0, 100);
        let all_fit = outage(steady(), 5, 20.0, 2.0, 1e6);
        assert_eq!((all_fit.overflowed, all_fit.enough_queue_bytes, all_fit.drained_after), (0.0, 1_500.0, Some(5)));
        let few_fit = outage(steady(), 5, 20.0, 2.0, 100.0);
        assert_eq!(few_fit.overflowed, 5.0 * 600.0 - 200.0);
        assert_eq!(outage(steady(), 5, 10.0, 2.0, 1e6).drained_after, None);
    }

    #[test]
    fn twice_the_records_need_twice_as_much() {
        let constants =
            Constants { collector_micros: 10.0, gzip_bytes: 100.0, otlp_bytes: 1000.0, ..Constants::default() };
        let once = Day::simulate(&platform(), &constants);
        let twice = Day::simulate(&Platform { records: 2e6, ..platform() }, &constants);
        for (one, two) in once.needs.iter().zip(&twice.needs).filter(|(one, _)| one.unit != "GB") {
            assert!((one.all * 2.0 - two.all).abs() <= one.all * 1e-9, "{}", one.what);
        }
        assert!(once.peak_rate > once.mean_rate);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert!(platform().check().is_ok());
        let error = Platform { regions: 300, ..platform() }.check().unwrap_err().to_string();
        assert_eq!(error, "--homes 200: expected at least one for each of 300 regions");
        assert!(Platform { records: f64::NAN, ..platform() }.check().is_err());
    }
}
