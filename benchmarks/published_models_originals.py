"""The networks in plain torch: run the way each original runs them, and with the obvious fix.

Sizes are the published ones, weights and tokens are random. A network takes the number of tokens of each cell of a
batch, special tokens included.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, leaky_relu, pad, scaled_dot_product_attention


def padding(lengths: list[int]) -> Tensor:
    """True where a padded batch holds nothing, [b, t]."""
    return torch.arange(max(lengths)) >= torch.tensor(lengths)[:, None]


class PlainLayer(nn.Module):
    """BERT's layer as transformers 4.46 runs it: three projections, SDPA with a mask."""

    def __init__(self, dim: int, n_heads: int, hidden: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.query, self.key, self.value, self.out = (nn.Linear(dim, dim) for _ in range(4))
        self.linear1, self.linear2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Rows of a padded batch, [b, t, d]."""
        heads = [
            one(x).view(*x.shape[:2], self.n_heads, -1).transpose(1, 2) for one in (self.query, self.key, self.value)
        ]
        attended = scaled_dot_product_attention(*heads, attn_mask=mask)
        x = self.norm1(x + self.out(attended.transpose(1, 2).flatten(2)))
        return self.norm2(x + self.linear2(torch.relu(self.linear1(x))))


class PlainEncoder(nn.Module):
    """Layers over a padded batch, with SDPA; returns the states after every layer."""

    def __init__(self, n_layers: int, dim: int, n_heads: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(PlainLayer(dim, n_heads, hidden) for _ in range(n_layers))

    def forward(self, x: Tensor, pads: Tensor, *, keep: bool = False) -> list[Tensor]:
        """States after the last layer, or after every one."""
        mask = None
        if pads.any():
            mask = torch.zeros(pads.shape).masked_fill_(pads, torch.finfo(torch.float32).min)[:, None, None]
            mask = mask.expand(-1, 1, x.shape[1], -1)
        states = [x]
        for layer in self.layers:
            states = [*(states if keep else []), layer(states[-1], mask)]
        return states


class TorchEncoder(nn.Module):
    """``torch.nn.TransformerEncoder`` as configured: in evaluation mode it takes its fast path by itself."""

    def __init__(self, n_layers: int, dim: int, n_heads: int, hidden: int) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(dim, n_heads, hidden, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, n_layers)

    def forward(self, x: Tensor, pads: Tensor) -> list[Tensor]:
        """States after the last layer."""
        return [self.encoder(x, src_key_padding_mask=pads)]


class Scgpt(nn.Module):
    """Gene and value added up, encoder, the first token's vector."""

    def __init__(self, encoder: nn.Module, dim: int = 512) -> None:
        super().__init__()
        self.genes, self.norm = nn.Embedding(60_697, dim), nn.LayerNorm(dim)
        self.values = nn.Sequential(nn.Linear(1, dim), nn.ReLU(), nn.Linear(dim, dim), nn.LayerNorm(dim))
        self.encoder = encoder

    def forward(self, lengths: list[int]) -> Tensor:
        """Vectors of cells, or of their positions."""
        pads = padding(lengths)
        ids, values = torch.randint(60_000, pads.shape), torch.randint(1, 51, pads.shape).float()
        x = self.norm(self.genes(ids)) + self.values(values[..., None])
        return self.encoder(x, pads)[-1][:, 0]


class Bert(nn.Module):
    """Geneformer: BERT, with all hidden states and the masked-LM head, or neither."""

    def __init__(self, n_tokens: int, context: int, dim: int, n_layers: int, hidden: int, *, head: bool) -> None:
        super().__init__()
        self.words, self.places, self.norm = nn.Embedding(n_tokens, dim), nn.Embedding(context, dim), nn.LayerNorm(dim)
        self.encoder = PlainEncoder(n_layers, dim, dim // 64, hidden)
        self.head = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.LayerNorm(dim), nn.Linear(dim, n_tokens))
        self.keeps = head

    def forward(self, lengths: list[int]) -> tuple[Tensor, Tensor | None]:
        """Vectors of cells [b, d], and logits [b, t, v] where there is a head."""
        pads = padding(lengths)
        ids = torch.randint(4, self.words.num_embeddings, pads.shape)
        x = self.norm(self.words(ids) + self.places.weight[: pads.shape[1]])
        states = self.encoder(x, pads, keep=self.keeps)
        state = states[-2] if self.keeps else states[-1]
        mean = state.masked_fill(pads[..., None], 0).sum(1) / torch.tensor(lengths)[:, None]
        return mean, self.head(states[-1]) if self.keeps else None


class UnfusedAttention(nn.Module):
    """Kernel attention with every feature array held at once, [b, h, t, m]."""

    def __init__(self, dim: int, n_heads: int, *, bias: bool) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.query, self.key, self.value = (nn.Linear(dim, 64 * n_heads, bias=bias) for _ in range(3))
        self.out = nn.Linear(64 * n_heads, dim)
        self.register_buffer("projection", torch.randn(266, 64))

    def features(self, x: Tensor, *, of_query: bool) -> Tensor:
        """Features of queries or keys, [b, h, t, m]."""
        scale = 64**-0.25
        # The projection is repeated for every cell and head.
        projection = self.projection.expand(*x.shape[:2], -1, -1)
        z = torch.einsum("...id,...jd->...ij", scale * x, projection)
        rest = (x**2).sum(-1, keepdim=True) / 2 * scale**2
        largest = z.amax(-1, keepdim=True) if of_query else z.max()
        return 266**-0.5 * (torch.exp(z - rest - largest) + 1e-4)

    def forward(self, x: Tensor) -> Tensor:
        """Rows of a batch, [b, t, d]."""
        query, key, value = (
            one(x).view(*x.shape[:2], self.n_heads, -1).transpose(1, 2) for one in (self.query, self.key, self.value)
        )
        query, key = self.features(query, of_query=True), self.features(key, of_query=False)
        share = 1 / torch.einsum("...nd,...d->...n", query, key.sum(-2))
        context = torch.einsum("...nd,...ne->...de", key, value)
        out = torch.einsum("...de,...nd,...n->...ne", context, query, share)
        return self.out(out.transpose(1, 2).flatten(2))


class UnfusedPerformer(nn.Module):
    """LayerNorm before each branch, GELU."""

    def __init__(self, n_layers: int, dim: int, n_heads: int, *, bias: bool) -> None:
        super().__init__()
        self.attentions = nn.ModuleList(UnfusedAttention(dim, n_heads, bias=bias) for _ in range(n_layers))
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(2 * n_layers))
        self.first = nn.ModuleList(nn.Linear(dim, 4 * dim) for _ in range(n_layers))
        self.second = nn.ModuleList(nn.Linear(4 * dim, dim) for _ in range(n_layers))

    def forward(self, x: Tensor) -> Tensor:
        """Rows of a batch, [b, t, d]."""
        for i, attention in enumerate(self.attentions):
            x = x + attention(self.norms[2 * i](x))
            x = x + self.second[i](gelu(self.first[i](self.norms[2 * i + 1](x))))
        return x


