"""Base forms of English words, checked against a list of words."""

from __future__ import annotations

from collections.abc import Collection, Iterator

__all__ = ["base_form"]

# the rules of detachment of WordNet's morphy, the longest endings first
_NOUN_RULES = (
    ("shes", "sh"),
    ("ches", "ch"),
    ("ses", "s"),
    ("xes", "x"),
    ("zes", "z"),
    ("ies", "y"),
    ("men", "man"),
    ("s", ""),
)
_VERB_RULES = (("ies", "y"), ("ied", "y"), ("es", "e"), ("es", ""), ("s", ""))
_VERB_ENDINGS = ("ing", "ed")

_NOUNS = """
    alumni alumnus analyses analysis appendices appendix bacteria bacterium bases basis cacti cactus calves calf
    children child crises crisis criteria criterion data datum diagnoses diagnosis dice die echoes echo elves elf
    feet foot fungi fungus geese goose halves half heroes hero hooves hoof hypotheses hypothesis indices index
    knives knife leaves leaf lice louse lives life loaves loaf matrices matrix media medium mice mouse oases oasis
    oxen ox parentheses parenthesis people person phenomena phenomenon potatoes potato scarves scarf selves self
    shelves shelf stimuli stimulus teeth tooth theses thesis thieves thief tomatoes tomato vertices vertex wives
    wife wolves wolf
"""

_VERBS = """
    am be are be arisen arise arose arise ate eat awoke awake awoken awake beaten beat became become been be befell
    befall began begin begun begin beheld behold bent bend bit bite bitten bite bled bleed blew blow blown blow bore
    bear born bear borne bear bought buy bound bind bred breed broke break broken break brought bring built build
    burnt burn came come caught catch chose choose chosen choose clung cling crept creep dealt deal did do does do
    done do drank drink drawn draw dreamt dream drew draw driven drive drove drive drunk drink dug dig dwelt dwell
    dying die eaten eat fallen fall fed feed fell fall felt feel fled flee flew fly flown fly flung fling forbade
    forbid forbidden forbid forgave forgive forgiven forgive forgot forget forgotten forget fought fight found find
    froze freeze frozen freeze gave give given give gone go got get gotten get grew grow ground grind grown grow had
    have has have heard hear held hold hid hide hidden hide hung hang is be kept keep knelt kneel knew know known
    know laid lay lain lie lay lie leapt leap learnt learn led lead left leave lent lend lit light lost lose lying
    lie made make meant mean met meet overcame overcome paid pay proven prove ran run rang ring ridden ride risen
    rise rode ride rose rise rung ring said say sang sing sank sink sat sit saw see seen see sent send shaken shake
    shone shine shook shake shot shoot showed show shown show slept sleep slid slide sold sell sought seek spelt
    spell spent spend spilt spill spoilt spoil spoke speak spoken speak sprang spring sprung spring spun spin stank
    stink stole steal stolen steal stood stand strode stride strove strive struck strike stuck stick stung sting
    stunk stink sung sing sunk sink swam swim swept sweep swore swear sworn swear swum swim swung swing taken take
    taught teach thought think threw throw thrown throw told tell took take tore tear torn tear tying tie understood
    understand undertaken undertake undertook undertake upheld uphold was be went go wept weep were be withdrawn
    withdraw withdrew withdraw woke wake woken wake won win wore wear worn wear wound wind written write wrote write
"""


def _pairs(words: str) -> dict[str, str]:
    """Make a table of a text of forms, each with its base form behind it."""
    forms = words.split()
    return dict(zip(forms[::2], forms[1::2], strict=True))


_IRREGULAR = {"noun": _pairs(_NOUNS), "verb": _pairs(_VERBS)}


def base_form(word: str, part: str, known: Collection[str]) -> str:
    """Return the base form of a word.

    :param word: the word, in small letters
    :param part: ``"noun"`` or ``"verb"``
    :param known: the base forms that there are
    :returns: the first possible base form that is known, else the word

    >>> [base_form(one, "verb", {"stop", "hope", "go"}) for one in ("stopped", "hoping", "goes", "sing")]
    ['stop', 'hope', 'go', 'sing']
    """
    irregular = _IRREGULAR[part].get(word)
    if irregular is not None and irregular in known:
        return irregular
    return next((one for one in _detached(word, part) if one in known), word)


def _detached(word: str, part: str) -> Iterator[str]:
    if part == "noun" and word.endswith("ss"):
        return
    for ending, instead in _NOUN_RULES if part == "noun" else _VERB_RULES:
        base = word.removesuffix(ending) + instead
        if word.endswith(ending) and len(base) > 1:
            yield base
    if part == "noun":
        return
    for ending in _VERB_ENDINGS:
        stem = word.removesuffix(ending)
        if stem != word and len(stem) > 1:
            if stem[-1] == stem[-2]:  # stopped, but also called
                yield stem
                yield stem[:-1]
            yield stem + "e"
            yield stem
