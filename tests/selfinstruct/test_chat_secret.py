"""Keys of endpoints."""

from __future__ import annotations

import logging
import pickle

import pytest

from kgneg.selfinstruct.chat_secret import Secret, hidden_in_logs

KEY = "sk-very-secret"


def test_it_shows_itself_to_nobody() -> None:
    secret = Secret(KEY)
    assert KEY not in f"{secret} {secret!r} {[secret]}"
    assert secret.removed(f"a {KEY} b {KEY}") == "a [key] b [key]"
    assert Secret("").removed("abc") == "abc"
    with pytest.raises(TypeError, match="api_key_env"):
        pickle.dumps(secret)


@pytest.mark.parametrize("name", ["httpcore.http11", "httpcore2.http11", "openai._base_client", "httpx", "httpx2"])
def test_libraries_do_not_log_it(name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logger = logging.getLogger(name)
    with hidden_in_logs(Secret(KEY)):
        logger.debug("headers %s", [(b"X-Echo", f"Bearer {KEY}".encode())])
        logger.debug("key %s", KEY)
        logger.debug("nothing %d", 3)
    assert KEY not in caplog.text
    assert "nothing 3" in caplog.text
    assert caplog.text.count("[key]") == 2
    assert not any("Remover" in type(one).__name__ for one in logger.filters)


def test_filters_are_gone_after_an_error() -> None:
    before = len(logging.getLogger("openai").filters)
    with pytest.raises(ZeroDivisionError), hidden_in_logs(Secret(KEY)):
        raise ZeroDivisionError
    assert len(logging.getLogger("openai").filters) == before
    with hidden_in_logs(Secret("")):
        assert len(logging.getLogger("openai").filters) == before


def test_escaped_keys_shortened_keys_and_further_ones() -> None:
    secret = Secret("sk-/very+secret-0123456789", ("sk-in-the-path",))
    assert secret.removed("a sk-%2Fvery%2Bsecret-0123456789 b") == "a [key] b"
    assert secret.removed("key sk-/very+secret-0**** is wrong") == "key [key]**** is wrong"
    assert secret.removed("http://h/sk-in-the-path/v1") == "http://h/[key]/v1"
    assert secret.removed_from({"a": ["sk-in-the-path", 1, None]}) == {"a": ["[key]", 1, None]}
    assert "path" not in repr(secret)
