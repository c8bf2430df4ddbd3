"""Claims by id before the referee: here in this process, or in two at once where there are many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ..analysis.errors import Refused, near
from .chapters import CLAIMS
from .claim import Claim
from .referee import Result, decide, undecided


def _chosen(ids: Sequence[str | Claim]) -> list[Claim]:
    claims: list[Claim] = []
    for name in ids or tuple(CLAIMS):
        if isinstance(name, Claim):
            claims.append(name)
        elif not isinstance(name, str):
            raise Refused(f"verify({name!r}): a {type(name).__name__} names no claim; give ids as text, or Claims.")
        elif name in CLAIMS:
            claims.append(CLAIMS[name])
        else:
            raise Refused(f"verify {name!r}: there is no claim of that id; {near(name, CLAIMS)}.")
    return claims


_LOST = (
    "its process ended without an answer: it was killed, ran out of memory, or was started by a script that does not "
    "guard its own work with `if __name__ == '__main__':`"
)


def _decided_elsewhere(name: str, quick: bool) -> Result:
    """The result without its claim and proof objects, which hold functions and so cannot travel."""
    result = decide(CLAIMS[name], quick)
    bare = Claim(name, "", result.claim.expected)
    return replace(result, claim=bare)


def verify(
    *ids: str | Claim,
    quick: bool = False,
    processes: int = 1,
    progress: Callable[[Result], None] | None = None,
) -> list[Result]:
    """The referee's result on each claim, in the order asked.

    Args:
        ids: ids of `CLAIMS`, or claims of your own; all of `CLAIMS` where there are none.
        quick: a small share of the search, and no dropping of hypotheses.
        processes: how many processes to use. More than one starts new interpreters, so the calling script must guard
            its own work with ``if __name__ == "__main__"``. Claims of your own are decided in this process.
        progress: called with each result as it arrives.

    Raises:
        Refused: no claim has that id; the message lists near names.

    >>> [str(result.verdict) for result in verify("zero-sets", quick=True)]
    ['REFUTED']
    """
    claims = _chosen(ids)
    tell = progress or (lambda _: None)
    if processes < 2 or any(CLAIMS.get(claim.id) is not claim for claim in claims):
        results = []
        for claim in claims:
            results.append(decide(claim, quick))
            tell(results[-1])
        return results
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(_decided_elsewhere, claim.id, quick): claim for claim in claims}
        found: dict[str, Result] = {}
        for future in as_completed(futures):
            claim = futures[future]
            try:
                found[claim.id] = replace(future.result(), claim=claim)
            except BrokenProcessPool:
                found[claim.id] = undecided(claim, _LOST)
            except Exception as error:
                found[claim.id] = undecided(claim, f"its process gave no result: {type(error).__name__}: {error}")
            tell(found[claim.id])
    return [found[claim.id] for claim in claims]
