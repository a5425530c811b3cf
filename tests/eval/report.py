"""The tables of `docs/benchmarks.md`."""

from collections.abc import Iterable, Sequence

from .metrics import METRICS, Estimate, Rank, estimate, estimate_gain
from .questions import Question
from .searching import Found

_LANGUAGES = {"en": "English", "de": "German", "fr": "French"}


def render_ways(found: Sequence[Found]) -> str:
    """How good each way is, over all questions."""
    return _table(
        ["", *METRICS, "tokens of five passages", "search, ms"],
        ([one.way.name, *_figures(one.ranks), f"{one.shown_tokens:.0f}", f"{one.milliseconds:.1f}"] for one in found),
    )


def render_groups(found: Sequence[Found], questions: Sequence[Question]) -> str:
    """nDCG@10 of each way, by language and by kind of question."""
    languages = {name: [question.language == code for question in questions] for code, name in _LANGUAGES.items()}
    kinds = sorted({question.kind for question in questions})
    groups = languages | {kind.value: [question.kind == kind for question in questions] for kind in kinds}
    return _table(
        ["nDCG@10", "questions", *(one.way.name for one in found)],
        ([name, str(sum(members)), *(_group(one, members) for one in found)] for name, members in groups.items()),
    )


def render_gains(better: Found, others: Sequence[Found]) -> str:
    """What one way gains on others, question by question."""
    return _table(
        [f"{better.way.name} beside", *METRICS],
        (
            [
                one.way.name,
                *(_signed(estimate_gain(better.ranks, one.ranks, metric)) for metric in METRICS.values()),
            ]
            for one in others
        ),
    )


def render_variants(variants: Sequence[tuple[str, Sequence[Rank]]], *, heading: str) -> str:
    """One row for each variant of a sweep."""
    return _table([heading, *METRICS], ([name, *_figures(ranks)] for name, ranks in variants))


def _group(found: Found, members: Sequence[bool]) -> str:
    ranks = [rank for rank, is_in in zip(found.ranks, members, strict=True) if is_in]
    return _interval(estimate([METRICS["nDCG@10"](rank) for rank in ranks]))


def _figures(ranks: Sequence[Rank]) -> list[str]:
    return [_interval(estimate([metric(rank) for rank in ranks])) for metric in METRICS.values()]


def _interval(found: Estimate) -> str:
    return f"{found.mean:.3f} ({found.low:.2f} to {found.high:.2f})"


def _signed(found: Estimate) -> str:
    return f"{found.mean:+.3f} ({found.low:+.3f} to {found.high:+.3f})"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
