"""Just enough English to put a storyboard's fragments into sentences.

Rules of thumb over short word lists, not a parser. Where a rule does not apply the author's words
stay exactly as they are; no function here drops or replaces a word.
"""

from __future__ import annotations

import re


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
IRREGULAR_PLURALS = listed(
    "men women children people mice geese feet teeth oxen sheep fish deer twins police"
)
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
    "tail horns ears fur feathers mane beak antlers whiskers paws"
)

_WORD = re.compile(r"[^\W_][\w'\u2019-]*")


def words(text: str) -> list[str]:
    """The words of a text, in lower case."""
    return [match.group().lower() for match in _WORD.finditer(text)]


def tidy(text: str) -> str:
    """One line, single spaces."""
    return " ".join(text.split())


def fragment(text: str) -> str:
    """A text made fit for the middle of a sentence: no closing full stop, no opening capital.

    Captioners write fields as sentences ("Seated in the foreground."); storyboards as fragments.
    A capital is only lowered in the former, or in a function word: it may open a proper name.
    """
    text = tidy(text)
    bare = text.rstrip(" .,;:")
    ended = text.endswith(".")
    first = bare.split(" ", 1)[0]
    known = first.lower() in DETERMINERS | PREPOSITIONS | PRONOUNS and first != "I"
    if known or (ended and not first.isupper()):
        bare = bare[:1].lower() + bare[1:]
    return bare


def sentence(text: str) -> str:
    """A text as a sentence: a capital first, a full stop last unless it is already closed."""
    text = tidy(text).rstrip(" ,;:")
    if not text:
        return ""
    text = text[:1].upper() + text[1:]
    closing = text.rstrip("'\"\u201d\u2019)")
    return text if closing.endswith((".", "!", "?", "…")) else text + "."


def parts(text: str) -> list[str]:
    """The comma-separated clauses of a description."""
    return [part.strip() for part in fragment(text).split(",") if part.strip()]


def head(text: str) -> str:
    """The noun that a description is about: "weathered man of sixty, grey beard" is about "man"."""
    first = parts(text)[0] if parts(text) else ""
    noun = ""
    for word in words(first):
        if noun and (
            word in PREPOSITIONS or word.endswith("ing") or word in {"who", "that", "and"}
        ):
            break
        if word not in DETERMINERS:
            noun = word
    return noun


def is_plural(text: str) -> bool:
    """Whether a description is about several things."""
    first = words(parts(text)[0] if parts(text) else "")
    if first and first[0] in {"a", "an", "this", "that", "one", "each", "every", "another"}:
        return False
    noun = head(text)
    if noun in IRREGULAR_PLURALS:
        return True
    return (
        noun.endswith("s") and not noun.endswith(("ss", "us", "is")) and noun not in SINGULAR_IN_S
    )


def article(text: str) -> str:
    """The indefinite article that suits a noun phrase, or nothing."""
    first = words(text)[:1]
    if not first or first[0] in DETERMINERS | PREPOSITIONS | PRONOUNS or first[0][0].isdigit():
        return ""
    noun = head(text)
    if is_plural(text) or noun in MASS_NOUNS or noun == "hair" or first[0].endswith("ing"):
        return ""
    vowel = first[0][0] in "aeiou" and not first[0].startswith(("uni", "use", "eu", "one"))
    return "an" if vowel or first[0] in {"hour", "honest", "heir"} else "a"


def with_article(text: str) -> str:
    """The text after its indefinite article, where it wants one."""
    found = article(text)
    return f"{found} {text}" if found else text


def described(look: str) -> tuple[str, bool]:
    """A look as a noun phrase, and whether a comma must close it.

    "man of sixty, grey beard, navy coat" is "a man of sixty with a grey beard, in a navy coat".
    What is neither worn nor carried keeps its comma.
    """
    clauses = parts(look)
    if not clauses:
        return "", False
    text = with_article(clauses[0])
    joined = ""
    open_comma = False
    for clause in clauses[1:]:
        noun = head(clause)
        first = words(clause)[:1]
        plain = bool(first) and first[0] not in PREPOSITIONS and not first[0].endswith("ing")
        joint = "in" if noun in WORN else "with" if noun in CARRIED else ""
        if not plain or not joint:
            text, joined, open_comma = f"{text}, {clause}", "", True
        elif joint == joined:
            text = f"{text} and {with_article(clause)}"
        else:
            comma = "," if joined or open_comma else ""
            text, joined = f"{text}{comma} {joint} {with_article(clause)}", joint
    return text, open_comma or "," in text


def mentions(text: str, look: str) -> bool:
    """Whether a text already says every clause of a look."""
    said = text.lower()
    return bool(parts(look)) and all(part.lower() in said for part in parts(look))
