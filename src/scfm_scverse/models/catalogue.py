"""Checkpoints that the authors of models released: where from, under which licence, how large, how to tell them."""

from __future__ import annotations

import hashlib
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

LARGEST_HASHED = 700 * 2**20  # bytes; more would make loading slow


@dataclass(frozen=True)
class Family:
    """What all releases of a family share."""

    source: str
    licence: str
    allows: str
    obtain: str
    files: str
    citation: str


@dataclass(frozen=True)
class Release:
    """A file of weights; what is not known is ``None``."""

    release: str
    family: str
    file: str | None = None
    bytes: int | None = None
    sha256: str | None = None
    about: str = ""


_THEODORIS = "Theodoris et al. (2023), Nature 618, 616-624, doi:10.1038/s41586-023-06139-9"
_CHEN = "Chen et al. (2024), bioRxiv, doi:10.1101/2024.08.16.608180"

FAMILIES = {
    "scfm-mini": Family(
        source="this package",
        licence="BSD-3-Clause",
        allows="any use, with the notice",
        obtain="comes with the package",
        files="name 'scfm-mini'",
        citation="the scfm-scverse package",
    ),
    "scGPT": Family(
        source="github.com/bowang-lab/scGPT",
        licence="MIT (the repository's; none is stated for the weights alone)",
        allows="any use, with the notice",
        obtain="the README of github.com/bowang-lab/scGPT links a folder for each model",
        files="folder with args.json, vocab.json and best_model.pt",
        citation="Cui et al. (2024), Nature Methods 21, 1470-1480",
    ),
    "Geneformer": Family(
        source="huggingface.co/ctheodoris/Geneformer",
        licence="Apache-2.0",
        allows="any use, with the notice",
        obtain="clone huggingface.co/ctheodoris/Geneformer with Git LFS, or download a model's folder there",
        files="folder with config.json and model.safetensors",
        citation=f"{_THEODORIS}; V2: {_CHEN}",
    ),
    "scFoundation": Family(
        source="github.com/biomap-research/scFoundation",
        licence="scFoundation model licence (the code: Apache-2.0)",
        allows="non-commercial research only; weights may be neither passed on nor changed",
        obtain="the README of github.com/biomap-research/scFoundation links the file, after its licence",
        files="file models.ckpt",
        citation="Hao et al. (2024), Nature Methods, doi:10.1038/s41592-024-02305-7",
    ),
    "scBERT": Family(
        source="github.com/TencentAILabHealthcare/scBERT",
        licence="GPL-3.0",
        allows="any use; what is passed on, changed or not, stays under GPL-3.0",
        obtain="the README of github.com/TencentAILabHealthcare/scBERT says where, or ask its authors",
        files="file panglao_pretrain.pth",
        citation="Yang et al. (2022), Nature Machine Intelligence 4, 852-866, doi:10.1038/s42256-022-00534-z",
    ),
}


def _scgpt(name: str, about: str) -> Release:
    return Release(f"scGPT {name}", "scGPT", "best_model.pt", about=about)


def _geneformer(
    name: str, size: int | None, sha256: str, about: str, file: str | None = "model.safetensors"
) -> Release:
    return Release(name, "Geneformer", file, size, sha256, about)


