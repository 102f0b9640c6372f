"""The verdict cache is bounded, counted, and keyed by everything a verdict rests on."""

from __future__ import annotations

from policies.decision import Effect
from serve_app.judges.cache import VerdictCache, cache_key

from builders import a_judgement, a_verdict


def test_what_was_kept_is_found_and_says_that_it_was_cached() -> None:
    cache = VerdictCache()
    kept = a_judgement(a_verdict(Effect.DENY))
    cache.keep(b"k", kept)
    found = cache.find(b"k")
    assert found is not None
    assert found.cached
    assert found.verdicts == kept.verdicts
    assert not kept.cached


def test_it_holds_no_more_than_its_bound_and_lets_the_longest_unused_go() -> None:
    cache = VerdictCache(size_max=3)
    for key in (b"a", b"b", b"c"):
        cache.keep(key, a_judgement())
    assert cache.find(b"a")
    cache.keep(b"d", a_judgement())
    assert cache.find(b"b") is None
    assert all(cache.find(key) for key in (b"a", b"c", b"d"))
    assert cache.size == 3
    assert (cache.hits, cache.misses, cache.evictions) == (4, 1, 1)


def test_keeping_again_replaces() -> None:
    cache = VerdictCache(size_max=1)
    cache.keep(b"k", a_judgement())
    cache.keep(b"k", a_judgement(a_verdict(Effect.DENY)))
    found = cache.find(b"k")
    assert found is not None
    assert found.verdicts[0].effect is Effect.DENY
    assert cache.evictions == 0


def test_a_key_cannot_be_made_of_another_revision_and_another_document() -> None:
    assert cache_key("sha256:1", b"2{}") != cache_key("sha256:12", b"{}")
    assert cache_key("a", b"") != cache_key("", b"a")
    assert cache_key("a", b"x") == cache_key("a", b"x")
