"""How the stand-in judges passages: by the share of the question's words that a passage has. It understands neither."""

from collections.abc import Sequence

from syntera_dev.models.answers import find_stems


def judge(question: str, passages: Sequence[str]) -> list[float]:
    """A score from 0 to 1 for each passage."""
    wanted = find_stems(question)
    return [len(wanted & find_stems(passage)) / len(wanted) if wanted else 0.0 for passage in passages]
