//! Random inputs beside a model, the same ones each time.

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

/// Lines of good words, now and then with one too many, one too few, or one that is none.
fn lines(random: &mut fastrand::Rng) -> Vec<u8> {
    const VALUES: [[&str; 4]; 4] = [
        ["", "pool-a", "dedicated-a", "pool-z"],
        ["", "wales", "northern-ireland", "mars"],
        ["", "canary", "stable", "beta"],
        ["", "willow", "oak & elm", "a\u{1}b"],
    ];
    let is_odd = |random: &mut fastrand::Rng| random.u8(..100) == 0;
    let mut number = random.u32(..10);
    let mut text = String::new();
    for _ in 0..random.usize(1..40) {
        number += if is_odd(random) { 0 } else { random.u32(1..500) };
        text += &format!("home-{number:05}");
        for known in VALUES {
            let last = if is_odd(random) { 4 } else { 3 };
            text += "\t";
            text += known[random.usize(..last)];
        }
        text += if is_odd(random) { "\t\n" } else { "\n" };
    }
    let mut bytes = text.into_bytes();
    if random.u8(..20) == 0 {
        let at = random.usize(..bytes.len());
        bytes[at] = random.u8(..);
    }
    bytes
}

#[test]
fn a_directory_says_of_each_tenant_what_the_model_says() {
    let (_, run) = target("directory").unwrap();
    let mut random = fastrand::Rng::with_seed(18);
    for _ in 0..INPUTS / 4 {
        let fault: &[u8] = match random.u8(..20) {
            0 => b"s",
            1 => b"d",
            2 => b"c",
            _ => b"",
        };
        run(&[fault, b"", &lines(&mut random)].join(&0x1e));
    }
}
