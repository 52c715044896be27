"""Work that was cut short: finished cells are found again, and only for the same work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from scfm_scverse._errors import FileError
from scfm_scverse.inference import Partial, encode_cells
from scfm_scverse.models import Encoded

N, MADE_FROM = 6, {"model": "toy:1"}


def answers(cells: list[int]) -> list[tuple[np.ndarray, Encoded]]:
    """One minibatch a cell; the embedding of cell ``i`` is ``(i, 1)``."""
    return [(np.array([i]), Encoded(cell=torch.tensor([[float(i), 1.0]]))) for i in cells]


def test_cells_that_were_finished_are_kept(tmp_path: Path) -> None:
    folder = tmp_path / "partial"
    encode_cells(answers([0, 4]), N, 2, Partial(folder, MADE_FROM, N))
    again = Partial(folder, MADE_FROM, N)
    assert np.flatnonzero(again.done).tolist() == [0, 4]
    found = encode_cells(answers([1, 2, 3]), N, 2, again)
    np.testing.assert_array_equal(found[:5], [[i, 1] for i in range(5)])
    assert np.isnan(found[5]).all()
    again.remove()
    assert not folder.exists()
    np.testing.assert_array_equal(found[0], [0, 1])


def test_nothing_left_to_do_gives_what_was_kept(tmp_path: Path) -> None:
    encode_cells(answers(list(range(N))), N, 2, Partial(tmp_path / "partial", MADE_FROM, N))
    found = encode_cells([], N, 2, Partial(tmp_path / "partial", MADE_FROM, N))
    np.testing.assert_array_equal(found[:, 0], range(N))


@pytest.mark.parametrize("made_from", [{"model": "toy:2"}, {"model": "toy:1", "layer": "counts"}])
def test_rows_made_from_anything_else_are_not_taken(tmp_path: Path, made_from: dict[str, str]) -> None:
    encode_cells(answers([0]), N, 2, Partial(tmp_path / "partial", MADE_FROM, N))
    assert not Partial(tmp_path / "partial", made_from, N).done.any()


@pytest.mark.parametrize("lost", [1, 30, 150, 10_000])
def test_entry_that_was_cut_off_is_computed_again(tmp_path: Path, lost: int) -> None:
    folder = tmp_path / "partial"
    encode_cells(answers([0, 1, 3]), N, 2, Partial(folder, MADE_FROM, N))
    whole = (folder / "rows.npy").read_bytes()
    (folder / "rows.npy").write_bytes(whole[: max(0, len(whole) - lost)])
    again = Partial(folder, MADE_FROM, N)
    left = [cell for cell in (0, 1, 3, 5) if not again.done[cell]]
    assert {3, 5} <= set(left) < {0, 1, 3, 5} | {99}
    found = encode_cells(answers(left), N, 2, again)
    assert found[[0, 1, 3, 5], 0].tolist() == [0, 1, 3, 5]
    assert np.flatnonzero(Partial(folder, MADE_FROM, N).done).tolist() == [0, 1, 3, 5]


def test_folder_of_somebody_else_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("four years")
    with pytest.raises(FileError, match=r"thesis\.txt"):
        Partial(tmp_path, MADE_FROM, N)
    assert (tmp_path / "thesis.txt").read_text() == "four years"
