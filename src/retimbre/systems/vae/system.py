"""The trained networks as a change of log spectra: any instrument in, one of the trained ones out."""

from typing import Any

from retimbre.nn.spectral.decoded import Decoded
from retimbre.systems.vae.network import Vae, VaeConfig


class Change(Decoded):
    """The encoder's means, decoded (a ``systems.base.Change``)."""

    @classmethod
    def build(cls, shape: dict[str, Any]) -> Vae:
        return Vae(VaeConfig(**shape))
