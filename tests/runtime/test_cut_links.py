"""Links that are cut anywhere, an edge that is killed: the device goes on by itself, and the text is the same.

Real processes and sockets.  ``make cuts`` runs a hundred seeds of each.
"""

from __future__ import annotations

import pytest
from cut_links import WHAT, Case, prepare


@pytest.fixture(scope="module", params=["zmq", "quic"])
def case(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cuts")
    prepare(folder)
    found = Case(request.param, folder)
    yield found
    found.edge.kill()


@pytest.mark.parametrize(("what", "kind"), list(zip(WHAT, ("scalar", "lazy", "coupled"), strict=True)))
def test_the_text_is_the_undisturbed_one(case, what, kind):
    found = case.run(what, kind, seed=4)
    assert found.reconnects > 0
    assert found.cuts + found.kills > 0
