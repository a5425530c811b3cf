"""Tries other rankings of words than the product's, each alone: computed here, over every chunk with a word of the question, from
what PostgreSQL counts.

So BM25 can be tried, too, which needs how often each word stands in a chunk, and no bound on what is looked at shows in the figures.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import asyncpg

from syntera_runtime.models.ids import ChunkId

from .indexing import IndexedCorpus
from .metrics import METRICS, Rank
from .questions import Question
from .report import figures_of, render_table
from .sweeps import Evaluation

_K1 = 1.2
_B = 0.75
"""BM25's usual constants: how fast further places of a word count for less, and how much long chunks are held back."""

_READ_QUESTION = """
    SELECT said.word, l.language,
      tsvector_to_array(to_tsvector(syntera.text_configuration(l.language), said.word)) AS lexemes
    FROM unnest($2::text[]) AS l (language),
      (SELECT DISTINCT word FROM regexp_split_to_table($1::text, '[[:space:]]+') AS word) AS said
"""
"""As the search reads a question: each of its words in each language."""

_OCCURRENCES = r"""
    SELECT c.id, u.lexeme, cardinality(u.positions) AS times, ts_rank(c.terms, q.query) AS rank,
      ts_rank(c.terms, q.query, 1) AS rank_by_length, ts_rank(c.terms, q.query, 16) AS rank_by_variety,
      coalesce(cardinality((
        SELECT h.positions FROM unnest(to_tsvector(
          syntera.text_configuration(c.language), array_to_string(c.headings, ' ')
        )) AS h WHERE h.lexeme = u.lexeme
      )), 0) AS times_in_headings
    FROM syntera.knowledge_chunks AS c, unnest(c.terms) AS u,
      LATERAL (SELECT ('''' || replace(replace(u.lexeme, '\', '\\'), '''', '''''') || '''')::tsquery AS query) AS q
    WHERE c.index_id = $1 AND u.lexeme = ANY ($2::text[])
"""

_LENGTHS = """
    SELECT c.id, (SELECT sum(cardinality(u.positions)) FROM unnest(c.terms) AS u) AS length
    FROM syntera.knowledge_chunks AS c WHERE c.index_id = $1
"""


@dataclass(frozen=True, slots=True)
class Said:
    """A word of a question as one language reads it."""

    word: str
    language: str
    lexemes: Sequence[str]
    """None: the language passes over it as too common."""


@dataclass(frozen=True, slots=True)
class Occurrence:
    """A word in a chunk."""

    times: int
    times_in_headings: int
    rank: float
    """`ts_rank` of the word alone."""
    rank_by_length: float
    """The same, divided by the logarithm of the chunk's length."""
    rank_by_variety: float
    """The same, divided by the logarithm of how many different words the chunk has."""
    length: float
    """Of the chunk, beside the mean of all."""


@dataclass(frozen=True, slots=True)
class Words:
    """How words stand in an index."""

    chunks: int
    places: Mapping[str, Mapping[ChunkId, Occurrence]]
    """Of each word."""


Weigh = Callable[[float, float, Occurrence], float]
"""What a word adds to a chunk's score: of the number of chunks, of those that hold it, and of how it stands in this one."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """A way to rank chunks by words."""

    name: str
    ask: Callable[[Sequence[Said], str], frozenset[str]]
    """What is asked for: of a question as it is read, and its language."""
    weigh: Weigh


def ask_all(said: Sequence[Said], _language: str) -> frozenset[str]:
    """The words in every language of the index."""
    return frozenset(lexeme for one in said for lexeme in one.lexemes)


def ask_uncommon(said: Sequence[Said], _language: str) -> frozenset[str]:
    """The same without words that any of the languages passes over, if there are others."""
    common = {one.word for one in said if not one.lexemes}
    return ask_all([one for one in said if one.word not in common] or said, _language)


def ask_in_own_language(said: Sequence[Said], language: str) -> frozenset[str]:
    """The words in the question's own language alone."""
    return ask_all([one for one in said if one.language == language], language)


def rarity(chunks: float, holding: float) -> float:
    """As the product weighs a word."""
    return math.log(1 + chunks / holding)


def bm25(chunks: float, holding: float, found: Occurrence, *, headings: int = 0) -> float:
    """BM25 of a word, those in headings counted so many times more."""
    times = found.times + headings * found.times_in_headings
    rare = math.log(1 + (chunks - holding + 0.5) / (holding + 0.5))
    return rare * times * (_K1 + 1) / (times + _K1 * (1 - _B + _B * found.length))


