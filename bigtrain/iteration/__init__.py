"""Iteration: continue what was trained before.

averages: model soups
beams: the likeliest text, by beam search
bottlenecks: adapters after layers
checkpoints: state and data position, saved together, asynchronously
warm_starts: parameters of something trained before, for a model that need not be the same
distillation: a student and its teachers in one model
generation: token after token from a model that keeps a cache
hugging_face: parameters from and to published folders
model_cards: what a model is, what it was trained on and how well it does, for a reader
portable: a forward pass as StableHLO
low_rank: adapters beside frozen matrices, which may be kept as int8
sampling: from logits to the next token
tensors: safetensors files
text_streams: text that can be shown while its tokens come
"""

from etils import epy as _epy

with _epy.lazy_api_imports(globals()):
  from bigtrain.iteration.averages import greedy_soup as greedy_soup
  from bigtrain.iteration.averages import soup as soup
  from bigtrain.iteration.beams import beam_search as beam_search
  from bigtrain.iteration.bottlenecks import Bottleneck as Bottleneck
  from bigtrain.iteration.checkpoints import Checkpoints as Checkpoints
  from bigtrain.iteration.distillation import STUDENT as STUDENT
  from bigtrain.iteration.distillation import Taught as Taught
  from bigtrain.iteration.distillation import teachers_from as teachers_from
  from bigtrain.iteration.generation import generate as generate
  from bigtrain.iteration.hugging_face import export_hugging_face as export_hugging_face
  from bigtrain.iteration.hugging_face import import_hugging_face as import_hugging_face
  from bigtrain.iteration.hugging_face import published as published
  from bigtrain.iteration.low_rank import LoRA as LoRA
  from bigtrain.iteration.model_cards import Card as Card
  from bigtrain.iteration.portable import export_stablehlo as export_stablehlo
  from bigtrain.iteration.sampling import keep_min_p as keep_min_p
  from bigtrain.iteration.sampling import keep_top_k as keep_top_k
  from bigtrain.iteration.sampling import keep_top_p as keep_top_p
  from bigtrain.iteration.sampling import sample as sample
  from bigtrain.iteration.tensors import read_safetensors as read_safetensors
  from bigtrain.iteration.tensors import write_safetensors as write_safetensors
  from bigtrain.iteration.text_streams import TextStream as TextStream
  from bigtrain.iteration.warm_starts import extended as extended
  from bigtrain.iteration.warm_starts import match as match
  from bigtrain.iteration.warm_starts import orbax_folder as orbax_folder
  from bigtrain.iteration.warm_starts import resampled as resampled
  from bigtrain.iteration.warm_starts import warm_start as warm_start
