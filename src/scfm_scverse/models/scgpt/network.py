"""The network: what a token is before the transformer, the transformer, and what is read from its rows.

Names of modules are the authors', so that a checkpoint needs no map. Everything works row by row on ragged cells (see
:class:`~scfm_scverse.nn.Spans`); only the transformer mixes rows, inside a cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn

from ...nn import Encoder, Spans
from .decoders import AffineDecoder, ClassDecoder, ExprDecoder, MVCDecoder, MVCStyle, Prediction, reverse_gradient
from .embeddings import BatchNorm, ContinuousEncoder, DomainNorm, TokenEncoder

N_BINS = 51
ValueStyle = Literal["continuous", "category", "scaling"]


@dataclass(frozen=True)
class ScgptConfig:
    """Sizes and parts of a network.

    Attributes
    ----------
    n_tokens, pad
        Size of the vocabulary, id of <pad>.
    dim, n_heads, dim_hidden, n_layers
        Sizes of the transformer.
    dropout, attention_dropout
        Share that training drops, everywhere but in the weights of attention, and in these.
    value_style, n_values
        How values enter; ``n_values`` is the number of categories, if they are categories, their last but one is the
        padding.
    norm
        Normalisation of what enters the transformer: none, over everything, or by batch (``n_batches`` of them).
    n_batches
        Batches that the model was trained on, 0 if it does not tell batches apart.
    batch_vectors
        Whether the decoders see the vector of the batch.
    n_modalities
        Kinds of features (RNA, protein, ...) whose vectors the decoders see, special tokens included; 0 if they see
        none.
    zero_prob
        Whether the decoders also give the probability that a value is above zero.
    perturbation
        Whether it predicts perturbations: every token has a flag, and expression is changed, not told.
    expression, mvc, n_classes, n_layers_cls, discriminator, flags
        Which heads there are: the decoder of expression, that from the cell's vector, classes (0 is none) and layers
        of their decoder, the discriminator of batches, the flag of genes to be generated.
    """

    n_tokens: int
    pad: int
    dim: int
    n_heads: int
    dim_hidden: int
    n_layers: int
    dropout: float = 0.0
    attention_dropout: float = 0.0
    value_style: ValueStyle = "continuous"
    n_values: int = 0
    norm: Literal["none", "batchnorm", "dsbn"] = "none"
    n_batches: int = 0
    batch_vectors: bool = False
    n_modalities: int = 0
    zero_prob: bool = False
    perturbation: bool = False
    expression: bool = True
    mvc: MVCStyle | None = "inner product"
    n_classes: int = 0
    n_layers_cls: int = 3
    discriminator: bool = False
    flags: bool = False

    @property
    def reads_batches(self) -> bool:
        """Whether a result depends on the batch that a cell is taken for."""
        return self.norm == "dsbn" or self.batch_vectors

    @property
    def n_bins(self) -> int:
        """Bins of expression, that of none included; the last two categories are padding and what is hidden."""
        # The authors embed with 51 bins, whatever a continuous model was trained with.
        return self.n_values - 2 if self.value_style == "category" else N_BINS


class ScgptNetwork(nn.Module):
    """scGPT in pieces that are called one after the other.

    ``genes = net.encoder(ids)`` [t, d]; ``x = net.embed(genes, values, batches)`` [t, d]; ``hidden =
    net.transformer_encoder(x, spans)`` [t, d]; ``cell = hidden[spans.starts]`` [b, d]; then the heads
    :meth:`expression`, :meth:`from_cell`, :meth:`classes` and :meth:`batches`. :meth:`forward` does the first three.
    """

    def __init__(self, config: ScgptConfig) -> None:
        super().__init__()
        self.config = config
        dim, dropout = config.dim, config.dropout
        self.encoder = TokenEncoder(config.n_tokens, dim, padding=config.pad)
        self.value_encoder = _value_encoder(config)
        self.transformer_encoder = Encoder(
            config.n_layers,
            dim,
            config.n_heads,
            config.dim_hidden,
            dropout=dropout,
            attention_dropout=config.attention_dropout,
        )
        if config.norm == "dsbn":
            self.dsbn = DomainNorm(config.n_batches, dim)
        elif config.norm == "batchnorm":
            self.bn = BatchNorm(dim)
        if config.batch_vectors:
            self.batch_encoder = TokenEncoder(config.n_batches, dim)
        if config.n_modalities:
            self.mod_encoder = TokenEncoder(config.n_modalities, dim)
        dim_in = dim * (2 if config.batch_vectors or config.n_modalities else 1)
        if config.perturbation:
            self.pert_encoder = nn.Embedding(3, dim)
            self.decoder: nn.Module = AffineDecoder(dim, zero_prob=config.zero_prob)
        elif config.expression:
            self.decoder = ExprDecoder(dim_in, dim, zero_prob=config.zero_prob)
        if config.mvc is not None:
            dim_gene = dim_in if config.n_modalities else dim
            self.mvc_decoder = MVCDecoder(dim_gene, dim_in, style=config.mvc, zero_prob=config.zero_prob)
        if config.n_classes:
            self.cls_decoder = ClassDecoder(dim, config.n_classes, config.n_layers_cls, nn.ReLU)
        if config.discriminator:
            self.grad_reverse_discriminator = ClassDecoder(dim, config.n_batches, 3, nn.LeakyReLU)
        if config.flags:
            self.flag_encoder = nn.Embedding(2, dim)  # row 1 is what a gene has that is to be generated

    def embed(self, genes: Tensor, values: Tensor | None, batches: Tensor | None = None) -> Tensor:
        """Rows that enter the transformer.

        Parameters
        ----------
        genes
            Vectors of the tokens' genes, from ``encoder``, [t, d].
        values
            Values of the tokens [t]; ``None`` where they are not known.
        batches
            int64 [t]: batch of each token's cell, for a model that normalises by batch.
        """
        x = genes
        if values is not None and self.config.value_style == "scaling":
            x = genes * values[:, None]
        elif values is not None:
            x = genes + self.value_encoder(values)
        if self.config.norm == "dsbn":
            return cast(Tensor, self.dsbn(x, _given(batches, "batches")))
        return self.bn(x) if self.config.norm == "batchnorm" else x

    def forward(
        self, ids: Tensor, values: Tensor | None, spans: Spans, batches: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the vectors of the genes and the rows of the last layer, both [t, d]; batches of cells are [b]."""
        genes = self.encoder(ids)
        x = self.embed(genes, values, None if batches is None else batches[spans.cells])
        return genes, self.transformer_encoder(x, spans)

    def expression(
        self, hidden: Tensor, spans: Spans, batches: Tensor | None = None, modalities: Tensor | None = None
    ) -> Prediction:
        """Expression of every token [t] from its row of the last layer; batches of cells are [b], modalities [t]."""
        of_rows = None if batches is None else batches[spans.cells]
        return cast(Prediction, self.decoder(self._in_context(hidden, of_rows, modalities)))

    def from_cell(
        self,
        cell: Tensor,
        genes: Tensor,
        spans: Spans,
        batches: Tensor | None = None,
        modalities: Tensor | None = None,
    ) -> Prediction:
        """Expression of every token [t] from the vector of its cell [b, d] and that of its gene [t, d]."""
        cell = self._in_context(cell, batches, None if modalities is None else modalities[spans.starts])
        if self.config.n_modalities:
            genes = self._in_context(genes, None if batches is None else batches[spans.cells], modalities)
        return cast(Prediction, self.mvc_decoder(cell[spans.cells], genes))

    def classes(self, cell: Tensor) -> Tensor:
        """Logits of the classes that a fine-tuned model tells apart, [b, c]."""
        return cast(Tensor, self.cls_decoder(cell))

    def batches(self, cell: Tensor) -> Tensor:
        """Logits of the batches [b, n]; the gradient that comes back to the cell's vector has its sign turned."""
        return cast(Tensor, self.grad_reverse_discriminator(reverse_gradient(cell)))

    def generate(
        self, cell: Tensor, ids: Tensor, values: Tensor | None, spans: Spans, batches: Tensor | None = None
    ) -> Prediction:
        """Expression of every token [t] where the first token of each cell is given as a vector [b, d]."""
        x = self.embed(self.encoder(ids), values, None if batches is None else batches[spans.cells])
        x = x.index_copy(0, spans.starts.to(x.device), cell)
        return self.expression(self.transformer_encoder(x, spans), spans, batches)

    def _in_context(self, rows: Tensor, batches: Tensor | None, modalities: Tensor | None) -> Tensor:
        """Rows with the vector of their batch, that of their modality, or the sum of both behind them."""
        context = []
        if self.config.batch_vectors:
            context.append(self.batch_encoder(_given(batches, "batches")))
        if self.config.n_modalities:
            context.append(self.mod_encoder(_given(modalities, "modalities")))
        return torch.cat([rows, torch.stack(context).sum(0)], dim=1) if context else rows


def _value_encoder(config: ScgptConfig) -> nn.Module:
    if config.value_style == "continuous":
        return ContinuousEncoder(config.dim, config.dropout)
    if config.value_style == "category":
        return TokenEncoder(config.n_values, config.dim, padding=config.n_values - 2)
    return nn.Identity()


def _given(ids: Tensor | None, what: str) -> Tensor:
    if ids is None:
        msg = f"This scGPT model tells {what} apart; it needs to know them."
        raise ValueError(msg)
    return ids
