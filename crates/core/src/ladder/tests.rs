use super::table::{BUCKETS, bucket_start};
use super::*;
use alloc::vec::Vec;
use proptest::prelude::*;

/// The rule as the ancestor writes it, in floating point.
fn by_floats(min: usize, max: usize, alignment: usize, utilization: f64) -> Vec<usize> {
    let mut slabs = Vec::new();
    let mut slab = min.max(alignment);
    while slab < max {
        slabs.push(slab);
        let mut add = (slab as f64 * (1.0 - utilization)) as usize;
        if !add.is_multiple_of(alignment) {
            add += alignment - add % alignment;
        }
        slab += add.max(alignment);
    }
    slabs.push(max);
    slabs
}

/// The definition, by search from the smallest.
fn naive(slabs: &[usize], size: usize, align: usize) -> Option<usize> {
    slabs.iter().copied().find(|&slab| slab >= size && slab.is_multiple_of(align))
}

fn found(ladder: &Ladder, size: usize, align: usize) -> Option<usize> {
    ladder.find(size, align).map(|index| ladder.slab_size(index))
}

#[test]
fn the_default_ladder_is_the_known_one() {
    let ladder = Ladder::default();
    let slabs = ladder.slabs();
    assert_eq!(slabs.len(), 479);
    assert_eq!(slabs, by_floats(0, 1 << 40, 8, 0.95));
    let head: Vec<usize> = (1..=23).map(|step| step * 8).chain([200, 216]).collect();
    assert_eq!(slabs[..25], head);
    assert!(slabs.windows(2).any(|pair| pair == [344, 368]));
    assert!(slabs.windows(2).any(|pair| pair == [1024, 1080]));
    assert_eq!(slabs.iter().filter(|&&slab| slab <= 1 << 10).count(), 53);
    assert_eq!(slabs.iter().filter(|&&slab| slab <= 64 << 10).count(), 137);
    assert_eq!(ladder.alignment(), 8);
    assert_eq!(ladder.largest(), 1 << 40);
}

#[test]
fn the_ladder_between_96_and_1_mib_has_183_slabs() {
    let ladder = Ladder::between(96, 1 << 20).unwrap();
    assert_eq!(ladder.slabs().len(), 183);
    assert_eq!(ladder.slabs()[..2], [96, 104]);
    assert_eq!(ladder.slabs()[181..], [1_005_120, 1 << 20]);
    assert_eq!(found(&ladder, 96, 8), Some(96), "minblock itself is served");
    assert_eq!(found(&ladder, (1 << 20) + 1, 8), None);
}

#[test]
fn alignment_16_follows_the_rule() {
    assert_eq!(Ladder::ALIGNED_16.slabs(), by_floats(0, 1 << 40, 16, 0.95));
    assert_eq!(Ladder::ALIGNED_16.alignment(), 16);
}

#[test]
fn quarters_has_four_slabs_for_every_doubling() {
    let slabs = Ladder::QUARTERS.slabs();
    assert_eq!(slabs[..12], [16, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256]);
    for power in (6..40).map(|exponent| 1_usize << exponent) {
        let staggered = (4 << 10..64 << 10).contains(&power);
        let part = |parts: usize| {
            power / 4 * parts + if staggered && !parts.is_power_of_two() { 64 } else { 0 }
        };
        let mut doubling: Vec<usize> = (4..=8).map(part).collect();
        if staggered {
            doubling.insert(1, power / 16 * 17 + 64);
        }
        assert!(slabs.windows(doubling.len()).any(|some| some == doubling), "{doubling:?}");
    }
    assert_eq!(slabs.len(), 4 + 4 * 34 + 4);
    assert_eq!(Ladder::QUARTERS.largest(), 1 << 40);
    assert_eq!(Ladder::QUARTERS.alignment(), 16);
}

#[test]
fn every_request_gets_the_smallest_slab() {
    for ladder in [Ladder::DEFAULT, Ladder::ALIGNED_16, Ladder::QUARTERS] {
        let slabs = ladder.slabs();
        let mut index = 0;
        for size in 0..=200_000 {
            while slabs[index] < size {
                index += 1;
            }
            assert_eq!(ladder.find(size, 8), Some(SlabIndex::new(index)), "size {size}");
        }
        for (index, &slab) in slabs.iter().enumerate() {
            assert_eq!(ladder.find(slab, 1), Some(SlabIndex::new(index)));
            if index + 1 < slabs.len() {
                assert_eq!(ladder.find(slab + 1, 1), Some(SlabIndex::new(index + 1)));
            }
        }
        assert_eq!(ladder.find((1 << 40) + 1, 1), None);
        assert_eq!(ladder.find(usize::MAX, 1), None);
    }
}

