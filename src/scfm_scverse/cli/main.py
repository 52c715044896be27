"""The command ``scfm``: its subcommands, its errors in one line, its exit status.

Status 0: done; 1: the data, a file or the disk is not as it must be; 2: the command itself was wrong.
"""

from __future__ import annotations

import errno
import sys
import warnings
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from .._errors import ScfmError
from ._messages import in_options
from .annotate import annotate
from .convert import convert
from .demo import demo
from .embed import embed
from .finetune import EPILOG as FINETUNE_EPILOG
from .finetune import finetune
from .info import info
from .models import models
from .perturb import EPILOG, perturb
from .pretrain import EPILOG as PRETRAIN_EPILOG
from .pretrain import pretrain
from .reference import reference
from .report import report


class Commands(TyperGroup):
    """Subcommands whose expected failures end in one line instead of a traceback."""

    def get_help_option(self, ctx: Any) -> Any:
        """Return ``--help`` with a plain False as its default: typer would load pydantic to check a None."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.default = False
        return option

    def invoke(self, ctx: Any) -> Any:
        """Run the subcommand."""
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            try:
                return super().invoke(ctx)
            except ScfmError as error:
                message = in_options(str(error))
            except OSError as error:
                if error.errno == errno.EPIPE:  # the reader went away, as in "scfm models | head -1"
                    raise
                message = f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}"
        print(f"scfm: error: {message}", file=sys.stderr)
        raise typer.Exit(1)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"scfm: warning: {in_options(str(message))}", file=sys.stderr)


def _show_version(wanted: bool) -> None:
    if wanted:
        from .._record import _package_version

        print(f"scfm-scverse {_package_version()}")
        raise typer.Exit


# Plain text: rich would cost every start a quarter of a second.
app = typer.Typer(
    name="scfm", cls=Commands, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
)
for command in (demo, embed, annotate, report, models, convert, info):
    app.command()(command)
app.command(epilog=EPILOG)(perturb)
app.command(epilog=PRETRAIN_EPILOG)(pretrain)
app.command(epilog=FINETUNE_EPILOG)(finetune)
app.add_typer(reference, name="reference")


@app.callback()
def scfm(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and stop.")
    ] = False,
) -> None:
    """Embed, annotate and perturb single cells in h5ad files and zarr stores, and train on them, offline."""


def main() -> None:
    """Run the command line."""
    app()
