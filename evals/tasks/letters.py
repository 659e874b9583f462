"""Work on letters: spelling with the international spelling alphabet, and initials.

The 26 code words are those of the ICAO radiotelephony alphabet, in common English spelling. It does
not know other alphabets or code words for digits.
"""

from __future__ import annotations

from evals.tasks.recipe import Recipe, Seed, asks, shuffled

CODE_WORDS = [
    "Alpha",
    "Bravo",
    "Charlie",
    "Delta",
    "Echo",
    "Foxtrot",
    "Golf",
    "Hotel",
    "India",
    "Juliet",
    "Kilo",
    "Lima",
    "Mike",
    "November",
    "Oscar",
    "Papa",
    "Quebec",
    "Romeo",
    "Sierra",
    "Tango",
    "Uniform",
    "Victor",
    "Whiskey",
    "Xray",
    "Yankee",
    "Zulu",
]
SPELL = (
    "Spell {letters} in the NATO alphabet.",
    "How do you spell {letters} with the NATO phonetic alphabet?",
    "Give the radio code words for {letters}.",
)
READ = (
    "Which letters are spelled by {words} in the NATO alphabet?",
    "Write the letters meant by the code words {words}.",
)
INITIALS = (
    "What is the acronym of {name}?",
    "Give the initials of {name} in capital letters.",
    "How is {name} abbreviated by its first letters?",
)
FIRST = [
    "Amber",
    "Broad",
    "Central",
    "Daily",
    "Early",
    "Fresh",
    "Grand",
    "Honest",
    "Inner",
    "Joint",
    "Keen",
    "Local",
    "Modern",
]
SECOND = [
    "North",
    "Open",
    "Public",
    "Quiet",
    "Rural",
    "Social",
    "Town",
    "United",
    "Village",
    "Water",
    "Young",
    "Zonal",
    "Harbour",
]
THIRD = [
    "Archive",
    "Band",
    "Choir",
    "Depot",
    "Engine",
    "Forum",
    "Garden",
    "House",
    "Institute",
    "League",
    "Museum",
    "Office",
]
SPELLINGS = 900


def code_words(letters: str) -> str:
    """Return the spelling of ``letters`` (A to Z only): ``AB`` becomes ``Alpha Bravo``."""
    return " ".join(CODE_WORDS[ord(letter) - ord("A")] for letter in letters)


def spell() -> list[Seed]:
    """Groups of two or three letters, mostly spelled, sometimes read back."""
    alphabet = [chr(ord("A") + place) for place in range(26)]
    keys = shuffled("two", [a + b for a in alphabet for b in alphabet])[: SPELLINGS // 3]
    triples = [a + b + c for a in alphabet for b in alphabet for c in alphabet]
    keys += shuffled("three", triples)[: SPELLINGS * 2 // 3]
    seeds = []
    for key in keys:
        words = code_words(key)
        ways = asks(SPELL, "run", words, "spelling", letters=key)
        seeds.append(Seed(key, (*ways, *asks(READ, "code", key, words=words))))
    return seeds


def initials() -> list[Seed]:
    """Made-up three-word names; what is tested are triples of words never seen together."""
    names = [f"{a} {b} {c}" for a in FIRST for b in SECOND for c in THIRD]
    seeds = []
    for name in shuffled("acronyms", names)[:SPELLINGS]:
        short = "".join(word[0] for word in name.split())
        seeds.append(Seed(name, (*asks(INITIALS, "code", short, name=f"the {name}"),)))
    return seeds


RECIPES = (
    Recipe(
        "spelling",
        "Spelling alphabet",
        "Letters into the words of the NATO alphabet and back; "
        "the letter groups tested were never trained on.",
        spell,
    ),
    Recipe(
        "acronyms",
        "Acronyms",
        "The initials of made-up three-word names; the names tested were never trained on.",
        initials,
    ),
)
