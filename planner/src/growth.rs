//! Growth steps: how a small model becomes a large one, which of the ways keep the function, and which cannot work.

use serde::{Deserialize, Serialize};

use crate::shape::Shape;

/// A growth step at the start of a stage. Old weights are kept; the four settings say what stands in the new places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Growth {
    /// What new blocks are.
    pub depth: Depth,
    /// What new coordinates of a block are.
    pub width: Width,
    /// Tokens over which the masks of everything new rise from 0 to 1 (masked structural growth, MSG: Yao et al., arXiv 2305.02869); 0
    /// for no masks.
    pub ramp_tokens: u64,
    /// What Adam's moments are afterwards.
    pub moments: Moments,
}

/// Where new blocks come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Depth {
    /// Copies of the whole stack on top of it, the remainder from its top (MSG; G_stack: Du et al., arXiv 2405.15319).
    Stack,
    /// Copies of each block right behind it (orthogonal growth, arXiv 2510.08008).
    Interpose,
    /// As `Stack`, but what a new block adds to the residual stream is zero at first (identity blocks).
    Zero,
    /// New weights, on top of the stack.
    Random,
}

/// Where new coordinates of the residual stream, heads and feed-forward units come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Width {
    /// New weights.
    Random,
    /// New weights where they read, zeros where they write.
    Zero,
    /// Copies that share what they write, each entry unequally, so that they part ways (Net2Net: Chen et al., arXiv 1511.05641; LEMON: Wang
    /// et al., arXiv 2310.07999).
    Split,
}

/// What becomes of Adam's moments and of its number of updates, which corrects their bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Moments {
    /// They grow by the same rule as the weights, in copied blocks too.
    Grown,
    /// Old places keep theirs, new ones have zeros (MSG).
    Old,
    /// Zeros everywhere, and updates are counted anew.
    Reset,
}

impl Growth {
    /// Why this growth from shape `old` to shape `new` does not promise to keep the function; `None` where it does.
    pub fn broken_promise(&self, old: &Shape, new: &Shape) -> Option<&'static str> {
        if self.ramp_tokens > 0 {
            return None;
        }
        if new.layers > old.layers && self.depth != Depth::Zero {
            return Some("new blocks change the residual stream at once; masks (ramp) or depth = \"zero\" would not");
        }
        let widens_units = new.attention() > old.attention() || new.ffn > old.ffn;
        match self.width {
            Width::Random if new.hidden > old.hidden || widens_units => {
                Some("new coordinates have random weights at once; masks (ramp) would hold them back")
            }
            Width::Zero if new.hidden > old.hidden => {
                Some("a wider LayerNorm has another mean and variance; masks (ramp) or width = \"split\" keep them")
            }
            _ => None,
        }
    }

    /// Why this growth cannot be done at all, and what would do instead.
    pub(crate) fn objection(&self, old: &Shape, new: &Shape) -> Option<&'static str> {
        let is_wider = (new.hidden, new.attention(), new.ffn) != (old.hidden, old.attention(), old.ffn);
        if self.width != Width::Split || !is_wider {
            return None;
        }
        if self.ramp_tokens > 0 {
            return Some(
                "width = \"split\" keeps the function by itself and knows no masks: write ramp = 0, and depth = \"zero\" where blocks grow \
                 too, or let another stage add them",
            );
        }
        if !new.hidden.is_multiple_of(old.hidden) {
            return Some(
                "width = \"split\" needs a hidden size that is a whole multiple of the one before, for LayerNorm's sake",
            );
        }
        None
    }

    /// In words: `stack + random, masked`.
    pub fn name(&self) -> String {
        let depth = match self.depth {
            Depth::Stack => "stack",
            Depth::Interpose => "interpose",
            Depth::Zero => "zero",
            Depth::Random => "random",
        };
        let width = match self.width {
            Width::Random => "random",
            Width::Zero => "zero",
            Width::Split => "split",
        };
        let masked = if self.ramp_tokens > 0 { ", masked" } else { "" };
        format!("{depth} + {width}{masked}")
    }
}

impl Depth {
    /// The block of `n_old` that block `block` of `n_new` comes from, and whether it is a new one.
    ///
    /// # Panics
    /// Where the stack shrinks.
    pub fn source(self, block: usize, n_old: usize, n_new: usize) -> (usize, bool) {
        assert!((n_old..=n_new).contains(&n_new) && block < n_new, "a stack can only grow");
        match self {
            Self::Interpose => {
                // Block i has its share of the new stack: from i n_new / n_old on, the first of them the old one.
                let begin = |old: usize| (old * n_new).div_ceil(n_old);
                let source = block * n_old / n_new;
                (source, begin(source) != block)
            }
            Self::Stack | Self::Zero | Self::Random => {
                let Some(added) = block.checked_sub(n_old) else { return (block, false) };
                let n_added = n_new - n_old;
                let n_whole = n_added / n_old * n_old;
                (if added < n_whole { added % n_old } else { n_old - (n_added - added) }, true)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Depth;

    fn sources(depth: Depth, n_old: usize, n_new: usize) -> Vec<(usize, bool)> {
        (0..n_new).map(|block| depth.source(block, n_old, n_new)).collect()
    }

    #[test]
    fn new_blocks_stack_whole_copies_then_the_top() {
        let stacked =
            |old, new| sources(Depth::Stack, old, new).into_iter().map(|(source, _)| source).collect::<Vec<_>>();
        assert_eq!(stacked(4, 5), [0, 1, 2, 3, 3]);
        assert_eq!(stacked(2, 5), [0, 1, 0, 1, 1]);
        assert_eq!(stacked(3, 6), [0, 1, 2, 0, 1, 2]);
        assert_eq!(stacked(3, 5), [0, 1, 2, 1, 2]);
    }

    #[test]
    fn interposed_blocks_follow_their_originals() {
        let (old, new) = (false, true);
        assert_eq!(sources(Depth::Interpose, 2, 4), [(0, old), (0, new), (1, old), (1, new)]);
        assert_eq!(sources(Depth::Interpose, 2, 5), [(0, old), (0, new), (0, new), (1, old), (1, new)]);
        assert_eq!(sources(Depth::Interpose, 3, 4), [(0, old), (0, new), (1, old), (2, old)]);
    }

    proptest! {
        /// Whatever the numbers: every old block stands there once, in the old order, and copies are spread as evenly as they can be.
        #[test]
        fn old_blocks_stay_in_order(n_old in 1_usize..20, added in 0_usize..40, which in 0_usize..4) {
            let depth = [Depth::Stack, Depth::Interpose, Depth::Zero, Depth::Random][which];
            let all = sources(depth, n_old, n_old + added);
            let kept: Vec<usize> = all.iter().filter(|(_, is_new)| !is_new).map(|(source, _)| *source).collect();
            prop_assert_eq!(kept, (0..n_old).collect::<Vec<_>>());
            let times = |old: usize| all.iter().filter(|(source, _)| *source == old).count();
            let (least, most) = ((0..n_old).map(times).min().unwrap(), (0..n_old).map(times).max().unwrap());
            prop_assert!(most - least <= 1);
        }
    }
}
