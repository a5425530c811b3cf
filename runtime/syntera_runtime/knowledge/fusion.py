"""Lists of what several searches found as one list, as pure functions.

Reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009): scores of different kinds cannot be compared, ranks can.
"""

from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

RANK_CONSTANT = 10
"""How little the first ranks outweigh those that follow. The authors' 60 is for dozens of lists; with two of them what both have found far
below comes before what one of them puts first, and answers are lost (`docs/benchmarks.md`, how well knowledge is found)."""
VECTOR_WEIGHT = 1.0
KEYWORD_WEIGHT = 1.0
"""What the two searches count in a hybrid one; no other weight finds more beyond chance (ibid.)."""

Item = TypeVar("Item", bound=Hashable)


def fuse_ranks(lists: Iterable[tuple[float, Sequence[Item]]]) -> dict[Item, float]:
    """Each item that stands in a list with the sum of what its ranks are worth, the best first.

    Args:
        lists: Weights, each with a list whose best item comes first and that holds none twice. Where sums are equal, the order
            in which the items were met first decides.
    """
    fused: dict[Item, float] = {}
    for weight, items in lists:
        for rank, item in enumerate(items, start=1):
            fused[item] = fused.get(item, 0.0) + weight / (RANK_CONSTANT + rank)
    return dict(sorted(fused.items(), key=lambda pair: pair[1], reverse=True))
