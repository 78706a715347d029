"""Just enough English to put a storyboard's fragments into sentences.

Rules of thumb over short word lists, not a parser. Where a rule does not apply the author's words
stay exactly as they are; no function here drops or replaces a word.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache


def listed(text: str) -> frozenset[str]:
    """A word list, as it is written in this file."""
    return frozenset(text.split())


DETERMINERS = listed(
    "a an the this that these those his her its their my your our one two three four five six "
    "seven eight nine ten some several many both all no another each every few dozens hundreds "
    "thousands"
)
PREPOSITIONS = listed(
    "of in on at by with from to into inside outside under over above below behind beside between "
    "near through across along among around against before after during without within upon "
    "toward towards beyond beneath underneath amid amidst atop past for as like"
)
CONNECTIVES = listed("who that which and or")
PRONOUNS = listed("he she it they we you i there someone somebody nobody everyone")
MASS_NOUNS = listed(
    "fog mist rain snow water fire smoke sand grass air light darkness space sky steam dust ice "
    "moonlight sunlight wilderness woodland farmland desertland outdoors indoors nature"
)
IRREGULAR_PLURALS = listed("men women children people mice geese feet teeth oxen twins police")
SINGULAR_IN_S = listed("dress bus gas glass grass class compass canvas atlas lens iris")
PLAIN_ADJECTIVES = listed(
    "red orange yellow green cyan blue purple violet magenta pink brown black white grey gray gold "
    "golden silver teal amber dark light bright pale big large small tiny huge little tall short "
    "old young striped dotted plain"
)
MALE = listed(
    "man boy father son brother husband king prince uncle nephew grandfather monk waiter actor "
    "gentleman lad men boys brothers groom policeman fisherman fireman"
)
FEMALE = listed(
    "woman girl mother daughter sister wife queen princess aunt niece grandmother nun waitress "
    "actress lady women girls sisters bride policewoman"
)
PEOPLE = (
    MALE
    | FEMALE
    | listed(
        "person people child children baby teenager adult human figure stranger keeper sailor "
        "captain soldier doctor nurse teacher student dancer singer musician pianist painter "
        "farmer driver pilot astronaut knight detective officer thief chef cook baker smith "
        "twins couple crowd player runner rider clown wizard witch pirate diver worker mechanic "
        "guard priest judge hiker climber cyclist skater surfer shepherd hunter writer poet"
    )
)
WORN = listed(
    "coat raincoat overcoat greatcoat jacket anorak parka suit tuxedo dress gown robe cloak cape "
    "uniform shirt blouse sweater jumper cardigan hoodie vest apron overalls trousers jeans shorts "
    "skirt kilt kimono sari hat cap hood helmet scarf shawl veil gloves boots shoes sandals "
    "pyjamas swimsuit armour armor poncho oilskins dungarees nightgown"
)
CARRIED = listed(
    "beard moustache mustache hair curls braid braids ponytail fringe stubble scar freckles "
    "wrinkles eyes face nose skin glasses spectacles eyepatch tattoo tattoos crown necklace "
    "earring earrings ring bag backpack satchel basket umbrella lantern staff cane stick wings "
    "tail horns ears fur feathers mane beak antlers whiskers paws "
    "eye arm arms leg legs hand hands finger fingers tooth teeth wing"
)

_NEVER_NAMES = PEOPLE | DETERMINERS
_FUNCTION_WORDS = DETERMINERS | PREPOSITIONS | PRONOUNS
_AFTER_NOUN = PREPOSITIONS | CONNECTIVES

# A film says the same looks, places and lights over and over.
_remembered = lru_cache(maxsize=4096)

_WORD = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")
_CLAUSE_END = re.compile(r"[,;]|(?<=[a-z]{3})[.!?](?=\s)")


@_remembered
def words(text: str) -> tuple[str, ...]:
    """The words of a text, in lower case."""
    if text.isascii():
        return tuple(_WORD.findall(text.lower()))
    return tuple(_lower(word) for word in _WORD.findall(text))


def _lower(word: str) -> str:
    """A word in lower case, unless that takes more letters (a Turkish capital I)."""
    lower = word.lower()
    return lower if len(lower) == len(word) else word


def tidy(text: str) -> str:
    """One line, single spaces."""
    # The space is the only blank that can be printed; most texts are tidy.
    if "  " not in text and text.isprintable() and text.strip(" ") == text:
        return text
    return " ".join(text.split())


@_remembered
def fragment(text: str) -> str:
    """A text made fit for the middle of a sentence: no closing full stop, no opening capital.

    Captioners write fields as sentences ("Seated in the foreground."); storyboards as fragments.
    A capital is only lowered in the former, or in a function word: it may open a proper name.
    """
    text = tidy(text)
    bare = text.rstrip(" .,;:")
    ended = text.endswith(".")
    first = bare.split(" ", 1)[0]
    known = first.lower() in _FUNCTION_WORDS and first != "I"
    shouted = len(first) > 1 and first.isupper()
    if not shouted and (known or ended):
        bare = _first(bare, bare[:1].lower())
    return bare


def capital(text: str) -> str:
    """The text with a capital first."""
    return _first(text, text[:1].upper())


def _first(text: str, letter: str) -> str:
    """The text with another case of its first letter, unless that spells another word ("ß")."""
    same = len(letter) == 1 and letter.lower() == text[:1].lower()
    return letter + text[1:] if same else text


@_remembered
def sentence(text: str) -> str:
    """A text as a sentence: a capital first, a full stop last unless it is already closed."""
    text = tidy(text).rstrip(" ,;:")
    if not text:
        return ""
    text = capital(text)
    closing = text.rstrip("'\"\u201d\u2019)")
    return text if closing.endswith((".", "!", "?", "…")) else text + "."


@_remembered
def parts(text: str) -> tuple[str, ...]:
    """The clauses of a description: what stands between commas, semicolons and full stops."""
    clauses = [fragment(clause) for clause in _CLAUSE_END.split(fragment(text))]
    return tuple(clause for clause in clauses if clause)


@_remembered
def head(text: str) -> str:
    """The noun that a description is about: "weathered man of sixty, grey beard" is about "man".

    In lower case, but for a proper name.
    """
    clauses = parts(text)
    if is_name(text):
        return clauses[0]
    noun = ""
    for word in words(clauses[0] if clauses else ""):
        if noun and (word in _AFTER_NOUN or word.endswith("ing")):
            break
        if word not in DETERMINERS:
            noun = word
    return noun


@_remembered
def is_name(text: str) -> bool:
    """Whether a description opens with a proper name ("Maria Lopez, tall")."""
    found = _WORD.findall((parts(text) or ("",))[0])
    return (
        bool(found)
        and all(word[0].isupper() for word in found)
        and _NEVER_NAMES.isdisjoint(word.lower() for word in found)
    )


@_remembered
def gender(look: str) -> str:
    """ "he" or "she" where a look tells, else nothing."""
    for found in ((head(look),), words(look)):
        he, she = not MALE.isdisjoint(found), not FEMALE.isdisjoint(found)
        if he != she:
            return "he" if he else "she"
    return ""


def short_names(looks: Sequence[str]) -> tuple[str, ...]:
    """What each subject is called after its first mention: "the man", "the girl".

    Two men are told apart by their first clause ("the man of sixty"), else by the whole look.
    """
    heads = [head(look) for look in looks]
    firsts = [_bare(look) for look in looks]
    names = []
    for look, noun, first in zip(looks, heads, firsts, strict=True):
        if is_name(look):
            names.append(noun)
        elif not noun and not first:
            names.append("")
        elif noun and heads.count(noun) == 1:
            names.append(f"the {noun}")
        elif firsts.count(first) == 1:
            names.append(f"the {first}")
        else:
            names.append(f"the {without_determiner(described(look)[0])}")
    return tuple(names)


@_remembered
def without_determiner(text: str) -> str:
    """A noun phrase without the article or pronoun that opens it; a number stays."""
    first, _, rest = text.partition(" ")
    opens = first.lower() in {"a", "an", "the", "this", "that", "his", "her", "its", "their"}
    return rest if opens and rest else text


@_remembered
def _whole(part: str) -> re.Pattern[str]:
    """Finds a clause of a look, in any case, where no word goes on before or after it."""
    return re.compile(rf"(?<![\w'\u2019-]){re.escape(part)}(?!\w|['\u2019-]\w)", re.IGNORECASE)


def _bare(look: str) -> str:
    return without_determiner((parts(look) or ("",))[0])


@_remembered
def is_plural(text: str) -> bool:
    """Whether a description is about several things."""
    first = words(parts(text)[0] if parts(text) else "")
    if first and first[0] in {"a", "an", "this", "that", "one", "each", "every", "another"}:
        return False
    if is_name(text):
        return False
    noun = head(text)
    if noun in IRREGULAR_PLURALS:
        return True
    return (
        noun.endswith("s") and not noun.endswith(("ss", "us", "is")) and noun not in SINGULAR_IN_S
    )


@_remembered
def article(text: str) -> str:
    """The indefinite article that suits a noun phrase, or nothing."""
    first = words(text)[:1]
    if not first or first[0] in _FUNCTION_WORDS:
        return ""
    if first[0][0].isdigit():
        aged = "an" if first[0].startswith(("8", "11-", "18-")) else "a"
        return aged if "-year-old" in first[0] else ""
    noun = head(text)
    if (
        is_name(text)
        or is_plural(text)
        or noun in MASS_NOUNS
        or noun == "hair"
        or first[0].endswith("ing")
    ):
        return ""
    vowel = first[0][0] in "aeiou" and not first[0].startswith(("uni", "use", "eu", "one"))
    return "an" if vowel or first[0] in {"hour", "honest", "heir"} else "a"


@_remembered
def with_article(text: str) -> str:
    """The text after its indefinite article, where it wants one."""
    found = article(text)
    return f"{found} {text}" if found else text


@_remembered
def described(look: str) -> tuple[str, bool]:
    """A look as a noun phrase, and whether a comma must close it.

    "man of sixty, navy coat, grey beard" is "a man of sixty with a grey beard, in a navy coat".
    What is neither carried nor worn follows after a comma, as the author wrote it.
    """
    clauses = parts(look)
    if not clauses:
        return "", False
    carried: list[str] = []
    worn: list[str] = []
    other: list[str] = []
    for clause in clauses[1:]:
        first = words(clause)[:1]
        plain = first and first[0] not in PREPOSITIONS and not first[0].endswith("ing")
        noun = head(clause)
        group = worn if plain and noun in WORN else carried if plain and noun in CARRIED else other
        group.append(clause if group is other else with_article(clause))
    text = with_article(clauses[0])
    if carried:
        text = f"{text} with {listing(carried)}"
    if worn:
        text = f"{text}{',' if carried else ''} in {listing(worn)}"
    return ", ".join([text, *other]), bool(other or (carried and worn) or len(carried + worn) > 2)


def listing(items: Sequence[str]) -> str:
    """Several things as one: "a, b and c"."""
    return " and ".join(text for text in (", ".join(items[:-1]), *items[-1:]) if text)


@_remembered
def mentions(text: str, look: str) -> bool:
    """Whether a text already says every clause of a look."""
    return without_mention(text, look) is not None


@_remembered
def without_mention(text: str, look: str) -> str | None:
    """The text less one mention of a look, None if some clause of the look isn't in it."""
    if not parts(look):
        return None
    for part in parts(look):
        found = _whole(part).search(text)
        if found is None:
            return None
        text = f"{text[: found.start()]}|{text[found.end() :]}"
    return text
