"""A tree walked leaf by leaf."""

import math

from scipy.special import expit


def leaf_probability(logits, leaf):
    """Walk from the root to the leaf: the bits of its number, the first one first, say right (1) or left (0)."""
    depth = int(math.log2(len(logits) + 1))
    node, probability = 0, 1.0
    for level in reversed(range(depth)):
        right = leaf >> level & 1
        probability *= expit(-logits[node] if right else logits[node])
        node = 2 * node + 1 + right
    return probability
