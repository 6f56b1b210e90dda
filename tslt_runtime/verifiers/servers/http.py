"""JSON over HTTP to an inference server, from threads."""

from __future__ import annotations

from typing import Any

import httpx

from tslt_runtime.verifiers.servers.protocol import ServerGone

TIMEOUT_S = 60.0
"""Seconds that a server has for an answer: a long prompt on a slow one."""
CONNECT_S = 5.0
MOST_BYTES = 1 << 27
"""Bytes of an answer at most: whole rows of the largest vocabularies in use take some 20 MB."""
SAID = 300
"""Characters of what a server says in an error that are passed on."""


class JsonHttp:
    """A pool of connections."""

    def __init__(self, url: str, *, api_key: str = "") -> None:
        """``url``: of the server, like http://127.0.0.1:8000; ValueError for what is none."""
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"expected a URL like http://127.0.0.1:8000, got {url!r}")
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        limits = httpx.Limits(max_connections=64, max_keepalive_connections=64)
        timeout = httpx.Timeout(TIMEOUT_S, connect=CONNECT_S)
        # The environment's proxies are for the web, and an edge's server is its neighbour.
        self._client = httpx.Client(
            base_url=url, headers=headers, limits=limits, timeout=timeout, trust_env=False, follow_redirects=False
        )

    def get(self, path: str) -> Any:
        """The JSON at ``path``; ServerGone for anything else."""
        return self._json("GET", path, None)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """The JSON that answers ``body``; ServerGone for anything else."""
        return self._json("POST", path, body)

    def tokens(self, path: str, body: dict[str, Any]) -> list[int]:
        """The token ids in the JSON that answers ``body``; ServerGone for anything else."""
        try:
            return [int(token) for token in self.post(path, body)["tokens"]]
        except (KeyError, TypeError, ValueError) as error:
            raise ServerGone(f"{path}: no tokens: {error!r}") from error

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def _json(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        try:
            with self._client.stream(method, path, json=body) as response:
                found = bytearray()
                for part in response.iter_bytes():
                    found += part
                    if len(found) > MOST_BYTES:
                        raise ServerGone(f"{path}: an answer of more than {MOST_BYTES} bytes")
                if not response.is_success:
                    said = bytes(found[:SAID]).decode("utf-8", "replace")
                    raise ServerGone(f"{path}: {response.status_code} {said}")
                return httpx.Response(200, content=bytes(found)).json()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError) as error:
            raise ServerGone(f"{path}: {str(error) or type(error).__name__}") from error
