"""`python -m tests.eval`: fill a knowledge base with the corpus, ask all questions, print the tables of `docs/benchmarks.md`.

The exit code is 0 if hybrid search beats both of its halves in each figure.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

from syntera_crds.contract.knowledge_config import Chunking, SearchMode

from .corpus import CorpusDocument, count_sections, describe_chunking, read_corpus
from .embeddings import CachedEmbedder
from .indexing import IndexedCorpus, Stores, embed_content, embed_in_place, index_corpus
from .metrics import METRICS
from .questions import Question, find_unanswered, read_questions
from .report import render_gains, render_groups, render_variants, render_ways
from .searching import WAYS, Found, Way, search_all
from .stores import open_stores
from .sweep import collect_hits, sweep_fusions

_SWEPT_BOOKS = ("faq", "policy", "developers-reference")
"""Other chunkings are tried on a quarter of the corpus: each embeds all of it anew."""
_CHUNKINGS = ((200, 30), (350, 0), (350, 50), (350, 100), (500, 70), (700, 100))
_NEIGHBOURS = ((0, 600), (1, 400), (1, 600), (1, 900), (2, 600), (2, 900), (2, 1200))
"""How many, and tokens of a passage at most."""


def main() -> int:
    """Run the evaluation; 1 if hybrid search does not beat both of its halves."""
    parser = argparse.ArgumentParser(prog="python -m tests.eval", description=__doc__)
    parser.add_argument("--sweep", action="store_true", help="try other constants, too (hours, the first time)")
    with_sweep = parser.parse_args().sweep
    documents, questions = read_corpus(), read_questions()
    broken = find_unanswered(questions, {document.path: document.extracted.text for document in documents})
    if broken:
        print(*broken, sep="\n", file=sys.stderr)
        return 2
    return asyncio.run(_evaluate(documents, questions, with_sweep=with_sweep))


async def _evaluate(documents: Sequence[CorpusDocument], questions: Sequence[Question], *, with_sweep: bool) -> int:
    embedder = CachedEmbedder()
    try:
        async with open_stores() as stores:
            started = time.monotonic()
            corpus = await index_corpus(stores, documents, chunking=Chunking(), embedder=embedder)
            print(
                f"{len(documents)} documents, {count_sections(documents)} sections, {len(corpus.chunks)} chunks,"
                f" {len(questions)} questions (filled in {time.monotonic() - started:.0f} s)\n",
                flush=True,
            )
            found = [await search_all(corpus, questions, way, embedder) for way in WAYS]
            print(_render(found, questions), flush=True)
            if with_sweep:
                await _sweep_fusions(corpus, questions, embedder)
                await _sweep_neighbours(corpus, questions, embedder)
                await _sweep_chunkings(stores, documents, questions, embedder)
    finally:
        embedder.close()
    return 0 if _beats_both(found) else 1


def _render(found: Sequence[Found], questions: Sequence[Question]) -> str:
    keyword, vector, hybrid, _ = found
    tables = (render_ways(found), render_groups(found, questions), render_gains(hybrid, [vector, keyword]))
    return "\n\n".join(tables)


def _beats_both(found: Sequence[Found]) -> bool:
    keyword, vector, hybrid, _ = found
    return all(
        fmean(map(metric, hybrid.ranks)) > fmean(map(metric, other.ranks))
        for metric in METRICS.values()
        for other in (keyword, vector)
    )


async def _sweep_fusions(corpus: IndexedCorpus, questions: Sequence[Question], embedder: CachedEmbedder) -> None:
    hits = await collect_hits(corpus, questions, embedder)
    print("\n" + render_variants(sweep_fusions(corpus, questions, hits), heading="fusion"), flush=True)


async def _sweep_neighbours(corpus: IndexedCorpus, questions: Sequence[Question], embedder: CachedEmbedder) -> None:
    found = []
    for neighbours, tokens in _NEIGHBOURS:
        retrieval = corpus.config.retrieval.model_copy(update={"passage_tokens": tokens})
        config = corpus.config.model_copy(update={"retrieval": retrieval})
        way = Way(f"{neighbours} neighbours, {tokens} tokens", SearchMode.HYBRID, neighbours)
        found.append(await search_all(replace(corpus, config=config), questions, way, embedder))
    print("\n" + render_ways(found), flush=True)


async def _sweep_chunkings(
    stores: Stores, documents: Sequence[CorpusDocument], questions: Sequence[Question], embedder: CachedEmbedder
) -> None:
    swept = [document for document in documents if document.path.partition("/")[0] in _SWEPT_BOOKS]
    paths = {document.path for document in swept}
    asked = [question for question in questions if any(answer.document in paths for answer in question.answers)]
    variants = [
        (Chunking(target_tokens=target, overlap_tokens=overlap), embed_in_place) for target, overlap in _CHUNKINGS
    ]
    for number, (chunking, text) in enumerate([*variants, (Chunking(), embed_content)]):
        corpus = await index_corpus(
            stores, swept, chunking=chunking, embedder=embedder, embedded_text=text, name=f"swept-{number}"
        )
        found = [await search_all(corpus, asked, way, embedder) for way in WAYS[1:]]
        embedded = "with its place" if text is embed_in_place else "alone"
        print(
            f"\n{describe_chunking(chunking)} tokens, embedded {embedded}: {len(corpus.chunks)} chunks,"
            f" {len(asked)} questions\n\n{render_ways(found)}",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
