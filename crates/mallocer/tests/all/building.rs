//! Settings: every bad one is a named error when the arena is built.

use std::process::Command;
use std::time::Duration;

use mallocer::{Arena, Backend, BackendError, BuildError, ConfigError, Hints, Ladder, SharedArena};

use crate::{bytes, each_arena};

#[test]
fn a_capacity_out_of_range_is_an_error() {
    each_arena!(|Kind, backend| {
        let build = |capacity| Kind::builder().backend(backend).capacity(capacity).build();
        assert_eq!(
            build((1 << 40) + 1).unwrap_err(),
            BuildError::Config(ConfigError::CapacityTooLarge {
                requested: (1 << 40) + 1,
                limit: 1 << 40
            })
        );
        assert!(build(1 << 40).is_ok(), "{backend}");
        let BuildError::Config(ConfigError::CapacityTooSmall { backend: name, minimum, .. }) =
            build(0).unwrap_err()
        else {
            panic!("{backend} builds an arena of 0 bytes");
        };
        assert_eq!(name, backend.name());
        assert!(build(minimum - 1).is_err(), "{backend}");
        let least = build(minimum).unwrap();
        least.alloc_slab(least.slabs()[0]);
    });
}

#[test]
fn limits_out_of_range_are_errors() {
    each_arena!(|Kind, backend| {
        let builder = || Kind::builder().backend(backend).capacity(1 << 20);
        for (name, value, refused) in [
            ("max_pools", 0, builder().max_pools(0).build()),
            ("max_chunks", 0, builder().max_chunks(0).build()),
            ("max_chunks", (1 << 20) + 1, builder().max_chunks((1 << 20) + 1).build()),
        ] {
            let refusal = refused.unwrap_err();
            let BuildError::Config(ConfigError::OutOfRange { name: named, value: got, .. }) =
                refusal
            else {
                panic!("{backend}, {name} of {value}: {refusal}");
            };
            assert_eq!((named, got), (name, value), "{backend}");
        }
    });
}

#[test]
fn bad_ladders_are_errors_of_the_build() {
    fn build(ladder: Result<Ladder, ConfigError>) -> Result<Arena, BuildError> {
        Arena::builder().capacity(1 << 20).ladder(ladder?).build()
    }
    for (ladder, refusal) in [
        (Ladder::between(104, 96), ConfigError::MinAboveMax { min: 104, max: 96 }),
        (Ladder::from_slabs(&[]), ConfigError::EmptyLadder),
        (
            Ladder::from_slabs(&[16, 8]),
            ConfigError::UnsortedLadder { position: 1, previous: 16, value: 8 },
        ),
        (
            Ladder::between(97, 1024),
            ConfigError::UnalignedBound { name: "minblock", value: 97, alignment: 8, remedy: 104 },
        ),
    ] {
        assert_eq!(build(ladder).unwrap_err(), BuildError::Config(refusal));
    }
}

#[test]
fn every_setting_reaches_a_working_arena() {
    each_arena!(|Kind, backend| {
        let builder = Kind::builder()
            .capacity(8 << 20)
            .ladder(Ladder::between(96, 1 << 20).unwrap())
            .hints(Hints::SHORT_LIVED | Hints::HOT)
            .max_pools(100)
            .max_chunks(1000)
            .decay(Duration::from_secs(1))
            .backend(backend);
        for arena in [builder.clone().build().unwrap(), builder.build().unwrap()] {
            assert_eq!(arena.info().capacity, 8 << 20);
            let chunk = arena.alloc(bytes(100));
            // SAFETY: the chunk is held, and not used afterwards.
            unsafe { arena.free(chunk.cast()) };
        }
    });
}

#[test]
#[cfg(feature = "flist")]
fn the_ladder_decides_what_flist_serves() {
    let ladder = Ladder::between(96, 1 << 20).unwrap();
    let arena = Arena::<mallocer::Flist>::builder().ladder(ladder.clone()).build().unwrap();
    assert_eq!(arena.slabs(), ladder.slabs());
    assert_eq!(arena.alloc(bytes(97)).len(), 104);
    assert_eq!(
        arena.try_alloc(bytes((1 << 20) + 1)),
        Err(mallocer::AllocError::AboveLargestSlab { requested: (1 << 20) + 1, largest: 1 << 20 })
    );
}

#[test]
#[cfg(feature = "flist")]
fn the_limits_on_pools_decide_how_much_a_slab_may_hold() {
    let builder = Arena::<mallocer::Flist>::builder().max_pools(2).max_chunks(10);
    let arena = builder.build().unwrap();
    for _ in 0..20 {
        arena.alloc(bytes(100));
    }
    let refused = arena.try_alloc(bytes(100));
    assert_eq!(refused, Err(mallocer::AllocError::PoolLimit { slab: 104, pools: 2 }));
    arena.alloc(bytes(200));
}

#[test]
fn a_backend_that_is_not_compiled_in_is_an_error_that_lists_those_that_are() {
    for backend in Backend::ALL.into_iter().filter(|all| !all.is_compiled()) {
        let absent = BuildError::Backend(BackendError::NotCompiled { backend });
        assert_eq!(Arena::builder().backend(backend).build().unwrap_err(), absent);
        assert_eq!(SharedArena::builder().backend(backend).build().unwrap_err(), absent);
        assert!(Backend::compiled().iter().all(|all| absent.to_string().contains(all.name())));
    }
}

#[test]
fn an_arena_without_a_backend_named_takes_the_preferred_one() {
    match Backend::preferred() {
        Ok(backend) => {
            assert_eq!(Arena::new(1 << 20).unwrap().heap().backend(), backend);
            assert_eq!(SharedArena::new(1 << 20).unwrap().heap().backend(), backend);
        }
        Err(refusal) => {
            assert_eq!(refusal, BackendError::None);
            assert_eq!(Arena::new(1 << 20).unwrap_err(), BuildError::Backend(refusal));
        }
    }
}

/// Runs this test again in a process of its own for each value of the variable, and
/// there compares what `from_env` says.
#[test]
fn the_environment_chooses_the_backend() {
    const CHILD: &str = "MALLOCER_TEST_EXPECTS";
    if let Ok(expected) = std::env::var(CHILD) {
        let found =
            Backend::from_env().map_or_else(|refusal| refusal.to_string(), |b| b.to_string());
        assert_eq!(found, expected);
        return;
    }
    let preferred = Backend::preferred().map_or_else(|none| none.to_string(), |b| b.to_string());
    let mut cases = vec![(None, preferred)];
    for backend in Backend::ALL {
        let absent = BackendError::NotCompiled { backend };
        let expected = if backend.is_compiled() { backend.to_string() } else { absent.to_string() };
        cases.push((Some(backend.name().to_uppercase()), expected));
    }
    let unknown = BackendError::Unknown { name: "tlsf".to_owned() };
    cases.push((Some("tlsf".to_owned()), unknown.to_string()));
    for (value, expected) in cases {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "building::the_environment_chooses_the_backend"]);
        child.env(CHILD, expected).env_remove("MALLOCER_BACKEND");
        if let Some(value) = &value {
            child.env("MALLOCER_BACKEND", value);
        }
        let output = child.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && text.contains("1 passed"), "{value:?}: {text}");
    }
}