RELEASES = (
    _scgpt("whole-human", "33 million normal cells; the authors' first choice"),
    _scgpt("continual-pretrained", "CP: whole-human, trained on with labels, for embedding without training"),
    _scgpt("brain", "13.2 million cells"),
    _scgpt("blood", "10.3 million cells"),
    _scgpt("heart", "1.8 million cells"),
    _scgpt("lung", "2.1 million cells"),
    _scgpt("kidney", "0.8 million cells"),
    _scgpt("pan-cancer", "5.7 million cells of tumours"),
    _geneformer(
        "Geneformer-V1-10M",
        41_183_536,
        "a5e33a757431643b3697de7ef6127950cdc49e06e58d4266b3a3ab191b683f14",
        "6 layers, context 2,048; also gf-6L-30M-i2048",
    ),
    _geneformer(
        "Geneformer-V1-10M",
        41_216_562,
        "8d860e2125884475dd42bc2cd9a0e60c60808a7351241e08f2154931ffc142da",
        "the same weights, older format",
        "pytorch_model.bin",
    ),
    _geneformer(
        "gf-12L-30M-i2048",
        158_467_410,
        "812f8d85e5ecf9d64c268f052f6ece2c1906bc4f1aecf70d5144b2598386b615",
        "V1, 12 layers, context 2,048",
        "pytorch_model.bin",
    ),
    _geneformer(
        "gf-12L-95M-i4096",
        152_012_980,
        "4365ba23e393fcfa0e65a94ac64a0983cd788bd23a8d4914f4ab66f85cfe043c",
        "first V2 of 2024, 12 layers, context 4,096",
    ),
    _geneformer(
        "gf-12L-95M-i4096_CLcancer",
        152_012_980,
        "2451adeed240c165634fea60ccba17063da8a2843ea9fcdcc0ce185720bf0dc2",
        "the same, trained on with tumour cells",
    ),
    _geneformer(
        "gf-20L-95M-i4096",
        605_292_732,
        "db85c081a6d392448955c7d0185e26aba74507518df991ca8c69ee9108ce8bbf",
        "V2 of 2024, 20 layers, context 4,096",
    ),
    _geneformer(
        "Geneformer-V2-104M",
        417_571_156,
        "fff5cba29ddd8792991fa77b4872246fbe548a178cebda3775cdc72b67780e7f",
        "12 layers, context 4,096",
    ),
    _geneformer(
        "Geneformer-V2-104M_CLcancer",
        417_571_156,
        "827738139bfed4bafa9d1f3df7c6146da2e3b85f7225076adc32c6eda0ba4357",
        "the same, trained on with 14 million tumour cells",
    ),
    _geneformer(
        "Geneformer-V2-316M",
        1_265_455_076,
        "965ceccea81953d362081ef3843560a0e4fef88d396c28017881f1e94b1246f3",
        "18 layers, context 4,096; in the root folder too",
    ),
    _geneformer(
        "Geneformer-V1 cardiomyopathy classifier",
        None,
        "12ead3bad8cf4b853bac87eadeb79c9308ae492e9d29f32da1a2c85e8586108d",
        "V1, fine-tuned to three classes of cells",
        None,
    ),
    Release("scFoundation", "scFoundation", "models.ckpt", about="three sets of weights: cell, gene, rde"),
    Release(
        "scBERT",
        "scBERT",
        "panglao_pretrain.pth",
        87_631_538,
        "aa27109136580b24a1b985f63d0ba31f22490d09e71b13d1793cbff38619dfe3",
        "pre-trained on PanglaoDB; the hash is a third project's",
    ),
)


def catalogue() -> pd.DataFrame:
    """List the checkpoints that the authors of models released, and the model of this package.

    None of the foreign ones comes with the package: :func:`load` reads the files that you obtained.

    Returns
    -------
    One row a file of weights: release, family, file, bytes, sha256, about, source, licence, allows (what the licence
    allows, in short), obtain, files (what :func:`load` takes), citation. What is not known is missing.

    Examples
    --------
    >>> import scfm_scverse as scfm
    >>> table = scfm.models.catalogue()
    >>> table.loc[table["family"] == "scBERT", "licence"].item()
    'GPL-3.0'
    """
    import pandas as pd

    rows = [(*astuple(one), *astuple(FAMILIES[one.family])) for one in (_own(), *RELEASES)]
    columns = [field.name for kind in (Release, Family) for field in fields(kind)]
    return pd.DataFrame(rows, columns=columns).astype({"bytes": "Int64"})


def _own() -> Release:
    from .scfm_mini import WEIGHTS

    about = "linear model of 6,000 human genes"
    return Release("scfm-mini", "scfm-mini", WEIGHTS.name, WEIGHTS.stat().st_size, hash_of(WEIGHTS), about)


def hash_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def release_of(path: Path) -> str | None:
    """Name the release that a file of weights is, or ``None``.

    A file is hashed only if it has exactly the size of a known one, and no more than 700 MB.
    """
    size = path.stat().st_size
    known = {one.sha256: one.release for one in RELEASES if one.bytes == size <= LARGEST_HASHED and one.sha256}
    return known.get(hash_of(path)) if known else None


def release_fact(path: Path) -> dict[str, str]:
    """Return the release of a file of weights as a fact for the report of its loading, where it is known."""
    release = release_of(path)
    return {"release": f"{release}, by its SHA-256"} if release else {}


def how_to_obtain(name: str) -> str | None:
    """Say how to obtain a published model that was asked for by its name, or ``None`` if the name is of none.

    Examples
    --------
    >>> how_to_obtain("scbert")
    'The weights of scBERT do not come with this package; ... panglao_pretrain.pth. Licence: GPL-3.0.'
    """
    if Path(name).name != name:  # meant as a path
        return None
    asked = _plain(name)
    for family, about in list(FAMILIES.items())[1:]:
        releases = [_plain(one.release) for one in RELEASES if one.family == family]
        if asked.startswith(_plain(family)) or asked in releases:
            return (
                f"The weights of {family} do not come with this package; {about.obtain}, "
                f"then pass the path of the {about.files}. Licence: {about.licence}."
            )
    return None


def _plain(name: str) -> str:
    return name.lower().replace("_", "-").replace(" ", "-")
