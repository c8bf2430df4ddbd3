"""No test of the experiments reaches for the network or for the user's own cache."""

from __future__ import annotations

from urllib.error import URLError

import pytest
from downslope.experiments import cache, download


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path_factory):
    """The cache is a fresh folder, and a download fails as it does without a network."""

    def fetch(*args):
        raise URLError("no network in tests")

    monkeypatch.setenv(cache.VARIABLE, str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setattr(download, "fetch", fetch)
