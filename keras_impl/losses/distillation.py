"""What a student learns of a teacher's probabilities."""

from keras import KerasTensor, ops

from keras_impl.losses.grid import require_positive

__all__ = ["distillation"]

_LEAST = 1e-12  # of a teacher's probability: a temperature looks at its logarithm


def distillation(teacher: KerasTensor, output: KerasTensor, *, temperature: float = 1.0) -> KerasTensor:
    """T^2 KL(t || s) with t = softmax(log(teacher) / T) and s = softmax(output / T) (Hinton et al., arXiv:1503.02531).

    The factor keeps the size of the gradient, which softening divides by T^2.

    Args:
        teacher: (N, K) probabilities, at temperature 1; below 1e-12 they count as that. No gradient goes there.
        output: (N, K) logits of the student.
        temperature: T above 0; above 1 it also tells which of the unlikely answers are less unlikely.

    Returns:
        (N,) values, 0 where both say the same.
    """
    require_positive("temperature", temperature)
    output = ops.convert_to_tensor(output)
    teacher = ops.stop_gradient(ops.cast(teacher, output.dtype))
    teacher = ops.where(teacher < _LEAST, _LEAST * ops.ones_like(teacher), teacher)
    log_target = ops.log_softmax(ops.log(teacher) / temperature, axis=-1)
    log_student = ops.log_softmax(output / temperature, axis=-1)
    return temperature**2 * ops.sum(ops.exp(log_target) * (log_target - log_student), axis=-1)
