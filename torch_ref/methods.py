"""The age methods under their config word: `faces.methods` describes them, here stands their code.

The loss of a method is the function of its name in `torch_ref.losses`.
"""

from faces.methods import AgeMethod, make_methods
from faces.registry import Registry
from torch_ref import fits, losses

METHODS: Registry[AgeMethod] = make_methods(losses, fits)