RANKINGS = (
    Ranking(
        "idf x `ts_rank` of each word; words are read in every language of the index",
        ask_all,
        lambda chunks, holding, found: rarity(chunks, holding) * found.rank,
    ),
    Ranking(
        "the same without words that are common in any of these languages",
        ask_uncommon,
        lambda chunks, holding, found: rarity(chunks, holding) * found.rank,
    ),
    Ranking(
        "and divided by the logarithm of how many different words the chunk has (**the default**)",
        ask_uncommon,
        lambda chunks, holding, found: rarity(chunks, holding) * found.rank_by_variety,
    ),
    Ranking(
        "or by the logarithm of its length",
        ask_uncommon,
        lambda chunks, holding, found: rarity(chunks, holding) * found.rank_by_length,
    ),
    Ranking("BM25 (k1 = 1.2, b = 0.75) over the same words", ask_uncommon, bm25),
    Ranking("BM25, words read in the question's own language alone", ask_in_own_language, bm25),
    Ranking(
        "idf², divided by length",
        ask_uncommon,
        lambda chunks, holding, found: rarity(chunks, holding) ** 2 * found.rank_by_length,
    ),
    Ranking(
        "idf alone, however often a word stands in the chunk",
        ask_uncommon,
        lambda chunks, holding, _: rarity(chunks, holding),
    ),
    Ranking(
        "words of headings counted twice (BM25)",
        ask_uncommon,
        lambda chunks, holding, found: bm25(chunks, holding, found, headings=1),
    ),
)


async def sweep_words(evaluation: Evaluation) -> str:
    """All rankings of words."""
    corpus, questions = evaluation.corpus, evaluation.questions
    administrator = await evaluation.stores.database.connect()
    try:
        said = [await _read_question(administrator, corpus, question) for question in questions]
        asked = frozenset(lexeme for one in said for word in one for lexeme in word.lexemes)
        words = await _count(administrator, corpus, asked)
    finally:
        await administrator.close()
    rows = []
    for ranking in RANKINGS:
        ranks = [
            _rank(corpus, question, rank_chunks(words, ranking.ask(one, question.language), ranking.weigh))
            for question, one in zip(questions, said, strict=True)
        ]
        rows.append([ranking.name, *figures_of(ranks)])
    return render_table(["ranking of words", *METRICS], rows)


def rank_chunks(words: Words, asked: frozenset[str], weigh: Weigh) -> Sequence[ChunkId]:
    """The chunks with any of the words, the best first."""
    scores: dict[ChunkId, float] = defaultdict(float)
    for lexeme in sorted(asked):
        places = words.places.get(lexeme, {})
        for chunk_id, found in places.items():
            scores[chunk_id] += weigh(words.chunks, len(places), found)
    return sorted(scores, key=lambda one: (-scores[one], one))


def _rank(corpus: IndexedCorpus, question: Question, ids: Sequence[ChunkId]) -> Rank:
    for rank, one in enumerate(ids, start=1):
        path, chunk = corpus.chunks[one]
        if question.is_answered_by(path, chunk.content):
            return rank
    return None


async def _read_question(connection: asyncpg.Connection, corpus: IndexedCorpus, question: Question) -> Sequence[Said]:
    rows = await connection.fetch(_READ_QUESTION, question.text, corpus.index.languages)
    return [Said(row["word"], row["language"], row["lexemes"]) for row in rows]


async def _count(connection: asyncpg.Connection, corpus: IndexedCorpus, asked: frozenset[str]) -> Words:
    lengths = {ChunkId(row["id"]): row["length"] for row in await connection.fetch(_LENGTHS, corpus.index.id)}
    mean = sum(lengths.values()) / len(lengths)
    places: dict[str, dict[ChunkId, Occurrence]] = defaultdict(dict)
    for row in await connection.fetch(_OCCURRENCES, corpus.index.id, sorted(asked)):
        chunk_id = ChunkId(row["id"])
        places[row["lexeme"]][chunk_id] = Occurrence(
            times=row["times"],
            times_in_headings=row["times_in_headings"],
            rank=row["rank"],
            rank_by_length=row["rank_by_length"],
            rank_by_variety=row["rank_by_variety"],
            length=float(lengths[chunk_id] / mean),
        )
    return Words(len(lengths), places)
