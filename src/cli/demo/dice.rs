//! A small seeded source of choices, the same on every machine and in every version.
//! Not for: secrets or ids; those come from `rand`.

/// Draws numbers from a seed (SplitMix64, which is short enough to be read and never changes).
#[derive(Debug, Clone)]
pub struct Dice {
    state: u64,
}

impl Dice {
    /// Equal seeds give equal draws.
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 bits.
    pub const fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `limit - 1`; 0 if `limit` is 0.
    pub fn below(&mut self, limit: u32) -> u32 {
        let drawn = self.bits() % u64::from(limit.max(1));
        u32::try_from(drawn).unwrap_or(0)
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u32, high: u32) -> u32 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// True in `percent` of a hundred draws.
    pub fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }

    /// A place in a list of so many; `None` for an empty list.
    pub fn place(&mut self, length: usize) -> Option<usize> {
        let length = u32::try_from(length).ok().filter(|length| *length > 0)?;
        usize::try_from(self.below(length)).ok()
    }

    /// One of the choices; `None` only if there is none.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> Option<&'a T> {
        let place = self.place(choices.len())?;
        choices.get(place)
    }
}

#[cfg(test)]
mod tests {
    use super::Dice;

    #[test]
    fn equal_seeds_draw_equally_and_stay_within_bounds() {
        let (mut one, mut two, mut other) = (Dice::new(7), Dice::new(7), Dice::new(8));
        let first: Vec<u64> = (0..5).map(|_| one.bits()).collect();
        assert_eq!(first, (0..5).map(|_| two.bits()).collect::<Vec<_>>());
        assert_ne!(first, (0..5).map(|_| other.bits()).collect::<Vec<_>>());
        assert!((0..500).all(|_| (3..=5).contains(&one.between(3, 5))));
        assert_eq!(one.below(0), 0);
        assert_eq!(one.pick::<u8>(&[]), None);
        assert!((0..100).all(|_| one.chance(100)) && !(0..100).any(|_| two.chance(0)));
    }
}
