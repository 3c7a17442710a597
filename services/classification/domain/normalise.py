"""Words as the coder sees them: without accents, capitals, endings and repeated letters, in Spanish and English."""

import re
import unicodedata
from functools import lru_cache

MAX_CHARACTERS = 8_000
"""Of a longer text the beginning and the end are read: what it is about stands there, and 1 MB must not hold a core."""

_WORD = re.compile(r"[a-z][a-z0-9]*")
_TAG = re.compile(r"<[^<>]{0,200}>")
# Bounded on both sides of the @: with \S+ a text of many @ takes minutes.
_LINK = re.compile(r"\b(?:https?://|www\.)\S+|[^\s@]{1,64}@[^\s@]{1,255}")
_REPEAT = re.compile(r"([a-z])\1{2,}")

# Words that say nothing about a motive. `no`, `sin`, `not`, `without` stay: "no llega" is the complaint itself.
STOPWORDS = {
    "es": frozenset(
        """a al algo ante aqui asi aun aunque cada como con cual cuando de del desde donde dos el ella ellos en entonces era eran es
        esa ese eso esta estaba estan estar este esto estos estoy fue ha haber habia han hasta hay hace he hola la las le les lo
        los mas me mi mis muy nos o para pero por porque pues que quien se sea ser si sido sobre son soy su sus tambien tan te
        tengo tiene tienen todo toda un una uno unos y ya yo buenos buenas dias tardes noches senores gracias favor usted ustedes
        q x xq tb d""".split()
    ),
    "en": frozenset(
        """a about after all also am an and any are as at be because been before being but by can could did do does doing even for
        from get got had has have having he her here him his how i if in into is it its just me my of on one only or our out over
        please she should since so some than that the their them then there these they this to too up us was we were what when
        where which while who will with would you your yours hello hi dear thanks thank sir madam team u ur pls bc""".split()
    ),
}
# Words that give a language away; those both share are left out.
_TELLS = {
    "es": STOPWORDS["es"] - STOPWORDS["en"] | {"no llega", "esta", "pero", "desde", "ustedes"},
    "en": STOPWORDS["en"] - STOPWORDS["es"],
}

# Longest first. Light stemming: enough that plural, gender and the common tenses of a verb meet, not a dictionary.
_ENDINGS = {
    "es": """amientos imientos amiento imiento aciones uciones iciones acion ucion icion amente mente ariamos eriamos aremos
        eremos iremos abamos iamos aron ieron arian erian iran aran eran ando iendo adas ados idas idos ada ado ida ido aban
        aba ian ia amos emos imos aste iste aria eria ara era ira are ere ire ar er ir an en as es os ion io ie a e o s""".split(),
    "en": "ations ation ingly edly ments ment ness ings ing ied ies ed es er ly s e y".split(),
}
_BY_LENGTH = {language: tuple(sorted(endings, key=len, reverse=True)) for language, endings in _ENDINGS.items()}


def words(text: str) -> list[str]:
    """The text's words, folded: lower case, no accents (ñ becomes n), no mark-up, links, masks (XXXX) or bare numbers."""
    if len(text) > MAX_CHARACTERS:
        text = text[: MAX_CHARACTERS * 3 // 4] + " " + text[-MAX_CHARACTERS // 4 :]
    if "<" in text:
        text = _TAG.sub(" ", text)
    if "@" in text or "://" in text or "www." in text:
        text = _LINK.sub(" ", text)
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    text = _REPEAT.sub(r"\1\1", text.lower())
    return [word for word in _WORD.findall(text) if word.strip("x")]


@lru_cache(maxsize=200_000)
def stem(word: str, language: str) -> str:
    """The word without its ending; words of four letters or fewer stay whole but for a plural s."""
    if len(word) <= 4:
        return word[:-1] if len(word) == 4 and word.endswith("s") else word
    for ending in _BY_LENGTH.get(language, ()):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def stems(text: str) -> list[str]:
    """The stems of a text's telling words, read in both languages' terms of what tells nothing."""
    folded = words(text)
    language = guess_language(folded) or "es"
    stop = STOPWORDS[language]
    return [stem(word, language) for word in folded if word not in stop]


def guess_language(folded: list[str]) -> str | None:
    """`es` or `en` by the small words of each; None when neither leads clearly (too short, mixed, another language)."""
    es = sum(word in _TELLS["es"] for word in folded)
    en = sum(word in _TELLS["en"] for word in folded)
    if es >= 1 and es >= 2 * en:
        return "es"
    if en >= 1 and en >= 2 * es:
        return "en"
    return None
