"""AdamW on a few directions of each gradient, with a state of tensors only."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from itertools import chain
from math import isfinite
from typing import Any, Literal, overload
from weakref import WeakMethod

import torch
from torch import Tensor, distributed
from torch.optim import Optimizer

from .._errors import InputError
from .adamw import low_rank_step, whole_step
from .embedding import row_step
from .gradients import Projected, clip_
from .groups import check_group
from .processes import place_of_process
from .projection import dense_or_coalesced, entries, exact_bases, has_bases, norm, project, sides
from .released import released_step
from .subspace import power_bases


class GaLoreAdamW(Optimizer):
    """AdamW whose moments live in the leading directions of each gradient (Zhao et al. 2024, GaLore).

    Every weight is trained, and the state of a matrix [m, n] is ``2 * max(m, n) * rank`` numbers of moments and
    ``min(m, n) * rank`` of a basis instead of ``2 * m * n``. The basis is chosen anew every ``update_proj_gap`` steps,
    by block power iteration from the basis before it, different matrices at different steps. The rest is
    :class:`torch.optim.AdamW`, its order and its defaults. Weights in bfloat16 have moments in float32 and are rounded
    stochastically.

    Parameters
    ----------
    params
        Parameters or groups, as for every optimizer of torch; :func:`galore_param_groups` makes them. A group with
        ``rank`` is trained in low rank (``update_proj_gap``, 200, ``scale``, 0.25, and ``proj_type``, ``"std"``, go
        with it; parameters with one axis are trained whole), one with ``rowwise=True`` is of embedding tables, any
        other is trained by AdamW. ``residual=True`` in a group with a rank adds what the bases do not hold of the
        gradient, scaled like the rest and limited in how fast it grows (Chen et al. 2024, Fira): it learns faster at
        first, and needs the whole gradient at the step.
    lr
        Learning rate, of low rank times ``scale``.
    betas
        Decay of the first and of the second moment.
    eps
        Added to the root of the second moment; 1e-8, as released 1e-6.
    weight_decay
        Share of a weight that is taken off at each step, times ``lr``; 0.01, as released 0.
    correct_bias
        Correct the moments of the first steps. Can be left out as released only.
    compat
        ``"released"`` takes every step as galore-torch 1.0 does: exact singular vectors, all at the same steps, its
        place of ``eps`` and of decay, moments in the type of the gradient.
    in_backward
        ``"project"`` keeps of each gradient of low rank its projection only, as soon as it is there, and frees the
        gradient; use :meth:`clip_grad_norm_` to clip. Matrices whose basis is due keep theirs until the step. Where a
        step adds up several backward passes, the first basis is that of the first one.
        ``"update"`` takes the step of each parameter as soon as its gradient is there, without clipping and without
        adding up several backward passes.
    moments
        ``"8bit"`` keeps the moments of tensors of at least 4,096 numbers in 8 bits.
    seed
        Of the directions from which the first search starts and of stochastic rounding.

    Examples
    --------
    >>> import torch
    >>> import scfm_scverse as scfm
    >>> network = torch.nn.Linear(64, 64)
    >>> groups = scfm.training.galore_param_groups(network, rank=16)
    >>> optimizer = scfm.training.GaLoreAdamW(groups, lr=1e-3)
    >>> network(torch.ones(2, 64)).sum().backward()
    >>> optimizer.step()
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float | None = None,
        weight_decay: float | None = None,
        correct_bias: bool = True,
        compat: Literal["released"] | None = None,
        in_backward: Literal["project", "update"] | None = None,
        moments: Literal["float32", "8bit"] = "float32",
        seed: int = 0,
    ) -> None:
        if compat is None and not correct_bias:
            msg = 'correct_bias=False is known to the released formula only; pass compat="released" too'
            raise InputError(msg)
        if compat is not None and moments != "float32":
            msg = f'compat="released" with moments={moments!r}: leave out one of the two'
            raise InputError(msg)
        if in_backward is not None and place_of_process()[1] > 1:
            msg = f"in_backward={in_backward!r} would use gradients before other processes add theirs; leave it out"
            raise InputError(msg)
        self._released = compat == "released"
        self.in_backward = in_backward
        self._seed = seed
        self._place: dict[Tensor, tuple[int, int]] = {}
        self._order: dict[Tensor, int] = {}
        self._projected: dict[Tensor, Projected] = {}
        self._updated: set[Tensor] = set()
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": (1e-6 if self._released else 1e-8) if eps is None else eps,
            "weight_decay": (0.0 if self._released else 1e-2) if weight_decay is None else weight_decay,
            "correct_bias": correct_bias,
            "moments": moments,
        }
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, see ``params``."""
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        check_group(group)
        if self._released and group.get("rowwise"):
            msg = 'a group has rowwise=True, which compat="released" does not know; leave out one of the two'
            raise InputError(msg)
        if group.get("residual") and self.in_backward == "project":
            msg = 'a group has residual=True, which needs whole gradients; in_backward="project" frees them'
            raise InputError(msg)
        for param in group["params"]:
            self._place[param] = (len(self.param_groups) - 1, len(self._place))
            if "rank" in group and param.ndim > 1:
                self._order[param] = len(self._order)
            if self.in_backward is not None:
                _call_when_ready(param, WeakMethod(self._take_gradient))

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Move every parameter that has a gradient.

        Parameters
        ----------
        closure
            Computes the loss and the gradients; called first.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            self._move(group["params"], group)
        self._updated.clear()
        return loss

    def _move(self, params: Iterable[Tensor], group: dict[str, Any]) -> None:
        """Take the step of some parameters of a group."""
        whole = []
        for param in params:
            if param in self._projected:
                self._move_low_rank(param, self._projected.pop(param).low, group, None)
            elif param.grad is None:
                continue
            elif param in self._order:
                grad = dense_or_coalesced(param.grad)
                if self._refresh_is_due(param, group):
                    self.refresh(param, grad)
                if has_bases(self.state[param]):
                    low = project(grad, self.state[param], self._type_of(grad))
                    self._move_low_rank(param, low, group, grad.to_dense() if group.get("residual") else None)
            elif self._released:
                released_step(param, param.grad, self.state[param], group)
            elif group.get("rowwise"):
                row_step(param, param.grad, self.state[param], group, self._rng(param))
            else:
                whole.append(param)
        if whole:
            whole_step(whole, [self.state[param] for param in whole], group, partial(self._rng, whole[0]))

    def _move_low_rank(self, param: Tensor, low: Tensor, group: dict[str, Any], grad: Tensor | None) -> None:
        if self._released:
            released_step(param, low, self.state[param], group, grad)
        else:
            low_rank_step(param, low, self.state[param], group, self._rng(param), grad)

    def _type_of(self, grad: Tensor) -> torch.dtype:
        """Type in which a gradient is projected and its moments are kept."""
        return grad.dtype if self._released else torch.promote_types(grad.dtype, torch.float32)

    def _refresh_is_due(self, param: Tensor, group: dict[str, Any]) -> bool:
        state, gap = self.state[param], group["update_proj_gap"]
        if not has_bases(state):
            return True
        # Each matrix has its own step in the gap, so that no step has to wait for all of them.
        turn = 0 if self._released else self._order[param] * gap // len(self._order)
        step = int(state.get("step", 0))
        return step > 0 and step % gap == turn

    @torch.no_grad()
    def refresh(self, param: Tensor, grad: Tensor) -> None:
        """Choose the bases of a matrix from a gradient and keep them in its state as ``left`` and ``right``.

        Called where a basis is due; a class of your own may choose otherwise. A gradient that is not finite leaves the
        bases as they are and is counted in the state as ``skipped``.

        Parameters
        ----------
        param
            Of a group with a rank.
        grad
            [m, n], or sparse in its rows.
        """
        group, state = self.param_groups[self._place[param][0]], self.state[param]
        kept, rank = sides(group["proj_type"], grad.shape), min(group["rank"], *grad.shape)
        # The right singular vectors of a matrix are those of its rows that are not zero.
        matrix = entries(grad) if kept == ("right",) else grad.to_dense()
        size = float(norm(matrix))
        if not isfinite(size):
            state["skipped"] = state.get("skipped", torch.zeros(())) + 1
        elif self._released:
            state.update(_shared(exact_bases(grad.to_dense(), rank, kept)))
        elif size > 0:
            state.update(_shared(power_bases(matrix, state, rank, kept, self._rng(param))))

    @torch.no_grad()
    def _take_gradient(self, param: Tensor) -> None:
        """Use a gradient as soon as the backward pass has it."""
        group = self.param_groups[self._place[param][0]]
        if self.in_backward == "update":
            if param in self._updated:
                msg = (
                    'a second backward pass before step(): in_backward="update" has taken the step of the first one; '
                    'several passes a step need in_backward="project"'
                )
                raise InputError(msg)
            self._move([param], group)
            self._updated.add(param)
        elif param in self._order and param.grad is not None:
            grad = dense_or_coalesced(param.grad)
            if not has_bases(self.state[param]):
                self.refresh(param, grad)
            elif self._refresh_is_due(param, group):
                return
            if not has_bases(self.state[param]):
                return
            found = Projected.of(grad, self.state[param], self._type_of(grad))
            if param in self._projected:
                found = found + self._projected[param]
            self._projected[param] = found
        else:
            return
        param.grad = None

    @torch.no_grad()
    def clip_grad_norm_(self, max_norm: float) -> Tensor:
        """Scale the gradients so that the norm over all of them is at most a number.

        For ``in_backward="project"``, where :func:`torch.nn.utils.clip_grad_norm_` does not see what was projected. The
        norm is that of the whole gradients, exact with one backward pass a step. With several it is an upper bound
        where gradients were projected: what the bases do not hold counts as if it pointed the same way in each pass.

        Parameters
        ----------
        max_norm
            The largest norm allowed.

        Returns
        -------
        The norm before.
        """
        if self.in_backward == "update":
            msg = 'in_backward="update" has used each gradient before the next one was there; "project" can clip'
            raise InputError(msg)
        grads = []
        for param in self._place:
            if param.grad is not None:
                param.grad = param.grad.coalesce() if param.grad.is_sparse else param.grad
                grads.append(entries(param.grad))
        return clip_(grads, self._projected.values(), max_norm)

    def zero_grad(self, set_to_none: bool = True) -> None:  # noqa: FBT001, FBT002 -- the signature of torch
        """Forget the gradients, projected ones too."""
        super().zero_grad(set_to_none)
        self._projected.clear()
        self._updated.clear()

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state: its tensors keep their types and are copied.

        Parameters
        ----------
        state_dict
            What :meth:`state_dict` returned. ``torch.load(..., weights_only=True)`` reads it from a file.
        """
        super().load_state_dict(state_dict)
        # torch has cast them to the type of the parameter.
        saved = chain.from_iterable(group["params"] for group in state_dict["param_groups"])
        for param, key in zip(self._place, saved, strict=True):
            group = self.param_groups[self._place[param][0]]
            counts_on_cpu = self._released or param in self._order or group.get("rowwise")
            for name, value in state_dict["state"].get(key, {}).items():
                on_cpu = name == "skipped" or (name == "step" and counts_on_cpu)
                self.state[param][name] = value.to("cpu" if on_cpu else param.device, copy=True)

    def _rng(self, param: Tensor) -> torch.Generator:
        """Random numbers that depend on the seed, the parameter and its step only, so that a run can be continued."""
        key = self._seed * 1_000_003 + self._place[param][1]
        step = int(self.state[param].get("step", 0))
        return torch.Generator(param.device).manual_seed((key * 1_000_003 + step) % 2**63)


def _shared(bases: dict[str, Tensor]) -> dict[str, Tensor]:
    """Bases of the first process for all: another order of additions elsewhere would turn them a little."""
    if place_of_process()[1] > 1:
        for basis in bases.values():
            distributed.broadcast(basis, 0)
    return bases


def _call_when_ready(param: Tensor, method: WeakMethod[Callable[[Tensor], None]]) -> None:
    """Call a method with a parameter whenever its gradient is complete, as long as its object lives."""

    def hook(param: Tensor) -> None:
        take = method()
        if take is not None:
            take(param)

    if param.requires_grad:
        param.register_post_accumulate_grad_hook(hook)  # type: ignore[no-untyped-call]
