"""Losses whose target is a distribution around the age."""

from keras import ops

from keras_impl.losses.grid import MIN_STD, age_values, clip_to_grid, replace_unknown, require_word, spread


def dldl(age, output, *, min_age=0, age_std=None, sigma=2.0):
    """Deep label distribution learning (Gao et al., IEEE TIP 2017): -sum_k t_k log p_k with a Gaussian target t.

    Args:
        age: (N,) years.
        output: (N, K) logits.
        age_std: (N,) spread of each label in years, NaN where unknown (then `sigma`), or None. Below half a year the
            target would be narrower than the grid's step, so half a year is the least.
        sigma: spread in years of a label whose own spread is unknown.
    """
    output = ops.convert_to_tensor(output)
    age = clip_to_grid(age, output, min_age, output.shape[1])
    target = ops.exp(_log_gaussian(age, output, min_age, spread(age_std, age, sigma)))
    return -ops.sum(target * ops.log_softmax(output, axis=-1), axis=-1)


def dldl_v2(age, output, *, min_age=0, age_std=None, sigma=2.0, l1_weight=1.0, kl_reduction="sample"):
    """DLDL-v2 (Gao et al., IJCAI 2018): KL(t || p) + w |m - y| with a Gaussian target t and the expected age m.

    Args:
        age, output, age_std, sigma: as in `dldl`.
        l1_weight: weight of the expectation term.
        kl_reduction: "sample" sums the divergence over the K ages as the paper writes it; "element" also divides it by
            K, which is what the released Torch7 training computes.
    """
    require_word("kl_reduction", kl_reduction, ("sample", "element"))
    output = ops.convert_to_tensor(output)
    age = clip_to_grid(age, output, min_age, output.shape[1])
    log_target = _log_gaussian(age, output, min_age, spread(age_std, age, sigma))
    log_probabilities = ops.log_softmax(output, axis=-1)
    divergence = ops.sum(ops.exp(log_target) * (log_target - log_probabilities), axis=-1)
    if kl_reduction == "element":
        divergence = divergence / output.shape[1]
    mean = ops.sum(ops.exp(log_probabilities) * age_values(output, min_age), axis=-1)
    return divergence + l1_weight * ops.abs(mean - age)


def sord(age, output, *, min_age=0, age_std=None, metric="absolute", scale=1.0):
    """Soft labels for ordinal regression (SORD; Diaz and Marathe, CVPR 2019): -sum_k t_k log p_k, t = softmax(-phi).

    Args:
        age: (N,) years.
        output: (N, K) logits.
        age_std: (N,) spread of each label in years, NaN where unknown, or None. Where known it sets the scale:
            1 / std with "absolute", 1 / (2 std^2), which is `dldl`, with "squared".
        metric: phi is scale |a_k - y| ("absolute") or scale (a_k - y)^2 ("squared").
        scale: of phi, per year or per year squared.
    """
    require_word("metric", metric, ("absolute", "squared"))
    output = ops.convert_to_tensor(output)
    age = clip_to_grid(age, output, min_age, output.shape[1])
    distance = ops.abs(age_values(output, min_age) - age[:, None])  # (N, K)
    phi = distance if metric == "absolute" else ops.square(distance)
    target = ops.softmax(-_sord_scale(age_std, age, metric, scale)[:, None] * phi, axis=-1)
    return -ops.sum(target * ops.log_softmax(output, axis=-1), axis=-1)


def _log_gaussian(age, output, min_age, std):
    distance = (age_values(output, min_age) - age[:, None]) / std[:, None]  # (N, K)
    return ops.log_softmax(-0.5 * ops.square(distance), axis=-1)


def _sord_scale(age_std, age, metric, scale):
    if age_std is None:
        return scale * ops.ones_like(age)
    age_std = ops.cast(age_std, age.dtype)
    std = spread(age_std, age, MIN_STD)
    own = 1.0 / std if metric == "absolute" else 0.5 / ops.square(std)
    return replace_unknown(ops.where(ops.isnan(age_std), age_std, own), scale)
