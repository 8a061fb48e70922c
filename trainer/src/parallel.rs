//! How a model and its data are shared among processes: the groups that every layer is written against. Today each group has one
//! member, and talking to it changes nothing.

/// The groups that a process is a member of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parallel {
    /// Processes that share every layer: heads and feed-forward units are cut among them.
    pub(crate) tensor: Group,
}

/// Processes that compute together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Group;

impl Group {
    /// In front of the matrices that are cut by their outputs: the same value for all; its gradient is the sum of theirs (Megatron's f, Shoeybi
    /// et al., arXiv 1909.08053, section 3).
    pub(crate) fn enter<T>(self, x: T) -> T {
        x
    }

    /// Behind the matrices that are cut by their inputs: the sum over all; its gradient is the same for all (Megatron's g).
    pub(crate) fn leave<T>(self, x: T) -> T {
        x
    }
}
