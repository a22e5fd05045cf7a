"""Keys of endpoints."""

from __future__ import annotations

import base64
import logging
import pickle
import time

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


LONG = "sk-live-Zq8/77+aLp0xWv3Rt9Kd2mN4"
SPELLINGS = {
    "lower": LONG.lower(),
    "upper": LONG.upper(),
    "pieces": " ".join(LONG[place : place + 8] for place in range(0, len(LONG), 8)),
    "list": '", "'.join(LONG[place : place + 5] for place in range(0, len(LONG), 5)),
    "percent": LONG.replace("/", "%2f").replace("+", "%2B"),
    "all percent": "".join(f"%{ord(one):02x}" for one in LONG),
    "reversed": LONG[::-1],
    "JSON": "".join(f"\\u{ord(one):04x}" for one in LONG),
    "JSON in part": "".join(one if place % 2 else f"\\u{ord(one):04X}" for place, one in enumerate(LONG)),
    "hexadecimal": LONG.encode().hex(),
    "base64": base64.b64encode(LONG.encode()).decode(),
    "base64 within": base64.b64encode(f"Bearer {LONG} is wrong".encode()).decode(),
    "base64 within, shifted": base64.urlsafe_b64encode(f"Bearer: {LONG} is wrong".encode()).decode(),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_keys_in_other_spellings(spelling: str) -> None:
    secret = Secret(LONG)
    shown = f"bad key {SPELLINGS[spelling]}, sorry"
    assert secret.stands_in(shown)
    left = secret.removed(shown)
    assert "[key]" in left
    assert not secret.stands_in(left)


def test_parts_of_keys_in_messages_and_in_data() -> None:
    secret = Secret(LONG)
    assert secret.removed("no key like sk-live-***mN4", part=6) == "no key like [key]-***mN4"
    assert not secret.stands_in("it lives in sk-live")
    assert secret.stands_in(f"key: {LONG[4:20]}")


@pytest.mark.parametrize(
    ("key", "left"), [("lm-studio", "[key]. not-lm-studios"), ("studio", "lm-studio. not-lm-studios")]
)
def test_short_keys_are_whole_words_or_no_secrets(key: str, left: str) -> None:
    assert Secret(key).removed("lm-studio. not-lm-studios") == left
    assert not Secret(key).stands_in("lm-studio")


def test_a_key_of_other_signs_is_found_as_it_is() -> None:
    assert Secret("!#%&/()=?+*~").removed("a !#%&/()=?+*~ b") == "a [key] b"


def test_long_texts_are_read_quickly() -> None:
    secret = Secret(LONG)
    start = time.monotonic()
    assert secret.removed(LONG[:-1] * 3_000) == "[key]"
    assert time.monotonic() - start < 1
