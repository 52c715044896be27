"""A reference: labelled classes in the space of one model, and what is needed to name new cells by them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from .._errors import InputError
from .discriminant import Discriminant
from .neighbors import Neighbors, NeighborSearch, find_in_reference
from .scale import Scales

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class LabelledCells:
    """Cells that a reference was made from: embedding [n, d], class of each [n], donor or study ('' if none) [n]."""

    embedding: NDArray[np.float16]
    code: NDArray[np.int32]
    batch: NDArray[np.str_]


@dataclass(frozen=True)
class Markers:
    """Best markers of each ``label`` [j]: position among the model's genes and score [j, m], falling; 0 is none."""

    label: NDArray[np.str_]
    gene: NDArray[np.int32]
    score: NDArray[np.float32]


@dataclass(frozen=True)
class Reference:
    """Classes, the branches that they belong to, and the scales that turn distances into probabilities.

    Attributes
    ----------
    name
        What it was made from, in a few words.
    model_id
        Id of the model in whose space it lives; another model's embeddings are refused.
    label, term
        Name and Cell Ontology id ('' where none fits) of each class, [c].
    from_profiles
        Classes that averaged profiles define, without a single real cell, [c].
    branch
        Position of each class's branch, [c].
    branch_label, branch_term
        Name and ontology id of each branch, [b].
    branch_prior
        Relative expectation of each branch before a cell is seen, [b].
    fine, coarse
        Discriminants of the classes and of the branches.
    overall
        All cells as one class: how far a cell lies from the bulk of cells of any type.
    temperature
        Divisor of distances that makes probabilities.
    scales
        From probabilities and distances to confidence, prediction sets and the unknown score.
    organism
        Organism of the cells that it was made from.
    cells
        These cells; ``None`` where it keeps classes alone.
    measured
        Genes of the model that its cells were measured for, [v].
    matched
        How the term of each class was found, [c]: "given", by the same "name", a "synonym", a name of other "spelling",
        an "abbreviation", a more "general" name, or "none".
    markers
        Genes that tell the labels apart, classes and those above them.
    """

    name: str
    model_id: str
    label: NDArray[np.str_]
    term: NDArray[np.str_]
    from_profiles: NDArray[np.bool_]
    branch: NDArray[np.int32]
    branch_label: NDArray[np.str_]
    branch_term: NDArray[np.str_]
    branch_prior: NDArray[np.float64]
    fine: Discriminant
    coarse: Discriminant
    overall: Discriminant
    temperature: float
    scales: Scales
    organism: Literal["human", "mouse"] = "human"
    cells: LabelledCells | None = None
    measured: NDArray[np.bool_] | None = None
    matched: NDArray[np.str_] | None = None
    markers: Markers | None = None

    def save(self, path: str | Path) -> None:
        """Write everything to one .h5ad file, which anndata reads too.

        Parameters
        ----------
        path
            Ends in .h5ad; a file that stands there stays whole until the new one is complete.

        Raises
        ------
        FileError
            The file cannot be written.

        Examples
        --------
        >>> reference.save("pbmc.h5ad")  # doctest: +SKIP
        """
        from .files import save_reference

        save_reference(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> Reference:
        """Read what :meth:`save` wrote. Nothing in the file is executed.

        Parameters
        ----------
        path
            The file.

        Raises
        ------
        FileError
            The file is missing, damaged, of a newer format, was changed after it was saved, or holds no reference.

        Examples
        --------
        >>> import scfm_scverse as scfm
        >>> reference = scfm.Reference.load("pbmc.h5ad")  # doctest: +SKIP
        """
        from .files import load_reference

        return load_reference(Path(path))

    @cached_property
    def search(self) -> NeighborSearch:
        """Search among the cells, in the space of :meth:`Discriminant.axes`; made once."""
        if self.cells is None:
            msg = f"The reference ({self.name}) keeps classes and no cells; make one with tl.build_reference."
            raise InputError(msg)
        return NeighborSearch(self.cells.embedding.astype(np.float32) @ self.fine.axes)

    def neighbors(self, embedding: NDArray[np.floating], *, n_neighbors: int = 15) -> Neighbors:
        """Find the labelled cells that are most like given cells.

        Parameters
        ----------
        embedding
            Embeddings by the model of this reference, [n, d].
        n_neighbors
            Cells to find for each.

        Returns
        -------
        ``index`` [n, k]: positions in ``reference.cells``, nearest first, and ``distance`` [n, k]: cosine distances
        where the scatter inside classes is round, in the directions in which classes differ.

        Raises
        ------
        InputError
            The reference keeps no cells, or fewer than asked for.

        Examples
        --------
        >>> found = reference.neighbors(adata.obsm["X_scfm"])  # doctest: +SKIP
        >>> reference.label[reference.cells.code[found.index]]  # doctest: +SKIP
        """
        return find_in_reference(self, embedding, n_neighbors)

    def report(self) -> pd.DataFrame:
        """Tabulate the classes: what they are, how their terms were found, what they were made from.

        Returns
        -------
        One row a class, indexed by label: term, term_name, matched (how the term was found, see
        :func:`scfm_scverse.tl.build_reference`), n_cells, n_batches (0 where no cells are kept).

        Examples
        --------
        >>> import scfm_scverse as scfm
        >>> scfm.Reference.load("pbmc.h5ad").report()  # doctest: +SKIP
        """
        from .report import report_classes

        return report_classes(self)
