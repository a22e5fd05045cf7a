"""The client that sends requests to an endpoint, to no other address, and reads replies of a bounded size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from kgneg.core.errors import InvalidInputError, MissingExtraError

if TYPE_CHECKING:
    from kgneg.selfinstruct.chat_endpoint import ChatEndpoint

__all__ = ["MOST_BYTES", "open_client"]

#: what is read of a response; a longer one is cut off there, and so is no JSON
MOST_BYTES = 1 << 20
_OWNER = "openai.com"
#: what others need; the client adds more, such as an organisation from the environment
_NEEDED = {"accept", "accept-encoding", "authorization", "connection", "content-length", "content-type", "host"}
_NEEDED |= {"transfer-encoding", "user-agent"}
_NEEDED |= {"x-stainless-raw-response"}  # by which the client tells itself what to return


def open_client(endpoint: ChatEndpoint, timeout: float) -> Any:
    """Return a client of the ``openai`` package for an endpoint.

    It follows no redirect, so that nobody else gets the questions. To addresses that are not OpenAI's it sends no
    header that the client takes from the environment (``OPENAI_ORG_ID``, ``OPENAI_PROJECT_ID``,
    ``OPENAI_CUSTOM_HEADERS``).

    :param endpoint: who is asked
    :param timeout: seconds for one try
    :returns: the client
    :raises MissingExtraError: if the ``openai`` package is not installed
    :raises InvalidInputError: if there can be no client for this address or the proxies in the environment
    """
    try:
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient
    except ImportError as error:
        raise MissingExtraError("openai is not installed: pip install 'kgneg[chat]'") from error
    key = endpoint.secret().value or "unused"
    host = urlsplit(endpoint.address).hostname or ""
    foreign = host != _OWNER and not host.endswith(f".{_OWNER}")

    class Client(DefaultAsyncHttpxClient):
        """Sends a request once, and only what is needed."""

        async def send(self, request: Any, **options: Any) -> Any:
            if foreign:
                for name in set(request.headers) - _NEEDED:
                    del request.headers[name]
                request.headers["Authorization"] = f"Bearer {key}"
            response = await super().send(request, **(options | {"stream": True, "follow_redirects": False}))
            try:
                body = await _beginning(response)
            finally:
                await response.aclose()
            headers = [one for one in response.headers.multi_items() if one[0].lower() != "content-encoding"]
            return type(response)(response.status_code, headers=headers, content=body, request=request)

    try:
        return AsyncOpenAI(
            api_key=key,
            base_url=endpoint.address,
            timeout=timeout,
            max_retries=0,  # tries are ours, each with its own reservation
            http_client=Client(timeout=timeout),
        )
    except ImportError:  # of what a SOCKS proxy needs
        raise InvalidInputError(
            "a proxy in the environment (ALL_PROXY, HTTP_PROXY or HTTPS_PROXY) is one that the client cannot use as "
            "installed. Install 'httpx[socks]' and 'httpx2[socks]', unset the proxy, or name the host in NO_PROXY."
        ) from None
    except Exception as error:  # each version of the client has its own errors; their texts may hold a password
        raise InvalidInputError(
            f"no requests can be sent to {endpoint.base_url} ({type(error).__name__}). Check the address, and the "
            "proxies in ALL_PROXY, HTTP_PROXY and HTTPS_PROXY."
        ) from None


async def _beginning(response: Any) -> bytes:
    """Return the body of a response, or its first part if it is too long."""
    parts: list[bytes] = []
    size = 0
    async for part in response.aiter_bytes():
        parts.append(part)
        size += len(part)
        if size > MOST_BYTES:
            break
    return b"".join(parts)[:MOST_BYTES]
