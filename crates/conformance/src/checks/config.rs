//! Every bad setting is a named error.

use mallocer_core::{Config, ConfigError, MAX_CAPACITY, Mallocer};

use super::{layout, open};
use crate::ledger::Ledger;

fn refusal<M: Mallocer>(config: &Config) -> ConfigError {
    match M::open(config) {
        Ok(_) => panic!("a heap opens with {config:?}"),
        Err(error) => error,
    }
}

/// Capacities of 0 and 1 hold no chunk.
pub(super) fn capacity_too_small<M: Mallocer>() {
    for capacity in [0, 1] {
        let mut config = Config::default();
        config.capacity = capacity;
        match refusal::<M>(&config) {
            ConfigError::CapacityTooSmall { requested, minimum, .. } => {
                assert_eq!(requested, capacity);
                assert!(minimum > capacity, "{minimum} bytes are needed, and {capacity} too few");
            }
            error => panic!("a capacity of {capacity} gives {error:?}"),
        }
    }
}

/// The least capacity that the error names really holds a chunk.
pub(super) fn smallest_capacity<M: Mallocer>() {
    let mut config = Config::default();
    config.capacity = 1;
    let ConfigError::CapacityTooSmall { minimum, .. } = refusal::<M>(&config) else {
        panic!("a capacity of 1 byte is not named too small");
    };
    assert!(minimum <= 64 << 10, "the smallest capacity is {minimum} bytes, above 64 KiB");
    config.capacity = minimum - 1;
    refusal::<M>(&config);
    let heap = open::<M>(minimum);
    let mut ledger = Ledger::new(&heap);
    if let Err(error) = ledger.alloc(layout(1, 1)) {
        panic!("a heap of {minimum} bytes, the smallest, refuses one byte: {error}");
    }
    ledger.free_all();
}

/// Capacities above 1 TiB are refused.
pub(super) fn capacity_too_large<M: Mallocer>() {
    for capacity in [MAX_CAPACITY + 1, 1 << 50, usize::MAX] {
        let mut config = Config::default();
        config.capacity = capacity;
        assert_eq!(
            refusal::<M>(&config),
            ConfigError::CapacityTooLarge { requested: capacity, limit: MAX_CAPACITY }
        );
    }
}

/// A capacity of exactly 1 TiB is served, and costs nothing until it is used.
pub(super) fn largest_capacity<M: Mallocer>() {
    let heap = open::<M>(MAX_CAPACITY);
    let mut ledger = Ledger::new(&heap);
    ledger.alloc(layout(100, 8)).expect("a heap of 1 TiB holds 100 bytes");
    let info = heap.info();
    assert!(info.heap < 1 << 30, "a heap of 1 TiB takes more than 1 GiB for one chunk: {info}");
    ledger.free_all();
}

/// No pools at all, or no chunks in a pool, is out of range.
pub(super) fn limits_of_zero<M: Mallocer>() {
    let mut pools = Config::default();
    pools.max_pools = 0;
    let mut chunks = Config::default();
    chunks.max_chunks = 0;
    for (config, setting) in [(pools, "max_pools"), (chunks, "max_chunks")] {
        match refusal::<M>(&config) {
            ConfigError::OutOfRange { name, value: 0, .. } if name == setting => {}
            error => panic!("{setting} of 0 gives {error:?}"),
        }
    }
}
