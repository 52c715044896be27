"""Free-text labels to terms of the Cell Ontology: found by rules that can be read, never by likeness."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import Literal

from .abbreviations import AMBIGUOUS, LABELS, STATES, WORDS
from .graph import CellOntology, load_ontology

How = Literal["name", "synonym", "spelling", "abbreviation", "general", "none"]
Bag = tuple[str, ...]

_GREEK = {"α": " alpha ", "β": " beta ", "γ": " gamma ", "δ": " delta ", "ε": " epsilon "}
_SIGNED = re.compile(r"\b(\w+?)[ -]?(positive|negative|low|high|dim|bright)\b|(\w+)([+])|(\w*\d\w*)(-)(?=[\s,/)]|$)")
_SLASH = re.compile(r"(?<=[+-])/")  # between markers, as in "CD4+/CD25-"; elsewhere it means "or"
_WORD = re.compile(r"[\w=]+|[/&+]")
# What names of T cells hold and labels leave out.
_SAID_WITHOUT = re.compile(r"\balpha[- ]beta\b|\bthymus-derived\b")
_SIGN = {"+": "positive", "-": "negative"}
_CD = re.compile(r"cd\d+[a-z]{0,2}")
_SKIPPED = frozenset("cell of the".split())
# Terms of one organism under a name that says nothing of it would catch labels that mean something else.
_ELSEWHERE = re.compile(r"\((Mmus|Primate|Hsap)\)|\(sensu (?!Vertebrata)|, mouse$")


@dataclass(frozen=True)
class LabelMatch:
    """What a label stands for.

    Attributes
    ----------
    label
        As it was given.
    term, name
        Id and name of the term, '' where none was found.
    how
        ``"name"`` or ``"synonym"``: letter for letter but for case; ``"spelling"``: but for order, plural and
        punctuation; ``"abbreviation"``: a short form of the field; ``"general"``: the label says more than the term (a
        marker, a state, a number); ``"none"``.
    candidates
        Terms that it may stand for, where there are several and therefore none was chosen.
    """

    label: str
    term: str
    name: str
    how: How
    candidates: tuple[str, ...] = ()


def match_labels(labels: Iterable[str]) -> list[LabelMatch]:
    """Find the term of each label; one that may stand for several gets none.

    Parameters
    ----------
    labels
        Names of cell types as people write them, each once.

    Examples
    --------
    >>> from scfm_scverse.ontology.match import match_labels
    >>> for found in match_labels(["CD8+ T cells", "Tregs", "cluster 7"]):
    ...     print(found.name, found.how)
    CD8-positive, alpha-beta T cell spelling
    regulatory T cell abbreviation
     none
    """
    return [_match(label) for label in labels]


def _match(label: str) -> LabelMatch:
    ontology = load_ontology()
    text = label.strip().lower()
    term = ontology.term_of_name.get(text, "")
    if term and ontology.name[term].lower() == text:
        return _found(label, term, "name")
    bag = _bag(label, _vocabulary())
    expanded = _expand(bag)
    if (several := AMBIGUOUS.get(" ".join(bag))) is not None:
        return LabelMatch(label, "", "", "none", several)
    if (known := LABELS.get(" ".join(expanded))) is not None:
        return _found(label, known, "abbreviation")
    if term and not (_is_short(text) or _ELSEWHERE.search(ontology.name[term])):
        return _found(label, term, "synonym")
    candidates: tuple[str, ...] = ()
    ways: tuple[tuple[Bag, How], ...] = ((bag, "spelling"), (expanded, "abbreviation"))
    for tried, how in ways:
        terms = _index().get(tried, ())
        if len(terms) == 1:
            return _found(label, terms[0], how)
        candidates = candidates or terms
    general = "" if candidates else _without_details(label)
    return _found(label, general, "general") if general else LabelMatch(label, "", "", "none", candidates)


def _found(label: str, term: str, how: How) -> LabelMatch:
    return LabelMatch(label, term, load_ontology().name[term], how)


def _without_details(label: str) -> str:
    """Term of what is left without remarks in brackets, states, a number at the end, and as few markers as possible."""
    plain = re.sub(r"\([^)]*\)", " ", label)
    plain = re.sub(r"([\s_.-]+(type|cluster|subset))?[\s_.-]+\d+[a-z]?\s*$", " ", plain)
    # A gene after a hyphen, as in "Fibro-COL11A1": capitals and a digit.
    plain = re.sub(r"-[A-Z]{2,}[A-Z0-9]*\d[A-Z0-9]*\s*$", " ", plain)
    bag = tuple(word for word in _expand(_bag(plain, _vocabulary())) if word not in STATES)
    markers = [word for word in bag if "=" in word]
    for n_dropped in range(min(len(markers), 5) + 1):
        left = {tuple(w for w in bag if w not in dropped) for dropped in combinations(markers, n_dropped)}
        found = {term for one in left for term in _terms(one)}
        if len(found) == 1:
            return found.pop()
    return ""


def _terms(bag: Bag) -> tuple[str, ...]:
    known = LABELS.get(" ".join(bag))
    return _index().get(bag, ()) if known is None else (known,)


def _expand(bag: Bag) -> Bag:
    return tuple(sorted(part for word in bag for part in WORDS.get(word, [word])))


def _bag(text: str, words: frozenset[str] = frozenset()) -> Bag:
    """Words of a label in order of the alphabet, singular, without "cell"; a marker and its sign are one word."""
    if not text.isascii():
        text = _ascii(text)
    text = _SAID_WITHOUT.sub(" ", text.lower().replace("_", " ").replace("gammadelta", "gamma delta"))
    text = _SIGNED.sub(_marker, _SLASH.sub(" ", text))
    found = (_singular(word, words) for word in _WORD.findall(text))
    return tuple(sorted(f"{word}=positive" if _CD.fullmatch(word) else word for word in found if word not in _SKIPPED))


def _ascii(text: str) -> str:
    for letter, name in _GREEK.items():
        text = text.replace(letter, name)
    return "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))


def _marker(found: re.Match[str]) -> str:
    gene = found[1] or found[3] or found[5]
    return f" {gene}={found[2] or _SIGN[found[4] or found[6]]} "


def _singular(word: str, words: frozenset[str]) -> str:
    return word[:-1] if word.endswith("s") and word[:-1] in words else word


def _is_short(text: str) -> bool:
    """Whether a name is a bare abbreviation, of which the ontology holds many that mean other things elsewhere."""
    return len(re.sub(r"[^a-z]|cells?$", "", text)) < 5


def _names(ontology: CellOntology) -> Iterable[tuple[str, str, int]]:
    """Every name and trusted synonym: text, term, rank; what labels would have to leave words out for comes last."""
    for term, name in ontology.name.items():
        if _ELSEWHERE.search(name):
            continue
        synonyms = (other for other in ontology.synonyms.get(term, ()) if not _is_short(other.lower()))
        for rank, text in [(0, name), *((1, other) for other in synonyms)]:
            yield text, term, rank + (2 if _SAID_WITHOUT.search(text.lower()) else 0)


@cache
def _vocabulary() -> frozenset[str]:
    text = " ".join(name for name, _, _ in _names(load_ontology()))
    return frozenset({*re.findall(r"[a-z0-9]+", text.lower()), *WORDS})


@cache
def _index() -> dict[Bag, tuple[str, ...]]:
    """Terms of each bag of words, of the best rank that there is."""
    found: dict[Bag, dict[str, int]] = {}
    for name, term, rank in _names(load_ontology()):
        if bag := _bag(name, _vocabulary()):
            terms = found.setdefault(bag, {})
            terms[term] = min(rank, terms.get(term, rank))
    return {
        bag: tuple(term for term, rank in terms.items() if rank == min(terms.values())) for bag, terms in found.items()
    }
