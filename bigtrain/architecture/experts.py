"""Mixture of experts: a feed-forward layer of which each token uses a part.

Letters: B examples, L positions, D width, F hidden width, E experts, N tokens (B L), A active
experts of a token, P places (N A), one for each token and expert of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigtrain.architecture.expert_dispatch import through_experts
from bigtrain.architecture.parts import ACTIVATIONS, GATES
from bigtrain.architecture.products import each, ragged


class Experts(nn.Module):
  """Several feed-forward layers, of which a router picks the best few for each token.

  No token is dropped: tokens are sorted by expert, and every expert multiplies as many as came to
  it (Gale et al. 2022). The output is the sum of a token's experts, weighted by the router's
  probabilities.

  Sows two losses into the collection 'losses', which an objective may add: 'load_balance', 1 where
  experts are used evenly and E where one does all (Fedus et al. 2022, equation 4, for A experts a
  token), and 'router_z', the mean square of the router's log normaliser (Zoph et al. 2022,
  equation 5).

  Attributes:
    experts: E.
    active: A.
    hidden: F.
    kind: The nonlinearity, as in `FeedForward`.
    normalised: Whether the weights of a token's experts sum to 1 (Mixtral, Jiang et al. 2024).
    dropout: Share of the output left out in training.
    in_init: Of matrices 'up', 'gate' [E, D, F] and the router [D, E].
    out_init: Of 'down' [E, F, D].
    dtype: Of the computation; the router's is float32.
  """

  experts: int
  active: int
  hidden: int
  kind: str = 'swiglu'
  normalised: bool = True
  dropout: float = 0.0
  in_init: Any = nn.initializers.normal(0.02)
  out_init: Any = nn.initializers.normal(0.02)
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x_BLD: jax.Array, *, train: bool) -> jax.Array:
    """Maps [B, L, D] to the same.

    Args:
      x_BLD: Tokens; where one goes depends on no other.
      train: Whether dropout is on.

    Raises:
      ValueError: There are more active experts than experts, or the nonlinearity is unknown.
    """
    if not 1 <= self.active <= self.experts:
      raise ValueError(f'active must be 1 to {self.experts} experts, got {self.active}')
    if self.kind not in ACTIVATIONS and self.kind not in GATES:
      raise ValueError(
        f'the nonlinearity must be one of {", ".join(map(repr, (*ACTIVATIONS, *GATES)))}, '
        f'got {self.kind!r}'
      )
    D, E, A, F = x_BLD.shape[-1], self.experts, self.active, self.hidden
    x_ND = x_BLD.reshape(-1, D)
    router = self.param('router', self.in_init, (D, E))
    # In float32: in bfloat16 near-ties flip experts from one step to the next.
    logits_NE = x_ND.astype(jnp.float32) @ router
    weights_NA, chosen_NA = self._route(logits_NE)

    shape = (*x_BLD.shape[:-1], A)
    y_BLD = through_experts(
      self._feed,
      self._matrices(D, F),
      x_BLD.astype(self.dtype),
      weights_NA.reshape(shape),
      chosen_NA.reshape(shape),
    )
    return nn.Dropout(self.dropout, deterministic=not train)(y_BLD)

  def _route(self, logits_NE: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns weights [N, A] and experts [N, A] of each token; sows the losses."""
    probability_NE = jax.nn.softmax(logits_NE)
    weights_NA, chosen_NA = jax.lax.top_k(probability_NE, self.active)
    if self.normalised:
      weights_NA = weights_NA / weights_NA.sum(axis=-1, keepdims=True)
    # Shares that sum to 1: of the places that each expert has, and of the probability.
    used_E = jax.nn.one_hot(chosen_NA, self.experts).mean(axis=(0, 1))
    likely_E = probability_NE.mean(axis=0)
    z = jnp.square(jax.nn.logsumexp(logits_NE, axis=-1)).mean()
    self.sow('losses', 'load_balance', self.experts * jnp.vdot(used_E, likely_E))
    self.sow('losses', 'router_z', z)
    return weights_NA, chosen_NA

  def _matrices(self, D: int, F: int) -> dict[str, jax.Array]:
    """Returns 'up', 'gate' [E, D, F], where there is one, and 'down' [E, F, D]."""
    names = ('up', 'gate') if self.kind in GATES else ('up',)
    kinds: dict[str, Any] = dict.fromkeys(names, (self.in_init, (self.experts, D, F)))
    kinds['down'] = (self.out_init, (self.experts, F, D))
    return {
      name: self.param(name, each(init), shape).astype(self.dtype)
      for name, (init, shape) in kinds.items()
    }

  def _feed(
    self, x_PD: jax.Array, sizes_E: jax.Array, matrices: Mapping[str, jax.Array]
  ) -> jax.Array:
    """Puts sorted tokens through their experts."""
    y_PF = ragged(x_PD, matrices['up'], sizes_E)
    if self.kind in GATES:
      y_PF = y_PF * GATES[self.kind](ragged(x_PD, matrices['gate'], sizes_E))
    else:
      y_PF = ACTIVATIONS[self.kind](y_PF)
    return ragged(y_PF, matrices['down'], sizes_E)
