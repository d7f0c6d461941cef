//! The best seqlets of one feature.

use super::Seqlet;

/// Keeps the highest of the seqlets that come by.
#[derive(Clone, Debug, Default)]
pub(super) struct Best {
    /// In no order, at most twice as many as are asked for.
    pub(super) seqlets: Vec<Seqlet>,
    /// The last of the best when they were last counted: nothing behind it can enter.
    bar: Option<Seqlet>,
}

impl Best {
    pub(super) fn push(&mut self, seqlet: Seqlet, per_feature: usize) {
        if self.bar.is_some_and(|bar| bar.order(&seqlet).is_lt()) {
            return;
        }
        self.seqlets.push(seqlet);
        if self.seqlets.len() >= per_feature.saturating_mul(2) {
            self.cut(per_feature);
        }
    }

    fn cut(&mut self, per_feature: usize) {
        let (_, bar, _) = self.seqlets.select_nth_unstable_by(per_feature - 1, Seqlet::order);
        self.bar = Some(*bar);
        self.seqlets.truncate(per_feature);
    }

    /// Bits of the activation that a seqlet of a window must exceed to enter.
    pub(super) fn cutoff(&self, window: i64) -> u32 {
        // Equal activations enter from an earlier window. Bars are positive, as all seqlets.
        self.bar.map_or(0, |bar| bar.activation.to_bits() - u32::from(window < bar.window))
    }

    /// The largest activation of all, which is always kept; 0 where there is none.
    pub(super) fn max(&self) -> f32 {
        self.seqlets.iter().fold(0.0, |max, seqlet| max.max(seqlet.activation))
    }

    /// Returns the best, best first.
    pub(super) fn sorted(&self, per_feature: usize) -> Vec<Seqlet> {
        let mut seqlets = self.seqlets.clone();
        seqlets.sort_unstable_by(Seqlet::order);
        seqlets.truncate(per_feature);
        seqlets
    }
}
