"""Words as the coder sees them: without accents, capitals, endings and repeated letters, in Spanish and English."""

import html
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

MAX_CHARACTERS = 8_000
"""Of a longer text the beginning and the end are read: what it is about stands there, and 1 MB must not hold a core."""
MAX_RAW = 64_000
"""Mark-up and quoted mails are taken out of so much of a text: a mail's HTML is easily eight times its words."""
FEW_WORDS = 3
ENOUGH_FOREIGN, ENOUGH_MIXED = 3, 3
"""Small words it takes to call a text foreign, and of each language to call it mixed. One alone is often a name."""

_WORD = re.compile(r"[a-z][a-z0-9]*")
_TAG = re.compile(r"<[^<>]{0,2000}>")
_HIDDEN = (("<script", "</script>"), ("<style", "</style>"), ("<!--", "-->"), ("<blockquote", "</blockquote>"))
_THREAD = re.compile(
    r"^[ \t]{0,8}(?:-{2,20} ?(?:original message|mensaje original|forwarded message|mensaje reenviado) ?-{2,20}"
    r"|_{10,80}[ \t]{0,4}$"
    r"|(?:on|el) [^\n]{5,200}(?:wrote|escribi[óo]):"
    r"|(?:from|de): [^\n]{1,200}\n[ \t]{0,8}(?:sent|enviado(?: el)?|date|fecha|to|para):)",
    re.IGNORECASE | re.MULTILINE,
)
_SENTENCE = re.compile(r"[^.!?\n]*[.!?\n]*")
# A text may ask to be coded as something. Such a sentence is no complaint, and its words must not count as one.
_CUES = ("clasif", "classif", "categor", "codif", "instruc", "prompt", "label this", "code this")
_INSTRUCTION = re.compile(
    r"\b(?:clas+if[iy]\w{0,10}|categori[zcs]\w{0,10}|codif\w{0,10}|label|code)\b.{0,60}\b(?:como|as|into|under|en la categor\w{1,4})\b"
    r"|\b(?:ignor\w{1,8}|olvid\w{1,8}|disregard|forget|override)\b.{0,60}\b(?:instruc\w{3,8}|rules|reglas|prompt)\b"
    r"|\b(?:system prompt|as an ai|como una ia)\b",
    re.IGNORECASE,
)
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
# Words that give a language away; those that several share are left out. The last four cannot be coded, only named.
_FOREIGN = {
    "pt": """nao voce voces estou meu minha uma um das dos foi tem muito obrigado obrigada ja ainda isso aqui quero fazer conta pois
        tenho nossa meus seu sua depois agora nem pelo pela sao esta""",
    "fr": """je ne pas vous nous le les des une est et dans pour avec sur mon ma mes depuis mais ou qui que ce cette suis ai avez
        bonjour merci plus toujours rien""",
    "de": """ich nicht und der das ist ein eine mit auf fur von den dem zu sie mein meine seit kein keine haben wir bitte aber
        auch noch wie guten""",
    "it": """non sono il che di per una mi ho con del della gli le da piu ma anche questo questa vostro mio mia grazie buongiorno
        ancora senza nella""",
}
_SMALL = {**STOPWORDS, **{language: frozenset(listed.split()) for language, listed in _FOREIGN.items()}}
_TELLS = {
    "es": STOPWORDS["es"] - STOPWORDS["en"],
    "en": STOPWORDS["en"] - STOPWORDS["es"],
    **{language: _SMALL[language] - STOPWORDS["es"] - STOPWORDS["en"] for language in _FOREIGN},
}
_TOLD: dict[str, tuple[str, ...]] = {
    word: tuple(language for language in sorted(_TELLS) if word in _TELLS[language])
    for word in frozenset().union(*_TELLS.values())
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
    return folded(_cut(_untagged(text[:MAX_RAW])) if "<" in text else _cut(text))


def folded(text: str) -> list[str]:
    """The same of a plain text, without looking for mark-up. Only `MAX_CHARACTERS` of it should be handed in."""
    if "@" in text or "://" in text or "www." in text:
        text = _LINK.sub(" ", text)
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    text = _REPEAT.sub(r"\1\1", text.lower())
    return [word for word in _WORD.findall(text) if word.strip("x")]


@dataclass(frozen=True, slots=True)
class Plain:
    """What is left of a text for reading, and what had to be left out."""

    text: str
    long: bool = False
    quoted: bool = False
    instruction: bool = False


def plain(text: str) -> Plain:
    """A text as it came, made readable: no mark-up, none of the mails it answers, no sentence that tells us how to code it.

    Bounded: of a text beyond `MAX_RAW` the beginning and the end are looked at, of what is left `MAX_CHARACTERS` are read.
    """
    long = len(text) > MAX_RAW
    if long:
        text = text[: MAX_RAW * 3 // 4] + "\n" + text[-MAX_RAW // 4 :]
    if "<" in text or "&" in text:
        text = _untagged(text)
    own = _own(text)
    quoted = len(own) < len(text)
    if quoted and len(_WORD.findall(own.lower())) < FEW_WORDS:
        own, quoted = text, False  # a mail that was passed on without a word: what it says is what was passed on
    long = long or len(own) > MAX_CHARACTERS
    own = _cut(own)
    said = _uninstructed(own)
    return Plain(said, long=long, quoted=quoted, instruction=len(said) < len(own))


def _cut(text: str) -> str:
    if len(text) <= MAX_CHARACTERS:
        return text
    return text[: MAX_CHARACTERS * 3 // 4] + " " + text[-MAX_CHARACTERS // 4 :]


def _untagged(text: str) -> str:
    for opening, closing in _HIDDEN:
        if opening in text.lower():
            text = _without(text, opening, closing)
    return html.unescape(_TAG.sub(" ", text))


def _without(text: str, opening: str, closing: str) -> str:
    """The text without what stands between the two; linear, where a lazy pattern would look to the end from each opening."""
    low, kept, at = text.lower(), [], 0
    if len(low) != len(text):  # a few letters grow when they are made small; then places would not fit
        text = low
    while (start := low.find(opening, at)) >= 0:
        end = low.find(closing, start)
        if end < 0:
            break
        kept.append(text[at:start])
        at = end + len(closing)
    kept.append(text[at:])
    return " ".join(kept)


def _own(text: str) -> str:
    """What the writer of a mail added: neither quoted lines nor the messages below."""
    found = _THREAD.search(text)
    if found is not None:
        text = text[: found.start()]
    if "\n>" in text or text.startswith(">"):
        text = "\n".join(line for line in text.split("\n") if not line.startswith(">"))
    return text


def _uninstructed(text: str) -> str:
    low = text.lower()
    if not any(cue in low for cue in _CUES):
        return text
    kept = [part for part in _SENTENCE.findall(text) if not _INSTRUCTION.search(part)]
    return "".join(kept)


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
    found = words(text)
    language = guess_language(found)
    stop = STOPWORDS.get(language or "", STOPWORDS["es"])
    return [stem(word, language if language in STOPWORDS else "es") for word in found if word not in stop]


def guess_language(found: list[str]) -> str | None:
    """ISO 639-1 of the language whose small words lead clearly; None when none does (too short, mixed, one we do not know)."""
    ranked = sorted(((count, language) for language, count in counts_of(found).items()), reverse=True)
    (first, language), (second, _) = ranked[0], ranked[1]
    if first >= (1 if language in STOPWORDS else ENOUGH_FOREIGN) and first >= 2 * second:
        return language
    return None


def counts_of(found: Sequence[str]) -> dict[str, int]:
    """How many of the words give each language away."""
    counts = dict.fromkeys(_TELLS, 0)
    for word in found:
        for language in _TOLD.get(word, ()):
            counts[language] += 1
    return counts


def is_mixed(found: Sequence[str]) -> bool:
    """Whether Spanish and English are both there and neither leads."""
    counts = counts_of(found)
    less, more = sorted((counts["es"], counts["en"]))
    return less >= ENOUGH_MIXED and more < 2 * less
