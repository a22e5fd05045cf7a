"""Words that say nothing about what a phrase is about."""

from __future__ import annotations

__all__ = ["STOP_WORDS"]

_WORDS = """
    a about above across after afterwards again against ago ain all almost along already also although always am
    among an and another any anybody anyhow anyone anything anyway anywhere are aren around as at away back be
    because been before behind being below beneath beside besides between beyond both but by can cannot could couldn
    d despite did didn do does doesn doing don done down during each either else elsewhere enough even ever every
    everybody everyone everything everywhere except few for from further had hadn has hasn have haven having he
    hence her here hers herself him himself his how however i if in indeed instead into is isn it its itself just
    least less ll m ma many may maybe me might mightn mine more moreover most much must mustn my myself near needn
    neither never nevertheless no nobody none nor not nothing now nowhere o of off often on once one ones only onto
    or other others otherwise ought our ours ourselves out over own per perhaps quite rather re really s same shall
    shan she should shouldn since so some somebody somehow someone something sometimes somewhere still such t than
    that the their theirs them themselves then there therefore these they this those though through throughout thus
    till to together too toward towards under underneath unless until up upon us ve very via was wasn we well were
    weren what whatever when whenever where wherever whether which while who whoever whom whose why will with within
    without won would wouldn yes yet you your yours yourself yourselves
"""

#: English function words, and what is left of contractions where the apostrophe was.
STOP_WORDS = frozenset(_WORDS.split())
