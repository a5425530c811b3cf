"""What a runtime adds to its provider, and what a turn costs it, beside LiteLLM's proxy before the same provider.

Each figure of the three is taken in turns, a slice each, so that a slow minute of the machine is everybody's.
"""

import contextlib
import math
import time
from collections.abc import Iterator, Mapping
from functools import partial

import uvloop

from .chat_load import Answered, Completions, Door, Messages, ask_many, firsts, provider_door, totals
from .chat_site import AGENT, ChatSite, Served, open_chat_site
from .figures import Figure, percentile
from .litellm_proxy import LiteLLM
from .processes import cpu_seconds

_DELAY_SECONDS = 0.5
_WARM_UP = 50
_SLICES = 4
_ADDED_AIMS = {1: (8.0, 15.0), 32: (25.0, 60.0)}
"""Clients at once: most milliseconds added at p50 and at p95."""
_ASKED = {1: 15, 32: 160}
"""Clients at once: questions in a slice."""
_TURNS = 600
_TURNS_AT_ONCE = 16


def measure() -> list[Figure]:
    """Everything."""
    with open_chat_site() as site, contextlib.ExitStack() as stack:
        litellm = LiteLLM.make(site.folder, site.provider)
        runtime = site.runtime("bench-0")
        for each in (litellm, runtime):
            stack.enter_context(each.running())
        doors: dict[str, Door] = {
            "provider": provider_door(site.provider.url),
            "litellm": litellm.door(),
            "completions": _completions_of(site, runtime),
            "messages": Messages(runtime.url, site.key),
        }
        for door in doors.values():
            uvloop.run(ask_many(door, times=_WARM_UP, at_once=4))
        figures = [figure for at_once in _ADDED_AIMS for figure in _measure_added(site, doors, at_once)]
        figures += _measure_added(site, doors, max(_ADDED_AIMS), together=True)
        return figures + list(_measure_turns(site, doors, runtime, litellm))


def _measure_added(
    site: ChatSite, doors: Mapping[str, Door], at_once: int, *, together: bool = False
) -> Iterator[Figure]:
    """What is added for clients that come one after the other, or all in one moment, which has no aim but the reference."""
    site.provider.behave(delaySeconds=_DELAY_SECONDS, wordDelaySeconds=0)
    ask = partial(ask_many, times=_ASKED[at_once], at_once=at_once, spread_seconds=0 if together else _DELAY_SECONDS)
    answers: dict[str, list[Answered]] = {name: [] for name in doors}
    for _ in range(_SLICES):
        for name, door in doors.items():
            answers[name] += uvloop.run(ask(door))
    aims = dict(zip((50, 95), _ADDED_AIMS[at_once], strict=True))
    come = f"{at_once} in one moment" if together else f"{at_once} at once"
    for what, read in (("first text", firsts), ("whole answer", totals)):
        for percent, aim in aims.items():
            own = percentile(read(answers["provider"]), percent)
            added = {name: percentile(read(found), percent) - own for name, found in answers.items()}
            for name in ("messages", "completions"):
                beside = added["litellm"] / 2
                yield Figure(
                    f"{name}, {come}: added until the {what}, p{percent}",
                    added[name],
                    "ms",
                    at_most=beside if together else min(aim, beside) if name == "completions" else aim,
                    reference=added["litellm"],
                    compared_with="LiteLLM",
                )


def _measure_turns(site: ChatSite, doors: Mapping[str, Door], runtime: Served, litellm: Served) -> Iterator[Figure]:
    site.provider.behave(delaySeconds=0, wordDelaySeconds=0)
    processes = {"litellm": litellm, "completions": runtime, "messages": runtime}
    cpu = dict.fromkeys(processes, 0.0)
    seconds = dict.fromkeys(processes, 0.0)
    stores = 0.0
    for _ in range(_SLICES):
        for name, process in processes.items():
            before, stores_before, started = process.cpu_seconds(), _cpu_of_stores(site), time.monotonic()
            uvloop.run(ask_many(doors[name], times=_TURNS // _SLICES, at_once=_TURNS_AT_ONCE))
            cpu[name] += process.cpu_seconds() - before
            seconds[name] += time.monotonic() - started
            stores += (_cpu_of_stores(site) - stores_before) if name == "messages" else 0.0
    reference = _TURNS / cpu["litellm"]
    for name in ("messages", "completions"):
        yield Figure(
            f"{name}: turns per second and core of the process",
            _TURNS / cpu[name],
            "",
            at_least=math.ceil(1.5 * reference),
            reference=reference,
            compared_with="LiteLLM without a database",
        )
    yield Figure("messages: processor time of PostgreSQL and Redis per turn", stores / _TURNS * 1000, "ms")
    wall = {name: _TURNS / spent for name, spent in seconds.items()}
    yield Figure(
        f"messages, {_TURNS_AT_ONCE} at once, everything on this machine: turns per second",
        wall["messages"],
        "",
        reference=wall["litellm"],
        compared_with="LiteLLM without a database",
    )


def _completions_of(site: ChatSite, runtime: Served) -> Door:
    return Completions(runtime.url, AGENT, site.key)


def _cpu_of_stores(site: ChatSite) -> float:
    return cpu_seconds(site.postgresql.process.pid) + cpu_seconds(site.redis.pid)
