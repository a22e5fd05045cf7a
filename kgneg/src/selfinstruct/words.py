"""What words are, in any script."""

from __future__ import annotations

import unicodedata

__all__ = ["SPACELESS", "word_pattern"]

#: Scripts without spaces between words, as a part of a character class: Thai, Lao, Myanmar, Khmer.
SPACELESS = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
# vowel signs, accents and the like, which belong to the letter before; regular expressions do not count them as letters
_MARKS = "".join(chr(code) for code in range(0x300, 0x20000) if unicodedata.category(chr(code))[0] == "M")


def word_pattern(alone: str) -> str:
    r"""Return a regular expression of words: runs of letters and digits, with the marks that belong to them.

    :param alone: a part of a character class: characters that are words of their own
    :returns: the expression, without groups

    >>> import re
    >>> [len(word) for word in re.findall(word_pattern(SPACELESS), "two_words, \u092a\u093e\u0928\u0940")]
    [3, 5, 4]
    """
    letter = rf"[^\W_{alone}]"
    return rf"[{alone}]|{letter}+(?:[{_MARKS}]+{letter}*)*"
