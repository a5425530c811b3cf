"""`python -m tests.eval`: fill a knowledge base with the corpus, ask all questions, print the tables of `docs/benchmarks.md`.

Defaults are chosen by one half of the questions, by `--sweep`; how good the search is says the other half. The exit code is 0 if
hybrid search beats both of its halves there in each figure.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Mapping, Sequence

from syntera_crds.contract.knowledge_config import Chunking

from .corpus import CorpusDocument, count_sections, read_corpus
from .embeddings import CachedEmbedder
from .hnsw import sweep_hnsw
from .indexing import index_corpus
from .metrics import METRICS
from .questions import Question, find_unanswered, read_questions, split
from .report import render_gains, render_groups, render_ways
from .search_function import search_function
from .searching import WAYS, Found, search_all
from .stores import open_stores
from .sweeps import (
    Evaluation,
    Sweep,
    sweep_candidates,
    sweep_chunkings,
    sweep_duplicates,
    sweep_fusions,
    sweep_neighbours,
)
from .words import sweep_words

_SWEEPS: Mapping[str, Sweep] = {
    "fusion": sweep_fusions,
    "words": sweep_words,
    "candidates": sweep_candidates,
    "neighbours": sweep_neighbours,
    "duplicates": sweep_duplicates,
    "chunks": sweep_chunkings,
    "hnsw": sweep_hnsw,
}


def main() -> int:
    """Run the evaluation or sweeps; 1 if hybrid search does not beat both of its halves."""
    parser = argparse.ArgumentParser(prog="python -m tests.eval", description=__doc__)
    parser.add_argument(
        "--sweep", nargs="+", choices=[*_SWEEPS, "all"], default=[], help="try other constants instead, by one half"
    )
    parser.add_argument(
        "--held-out",
        action="store_true",
        help="sweep by the other half of the questions, to see whether a choice holds",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        type=_constant,
        metavar="NAME=NUMBER",
        help="another value of a constant of the search for words (migration 0011)",
    )
    arguments = parser.parse_args()
    documents, questions = read_corpus(), read_questions()
    broken = find_unanswered(questions, {document.path: document.extracted.text for document in documents})
    if broken:
        print(*broken, sep="\n", file=sys.stderr)
        return 2
    names = list(_SWEEPS) if "all" in arguments.sweep else arguments.sweep
    return asyncio.run(
        _run(documents, questions, sweeps=names, constants=dict(arguments.set), by_held_out=arguments.held_out)
    )


def _constant(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    return name, int(value) if value.isdecimal() else float(value)


async def _run(
    documents: Sequence[CorpusDocument],
    questions: Sequence[Question],
    *,
    sweeps: Sequence[str],
    constants: Mapping[str, float],
    by_held_out: bool,
) -> int:
    embedder = CachedEmbedder()
    tuning, held_out = split(questions)
    try:
        async with open_stores() as stores, search_function(stores.database, constants):
            started = time.monotonic()
            corpus = await index_corpus(stores, documents, chunking=Chunking(), embedder=embedder)
            print(
                f"{len(documents)} documents, {count_sections(documents)} sections, {len(corpus.chunks)} chunks,"
                f" {len(questions)} questions (filled in {time.monotonic() - started:.0f} s)",
                flush=True,
            )
            evaluation = Evaluation(stores, embedder, documents, held_out if by_held_out else tuning, corpus, constants)
            for name in sweeps:
                print(f"\n## {name}\n\n{await _SWEEPS[name](evaluation)}", flush=True)
            if sweeps:
                return 0
            found = [await search_all(corpus, questions, way, embedder) for way in WAYS]
    finally:
        embedder.close()
    parts = {"held out": held_out, "by which defaults are chosen": tuning, "all of them": questions}
    print(*(_render(name, [one.among(part) for one in found]) for name, part in parts.items()), sep="\n")
    print(f"\n{render_groups(found, questions)}")
    return 0 if _beats_both([one.among(held_out) for one in found]) else 1


def _render(name: str, found: Sequence[Found]) -> str:
    keyword, vector, hybrid, _ = found
    heading = f"\n## {len(hybrid.questions)} questions, {name}"
    return "\n\n".join((heading, render_ways(found), render_gains(hybrid, [vector, keyword])))


def _beats_both(found: Sequence[Found]) -> bool:
    keyword, vector, hybrid, _ = found
    return all(hybrid.mean(metric) > other.mean(metric) for metric in METRICS for other in (keyword, vector))


if __name__ == "__main__":
    sys.exit(main())
