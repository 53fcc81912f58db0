//! One request through the filters on the host in memory, and the record with its hash.

use std::rc::Rc;
use std::sync::Arc;

use careplane_audit::{Audit, Ledger};
use careplane_benches::{policy, request};
use careplane_exchange::memory::{MemoryHost, rules};
use careplane_exchange::{Exchange, Filter, Rules};
use careplane_sampling::Sampling;
use careplane_tenant_routing::TenantRouting;
use careplane_tracing_tags::TracingTags;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

const PATH: &str = "/api/v1/service-7/17/administer";

fn run(filters: &[Box<dyn Filter>], rules: &Arc<Rules>, host: &MemoryHost) {
    let mut exchange = Exchange::open(Arc::clone(rules), host);
    filters.iter().for_each(|filter| filter.on_request(&exchange, host));
    exchange.apply(host);
    exchange.forget_headers();
    filters.iter().for_each(|filter| filter.on_response(&exchange, host));
    filters.iter().for_each(|filter| filter.on_log(&exchange, host));
}

fn filters(criterion: &mut Criterion) {
    let rules = rules(&policy(500, 10_000).to_string()).unwrap();
    let audit = || Box::new(Audit::new(Rc::new(Ledger::default())));
    let sets: [(&str, Vec<Box<dyn Filter>>); 6] = [
        ("no filter", vec![]),
        ("tracing-tags", vec![Box::new(TracingTags)]),
        ("sampling", vec![Box::new(Sampling::default())]),
        ("tenant-routing", vec![Box::new(TenantRouting)]),
        ("audit", vec![audit()]),
        ("all four", vec![Box::new(TracingTags), Box::new(TenantRouting), Box::new(Sampling::default()), audit()]),
    ];
    let mut group = criterion.benchmark_group("request");
    for (name, filters) in sets {
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(|| request(PATH), |host| run(&filters, &rules, host), BatchSize::SmallInput);
        });
    }
    group.finish();
}

fn record(criterion: &mut Criterion) {
    let rules = rules(&policy(500, 10_000).to_string()).unwrap();
    let audit = Audit::new(Rc::new(Ledger::default()));
    let finished = || {
        let host = request(PATH);
        let exchange = Exchange::open(Arc::clone(&rules), &host);
        audit.on_request(&exchange, &host);
        (host, exchange)
    };
    criterion.bench_function("record with its hash", |bencher| {
        bencher.iter_batched_ref(finished, |(host, exchange)| audit.on_log(exchange, host), BatchSize::SmallInput);
    });
}

criterion_group!(benches, filters, record);
criterion_main!(benches);
