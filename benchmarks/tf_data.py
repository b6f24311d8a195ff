"""The side of tf.data in `benchmarks.data`, in a process and a Python of its own.

  python benchmarks/tf_data.py IMAGES.npy LABELS.npy BATCH PAD

Takes one number of seconds a line from standard input, and answers each with the batches a second
meanwhile. TensorFlow is in no environment of the project: it would cost every start seconds.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import tensorflow as tf  # pyright: ignore


def batches(image: np.ndarray, label: np.ndarray, batch: int, pad: int):
  """Returns an endless iterator of batches, cropped and flipped whole."""
  rows, columns = image.shape[1:3]

  def change(image_BHWC, label_B):
    shape = tf.shape(image_BHWC)[:1]
    padded = tf.pad(image_BHWC, [[0, 0], [pad, pad], [pad, pad], [0, 0]])
    top_B = tf.random.uniform(shape, 0, 2 * pad + 1, tf.int32)
    left_B = tf.random.uniform(shape, 0, 2 * pad + 1, tf.int32)
    across_BW = left_B[:, None] + tf.range(columns)
    flip_B = tf.random.uniform(shape) < 0.5
    across_BW = tf.where(flip_B[:, None], across_BW[:, ::-1], across_BW)
    cut = tf.gather(padded, top_B[:, None] + tf.range(rows), axis=1, batch_dims=1)
    return tf.gather(cut, across_BW, axis=2, batch_dims=1), label_B

  dataset = tf.data.Dataset.from_tensor_slices((image, label)).cache()
  dataset = dataset.shuffle(len(image)).repeat().batch(batch, drop_remainder=True)
  dataset = dataset.map(change, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
  return dataset.as_numpy_iterator()


def main() -> None:
  """Answers until standard input ends."""
  image, label = np.load(sys.argv[1]), np.load(sys.argv[2])
  batch, pad = int(sys.argv[3]), int(sys.argv[4])
  for line in sys.stdin:
    stream = batches(image, label, batch, pad)
    for _ in range(4):
      assert next(stream)[0].shape == (batch, *image.shape[1:])
    begin, count = time.perf_counter(), 0
    while (taken := time.perf_counter() - begin) < float(line):
      next(stream)
      count += 1
    del stream  # Or it would read ahead while others are timed.
    print(count / taken, flush=True)


if __name__ == '__main__':
  main()
