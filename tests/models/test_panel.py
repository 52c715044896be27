"""Which list of genes is taken for the positions of a model."""

from __future__ import annotations

from pathlib import Path

import pytest

from scfm_scverse._errors import CheckpointError
from scfm_scverse.models.panel import read_panel, shipped_panel

SCBERT = "scfm_scverse.models.scbert"


def put(folder: Path, **names: int) -> Path:
    """Lists of so many genes beside a checkpoint, and the checkpoint's path."""
    for name, n in names.items():
        (folder / f"{name}.txt").write_text("\n".join(f"{name}{at}" for at in range(n)))
    rows = "".join(f"stray{at}\t{at}\n" for at in range(7))
    (folder / "OS_gene_index.tsv").write_text(f"gene_name\tindex\n{rows}")
    return folder / "panglao_pretrain.pth"


def test_a_list_of_another_length_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = put(tmp_path, genes=5)
    assert read_panel(SCBERT, path, 5, None)[0] == "genes0"
    assert read_panel(SCBERT, path, 7, None)[0] == "stray0"
    assert not caplog.messages
    released = shipped_panel(SCBERT)
    assert read_panel(SCBERT, path, len(released), None).tolist() == released.tolist()
    assert "passed over OS_gene_index.tsv of 7, genes.txt of 5 beside it" in caplog.text
    with pytest.raises(CheckpointError, match=r"6 genes.* 16,906 and OS_gene_index.tsv of 7 and genes.txt of 5; pass"):
        read_panel(SCBERT, path, 6, None)


def test_a_list_of_the_right_length_with_a_name_twice_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path)
    (tmp_path / "genes.txt").write_text("A\nB\nA")
    with pytest.raises(CheckpointError, match="3 names, 2 of them different"):
        read_panel(SCBERT, path, 3, None)
