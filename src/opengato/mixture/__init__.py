"""Which timesteps the n-th training sequence holds (sampling), and how they lie in it (packing)."""

from opengato.mixture.packing import Sequence
from opengato.mixture.sampling import Mixture, Sampling

__all__ = ["Mixture", "Sampling", "Sequence"]
