"""Which gene each token is and how much of it is typical: the tables of V1 and V2, or those beside a checkpoint."""

from __future__ import annotations

import io
import json
import lzma
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..._errors import CheckpointError, InputError
from ...checkpoints import read_json, read_pickle

Version = Literal["V1", "V2"]
Source = str | Path | Mapping[str, Any]

SPECIAL: dict[Version, tuple[str, ...]] = {"V1": ("<pad>", "<mask>"), "V2": ("<pad>", "<mask>", "<cls>", "<eos>")}
SHIPPED_SIZE: dict[int, Version] = {25_426: "V1", 20_275: "V2"}


@dataclass(frozen=True, eq=False)
class Dictionaries:
    """Vocabulary of a model.

    Attributes
    ----------
    version
        Whose rules hold: V2 puts ``<cls>`` before and ``<eos>`` behind the genes of a cell.
    genes
        Name of each token, [v].
    medians
        float64 [v]: typical level of each gene in the pretraining corpus; NaN for special tokens.
    mapping
        Other names of genes, in capitals -> token.
    source
        Where this was found.
    """

    version: Version
    genes: NDArray[np.str_]
    medians: NDArray[np.float64]
    mapping: Mapping[str, int]
    source: str

    @cached_property
    def token(self) -> dict[str, int]:
        """Token of each gene by its own name."""
        return {name: at for at, name in enumerate(self.genes.tolist()) if not self.special[at]}

    @cached_property
    def special(self) -> NDArray[np.bool_]:
        """Whether a token is no gene, [v]."""
        return np.isnan(self.medians)


@cache
def shipped(version: Version) -> Dictionaries:
    """Read the tables of the published models, once per process."""
    packed = files(__package__).joinpath("data", f"{version.lower()}.npz.xz").read_bytes()
    with np.load(io.BytesIO(lzma.decompress(packed)), allow_pickle=False) as stored:
        genes = _texts(stored["genes"])
        medians = np.concatenate([np.full(len(SPECIAL[version]), np.nan), stored["medians"]])
        mapping = dict(zip(_texts(stored["names"]), stored["tokens"].tolist(), strict=True))
    return Dictionaries(
        version=version,
        genes=np.array([*SPECIAL[version], *genes]),
        medians=medians,
        mapping=mapping,
        source="shipped with the package",
    )


def _texts(joined: NDArray[np.uint8]) -> list[str]:
    return joined.tobytes().decode().split("\n") if len(joined) else []


def find_dictionaries(
    folder: Path,
    n_genes: int,
    *,
    version: Version | None,
    token_dictionary: Source | None,
    gene_medians: Source | None,
    gene_mapping: Source | None,
) -> Dictionaries:
    """Return the vocabulary of a checkpoint of ``n_genes`` tokens.

    Dictionaries that the caller gives count first, then files that lie in the folder, then the shipped tables where the
    number of tokens is theirs, then files in the folder above or in ``geneformer`` beside this one.

    Raises
    ------
    InputError
        A version that does not exist, or dictionaries of one that do not fit the other arguments.
    CheckpointError
        No dictionaries were found, or they do not fit the checkpoint.
    """
    if version not in (None, "V1", "V2"):
        msg = f"Found version={version!r}; expected 'V1' or 'V2'."
        raise InputError(msg)
    if token_dictionary is not None and gene_medians is not None:
        found = make_dictionaries(
            token_dictionary, gene_medians, gene_mapping, n_genes=n_genes, source="given by the caller"
        )
    elif any(one is not None for one in (token_dictionary, gene_medians, gene_mapping)):
        msg = "Found dictionaries without both token_dictionary= and gene_medians=; expected the two together."
        raise InputError(msg)
    else:
        found = _find(folder, n_genes)
    if version is not None and version != found.version:
        msg = (
            f"Found version={version!r} for a checkpoint of {n_genes:,} tokens whose dictionary is of {found.version} "
            f"({found.source}); leave version= out, or pass the dictionaries that belong to this checkpoint."
        )
        raise InputError(msg)
    return found


def make_dictionaries(
    token_dictionary: Source,
    gene_medians: Source,
    gene_mapping: Source | None,
    *,
    n_genes: int,
    source: str,
) -> Dictionaries:
    """Check dictionaries against each other and against a checkpoint of ``n_genes`` tokens.

    Raises
    ------
    CheckpointError
        Another number of tokens, numbers that are no permutation, special tokens that are not where they belong, or a
        gene without a median.
    """
    names = _by_token(token_dictionary, n_genes)
    version: Version = "V2" if "<cls>" in names else "V1"
    n_special = len(SPECIAL[version])
    if tuple(names[:n_special]) != SPECIAL[version] or any(name.startswith("<") for name in names[n_special:]):
        msg = (
            f"{_called(token_dictionary)} begins with the tokens {', '.join(names[:n_special])}; "
            f"expected the special tokens {', '.join(SPECIAL[version])} there and nowhere else."
        )
        raise CheckpointError(msg)
    levels = _read(gene_medians)
    lacking = [name for name in names[n_special:] if not _positive(levels.get(name))]
    if lacking:
        msg = (
            f"{_called(gene_medians)} has no median above 0 for {len(lacking):,} genes of the token dictionary, "
            f"such as {lacking[0]}; pass the gene_medians= that belong to it."
        )
        raise CheckpointError(msg)
    token = {name: at for at, name in enumerate(names)}
    other = {} if gene_mapping is None else _read(gene_mapping)
    return Dictionaries(
        version=version,
        genes=np.array(names),
        medians=np.array([np.nan] * n_special + [float(levels[name]) for name in names[n_special:]]),
        mapping={str(key): token[gene] for key, gene in other.items() if gene in token and key != gene},
        source=source,
    )


