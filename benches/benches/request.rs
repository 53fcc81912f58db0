//! One request through the filters on the host in memory, and the record with its hash.

use std::sync::Arc;

use careplane_benches::{policy, request};
use careplane_exchange::Rules;
use careplane_exchange::memory::rules;
use careplane_pipeline::{Filters, Parts, Plugin, Stream};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

const PATH: &str = "/api/v1/service-7/17/administer";

fn plugin(name: &str, rules: &Arc<Rules>) -> Plugin {
    Plugin { filters: Filters::named(name, rules, Parts::default()), rules: Arc::clone(rules) }
}

fn filters(criterion: &mut Criterion) {
    let rules = rules(&policy(500, 10_000).to_string()).unwrap();
    let mut group = criterion.benchmark_group("request");
    for name in ["no filter"].iter().chain(Filters::NAMES) {
        let plugin = plugin(name, &rules);
        group.bench_function(*name, |bencher| {
            bencher.iter_batched_ref(
                || (request(PATH), Stream::new(plugin.clone())),
                |(host, stream)| {
                    stream.on_request_headers(host);
                    stream.on_response_headers(host);
                    stream.on_log(host);
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn record(criterion: &mut Criterion) {
    let rules = rules(&policy(500, 10_000).to_string()).unwrap();
    let audit = plugin("audit", &rules);
    let finished = || {
        let host = request(PATH);
        let mut stream = Stream::new(audit.clone());
        stream.on_request_headers(&host);
        (host, stream)
    };
    criterion.bench_function("record with its hash", |bencher| {
        bencher.iter_batched_ref(finished, |(host, stream)| stream.on_log(host), BatchSize::SmallInput);
    });
}

criterion_group!(benches, filters, record);
criterion_main!(benches);
