"""Syncs that are killed at random moments, as by a node that dies: what is left is as if nothing had happened.

Only processes show it: whatever runs in ours would be closed in order.
"""

import random
import time
from pathlib import Path

import pytest

from syntera_crds.contract.knowledge_config import Chunking
from syntera_runtime.ingest.embedding import BATCH_TEXTS
from tests.runtime.ingest.job import SyncJobs
from tests.support.embedding_server import EmbeddingServer, embedding_server
from tests.support.postgresql import Database

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

KILLS = 20
DOCUMENTS = 120


def make_text(path: str, version: int) -> str:
    """A document of several chunks; another version shares some with it."""
    sections = [
        f"# Section {number} of {path}\n\n"
        + " ".join(f"Sentence {place} of section {number} of {path} in {changed}." for place in range(30))
        for number, changed in ((0, "all"), (1, version), (2, version))
    ]
    return "\n\n".join(sections)


class Sources:
    """Documents that change, come and go; never back, so that an honest sync embeds no text twice."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._made = 0
        self.versions: dict[str, int] = {}
        self.change()

    @property
    def documents(self) -> dict[str, str]:
        """All of them."""
        return {path: make_text(path, version) for path, version in self.versions.items()}

    def change(self) -> None:
        """Some change, some go, others come in their place."""
        for path in self._chance.sample(sorted(self.versions), len(self.versions) // 4):
            self.versions[path] += 1
        for path in self._chance.sample(sorted(self.versions), len(self.versions) // 10):
            del self.versions[path]
        while len(self.versions) < DOCUMENTS:
            self._made += 1
            self.versions[f"document-{self._made:05}.md"] = 1


def kill_at_random(jobs: SyncJobs, server: EmbeddingServer, chance: random.Random) -> bool:
    """Start a sync and kill it; false if it had ended before."""
    process = jobs.start()
    if chance.random() < 0.5:
        time.sleep(chance.uniform(0.5, 5))
    else:
        number = chance.randint(1, 25)
        while process.poll() is None and not server.wait_for_requests(number, seconds=0.5):
            continue
        time.sleep(chance.uniform(0, 0.3))
    had_ended = process.poll() is not None
    process.kill()
    process.wait(timeout=60)
    return not had_ended


async def test_killed_syncs_leave_the_index_of_an_undisturbed_one(database: Database, tmp_path: Path) -> None:
    chance = random.Random(6)
    sources = Sources(chance)
    with embedding_server(seconds=0.02) as server:
        jobs = SyncJobs(database, await database.make_tenant(), tmp_path / "killed", server.base_url)
        kills = rounds = cut_short = 0
        while kills < KILLS:
            rounds += 1
            assert rounds < 3 * KILLS
            if rounds % 7 == 0:  # another way to cut, so that the kill hits a rebuild
                # The prefix, because two ways to cut may make the same text, which is embedded for each index.
                embedding = jobs.config.embedding.model_copy(update={"document_prefix": f"{rounds}: "})
                chunking = Chunking(target_tokens=150 + rounds, overlap_tokens=20)
                jobs.configure(chunking=chunking, embedding=embedding)
            jobs.mount(sources.documents)
            was_killed = kill_at_random(jobs, server, chance)
            kills += was_killed
            counts = server.take_counts()
            cut_short += was_killed and counts.texts > 0
            assert counts.repeated <= BATCH_TEXTS, f"round {rounds}"
            if chance.random() < 0.6:
                sources.change()
        assert cut_short >= KILLS // 4, "nearly all were killed before they did anything"
        jobs.mount(sources.documents)
        assert jobs.run() == 0, jobs.log
        assert server.take_counts().repeated <= BATCH_TEXTS
        undisturbed = SyncJobs(database, await database.make_tenant(), tmp_path / "undisturbed", server.base_url)
        undisturbed.configure(chunking=jobs.config.chunking, embedding=jobs.config.embedding)
        undisturbed.mount(sources.documents)
        assert undisturbed.run() == 0, undisturbed.log
        found, wanted = await jobs.contents(), await undisturbed.contents()
        assert found.keys() == wanted.keys()
        for name, rows in wanted.items():
            assert rows
            assert found[name] == rows, name
