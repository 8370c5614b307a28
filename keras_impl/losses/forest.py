"""The losses of a deep regression forest."""

from keras import KerasTensor, ops

from faces.methods import FOREST_VARIANTS
from keras_impl.forest import log_normal
from keras_impl.losses.grid import known_age, require_positive, require_word
from keras_impl.losses.log_space import log_sum_exp

__all__ = ["deep_regression_forest"]


def deep_regression_forest(
    age: KerasTensor, output: KerasTensor, *, min_age: int = 0, variant: str = "nll", min_variance: float = 1 / 12
) -> KerasTensor:
    """Deep regression forest (Shen et al., CVPR 2018), the mean over its trees; leaves are updated apart, see
    `keras_impl.forest`.

    Args:
        age: (N,) years, not clipped.
        output: (N, 3, T, L): log route, leaf mean and leaf variance of L leaves of T trees; leaves have no gradient.
        variant: "nll" the negative log-likelihood of the paper; "l2" half the squared error of each tree's prediction,
            as the released training.
        min_variance: least leaf variance in years squared.
    """
    require_word("variant", variant, FOREST_VARIANTS)
    require_positive("min_variance", min_variance)
    output = ops.convert_to_tensor(output)
    age = known_age(age, output, min_age)[:, None]  # (N, 1)
    log_route, mean, variance = output[:, 0], ops.stop_gradient(output[:, 1]), ops.stop_gradient(output[:, 2])
    if variant == "l2":
        prediction = ops.sum(ops.exp(log_route) * mean, axis=-1)  # (N, T)
        return 0.5 * _mean_over_trees(ops.square(age - prediction))
    variance = ops.where(variance < min_variance, ops.full_like(variance, min_variance), variance)
    log_likelihood = log_sum_exp(log_route + log_normal(age[..., None], mean, variance))
    return -_mean_over_trees(log_likelihood)


def _mean_over_trees(values):
    # Not ops.mean, which gives float32 for float64 under Keras' jax backend.
    return ops.sum(values, axis=-1) / values.shape[1]
