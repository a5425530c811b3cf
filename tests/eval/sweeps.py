"""Tries other constants than the product's, from which its defaults were chosen, by the product's own search.

Constants that are nobody's to set are put in place of the product's for the time of a search.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from unittest.mock import patch

from syntera_crds.contract.knowledge_config import Chunking, SearchMode
from syntera_runtime.knowledge import duplicates, fusion, search

from .corpus import CorpusDocument, EmbeddedText, describe_chunking
from .embeddings import CachedEmbedder
from .indexing import IndexedCorpus, Stores, embed_content, embed_in_place, index_corpus
from .questions import Question
from .report import render_chunkings, render_gains, render_grid, render_variants
from .search_function import search_function
from .searching import WAYS, Found, Way, search_all

_RANK_CONSTANTS = (5, 10, 20, 40, 60, 100)
_WEIGHTS = (0.25, 0.5, 0.75, 1.0, 1.5)
_USUAL_RANK_CONSTANT = 60
_RIVALS = 5
"""The best ones beside which the default is put."""

_CANDIDATES = (30, 50, 100, 200)
"""Chunks that each search brings."""
_SEARCH_FUNCTIONS: Sequence[Mapping[str, float]] = (
    *({"_CANDIDATES": number} for number in (200, 300, 700, 1000)),
    *({"_MOST_CANDIDATES": number} for number in (125, 500)),
    {"_MOST_WORDS": 12},
)
"""Constants of the search for words."""

_NEIGHBOURS = ((0, 600), (1, 400), (1, 600), (1, 900), (2, 600), (2, 900), (2, 1200))
"""How many, and tokens of a passage at most."""

_SAME_FROM = (0.1, 0.25, 0.5, 0.7, 0.85, 1.0, 2.0)
"""Shares from which a text says nothing new; none reaches 2."""

_SWEPT_BOOKS = ("faq", "policy", "developers-reference")
"""Other chunkings are tried on a quarter of the corpus: each embeds all of it anew."""
_CHUNKINGS = ((350, 50), (350, 0), (200, 30), (500, 70))

_KEYWORD, _VECTOR, _HYBRID, _DEFAULT = WAYS


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a sweep has to do with."""

    stores: Stores
    embedder: CachedEmbedder
    documents: Sequence[CorpusDocument]
    questions: Sequence[Question]
    """A half of them: defaults are chosen by one, and the other says whether that holds."""
    corpus: IndexedCorpus
    """All documents, by the product's defaults."""
    constants: Mapping[str, float]
    """Of the search for words, where they are not the product's."""

    async def search(self, way: Way, name: str | None = None) -> Found:
        """Ask all questions in a way, which the tables call by that name."""
        return await search_all(self.corpus, self.questions, replace(way, name=name or way.name), self.embedder)


Sweep = Callable[[Evaluation], Awaitable[str]]
"""Tries variants; the tables of what they found."""


async def sweep_fusions(evaluation: Evaluation) -> str:
    """The constant of reciprocal rank fusion, and the weight of words beside 1 of the vectors."""
    found: dict[tuple[int, float], Found] = {}
    for constant, weight in product(_RANK_CONSTANTS, _WEIGHTS):
        with patch.object(fusion, "RANK_CONSTANT", constant), patch.object(search, "KEYWORD_WEIGHT", weight):
            found[constant, weight] = await evaluation.search(_HYBRID, f"k = {constant}, words {weight:g}")
    chosen = found[fusion.RANK_CONSTANT, fusion.KEYWORD_WEIGHT]
    rivals = sorted((one for one in found.values() if one is not chosen), key=lambda one: one.mean("nDCG@10"))
    gains = render_gains(chosen, [found[_USUAL_RANK_CONSTANT, 1.0], *rivals[-_RIVALS:]])
    return f"{render_grid(found, _RANK_CONSTANTS, _WEIGHTS, heading='k')}\n\n{gains}"


async def sweep_candidates(evaluation: Evaluation) -> str:
    """How many chunks each search brings, then how many the search for words ranks."""
    brought = {}
    for number in _CANDIDATES:
        with patch.object(search, "CANDIDATES", number):
            brought[number] = await evaluation.search(_HYBRID, f"hybrid, {number} of each search")
    tables = [render_variants(list(brought.values()), brought[search.CANDIDATES])]
    for way in (_KEYWORD, _HYBRID):
        ranked = [await evaluation.search(way, f"{way.name}, as it is")]
        for constants in _SEARCH_FUNCTIONS:
            name = ", ".join(f"{constant} = {value:g}" for constant, value in constants.items())
            async with search_function(evaluation.stores.database, {**evaluation.constants, **constants}):
                ranked.append(await evaluation.search(way, f"{way.name}, {name}"))
        tables.append(render_variants(ranked, ranked[0]))
    return "\n\n".join(tables)


async def sweep_neighbours(evaluation: Evaluation) -> str:
    """Chunks before and after one that was found, and how long a passage may become."""
    own = evaluation.corpus.config.retrieval
    found = {}
    for neighbours, tokens in _NEIGHBOURS:
        retrieval = own.model_copy(update={"passage_tokens": tokens})
        config = evaluation.corpus.config.model_copy(update={"retrieval": retrieval})
        corpus = replace(evaluation.corpus, config=config)
        way = Way(f"{neighbours}, {tokens} tokens", SearchMode.HYBRID, neighbours)
        found[neighbours, tokens] = await search_all(corpus, evaluation.questions, way, evaluation.embedder)
    return render_variants(list(found.values()), found[own.neighbours, own.passage_tokens])


async def sweep_duplicates(evaluation: Evaluation) -> str:
    """From which share of a text's words on it is left out after one that has them."""
    found = {}
    for share in _SAME_FROM:
        with patch.object(duplicates, "SAME_FROM", share):
            found[share] = await evaluation.search(_HYBRID, f"from {share:g} on")
    return render_variants(list(found.values()), found[duplicates.SAME_FROM])


async def sweep_chunkings(evaluation: Evaluation) -> str:
    """How long chunks are, and whether what is embedded says where they stand."""
    swept = [document for document in evaluation.documents if document.path.partition("/")[0] in _SWEPT_BOOKS]
    paths = {document.path for document in swept}
    asked = [one for one in evaluation.questions if any(answer.document in paths for answer in one.answers)]
    variants: list[tuple[str, Chunking, EmbeddedText]] = [
        (f"{describe_chunking(chunking)}, with title and headings", chunking, embed_in_place)
        for chunking in (Chunking(target_tokens=target, overlap_tokens=overlap) for target, overlap in _CHUNKINGS)
    ]
    variants.insert(1, (f"{describe_chunking(Chunking())}, the text alone", Chunking(), embed_content))
    found: dict[str, tuple[int, Sequence[Found]]] = {}
    for number, (name, chunking, text) in enumerate(variants):
        corpus = await index_corpus(
            evaluation.stores,
            swept,
            chunking=chunking,
            embedder=evaluation.embedder,
            embedded_text=text,
            name=f"swept-{number}",
        )
        ways = [
            await search_all(corpus, asked, replace(way, name=f"{name}: {way.name}"), evaluation.embedder)
            for way in (_VECTOR, _HYBRID, _DEFAULT)
        ]
        found[name] = len(corpus.chunks), ways
    chosen, *others = [ways for _, ways in found.values()]
    gains = [
        render_gains(own, [other[place] for other in others], name=own.way.name) for place, own in enumerate(chosen)
    ]
    return "\n\n".join((f"{len(asked)} questions", render_chunkings(found), *gains))
