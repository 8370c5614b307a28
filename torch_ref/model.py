"""The whole network: a backbone and one head for each output."""

from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from faces.errors import UserError
from faces.labels import MAX_AGE, MIN_AGE, OUTPUTS
from torch_ref.backbones import BACKBONES
from torch_ref.checks import require_one_of
from torch_ref.heads import HEADS, GenderHead
from torch_ref.methods import METHODS


class FaceModel(nn.Module):
    """Age and gender from face images (N, 3, H, W), float RGB 0..255.

    Args:
        backbone: key of BACKBONES.
        method: key of METHODS; it decides the age head.
        outputs: which of "age" and "gender" the model has.
        min_age: first age of the grid.
        max_age: last age of the grid.
        decode: how the age head turns its output into years; None means the head's default.
        head_params: further arguments of the age head: other values for AgeMethod.head_params, and what
            AgeMethod.fit returns beside parameters of the loss.
        backbone_params: further arguments of the backbone.

    Raises:
        UserError: a name is unknown; the known ones are listed.
    """

    def __init__(
        self,
        backbone: str,
        method: str = "cross_entropy",
        *,
        outputs: str | Sequence[str] = OUTPUTS,
        min_age: int = MIN_AGE,
        max_age: int = MAX_AGE,
        decode: str | None = None,
        head_params: Mapping[str, Any] | None = None,
        backbone_params: Mapping[str, Any] | None = None,
    ):
        super().__init__()
        self.method = METHODS[method]
        self.outputs = _checked_outputs(outputs)
        self.backbone = BACKBONES[backbone](**(backbone_params or {}))
        if "age" in self.outputs:
            head = HEADS[self.method.head]
            params = dict(head_params or {}, **_decode_params(self.method.head, decode))
            self.age_head = head(self.backbone.out_features, min_age=min_age, max_age=max_age, **params)
        if "gender" in self.outputs:
            self.gender_head = GenderHead(self.backbone.out_features)

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Raw head outputs by name: "age" in the head's own shape, "gender" logits (N, 2)."""
        features = self.backbone(images)
        return {name: getattr(self, f"{name}_head")(features) for name in self.outputs}

    def predict_faces(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """The prediction, always with the moving statistics and without gradient.

        Returns:
            dict with "age" (N,) years, "gender" (N, 2) probabilities and, when the head describes a distribution,
            "age_distribution" (N, K), as far as the model has these outputs.
        """
        with _evaluating(self), torch.no_grad():
            outputs = self(images)
            prediction = {}
            if "age" in outputs:
                prediction["age"] = self.age_head.decode(outputs["age"])
                if (probabilities := getattr(self.age_head, "probabilities", None)) is not None:
                    prediction["age_distribution"] = probabilities(outputs["age"])
            if "gender" in outputs:
                prediction["gender"] = self.gender_head.probabilities(outputs["gender"])
            return prediction


@contextmanager
def _evaluating(model):
    """Evaluation mode for a while; each submodule gets its own mode back, so that a frozen one stays frozen."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _decode_params(head, decode):
    if decode is None:
        return {}
    if not hasattr(HEADS[head], "DECODES"):
        raise UserError(f"The {head} head has a single decode; decode must be None. Received: {decode!r}")
    return {"decode": decode}


def _checked_outputs(outputs):
    outputs = (outputs,) if isinstance(outputs, str) else tuple(outputs)
    for name in outputs:
        require_one_of("output", name, OUTPUTS)
    if not outputs:
        raise UserError(f"At least one output is needed, any of {', '.join(OUTPUTS)}. Received none.")
    return outputs
