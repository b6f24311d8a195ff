"""Whether a model's certainty is to be believed, and how to make it so.

Letters: N examples, C classes, K bins.
"""

from __future__ import annotations

import numpy as np

from bigtrain.evaluation.intervals import resampled_sums


def reliability(
  confidence_N: np.ndarray,
  right_N: np.ndarray,
  *,
  bins: int = 15,
  weight_N: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
  """Returns what happened where the model was how sure, in bins of equal width.

  Args:
    confidence_N: Probability of what was predicted, in [0, 1].
    right_N: Whether it was so.
    bins: K; bin k holds confidences in (k / K, (k + 1) / K], the first one 0 too.
    weight_N: Of each example; None weighs all alike.

  Returns:
    'confidence' and 'accuracy', means of each bin (NaN where it is empty), and 'weight', [K].
  """
  confidence_N = np.asarray(confidence_N, np.float64)
  weight_N = np.ones(len(confidence_N)) if weight_N is None else np.asarray(weight_N, np.float64)
  number_N = _bin(confidence_N, bins)
  weight_K = np.bincount(number_N, weight_N, bins)
  with np.errstate(invalid='ignore', divide='ignore'):
    confidence_K = np.bincount(number_N, weight_N * confidence_N, bins) / weight_K
    accuracy_K = np.bincount(number_N, weight_N * right_N, bins) / weight_K
  return {'confidence': confidence_K, 'accuracy': accuracy_K, 'weight': weight_K}


def calibration_error(
  confidence_N: np.ndarray,
  right_N: np.ndarray,
  *,
  bins: int = 15,
  weight_N: np.ndarray | None = None,
) -> float:
  """Returns the expected calibration error: the mean distance of confidence and accuracy over bins
  (Naeini et al. 2015; Guo et al. 2017, equation 3). NaN without examples.

  It depends on the bins, and is above 0 by chance alone for few examples.
  """
  found = reliability(confidence_N, right_N, bins=bins, weight_N=weight_N)
  weight_K = found['weight']
  if not weight_K.sum() > 0:
    return float('nan')
  distance_K = np.nan_to_num(np.abs(found['accuracy'] - found['confidence']))
  return float(np.sum(weight_K * distance_K) / weight_K.sum())


def calibration_spread(
  confidence_N: np.ndarray,
  right_N: np.ndarray,
  *,
  bins: int = 15,
  weight_N: np.ndarray | None = None,
  resamples: int = 2_000,
  seed: int = 0,
) -> float:
  """Returns the standard error of the calibration error, by the bootstrap; NaN of fewer than 2.

  Resamples are less well calibrated than the examples they are drawn from, for they hold more
  chance: their spread tells something, their mean does not.
  """
  confidence_N = np.asarray(confidence_N, np.float64)
  if len(confidence_N) < 2:
    return float('nan')
  weight_N = np.ones(len(confidence_N)) if weight_N is None else np.asarray(weight_N, np.float64)
  number_N = _bin(confidence_N, bins)
  columns_NK = np.zeros((len(confidence_N), bins + 1))
  columns_NK[np.arange(len(confidence_N)), number_N] = weight_N * (right_N - confidence_N)
  columns_NK[:, bins] = weight_N
  sums_RK = resampled_sums(columns_NK, resamples=resamples, seed=seed)
  with np.errstate(invalid='ignore', divide='ignore'):
    return float(np.std(np.abs(sums_RK[:, :bins]).sum(axis=1) / sums_RK[:, bins]))


def fit_temperature(logits_NC: np.ndarray, label_N: np.ndarray) -> float:
  """Returns T such that softmax(logits / T) has the least log loss (Guo et al. 2017, section 4.2).

  Fit it on held-out data, never on the data it is judged by. Log probabilities do as logits.

  Args:
    logits_NC: Logits, or log probabilities.
    label_N: Classes, integers.

  Raises:
    ValueError: Logits and labels aren't as many, or none.
  """
  logits_NC, label_N = np.asarray(logits_NC, np.float64), np.asarray(label_N)
  if logits_NC.ndim != 2 or logits_NC.shape[:1] != label_N.shape or not len(label_N):
    raise ValueError(
      'fit_temperature needs logits [N, C] and labels [N] of at least one example, '
      f'got {logits_NC.shape} and {label_N.shape}'
    )
  from scipy import optimize
  from scipy.special import logsumexp

  def loss(log_scale: float) -> float:
    scaled_NC = logits_NC * np.exp(log_scale)
    return float(
      np.mean(logsumexp(scaled_NC, axis=1) - scaled_NC[np.arange(len(label_N)), label_N])
    )

  # Convex in 1 / T; between 1/1000 and 1000.
  found = optimize.minimize_scalar(
    loss, bounds=(-6.9, 6.9), method='bounded', options={'xatol': 1e-6}
  )
  return float(np.exp(-found.x))


def _bin(confidence_N: np.ndarray, bins: int) -> np.ndarray:
  return np.clip(np.ceil(confidence_N * bins).astype(int) - 1, 0, bins - 1)
