//! Random policies, claims and requests beside the model, the same ones each time.

use careplane_fuzz::target;

/// Enough that each kind of answer comes up hundreds of times.
const INPUTS: usize = 30_000;

#[test]
fn grants_are_decided_as_the_model_decides_them() {
    let (_, run) = target("grants").unwrap();
    let mut random = fastrand::Rng::with_seed(15);
    for _ in 0..INPUTS {
        let input: Vec<u8> = (0..120).map(|_| random.u8(..)).collect();
        run(&input);
    }
}
