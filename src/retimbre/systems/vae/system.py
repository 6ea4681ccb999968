"""The trained networks as a change of log spectra: any instrument in, one of the trained ones out."""

from typing import Any

import numpy as np

from retimbre.errors import check_target
from retimbre.nn.spectral.decoded import Decoded
from retimbre.systems.vae.network import Vae, VaeConfig


class Change(Decoded):
    """The encoder's means, decoded (a ``systems.base.Change``)."""

    @classmethod
    def build(cls, shape: dict[str, Any]) -> Vae:
        return Vae(VaeConfig(**shape))

    def transfer(self, spectrum_db: np.ndarray, to: str) -> np.ndarray:
        """Spectrum in dB (F, T) to the spectrum (F, T) of ``to``."""
        check_target(to, self.targets)
        return self.decoded(spectrum_db, to)
