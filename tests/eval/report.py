"""The tables of `docs/benchmarks.md`."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from tests.bench.figures import percentile

from .metrics import METRICS, Estimate, Rank, estimate, estimate_gain
from .questions import Question
from .searching import Found

_LANGUAGES = {"en": "English", "de": "German", "fr": "French"}
_WAYS_HEAD = (*METRICS, "tokens of five passages", "search, p50", "p95")


def render_ways(found: Sequence[Found]) -> str:
    """How good each way is, what it shows and how long a search takes."""
    return render_table(["", *_WAYS_HEAD], ([one.way.name, *_way(one)] for one in found))


def render_variants(found: Sequence[Found], default: Found) -> str:
    """The same of variants, and what each gains on the default, question by question."""
    return render_table(
        ["", *_WAYS_HEAD, "nDCG@10 beside the default"],
        (
            [
                one.way.name,
                *_way(one),
                "" if one is default else _signed(estimate_gain(one.ranks, default.ranks, METRICS["nDCG@10"])),
            ]
            for one in found
        ),
    )


def render_groups(found: Sequence[Found], questions: Sequence[Question]) -> str:
    """nDCG@10 of each way, by language and by kind of question."""
    languages = {name: [question.language == code for question in questions] for code, name in _LANGUAGES.items()}
    kinds = sorted({question.kind for question in questions})
    groups = languages | {kind.value: [question.kind == kind for question in questions] for kind in kinds}
    return render_table(
        ["nDCG@10", "questions", *(one.way.name for one in found)],
        ([name, str(sum(members)), *(_group(one, members) for one in found)] for name, members in groups.items()),
    )


def render_gains(better: Found, others: Sequence[Found], *, name: str | None = None) -> str:
    """What one way gains on others, question by question."""
    return render_table(
        [f"{name or better.way.name} beside", *METRICS],
        (
            [
                one.way.name,
                *(_signed(estimate_gain(better.ranks, one.ranks, metric)) for metric in METRICS.values()),
            ]
            for one in others
        ),
    )


def render_grid(
    found: Mapping[tuple[int, float], Found], rows: Sequence[int], columns: Sequence[float], *, heading: str
) -> str:
    """nDCG@10 of variants that two constants tell apart, and recall@5 in brackets."""
    return render_table(
        [heading, *(f"{column:g}" for column in columns)],
        ([str(row), *(_brief(found[row, column], "{} ({})") for column in columns)] for row in rows),
    )


def render_chunkings(found: Mapping[str, tuple[int, Sequence[Found]]]) -> str:
    """How many chunks each makes, and nDCG@10 and recall@5 of three ways to search them."""
    return render_table(
        ["tokens / overlap, what is embedded", "chunks", "vector: nDCG@10, recall@5", "hybrid", "hybrid + neighbours"],
        ([name, f"{chunks:,}", *(_brief(one, "{}, {}") for one in ways)] for name, (chunks, ways) in found.items()),
    )


def render_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def figures_of(ranks: Sequence[Rank]) -> Sequence[str]:
    """Each figure of a ranking with its interval."""
    return [_interval(estimate([metric(rank) for rank in ranks])) for metric in METRICS.values()]


def _group(found: Found, members: Sequence[bool]) -> str:
    ranks = [rank for rank, is_in in zip(found.ranks, members, strict=True) if is_in]
    return _interval(estimate([METRICS["nDCG@10"](rank) for rank in ranks]))


def _brief(found: Found, form: str) -> str:
    return form.format(f"{found.mean('nDCG@10'):.3f}", f"{found.mean('recall@5'):.3f}")


def _way(found: Found) -> Sequence[str]:
    times = (f"{percentile(found.milliseconds, percent):.1f} ms" for percent in (50, 95))
    return [*figures_of(found.ranks), f"{median(found.shown_tokens):,.0f}", *times]


def _interval(found: Estimate) -> str:
    return f"{found.mean:.3f} ({found.low:.2f} to {found.high:.2f})"


def _signed(found: Estimate) -> str:
    return f"{found.mean:+.3f} ({found.low:+.3f} to {found.high:+.3f})"
