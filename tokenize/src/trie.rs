//! The tokens of a vocabulary as a tree, to find the longest one that bytes start with.

use std::collections::VecDeque;

use crate::bpe::NO_TOKEN;

/// All tokens as a tree of bytes, in one array (a double array): the child of a node by `byte` is at `base ^ byte` if
/// the entry there names the node as its parent, so a step is one read. Built in order of depth, 12 bytes a node.
pub(crate) struct Trie {
    nodes: Vec<Node>,
}

#[derive(Clone, Copy)]
struct Node {
    base: u32,
    parent: u32,
    /// The token that ends here, or `NO_TOKEN`.
    token: u32,
}

const FREE: Node = Node { base: 0, parent: u32::MAX, token: NO_TOKEN };
const ROOT: u32 = 0;

impl Trie {
    /// Tokens are distinct and none is empty.
    pub(crate) fn new(tokens: &[Vec<u8>]) -> Trie {
        let mut by_bytes: Vec<u32> = (0..tokens.len() as u32).collect();
        by_bytes.sort_unstable_by_key(|&id| &tokens[id as usize]);

        let mut slots = Slots::new();
        let mut unplaced = VecDeque::from([(ROOT, 0, by_bytes.as_slice())]);
        while let Some((node, depth, below)) = unplaced.pop_front() {
            let byte_of = |id: u32| tokens[id as usize][depth];
            let children: Vec<&[u32]> = below.chunk_by(|&a, &b| byte_of(a) == byte_of(b)).collect();
            let bytes: Vec<u8> = children.iter().map(|child| byte_of(child[0])).collect();
            let base = slots.place(node, &bytes);
            for (&child, byte) in children.iter().zip(bytes) {
                let child_node = base ^ u32::from(byte);
                // The token that ends in the child sorts before all that go on from it.
                let ends_here = tokens[child[0] as usize].len() == depth + 1;
                if ends_here {
                    slots.nodes[child_node as usize].token = child[0];
                }
                let deeper = &child[usize::from(ends_here)..];
                if !deeper.is_empty() {
                    unplaced.push_back((child_node, depth + 1, deeper));
                }
            }
        }
        Trie { nodes: slots.nodes }
    }

    /// The longest token that `bytes` start with.
    #[inline]
    pub(crate) fn longest_prefix(&self, bytes: &[u8]) -> Option<u32> {
        let (mut node, mut longest) = (ROOT, NO_TOKEN);
        let mut base = self.nodes[ROOT as usize].base;
        for &byte in bytes {
            let child = base ^ u32::from(byte);
            let entry = self.nodes[child as usize];
            if entry.parent != node {
                break;
            }
            if entry.token != NO_TOKEN {
                longest = entry.token;
            }
            (node, base) = (child, entry.base);
        }
        (longest != NO_TOKEN).then_some(longest)
    }
}

/// The array of a [`Trie`] while it is filled.
struct Slots {
    nodes: Vec<Node>,
    /// Entries that are free, oldest first. Those taken since are dropped when they come up.
    free: VecDeque<u32>,
}

/// How many free entries are tried for the children of one node before the array is made longer.
const N_TRIES_MAX: usize = 64;

impl Slots {
    fn new() -> Slots {
        let mut slots = Slots { nodes: Vec::new(), free: VecDeque::new() };
        slots.grow();
        slots.nodes[ROOT as usize].parent = ROOT;
        slots
    }

    /// Finds a base at which all children of `node` fall on free entries, and takes these.
    fn place(&mut self, node: u32, bytes: &[u8]) -> u32 {
        let base = self.find_base(bytes);
        self.nodes[node as usize].base = base;
        for &byte in bytes {
            self.nodes[(base ^ u32::from(byte)) as usize].parent = node;
        }
        base
    }

    fn find_base(&mut self, bytes: &[u8]) -> u32 {
        for _ in 0..N_TRIES_MAX.min(self.free.len()) {
            let slot = self.free.pop_front().expect("there are that many");
            if !self.is_free(slot) {
                continue;
            }
            let base = slot ^ u32::from(bytes[0]);
            if bytes.iter().all(|&byte| self.is_free(base ^ u32::from(byte))) {
                return base;
            }
            self.free.push_back(slot);
        }
        self.grow()
    }

    fn is_free(&self, slot: u32) -> bool {
        self.nodes[slot as usize].parent == FREE.parent
    }

    /// 256 more entries, so that any `base ^ byte` of theirs is one of theirs.
    fn grow(&mut self) -> u32 {
        let start = self.nodes.len() as u32;
        self.nodes.resize(self.nodes.len() + 256, FREE);
        self.free.extend(start..start + 256);
        start
    }
}
