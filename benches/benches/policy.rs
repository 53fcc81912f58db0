//! Reading a policy, and asking it.

use std::hint::black_box;

use careplane_benches::policy;
use careplane_policy::id::TenantId;
use careplane_policy::{Method, Policy};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

fn compilation(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("policy compilation");
    group.sample_size(20);
    for (contexts, tenants) in [(10, 10), (500, 10), (10, 10_000), (500, 10_000)] {
        let document = policy(contexts, tenants).to_string();
        let id = BenchmarkId::from_parameter(format!("{contexts} contexts, {tenants} tenants"));
        group.bench_with_input(id, &document, |bencher, document| {
            bencher.iter(|| Policy::from_json(black_box(document.as_bytes())));
        });
    }
    group.finish();
}

fn classification(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("classification");
    for contexts in [10, 500, 5_000] {
        let policy = Policy::from_json(policy(contexts, 0).to_string().as_bytes()).unwrap();
        for (name, path) in [
            ("plain path", "/api/v1/service-7/17/administer"),
            ("path to normalise", "/api//v1/%73ervice-7/./17/administer;v=1?x=1"),
            ("no match", "/elsewhere/and/further"),
        ] {
            group.bench_function(BenchmarkId::new(name, contexts), |bencher| {
                bencher.iter(|| policy.classify(Method::Post, black_box(path.as_bytes())));
            });
        }
    }
    group.finish();
}

fn placement(criterion: &mut Criterion) {
    let policy = Policy::from_json(policy(1, 10_000).to_string().as_bytes()).unwrap();
    let mut group = criterion.benchmark_group("placement");
    for (name, tenant) in [("pinned", "care-home-000042"), ("hashed", "somewhere-else")] {
        let tenant = TenantId::new(tenant.as_bytes()).unwrap();
        group.bench_function(name, |bencher| bencher.iter(|| policy.routing.place(black_box(&tenant), None)));
    }
    group.finish();
}

criterion_group!(benches, compilation, classification, placement);
criterion_main!(benches);
