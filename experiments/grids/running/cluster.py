"""Jobs on a Dask cluster, through its client: the same jobs as everywhere, a whole result or none from each.

Dask gives the job of a worker that dies to another. A job is submitted under its own key, so its result is one,
however often it was started.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any

from ....analysis.errors import Refused
from ..job import Epochs, Job
from ..store.folder import versions
from .processes import ATTEMPTS, Done, timed

LOCAL = "local"
CONNECT = 20.0
"""Seconds to wait for a scheduler to answer."""

_ONE_AT_A_TIME = threading.Lock()


def elsewhere(job: Job, expected: Mapping[str, str]) -> Done:
    """Run a job on a worker.

    A worker with several threads still runs one job at a time: torch's global generator, from which networks are
    initialised, is one for the process.

    Raises:
        Refused: the worker has other versions, or other code, than the client.
    """
    if versions() != expected:
        raise Refused(f"--cluster: a worker has {versions()}, this process {dict(expected)}; install the same on both.")
    with _ONE_AT_A_TIME:
        return timed(job)


def cluster(jobs: Sequence[Job], at_epoch: Epochs, *, address: str, number: int) -> Iterator[Done]:
    """Jobs as a Dask cluster gets them done, in no fixed order.

    Args:
        jobs: what to run.
        at_epoch: called when a job is done; how far one is, its worker does not tell.
        address: of the scheduler; "local" starts one with ``number`` workers, and ends it.
        number: workers of a local cluster.

    Raises:
        Refused: Dask is not installed, nothing answers at the address, a job cannot be run, every worker that had it
            died, or the scheduler is gone.
    """
    try:
        distributed: Any = import_module("distributed")
    except ImportError:
        raise Refused("--cluster needs Dask: pip install 'downslope[cluster]'.") from None
    with ExitStack() as stack:
        stack.enter_context(_quiet())
        client = stack.enter_context(_client(distributed, address, number, stack))
        futures = [
            client.submit(elsewhere, job, versions(), key=f"downslope-{job.key}", retries=ATTEMPTS - 1, pure=True)
            for job in jobs
        ]
        for done in _results(distributed, client, futures, address):
            at_epoch(done[0].epochs)
            yield done


@contextmanager
def _quiet() -> Iterator[None]:
    """A client whose scheduler is gone logs a traceback as it closes; that the scheduler is gone is said by us."""
    logger = logging.getLogger("distributed.client")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def _results(distributed: Any, client: Any, futures: Sequence[Any], address: str) -> Iterator[Done]:
    try:
        for future in distributed.as_completed(futures, loop=client.loop):
            done: Done = future.result()
            future.release()  # the scheduler need not keep what we have
            yield done
    except distributed.scheduler.KilledWorker as error:
        raise Refused(f"--cluster: workers died over one job ({error}); what is done is kept.") from error
    except (concurrent.futures.CancelledError, asyncio.CancelledError, distributed.comm.CommClosedError) as error:
        raise Refused(
            f"--cluster {address}: the scheduler is gone; what is done is kept. Start one again, and give the same "
            f"command its address."
        ) from error


async def _answers(distributed: Any, address: str) -> None:
    """Connect once, and let go.

    Raises:
        OSError, ValueError: nothing that speaks Dask's protocol answers there, or this is no address.
    """
    distributed.comm.get_address_host_port(address)  # with its default port, any word would be a host
    how = distributed.Security().get_connection_args("client")
    connection = await distributed.core.connect(address, timeout=CONNECT, **how)
    await connection.close()


def _client(distributed: Any, address: str, number: int, stack: ExitStack) -> Any:
    if address == LOCAL:
        # One process a worker, as everywhere, and no dashboard: its port may be taken.
        address = stack.enter_context(
            distributed.LocalCluster(
                n_workers=number,
                threads_per_worker=1,
                processes=True,
                dashboard_address=None,
                silence_logs=logging.ERROR,
            )
        )
    try:
        # A client that cannot connect goes on trying after it has said so, and in the end prints a traceback.
        asyncio.run(_answers(distributed, address))
        return distributed.Client(address, timeout=CONNECT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise Refused(
            f"--cluster {address}: no Dask scheduler answers there ({error}); start one with `dask scheduler` and give "
            f"the address that it prints, or use --cluster local."
        ) from error
