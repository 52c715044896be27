"""The encoder for programs that know only padded arrays, such as those that run ONNX."""

from __future__ import annotations

from torch import Tensor, nn

from .keys import Padded
from .network import LatentNetwork


class PaddedEncoder(nn.Module):
    """From genes and values of padded cells to vectors of cells.

    Examples
    --------
    >>> import torch, scfm_scverse as scfm
    >>> model = scfm.models.create("scfm-latent", ["CD3E", "LYZ", "MS4A1"], dim=16, n_layers=2, n_heads=2)
    >>> encoder = PaddedEncoder(model.network)
    >>> encoder(torch.tensor([[0, 2, 0]]), torch.tensor([[1.5, 0.3, 0.0]])).shape
    torch.Size([1, 16])
    """

    def __init__(self, network: LatentNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, ids: Tensor, values: Tensor) -> Tensor:
        """Encode cells.

        Parameters
        ----------
        ids
            int64 [b, t]: positions of genes in the vocabulary, any at padding.
        values
            float32 [b, t]: logarithms of one plus counts per 10,000, above 0; padding has 0.

        Returns
        -------
        [b, d].
        """
        key, value = self.network.gene_encoder(self.network.genes(ids), values)
        memory = self.network.exchange(Padded(key, value, values > 0), ids.shape[0])
        return memory[:, 0]