def _by_token(source: Source, n_genes: int) -> list[str]:
    """Names in the order of their tokens."""
    found = _read(source)
    tokens = {int(token): str(name) for name, token in found.items() if _is_number(token)}
    if len(found) != n_genes or sorted(tokens) != list(range(n_genes)):
        highest = max(tokens, default=-1)
        msg = (
            f"{_called(source)} has {len(found):,} tokens, the highest {highest:,}; expected {n_genes:,}, numbered "
            "from 0, as the checkpoint has. Pass the token_dictionary= that belongs to it."
        )
        raise CheckpointError(msg)
    return [tokens[at] for at in range(n_genes)]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and float(value).is_integer()


def _positive(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and 0 < float(value) < np.inf


def _called(source: Source) -> str:
    return str(source) if isinstance(source, str | Path) else "The dictionary"


def _read(source: Source) -> Mapping[str, Any]:
    """Read a dictionary from a .json or .pkl file; one that is given as such stays."""
    if isinstance(source, Mapping):
        return source
    path = Path(source)
    if not path.is_file():
        msg = f"There is no file {path}; expected a .json or .pkl dictionary."
        raise CheckpointError(msg)
    found = read_json(path) if path.suffix == ".json" else read_pickle(path)
    if not isinstance(found, Mapping):
        msg = f"{path} holds a {type(found).__name__}; expected a dictionary."
        raise CheckpointError(msg)
    return found


def _find(folder: Path, n_genes: int) -> Dictionaries:
    """Dictionaries of so many tokens, which the caller did not give."""
    found = _in_files(folder, n_genes)
    if found is None and n_genes in SHIPPED_SIZE:
        found = shipped(SHIPPED_SIZE[n_genes])
    for place in (folder.parent, folder.parent / "geneformer"):
        found = found or _in_files(place, n_genes)
    if found is None:
        msg = (
            f"{folder} is a checkpoint of {n_genes:,} tokens; the published models have 25,426 (V1) or 20,275 (V2). "
            "Pass token_dictionary= and gene_medians= (paths of .json or .pkl files, or dictionaries)."
        )
        raise CheckpointError(msg)
    return found


def _in_files(place: Path, n_genes: int) -> Dictionaries | None:
    """Dictionaries in the files of a folder, as those of other species are, or of a model of ours."""
    for tokens in _dictionary_files(place, "token_dictionary"):
        if len(_read(tokens)) == n_genes:
            tail = tokens.stem.partition("token_dictionary")[2]
            medians = _partner(place, "median", tail)
            if medians is None and n_genes in SHIPPED_SIZE:
                continue  # without medians it is the published one, and these are at hand
            if medians is None:
                msg = f"{tokens} fits the checkpoint and no medians lie beside it; pass gene_medians= as well."
                raise CheckpointError(msg)
            mapping = _partner(place, "mapping", tail)
            return make_dictionaries(tokens, medians, mapping, n_genes=n_genes, source=str(tokens))
    return None


def write_dictionaries(known: Dictionaries, folder: Path) -> None:
    """Write a vocabulary into the folder of its checkpoint, as files that :func:`find_dictionaries` finds there."""
    names = known.genes.tolist()
    tables: dict[str, dict[str, Any]] = {
        "token_dictionary": {name: at for at, name in enumerate(names)},
        "gene_median_dictionary": {name: known.medians[token].item() for name, token in known.token.items()},
        "ensembl_mapping_dict": {name: names[token] for name, token in known.mapping.items()},
    }
    for name, table in tables.items():
        # One ending for the three: the loader takes those that end alike.
        file = folder / f"{name}_{known.version.lower()}.json"
        file.write_text(json.dumps(table, ensure_ascii=False), encoding="utf-8")


def _dictionary_files(folder: Path, what: str) -> list[Path]:
    """Files of one kind, .json before .pkl."""
    return [path for suffix in (".json", ".pkl") for path in sorted(folder.glob(f"*{what}*{suffix}"))]


def _partner(folder: Path, what: str, tail: str) -> Path | None:
    """The file of another kind whose name ends as the token dictionary's does, or the only one there is."""
    found = _dictionary_files(folder, what)
    of_same_name = [path for path in found if path.stem.endswith(tail)] if tail else []
    different = {path.stem for path in found}
    return next(iter(of_same_name or (found if len(different) == 1 else [])), None)
