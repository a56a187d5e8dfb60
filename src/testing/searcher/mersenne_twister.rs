//! The random numbers of the master's searchers: the Mersenne twister, seeded and read as NumPy does it.
//!
//! The same seed gives the same hyperparameters as on a real cluster.

const LENGTH: usize = 624;
const MIDDLE: usize = 397;

#[derive(Debug, Clone)]
pub(super) struct MersenneTwister {
    key: [u32; LENGTH],
    position: usize,
}

impl MersenneTwister {
    pub(super) fn new(seed: u32) -> Self {
        let mut key = [0; LENGTH];
        let mut word = seed;
        for (position, slot) in (0_u32..).zip(&mut key) {
            *slot = word;
            word = 1_812_433_253_u32
                .wrapping_mul(word ^ (word >> 30))
                .wrapping_add(position + 1);
        }
        Self {
            key,
            position: LENGTH,
        }
    }

    pub(super) fn bits32(&mut self) -> u32 {
        if self.position == LENGTH {
            self.twist();
        }
        let mut word = self.key[self.position];
        self.position += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }

    fn twist(&mut self) {
        for index in 0..LENGTH {
            let word =
                (self.key[index] & 0x8000_0000) | (self.key[(index + 1) % LENGTH] & 0x7fff_ffff);
            let odd = if word & 1 == 1 { 0x9908_b0df } else { 0 };
            self.key[index] = self.key[(index + MIDDLE) % LENGTH] ^ (word >> 1) ^ odd;
        }
        self.position = 0;
    }

    /// A whole number below `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        let limit = end.saturating_sub(1);
        if limit == 0 {
            return 0;
        }
        let mask = u64::MAX >> limit.leading_zeros();
        loop {
            let bits = if limit <= u64::from(u32::MAX) {
                u64::from(self.bits32())
            } else {
                let upper = u64::from(self.bits32()) << 32;
                upper | u64::from(self.bits32())
            };
            if bits & mask <= limit {
                return bits & mask;
            }
        }
    }

    /// A number from `low` on and below `high`.
    pub(super) fn uniform(&mut self, low: f64, high: f64) -> f64 {
        let upper = f64::from(self.bits32() >> 5);
        let lower = f64::from(self.bits32() >> 6);
        let unit = (upper * 67_108_864.0 + lower) / 9_007_199_254_740_992.0;
        low + (high - low) * unit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_those_of_numpy() {
        // np.random.RandomState(42); [state.randint(0, 10) for _ in range(12)]
        let mut random = MersenneTwister::new(42);
        let numbers: Vec<u64> = (0..12).map(|_| random.below(10)).collect();
        assert_eq!(numbers, [6, 3, 7, 4, 6, 9, 2, 6, 7, 4, 3, 7]);
        // np.random.RandomState(999); [state.randint(0, (1 << 60) - 10) for _ in range(2)]
        let mut random = MersenneTwister::new(999);
        let numbers: Vec<u64> = (0..2).map(|_| random.below((1 << 60) - 10)).collect();
        assert_eq!(numbers, [985_573_361_606_668_636, 507_696_633_659_605_473]);
    }

    #[test]
    fn numbers_in_a_range_are_those_of_numpy() {
        let mut random = MersenneTwister::new(1_795_464_642);
        assert_eq!(random.uniform(0.5, 0.9), 0.739_395_512_193_358_4);
    }
}
