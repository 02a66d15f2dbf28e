"""What two sentences' words say of entailment: the lexical features of the stand-in NLI classifier."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from itertools import pairwise


def _words(text: str) -> list[str]:
    return text.split()


NEGATIONS = frozenset(
    _words("""
    not no never none nobody nothing nowhere neither nor cannot without hardly rarely seldom avoid fail fails
    failed refuse refuses refused unable impossible forgot forgets lacks against
""")
)
MODALS = frozenset(
    _words("""
    may might could can possibly perhaps maybe if either or hope hopes want wants plan plans will would believe
    believes think thinks say says claim claims
""")
)
UNIVERSAL = frozenset(
    _words("""
    all every each always everyone everybody everything any most only both entire
""")
)
STOPWORDS = frozenset(
    _words("""
    a an the this that these those is are was were be been being am do does did has have had having to of in on at
    by for from with and so as it its there their his her our your my he she they we you i than then very too
""")
)
ANTONYMS = frozenset(
    frozenset(pair.split("/"))
    for pair in _words("""
    hot/cold warm/cold warm/cool big/small large/small big/little clean/dirty loud/quiet rich/poor strong/weak
    easy/difficult easy/hard simple/complicated cheap/expensive happy/sad fast/slow quick/slow old/new old/young
    young/elderly wet/dry bright/dark light/dark light/heavy safe/dangerous safe/unsafe full/empty brave/cowardly
    smart/stupid clever/stupid true/false right/wrong correct/wrong thick/thin polite/rude healthy/sick
    healthy/ill smooth/rough sweet/bitter calm/stormy fresh/stale deep/shallow honest/dishonest tall/short
    long/short high/low awake/asleep useful/useless popular/unpopular legal/illegal sharp/blunt generous/selfish
    lucky/unlucky common/rare important/trivial harmless/harmful careful/careless good/bad great/terrible
    great/awful wonderful/awful wonderful/terrible best/worst better/worse more/less more/fewer many/few most/few
    early/late before/after first/last open/closed opened/closed open/shut inside/outside indoors/outdoors up/down
    above/below north/south east/west left/right near/far day/night morning/evening summer/winter love/hate
    loves/hates loved/hated like/dislike likes/dislikes enjoy/hate enjoys/hates rise/fall rose/fell rises/falls
    increase/decrease increased/decreased increases/decreases grew/shrank improve/worsen improved/worsened
    raise/lower raises/lowers raise/cut win/lose won/lost wins/loses buy/sell bought/sold lend/borrow
    lent/borrowed accept/refuse accepted/rejected accept/reject build/destroy built/destroyed remember/forget
    start/stop started/stopped begin/end began/ended arrive/leave arrived/left alive/dead lived/died
    success/failure succeed/fail succeeded/failed man/woman boy/girl black/white red/blue red/green always/never
    often/rarely everyone/nobody everything/nothing all/none some/none possible/impossible allowed/forbidden
    required/optional agree/disagree same/different ancient/modern guilty/innocent public/private male/female
    husband/wife taller/shorter stronger/weaker heavier/lighter faster/slower richer/poorer younger/older
    larger/smaller bigger/smaller louder/quieter happier/sadder warmer/colder hotter/colder higher/lower
    longer/shorter easier/harder cheaper/costlier busier/calmer found/lost broke/mended broken/fixed hid/revealed
    sit/stand sitting/standing noisy/quiet wealthy/poor strength/weakness advantage/disadvantage
    """)
)
_ONES = _words("""
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
    seventeen eighteen nineteen
""")
_TENS = _words("twenty thirty forty fifty sixty seventy eighty ninety")
_NUMBERS = {**{w: i for i, w in enumerate(_ONES)}, **{w: 20 + 10 * i for i, w in enumerate(_TENS)}}
_WORD = re.compile(r"\d[\d,]*(?:\.\d+)?|[^\W\d_]+(?:['’][^\W\d_]+)?")
_NEGATED = re.compile(r"n['’]t$")
FEATURES = 20


def words_of(text: str) -> list[str]:
    """Split into words and numbers; ``didn't`` becomes ``did`` and ``not``, number words become digits."""
    words: list[str] = []
    for word in _WORD.findall(text):
        if word[0].isdigit():
            words.append(word.replace(",", "").removesuffix(".0"))
            continue
        lower = word.lower()
        if _NEGATED.search(lower):
            stem = _NEGATED.sub("", lower)
            words += [{"ca": "can", "wo": "will", "sha": "shall"}.get(stem, stem), "not"]
            continue
        value = _NUMBERS.get(lower)
        if value is None:
            words.append(lower if lower == "i" or not word[0].isupper() or not words else f"^{lower}")
        elif 0 < value < 10 and words and words[-1] in {"20", "30", "40", "50", "60", "70", "80", "90"}:
            words[-1] = str(int(words[-1]) + value)
        else:
            words.append(str(value))
    return words


@dataclass(frozen=True)
class Words:
    """What the lexical features need to know of one sentence."""

    order: tuple[str, ...]
    content: frozenset[str]
    bigrams: frozenset[tuple[str, str]]
    numbers: frozenset[str]
    names: frozenset[str]
    negations: int
    modal: bool
    universal: bool

    @classmethod
    def of(cls, text: str) -> Words:
        """Analyse ``text``."""
        raw = words_of(text)
        order = tuple(w.removeprefix("^") for w in raw)
        kept = [w for w in order if w not in STOPWORDS and w not in NEGATIONS]
        return cls(
            order,
            frozenset(_stem(w) for w in kept),
            frozenset(pairwise(order)),
            frozenset(w for w in order if w[0].isdigit()),
            frozenset(w[1:] for w in raw if w.startswith("^")),
            sum(w in NEGATIONS for w in order),
            any(w in MODALS for w in order),
            any(w in UNIVERSAL for w in order),
        )


def _stem(word: str) -> str:
    """Take off the commonest endings, so that forms of one word meet."""
    for ending in ("ing", "ied", "ies", "ed", "es", "s", "ly", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def lexical_features(premise: Words, hypothesis: Words) -> list[float]:
    """The ``FEATURES`` numbers, all within [-1, 1], that say how the wording of two sentences compares."""
    p, h = premise.content, hypothesis.content
    both = len(p & h)
    only_p, only_h = set(premise.order) - set(hypothesis.order), set(hypothesis.order) - set(premise.order)
    opposites = sum(frozenset((a, b)) in ANTONYMS for a in only_p for b in only_h)
    parity = (premise.negations + hypothesis.negations) % 2
    known = premise.numbers | hypothesis.numbers
    p_all = set(premise.order)
    same_words = sorted(premise.order) == sorted(hypothesis.order)
    return [
        float(premise.negations % 2),
        float(hypothesis.negations % 2),
        float(parity),
        min(opposites, 2) / 2,
        float((opposites + parity) % 2),
        float(bool(premise.numbers and hypothesis.numbers and hypothesis.numbers - premise.numbers)),
        float(bool(hypothesis.numbers and not premise.numbers)),
        float(bool(known) and premise.numbers == hypothesis.numbers),
        both / max(len(h), 1),
        both / max(len(p), 1),
        len(premise.bigrams & hypothesis.bigrams) / max(len(hypothesis.bigrams), 1),
        math.tanh((len(hypothesis.order) - len(premise.order)) / 5),
        float(premise.order == hypothesis.order),
        float(same_words and premise.order != hypothesis.order),
        float(bool(hypothesis.names - p_all)),
        float(premise.modal),
        float(hypothesis.modal),
        float(premise.universal),
        float(hypothesis.universal),
        min(len(h - p), 5) / 5,
    ]
