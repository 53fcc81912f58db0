use super::*;

#[test]
fn a_link_is_the_same_when_it_comes_back_from_a_file() {
    let link = Link {
        chain: Uuid::from_u128(0x019b_76da_0001_7000_8000_0000_0000_0001),
        seq: 1,
        position: Position { source: 1, line: 2, record: 3, sink: Sink::ProxyLog },
        prev: Some([0; 32]),
        hash: Some([7; 32]),
        state: State::Valid,
        role: Role::End,
        key: 4,
        time: Some(Time::from_micros(1_767_225_600_000_001)),
    };
    for link in [
        link,
        Link { hash: None, prev: None, time: None, state: State::Changed, role: Role::Plain, ..link },
        Link { position: Position { sink: Sink::Collector, ..link.position }, ..link },
        Link { seq: u64::MAX, key: 1023, state: State::Unverified, role: Role::Checkpoint, ..link },
    ] {
        let mut bytes = Vec::new();
        link.write(&mut bytes);
        assert_eq!(Link::read(&bytes), link);
    }
}
