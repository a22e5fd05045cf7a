"""What PyKEEN does for every batch by walking over all modules of a model, done by a list made once per epoch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pykeen.models import ERModel, Model
from pykeen.nn.representation import Embedding, Representation
from pykeen.regularizers import NoRegularizer, Regularizer

__all__ = ["listed_hooks"]


def _is_idle(module: Any) -> bool:
    """Return whether a module has nothing to do after an update of the parameters."""
    if "post_parameter_update" in vars(module):
        return False
    method = type(module).post_parameter_update
    if isinstance(module, Representation) and method is Representation.post_parameter_update:
        return True
    return (type(module) is Embedding and module.constrainer is None) or isinstance(module, NoRegularizer)


@contextmanager
def listed_hooks(model: Model) -> Iterator[None]:
    """Let a model call the hooks of its modules from lists.

    :param model: the model
    :yields: nothing
    """
    kind = type(model)
    names = []
    own = vars(model)
    if (
        isinstance(model, ERModel)
        and "post_parameter_update" not in own
        and kind.post_parameter_update is ERModel.post_parameter_update
    ):
        updated: list[Any] = [
            module
            for module in model.modules()
            if module is not model and hasattr(module, "post_parameter_update") and not _is_idle(module)
        ]

        def post_parameter_update() -> None:
            for module in updated:
                module.post_parameter_update()

        vars(model)["post_parameter_update"] = post_parameter_update
        names.append("post_parameter_update")
    if (
        isinstance(model, ERModel)
        and "collect_regularization_term" not in own
        and kind.collect_regularization_term is ERModel.collect_regularization_term
    ):
        regularizers = [
            module
            for module in model.modules()
            if isinstance(module, Regularizer) and not isinstance(module, NoRegularizer)
        ]

        def collect_regularization_term() -> Any:
            return sum(regularizer.pop_regularization_term() for regularizer in regularizers)

        vars(model)["collect_regularization_term"] = collect_regularization_term
        names.append("collect_regularization_term")
    try:
        yield
    finally:
        for name in names:
            model.__dict__.pop(name, None)
