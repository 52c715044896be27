"""Where a model runs: what is offered, what is refused, what is put back."""

from __future__ import annotations

import pytest
import torch

from scfm_scverse import settings
from scfm_scverse._errors import InputError
from scfm_scverse.inference.device import choose_device, choose_dtype, cpu_threads


def test_device_is_the_one_asked_for() -> None:
    assert choose_device("cpu").type == "cpu"
    assert choose_device("auto").type in {"cpu", "cuda", "mps"}


@pytest.mark.parametrize("name", ["gpu", "", "cuda:977"])
def test_device_that_is_not_there_is_one_line_that_names_the_others(name: str) -> None:
    with pytest.raises(InputError, match="expected 'auto', 'cpu', 'cuda' or 'mps'") as caught:
        choose_device(name)
    assert "\n" not in str(caught.value)


def test_dtype_is_the_one_asked_for() -> None:
    cpu = torch.device("cpu")
    assert choose_dtype("auto", cpu) == choose_dtype("float32", cpu) == torch.float32
    assert choose_dtype("bfloat16", cpu) == torch.bfloat16
    with pytest.raises(InputError, match=r"dtype='float16'.*'auto', 'float32', 'bfloat16'"):
        choose_dtype("float16", cpu)


@pytest.mark.parametrize("has_instructions", [True, False])
def test_bfloat16_is_chosen_where_the_processor_has_it(monkeypatch: pytest.MonkeyPatch, has_instructions: bool) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_instructions)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has_instructions)
    expected = torch.bfloat16 if has_instructions else torch.float32
    assert choose_dtype("auto", torch.device("cpu"), bears_bfloat16=True) == expected
    assert choose_dtype("auto", torch.device("cpu")) == torch.float32


def test_threads_are_put_back_also_after_an_error() -> None:
    before = torch.get_num_threads()

    def fail_with(n_jobs: int) -> None:
        with settings.override(n_jobs=n_jobs), cpu_threads():
            assert torch.get_num_threads() == n_jobs
            raise ZeroDivisionError

    for n_jobs in (before, before + 1):
        with pytest.raises(ZeroDivisionError):
            fail_with(n_jobs)
        assert torch.get_num_threads() == before
    with cpu_threads():
        assert torch.get_num_threads() == before
