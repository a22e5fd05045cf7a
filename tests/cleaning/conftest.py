from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep vectors of texts out of the home folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KGNEG_HOME", str(tmp_path_factory.mktemp("cache")))
        yield
