"""Data: sources, splits, tokenisers, packing, augmentation, and pipelines of batches.

A source is anything with random access to records (`len(source)`, `source[i] -> dict`). A split
divides a source, `pack` turns a source of texts into one of windows, and `forever` and `once` turn
a source into batches.
"""

from etils import epy as _epy

with _epy.lazy_api_imports(globals()):
  # Sources in memory, and what all sources share.
  from bigtrain.data.alphabets import Bytes as Bytes
  from bigtrain.data.alphabets import Characters as Characters
  from bigtrain.data.alphabets import Tokenizer as Tokenizer

  # Maps over whole batches.
  from bigtrain.data.augmentation import compose as compose
  from bigtrain.data.augmentation import random_affine as random_affine
  from bigtrain.data.augmentation import random_crop as random_crop
  from bigtrain.data.augmentation import random_flip as random_flip
  from bigtrain.data.augmentation import scale as scale

  # Sources from a person's own files, and from TensorFlow Datasets by name.
  from bigtrain.data.catalogue import tfds as tfds

  # Sources that come with a package, or are found in $BIGTRAIN_DATA.
  from bigtrain.data.corpora import shakespeare as shakespeare
  from bigtrain.data.corpora import stdlib as stdlib
  from bigtrain.data.draws import Draws as Draws

  # Pipelines, and how long they last.
  from bigtrain.data.durations import steps as steps
  from bigtrain.data.files import array_records as array_records
  from bigtrain.data.files import image_folder as image_folder
  from bigtrain.data.files import text_files as text_files

  # Text: tokenisers, and windows of tokens.
  from bigtrain.data.packing import pack as pack
  from bigtrain.data.pictures import digits as digits
  from bigtrain.data.pictures import fashion as fashion
  from bigtrain.data.pipelines import Batches as Batches
  from bigtrain.data.pipelines import forever as forever
  from bigtrain.data.pipelines import once as once
  from bigtrain.data.sources import Arrays as Arrays
  from bigtrain.data.sources import Source as Source
  from bigtrain.data.sources import arrays as arrays
  from bigtrain.data.sources import column as column
  from bigtrain.data.sources import in_memory as in_memory
  from bigtrain.data.sources import select as select

  # Splits.
  from bigtrain.data.splits import split_by_document as split_by_document
  from bigtrain.data.splits import split_by_hash as split_by_hash
  from bigtrain.data.splits import split_by_position as split_by_position
  from bigtrain.data.splits import split_stratified as split_stratified
  from bigtrain.data.subwords import bpe as bpe
  from bigtrain.data.tables import csv as csv
  from bigtrain.data.tables import parquet as parquet
