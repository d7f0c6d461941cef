//! What letters cost where there is no motif.
//!
//! Genomes are uneven: a window of 70 % G and C holds GC-rich words by chance, one of 30 % does not.
//! Sequences of like content therefore share a background of their own.

/// Ranks of G and C content, about as many sequences in each.
pub(super) struct Ranks {
    /// Shares of G and C from which on the next rank begins.
    limits: Vec<f64>,
}

impl Ranks {
    /// Parts the sequences into `count` ranks.
    pub(super) fn new(sequences: &[&[u8]], count: usize) -> Self {
        let mut shares: Vec<f64> = sequences.iter().map(|codes| strong_share(codes)).collect();
        shares.sort_unstable_by(f64::total_cmp);
        let limit = |rank: usize| shares.get(rank * shares.len() / count).copied().unwrap_or(1.0);
        Self { limits: (1..count).map(limit).collect() }
    }

    /// The rank of a sequence, which need not be one of those that were parted.
    pub(super) fn of(&self, codes: &[u8]) -> usize {
        let share = strong_share(codes);
        self.limits.partition_point(|&limit| limit <= share)
    }
}

/// Share of G and C among the known letters.
fn strong_share(codes: &[u8]) -> f64 {
    let [known, strong] =
        [0..4_u8, 1..3].map(|kind| codes.iter().filter(|&code| kind.contains(code)).count());
    strong as f64 / known.max(1) as f64
}

/// Counts of pairs of neighbouring letters.
type Pairs = [[f64; 4]; 4];

/// Bits that a letter costs after another; the fifth row is of those after an unknown one.
pub(super) type Costs = [[f64; 5]; 5];

/// Ranks that have a chain of their own: of 160 rare motifs of sets apart one finds 112, four 113, ten 116.
const RANKS: usize = 10;
/// Pairs of all sequences together that each rank counts as seen beforehand.
const PRIOR: f64 = 200.0;

/// An order-1 Markov chain for each rank.
pub(super) struct Background {
    ranks: Ranks,
    costs: Vec<Costs>,
}

impl Background {
    /// Counts the dinucleotides of the sequences, and of their other strand if asked to.
    pub(super) fn new<'a>(sequences: impl Iterator<Item = &'a [u8]>, both_strands: bool) -> Self {
        let sequences: Vec<&[u8]> = sequences.collect();
        let ranks = Ranks::new(&sequences, RANKS);
        let mut pairs = [[[0.0; 4]; 4]; RANKS];
        for codes in &sequences {
            count(&mut pairs[ranks.of(codes)], codes, both_strands);
        }
        let all: Pairs = std::array::from_fn(|a| {
            std::array::from_fn(|b| 1.0 + pairs.iter().map(|rank| rank[a][b]).sum::<f64>())
        });
        let total: f64 = all.iter().flatten().sum();
        let lean = |own: &Pairs| -> Pairs {
            std::array::from_fn(|a| std::array::from_fn(|b| own[a][b] + PRIOR * all[a][b] / total))
        };
        Self { ranks, costs: pairs.iter().map(|own| costs(&lean(own))).collect() }
    }

    /// What letters cost in a sequence.
    pub(super) fn of(&self, codes: &[u8]) -> &Costs {
        &self.costs[self.ranks.of(codes)]
    }
}

fn count(pairs: &mut Pairs, codes: &[u8], both_strands: bool) {
    for pair in codes.windows(2).filter(|pair| pair[0] < 4 && pair[1] < 4) {
        let (a, b) = (usize::from(pair[0]), usize::from(pair[1]));
        pairs[a][b] += 1.0;
        if both_strands {
            pairs[3 - b][3 - a] += 1.0;
        }
    }
}

fn costs(pairs: &Pairs) -> Costs {
    let total: f64 = pairs.iter().flatten().sum();
    let mut costs = [[0.0; 5]; 5];
    for a in 0..4 {
        let row: f64 = pairs[a].iter().sum();
        for b in 0..4 {
            costs[a][b] = -(pairs[a][b] / row).log2();
        }
        costs[4][a] = -(row / total).log2();
    }
    costs
}

#[cfg(test)]
mod tests {
    use super::{Background, PRIOR, Ranks};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ranks_hold_about_as_many_sequences_each(
            sequences in prop::collection::vec(prop::collection::vec(0_u8..5, 0..30), 0..60),
            count in 1_usize..12,
        ) {
            let all: Vec<&[u8]> = sequences.iter().map(Vec::as_slice).collect();
            let ranks = Ranks::new(&all, count);
            let share = |codes: &[u8]| {
                let known = codes.iter().filter(|&&code| code < 4).count().max(1);
                codes.iter().filter(|&&code| code == 1 || code == 2).count() as f64 / known as f64
            };
            let mut sorted = all.clone();
            sorted.sort_by(|a, b| share(a).total_cmp(&share(b)));
            for (place, codes) in sorted.iter().enumerate() {
                let rank = ranks.of(codes);
                prop_assert!(rank < count);
                // Equal shares are of one rank, the last of those that they reach.
                let ties = sorted.iter().filter(|other| share(other) == share(codes)).count();
                prop_assert!(rank * sorted.len() <= (place + ties) * count);
                prop_assert!(rank >= place * count / sorted.len().max(1) || ties > 1);
            }
        }
    }

    #[test]
    fn strong_letters_cost_less_among_strong_ones() {
        let weak = [0, 3, 3, 0, 1, 0, 3, 0, 2, 3].repeat(20);
        let strong = [1, 2, 2, 1, 0, 2, 1, 1, 3, 2].repeat(20);
        let background = Background::new([weak.as_slice(), &strong].into_iter(), true);
        let [among_weak, among_strong] = [&weak, &strong].map(|codes| background.of(codes));
        assert!(among_strong[1][2] + 1.0 < among_weak[1][2]);
        assert!(among_weak[4][0] + 1.0 < among_strong[4][0]);
        // Probabilities after each letter, and after none, sum to 1.
        for row in among_weak {
            let sum: f64 = row[..4].iter().map(|cost| (-cost).exp2()).sum();
            assert!((sum - 1.0).abs() < 1e-9, "{row:?}");
        }
    }

    #[test]
    fn few_sequences_lean_on_all() {
        let codes = [0_u8; 9];
        let background = Background::new([codes.as_slice()].into_iter(), false);
        // Eight pairs AA of this rank, and of all 24 counts, one of which each pair has beforehand, nine.
        let row = [9.0, 1.0, 1.0, 1.0].map(|count| PRIOR * count / 24.0);
        let expected = -((row[0] + 8.0) / (row.iter().sum::<f64>() + 8.0)).log2();
        assert!((background.of(&codes)[0][0] - expected).abs() < 1e-9);
    }
}
