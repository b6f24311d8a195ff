"""Data: from a raw collection to batches.

A source is anything with random access to records (`len(source)`, `source[i] -> dict`). A split
divides a source, `pack` turns a source of texts into one of windows, `mix` deals several out as
one, and `forever` and `once` turn a source into batches.

sources: arrays in memory, and what all sources share
finding, files, lines, tables, audio, shards, record_bytes: sources from a person's own files
catalogue: TensorFlow Datasets by name
corpora, pictures, embedded: sources that come with a package, or are found in $BIGTRAIN_DATA
descriptions: records that are not here, for what only compiles
cleaning, ledgers: steps over records, and what they did
beam_cleaning: the same over many machines
skipping: damaged records passed over while training
text_cleaning, text_quality, text_repetition, image_cleaning: such steps
table_categories: categories as features of 0 and 1
table_cleaning: what is learned from training rows and applied to any
label_errors: labels that a model which has not seen them contradicts
duplicates, image_hashes, contamination: copies within a source, and leaks between parts
splits: stratified, by hash, by document, by position
cross_validation: k folds; by time
alphabets, subwords, published, published_tokenizers: tokenisers
chats, chat_templates: messages as rows of tokens, prompts masked
packing, documents: windows of tokens, over all documents or each for itself
tokenized_rows: a text a row
synthesis: new records made of real images
predictions: recorded outputs beside the records
pretrained: models that come with a package
mixtures, dealing: several sources in exact shares
augmentation, draws: maps over whole batches, and their randomness
image_variation, label_mixing, text_variation, audio_variation, table_variation: more maps, by kind
pipelines, reading, order, durations: batches as a pure function of the step
views: batches and records as a person looks at them
"""

from etils import epy as _epy