#[test]
fn a_hundred_thousand_random_requests_get_the_smallest_slab() {
    let mut random = 1u64;
    for _ in 0..100_000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        // Half of them anywhere up to 1 TiB, half with any number of bits.
        let mut size = (random >> 24) as usize + 1;
        if random & 1 << 20 != 0 {
            size >>= (random >> 8) % 40;
        }
        for ladder in [Ladder::DEFAULT, Ladder::ALIGNED_16, Ladder::QUARTERS] {
            let expected = ladder.slabs().partition_point(|&slab| slab < size);
            assert_eq!(ladder.find(size, 8), Some(SlabIndex::new(expected)), "size {size}");
        }
    }
}

#[test]
fn no_bucket_of_the_default_ladders_holds_two_boundaries() {
    for ladder in [Ladder::DEFAULT, Ladder::ALIGNED_16, Ladder::QUARTERS] {
        for at in 32..BUCKETS {
            let sizes = bucket_start(at) + 1..bucket_start(at + 1) + 1;
            let inside = ladder.slabs().iter().filter(|&&s| sizes.contains(&(s + 1))).count();
            assert!(inside <= 1 || sizes.start <= SMALL_BYTES, "bucket {at}: {inside}");
        }
    }
}

#[test]
fn alignment_picks_the_next_multiple() {
    let ladder = Ladder::from_slabs(&[70, 72, 96, 128]).unwrap();
    assert_eq!(ladder.alignment(), 2);
    assert_eq!(found(&ladder, 67, 1), Some(70));
    assert_eq!(found(&ladder, 67, 2), Some(70));
    assert_eq!(found(&ladder, 67, 8), Some(72));
    assert_eq!(found(&ladder, 67, 32), Some(96));
    assert_eq!(found(&ladder, 67, 64), Some(128));
    assert_eq!(found(&ladder, 67, 256), None);
}

#[test]
fn bad_ladders_are_named() {
    use ConfigError::*;
    let built = |builder: LadderBuilder| builder.build().unwrap_err();
    assert_eq!(Ladder::from_slabs(&[]).unwrap_err(), EmptyLadder);
    assert_eq!(
        Ladder::from_slabs(&[8, 24, 16]).unwrap_err(),
        UnsortedLadder { position: 2, previous: 24, value: 16 }
    );
    assert_eq!(
        Ladder::from_slabs(&[8, 8]).unwrap_err(),
        UnsortedLadder { position: 1, previous: 8, value: 8 }
    );
    assert_eq!(
        Ladder::from_slabs(&[0]).unwrap_err(),
        SlabOutOfRange { position: 0, value: 0, limit: 1 << 40 }
    );
    let many: Vec<usize> = (1..=513).collect();
    assert_eq!(Ladder::from_slabs(&many).unwrap_err(), TooManySlabs { count: 513, limit: 512 });
    assert_eq!(Ladder::between(512, 96).unwrap_err(), MinAboveMax { min: 512, max: 96 });
    assert_eq!(
        Ladder::between(97, 1024).unwrap_err(),
        UnalignedBound { name: "minblock", value: 97, alignment: 8, remedy: 104 }
    );
    assert_eq!(
        Ladder::between(96, 1001).unwrap_err(),
        UnalignedBound { name: "maxblock", value: 1001, alignment: 8, remedy: 1008 }
    );
    assert_eq!(built(Ladder::builder().alignment(4)), LadderAlignment { value: 4 });
    assert_eq!(built(Ladder::builder().utilization(1.0)), Utilization { value: 1.0 });
    assert_eq!(
        built(Ladder::builder().utilization(0.999)),
        TooManySlabs { count: 513, limit: 512 }
    );
    assert_eq!(built(Ladder::builder().max_slabs(100)), TooManySlabs { count: 101, limit: 100 });
    assert!(Ladder::builder().max_slabs(479).build().is_ok());
    assert_eq!(built(Ladder::builder().max_slabs(478)), TooManySlabs { count: 479, limit: 478 });
}

proptest! {
    #[test]
    fn any_ladder_finds_what_a_search_finds(
        mut slabs in prop::collection::vec(1usize..1 << 40, 1..200),
        small in prop::collection::vec(1usize..2000, 0..200),
        sizes in prop::collection::vec(0usize..1 << 41, 100),
        shift in 0u32..12,
    ) {
        slabs.extend(small);
        slabs.sort_unstable();
        slabs.dedup();
        let ladder = Ladder::from_slabs(&slabs).unwrap();
        for size in sizes {
            for size in [size, size >> 20, size >> 30] {
                let align = 1 << shift;
                prop_assert_eq!(found(&ladder, size, align), naive(&slabs, size, align));
            }
        }
    }

    #[test]
    fn the_default_ladder_finds_what_a_search_finds(size in 0usize..(1 << 40) + 2) {
        let ladder = Ladder::default();
        prop_assert_eq!(found(&ladder, size, 8), naive(ladder.slabs(), size, 8));
    }
}