class Scfoundation(nn.Module):
    """Value network, positions, encoder; for gene outputs the decoder over all positions."""

    def __init__(self, encoder: nn.Module, *, decodes: bool, dim: int = 768, dim_decoder: int = 512) -> None:
        super().__init__()
        self.mlp, self.mlp2, self.bins = nn.Linear(1, 100), nn.Linear(100, 100), nn.Embedding(100, dim)
        self.places, self.encoder, self.norm = nn.Embedding(19_267, dim), encoder, nn.LayerNorm(dim)
        self.decodes = decodes
        if decodes:
            self.embed = nn.Linear(dim, dim_decoder)
            self.decoder = UnfusedPerformer(6, dim_decoder, 8, bias=True)
            self.norms = nn.Sequential(nn.LayerNorm(dim_decoder), nn.LayerNorm(dim_decoder))

    def values(self, values: Tensor) -> Tensor:
        """Vectors of values, [...] -> [..., d]."""
        inside = leaky_relu(self.mlp(values[..., None]), 0.1)
        return (inside + self.mlp2(inside)).softmax(-1) @ self.bins.weight

    def forward(self, lengths: list[int]) -> Tensor:
        """Vectors of cells, or of their positions."""
        pads = padding(lengths)
        places = torch.stack([torch.randperm(19_266)[: pads.shape[1]].sort().values for _ in lengths])
        x = self.values(torch.rand(pads.shape)) + self.places(places)
        x = self.norm(self.encoder(x, pads)[-1])
        if not self.decodes:
            return torch.cat([x[:, -1], x[:, -2], x[:, :-2].amax(1), x[:, :-2].mean(1)], 1)
        whole = self.values(torch.zeros(len(lengths), 19_266))
        whole.scatter_(1, places[..., None].expand_as(x), x)
        return self.norms(self.decoder(self.embed(whole + self.places.weight[:-1])))[:, :-2]


class Scbert(nn.Module):
    """Bins and gene vectors added up, linear attention over all 16,907 positions."""

    def __init__(self, dim: int = 200) -> None:
        super().__init__()
        self.bins, self.genes = nn.Embedding(7, dim), nn.Parameter(torch.randn(16_907, dim))
        self.performer, self.norm = UnfusedPerformer(6, dim, 10, bias=False), nn.LayerNorm(dim)

    def forward(self, lengths: list[int]) -> Tensor:
        """Vectors of cells, or of their positions."""
        tokens = torch.stack([pad(torch.randint(1, 6, (n,)), (0, 16_907 - n)) for n in lengths])
        return self.norm(self.performer(self.bins(tokens) + self.genes))


def original(name: str) -> tuple[nn.Module, int]:
    """The network as its authors run it, and the cells of a batch.

    Geneformer's own batches of 100 hold 8 GB of logits here; 16 cells go together instead.
    """
    return {
        "scGPT": lambda: (Scgpt(TorchEncoder(12, 512, 8, 512)), 64),
        "Geneformer V1-10M": lambda: (Bert(25_426, 2048, 256, 6, 512, head=True), 16),
        "Geneformer V2-104M": lambda: (Bert(20_275, 4096, 768, 12, 3072, head=True), 16),
        "scFoundation cell": lambda: (Scfoundation(TorchEncoder(12, 768, 12, 3072), decodes=False), 1),
        "scFoundation gene": lambda: (Scfoundation(TorchEncoder(12, 768, 12, 3072), decodes=True), 1),
        "scBERT": lambda: (Scbert(), 1),
    }[name]()


def fixed(name: str) -> tuple[nn.Module, int]:
    """The obvious fix: SDPA and no head. scBERT has no softmax attention and nothing to leave out."""
    return {
        "scGPT": lambda: (Scgpt(PlainEncoder(12, 512, 8, 512)), 64),
        "Geneformer V1-10M": lambda: (Bert(25_426, 2048, 256, 6, 512, head=False), 16),
        "Geneformer V2-104M": lambda: (Bert(20_275, 4096, 768, 12, 3072, head=False), 16),
        "scFoundation cell": lambda: (Scfoundation(PlainEncoder(12, 768, 12, 3072), decodes=False), 1),
        "scFoundation gene": lambda: (Scfoundation(PlainEncoder(12, 768, 12, 3072), decodes=True), 1),
    }[name]()
