//! Numbers that an attacker should not know.

use crate::os;

/// A sequence of numbers (Marsaglia, "Xorshift RNGs", 2003), from a start that the system
/// gives. All zero bytes is one that has not started.
#[derive(Clone, Copy)]
pub(crate) struct Random(u64);

impl Random {
    /// A number below `bound`.
    #[inline]
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        if self.0 == 0 {
            self.0 = os::random() | 1;
        }
        // The next one is ready before it is asked for.
        let number = self.0;
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((number >> 32) as usize * bound) >> 32
    }
}

/// Puts `count` things in a random order (Fisher and Yates), by numbers that go on in
/// `state`.
///
/// # Safety
///
/// `things` is valid for reads and writes of `count`.
pub(crate) unsafe fn shuffle<T>(things: *mut T, count: usize, state: &mut u64) {
    let mut random = Random(*state);
    for last in (1..count).rev() {
        // SAFETY: both are below `count`.
        unsafe { things.add(last).swap(things.add(random.below(last + 1))) };
    }
    *state = random.0;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_below_their_bound_and_reach_all_of_it() {
        let (mut random, mut seen) = (Random(0), [false; 10]);
        for _ in 0..1000 {
            seen[random.below(10)] = true;
        }
        assert_eq!(seen, [true; 10]);
    }

    #[test]
    fn a_shuffle_keeps_everything() {
        let mut things = core::array::from_fn::<usize, 64, _>(|n| n);
        let mut state = 12345;
        // SAFETY: 64 things.
        unsafe { shuffle(things.as_mut_ptr(), 64, &mut state) };
        assert!(things.iter().enumerate().any(|(at, &thing)| at != thing));
        things.sort_unstable();
        assert!(things.iter().enumerate().all(|(at, &thing)| at == thing));
    }
}
