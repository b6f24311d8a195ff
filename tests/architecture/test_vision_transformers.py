"""Properties of vision transformers, on pictures, spectrograms and videos."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toys import initialised

from bigtrain import architecture
from bigtrain.architecture import tubelets


def test_patches_are_the_squares_of_an_image_row_by_row():
  image = jax.random.normal(jax.random.key(0), (2, 4, 6, 3))
  want = [image[:, i : i + 2, j : j + 2].reshape(2, -1) for i in (0, 2) for j in (0, 2, 4)]
  np.testing.assert_array_equal(tubelets.patches(image, 2), jnp.stack(want, axis=1))


@pytest.mark.parametrize('overlap', [False, True])
def test_a_patch_sees_half_its_side_around_it_where_patches_overlap(overlap):
  # Without blocks the features of a patch depend on what it was embedded from, and no more.
  model = architecture.ViT(classes=2, patch=4, depth=0, width=8, overlap=overlap)
  image = jnp.ones((1, 12, 12, 1))
  variables = initialised(model, image)

  def embedded(image):
    _, kept = model.apply(variables, image, train=False, capture_intermediates=True)
    return kept['intermediates']['embed']['__call__'][0].reshape(-1, 3, 3, 8)

  rows, columns = np.indices((12, 12)).reshape(2, -1)
  changed = jnp.repeat(image, 144, 0).at[np.arange(144), rows, columns].set(2.0)
  away = np.abs(embedded(changed) - embedded(image))[:, 1, 1].max(axis=-1)
  seen = away.reshape(12, 12) > 1e-6
  want = np.zeros((12, 12), bool)
  want[slice(2, 10) if overlap else slice(4, 8), slice(2, 10) if overlap else slice(4, 8)] = True
  np.testing.assert_array_equal(seen, want)


def test_patches_of_odd_side_cannot_overlap():
  model = architecture.ViT(classes=2, patch=3, overlap=True)
  with pytest.raises(ValueError, match='even side, got 3'):
    model.init(jax.random.key(0), jnp.zeros((1, 6, 6, 1)), train=False)


def vit(**knobs):
  return architecture.ViT(**{'classes': None, 'patch': 4, 'depth': 1, 'width': 24, **knobs})


def noise(*shape):
  return jax.random.normal(jax.random.key(0), shape)


@pytest.mark.parametrize(
  ('shape', 'patch', 'tokens'),
  [((2, 8, 12, 3), 4, 6), ((2, 20, 6, 1), (4, 3), 10), ((2, 4, 8, 8, 3), (2, 4, 4), 8)],
  ids=['picture', 'spectrogram', 'video'],
)
def test_each_pooling_gives_features_or_logits(shape, patch, tokens):
  x = noise(*shape)
  for knobs, want in (
    ({'pool': 'mean', 'registers': 2}, (2, 24)),
    ({'pool': 'cls', 'classes': 5, 'attention_bias': True}, (2, 5)),
    ({'pool': 'map', 'position': 'sinusoidal'}, (2, 24)),
    ({'pool': 'none', 'registers': 3, 'overlap': not any(s % 2 for s in np.ravel(patch))},
     (2, tokens, 24)),
  ):  # fmt: skip
    model = vit(patch=patch, **knobs)
    out = jax.eval_shape(
      lambda model=model: model.init_with_output(jax.random.key(0), x, train=True)
    )
    assert out[0].shape == want


def moved(image, order):
  """Returns an image [B, 8, 8, C] with its four patches of 4 x 4 in another order."""
  squares = [image[:, i : i + 4, j : j + 4] for i in (0, 4) for j in (0, 4)]
  a, b, c, d = (squares[i] for i in order)
  return jnp.concatenate([jnp.concatenate([a, b], 2), jnp.concatenate([c, d], 2)], 1)


def before_and_after(model, image, order):
  both = jnp.concatenate([image, moved(image, order)])
  variables = initialised(model, both)
  out = jax.jit(lambda variables, x: model.apply(variables, x, train=False))(variables, both)
  return np.split(np.asarray(out), 2)


def test_without_positions_patches_may_change_places():
  image, order = noise(2, 8, 8, 1), np.array([2, 0, 3, 1])
  for pool in ('mean', 'cls', 'map', 'none'):
    model = vit(pool=pool, position='none', registers=2)
    plain, shuffled = before_and_after(model, image, order)
    want = plain[:, order] if pool == 'none' else plain
    np.testing.assert_allclose(shuffled, want, rtol=1e-4, atol=1e-5)


def test_with_positions_they_may_not():
  image = noise(2, 8, 8, 1)
  for position in ('learned', 'sinusoidal'):
    model = vit(position=position)
    plain, shuffled = before_and_after(model, image, [2, 0, 3, 1])
    assert np.abs(plain - shuffled).max() > 1e-3


def test_every_patch_has_a_place_of_its_own():
  places = tubelets.grid_positions((3, 4, 5), 24)
  assert places.shape == (60, 24)
  assert len(np.unique(places.round(5), axis=0)) == 60
  # An axis has a third of the width; two patches of one row share what is said of the row.
  rows = places.reshape(3, 4, 5, 3, 8)
  np.testing.assert_array_equal(rows[1, :, :, 0], np.broadcast_to(rows[1, 0, 0, 0], (4, 5, 8)))
  with pytest.raises(ValueError, match='of 3 axes need a width that divides by 6, got 20'):
    tubelets.grid_positions((3, 4, 5), 20)


def test_vit_s_16_has_its_published_number_of_parameters():
  model = architecture.ViT(
    classes=1000, patch=16, depth=12, width=384, heads=6, pool='cls', attention_bias=True
  )
  image = jnp.zeros((1, 224, 224, 3))
  shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), image, train=False))
  assert sum(x.size for x in jax.tree.leaves(shapes)) == 22_050_664


@pytest.mark.parametrize('central', [False, True])
def test_an_inflated_model_sees_a_still_video_as_the_picture(central):
  image = noise(2, 8, 8, 3)
  picture, video = vit(position='none'), vit(position='none', patch=(3, 4, 4))
  params = initialised(picture, image)['params']
  kernel = architecture.inflated(params['embed']['kernel'], 3, central=central)
  params_of_video = {**params, 'embed': {**params['embed'], 'kernel': kernel}}
  still = jnp.repeat(image[:, None], 6, axis=1)
  np.testing.assert_allclose(
    video.apply({'params': params_of_video}, still, train=False),
    picture.apply({'params': params}, image, train=False),
    rtol=1e-4,
    atol=1e-5,
  )
  with pytest.raises(ValueError, match='at least 1 frame, got 0'):
    architecture.inflated(params['embed']['kernel'], 0)


@pytest.mark.parametrize(
  ('knobs', 'shape', 'words'),
  [
    ({'pool': 'max'}, (1, 8, 8, 1), "pool must be 'mean', 'cls', 'map' or 'none', got 'max'"),
    ({'position': 'rotary'}, (1, 8, 8, 1), "position must be .* got 'rotary'"),
    ({'patch': (4, 4)}, (1, 4, 8, 8, 1), r'a side for each of the axes \(4, 8, 8\)'),
    ({'patch': (4, 3)}, (1, 8, 8, 1), r'divide by patches of 4 x 3 pixels, got \(8, 8\): crop'),
    ({'shape': (8, 8, 3)}, (1, 8, 8, 1), r'images must have shape \(8, 8, 3\), got \(8, 8, 1\)'),
  ],
)
def test_what_does_not_fit_is_named(knobs, shape, words):
  with pytest.raises(ValueError, match=words):
    jax.eval_shape(lambda: vit(**knobs).init(jax.random.key(0), jnp.zeros(shape), train=False))


def test_dropout_of_attention_is_for_training_alone():
  image = noise(2, 8, 8, 1)
  model, without = vit(attention_dropout=0.5), vit()
  variables = initialised(model, image)
  apply = model.apply
  np.testing.assert_array_equal(
    apply(variables, image, train=False), without.apply(variables, image, train=False)
  )
  one, two = (
    apply(variables, image, train=True, rngs={'dropout': jax.random.key(i)}) for i in (0, 1)
  )
  assert np.abs(one - two).max() > 1e-3