with _epy.lazy_api_imports(globals()):
  from bigtrain.data.alphabets import Bytes as Bytes
  from bigtrain.data.alphabets import Characters as Characters
  from bigtrain.data.alphabets import Tokenizer as Tokenizer
  from bigtrain.data.audio import audio_folder as audio_folder
  from bigtrain.data.audio_variation import add_noise as add_noise
  from bigtrain.data.audio_variation import random_gain as random_gain
  from bigtrain.data.audio_variation import spec_augment as spec_augment
  from bigtrain.data.audio_variation import time_shift as time_shift
  from bigtrain.data.augmentation import compose as compose
  from bigtrain.data.augmentation import random_affine as random_affine
  from bigtrain.data.augmentation import random_crop as random_crop
  from bigtrain.data.augmentation import random_flip as random_flip
  from bigtrain.data.augmentation import scale as scale
  from bigtrain.data.beam_cleaning import clean_with_beam as clean_with_beam
  from bigtrain.data.catalogue import tfds as tfds
  from bigtrain.data.chat_templates import Template as Template
  from bigtrain.data.chats import pack_chats as pack_chats
  from bigtrain.data.chats import preference_pairs as preference_pairs
  from bigtrain.data.cleaning import Drop as Drop
  from bigtrain.data.cleaning import clean as clean
  from bigtrain.data.cleaning import clean_records as clean_records
  from bigtrain.data.contamination import drop_contaminated as drop_contaminated
  from bigtrain.data.corpora import shakespeare as shakespeare
  from bigtrain.data.corpora import stdlib as stdlib
  from bigtrain.data.cross_validation import folds as folds
  from bigtrain.data.cross_validation import split_by_time as split_by_time
  from bigtrain.data.descriptions import described as described
  from bigtrain.data.documents import pack_documents as pack_documents
  from bigtrain.data.draws import Draws as Draws
  from bigtrain.data.duplicates import Duplicates as Duplicates
  from bigtrain.data.duplicates import drop_duplicates as drop_duplicates
  from bigtrain.data.duplicates import drop_leaks as drop_leaks
  from bigtrain.data.duplicates import find_duplicates as find_duplicates
  from bigtrain.data.durations import steps as steps
  from bigtrain.data.embedded import adult as adult
  from bigtrain.data.embedded import breast_cancer as breast_cancer
  from bigtrain.data.embedded import california_housing as california_housing
  from bigtrain.data.embedded import clothing_reviews as clothing_reviews
  from bigtrain.data.embedded import diabetes as diabetes
  from bigtrain.data.embedded import emoji as emoji
  from bigtrain.data.embedded import spoken_prompts as spoken_prompts
  from bigtrain.data.files import array_records as array_records
  from bigtrain.data.files import image_folder as image_folder
  from bigtrain.data.files import text_files as text_files
  from bigtrain.data.image_cleaning import drop_blank as drop_blank
  from bigtrain.data.image_cleaning import drop_tiny as drop_tiny
  from bigtrain.data.image_cleaning import to_channels as to_channels
  from bigtrain.data.image_cleaning import to_range as to_range
  from bigtrain.data.image_variation import color as color
  from bigtrain.data.image_variation import rand_augment as rand_augment
  from bigtrain.data.image_variation import random_erase as random_erase
  from bigtrain.data.image_variation import random_resized_crop as random_resized_crop
  from bigtrain.data.label_errors import LabelErrors as LabelErrors
  from bigtrain.data.label_errors import drop_label_errors as drop_label_errors
  from bigtrain.data.label_errors import find_label_errors as find_label_errors
  from bigtrain.data.label_errors import logistic_regression as logistic_regression
  from bigtrain.data.label_errors import out_of_fold as out_of_fold
  from bigtrain.data.label_mixing import cutmix as cutmix
  from bigtrain.data.label_mixing import mixup as mixup
  from bigtrain.data.ledgers import Ledger as Ledger
  from bigtrain.data.lines import json_lines as json_lines
  from bigtrain.data.mixtures import Mixture as Mixture
  from bigtrain.data.mixtures import mix as mix
  from bigtrain.data.packing import pack as pack
  from bigtrain.data.pictures import digits as digits
  from bigtrain.data.pictures import fashion as fashion
  from bigtrain.data.pipelines import Batches as Batches
  from bigtrain.data.pipelines import forever as forever
  from bigtrain.data.pipelines import once as once
  from bigtrain.data.predictions import with_predictions as with_predictions
  from bigtrain.data.pretrained import minilm as minilm
  from bigtrain.data.published import load_tokenizer as load_tokenizer
  from bigtrain.data.published_tokenizers import tokenizer_files as tokenizer_files
  from bigtrain.data.shards import read_records as read_records
  from bigtrain.data.shards import write_records as write_records
  from bigtrain.data.skipping import skip_damaged as skip_damaged
  from bigtrain.data.sources import Arrays as Arrays
  from bigtrain.data.sources import Source as Source
  from bigtrain.data.sources import arrays as arrays
  from bigtrain.data.sources import column as column
  from bigtrain.data.sources import in_memory as in_memory
  from bigtrain.data.sources import select as select
  from bigtrain.data.splits import split_by_document as split_by_document
  from bigtrain.data.splits import split_by_hash as split_by_hash
  from bigtrain.data.splits import split_by_position as split_by_position
  from bigtrain.data.splits import split_stratified as split_stratified
  from bigtrain.data.subwords import bpe as bpe
  from bigtrain.data.subwords import unigram as unigram
  from bigtrain.data.synthesis import composed_images as composed_images
  from bigtrain.data.synthesis import moving_images as moving_images
  from bigtrain.data.table_categories import one_hot as one_hot
  from bigtrain.data.table_cleaning import FittedTable as FittedTable
  from bigtrain.data.table_cleaning import fit_table as fit_table
  from bigtrain.data.table_variation import feature_dropout as feature_dropout
  from bigtrain.data.table_variation import feature_noise as feature_noise
  from bigtrain.data.table_variation import feature_swap as feature_swap
  from bigtrain.data.tables import csv as csv
  from bigtrain.data.tables import parquet as parquet
  from bigtrain.data.text_cleaning import drop_unparsable as drop_unparsable
  from bigtrain.data.text_cleaning import keep_language as keep_language
  from bigtrain.data.text_cleaning import mask_personal as mask_personal
  from bigtrain.data.text_cleaning import remove_boilerplate as remove_boilerplate
  from bigtrain.data.text_cleaning import remove_licence_header as remove_licence_header
  from bigtrain.data.text_cleaning import repair_unicode as repair_unicode
  from bigtrain.data.text_quality import c4_quality as c4_quality
  from bigtrain.data.text_quality import fineweb_quality as fineweb_quality
  from bigtrain.data.text_quality import gopher_quality as gopher_quality
  from bigtrain.data.text_repetition import gopher_repetition as gopher_repetition
  from bigtrain.data.text_variation import fill_in_the_middle as fill_in_the_middle
  from bigtrain.data.text_variation import span_corruption as span_corruption
  from bigtrain.data.text_variation import span_lengths as span_lengths
  from bigtrain.data.text_variation import token_dropout as token_dropout
  from bigtrain.data.tokenized_rows import token_rows as token_rows
