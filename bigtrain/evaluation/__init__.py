"""What a model is asked to do, and how well it does it.

means: sums that add up over batches, devices and hosts. Objectives, what is minimised, with the
metrics that add: regression_losses, classification_losses, language_losses, contrastive_losses,
distillation_losses, preference_losses. Evaluators, metrics of all predictions with their
intervals: classification, multi_label, regression, language, retrieval, slices; what they compute
with: confusion, ranking_scores, texts, calibration, intervals; itemised: what each example adds to
an objective. sown: losses of layers, added. probes: what features know. audit: who looked at the
test split. pictures: to look at.
"""

from etils import epy as _epy

with _epy.lazy_api_imports(globals()):
  from bigtrain.evaluation.audit import check_split as check_split
  from bigtrain.evaluation.audit import is_test as is_test
  from bigtrain.evaluation.audit import looks as looks
  from bigtrain.evaluation.audit import note_test as note_test
  from bigtrain.evaluation.calibration import calibration_error as calibration_error
  from bigtrain.evaluation.calibration import calibration_spread as calibration_spread
  from bigtrain.evaluation.calibration import fit_temperature as fit_temperature
  from bigtrain.evaluation.calibration import reliability as reliability
  from bigtrain.evaluation.classification import Classification as Classification
  from bigtrain.evaluation.classification_losses import focal as focal
  from bigtrain.evaluation.classification_losses import (
    ordinal_cross_entropy as ordinal_cross_entropy,
  )
  from bigtrain.evaluation.classification_losses import (
    sigmoid_cross_entropy as sigmoid_cross_entropy,
  )
  from bigtrain.evaluation.classification_losses import (
    softmax_cross_entropy as softmax_cross_entropy,
  )
  from bigtrain.evaluation.confusion import class_scores as class_scores
  from bigtrain.evaluation.confusion import confusion_counts as confusion_counts
  from bigtrain.evaluation.confusion import confusion_scores as confusion_scores
  from bigtrain.evaluation.contrastive_losses import sigmoid_contrastive as sigmoid_contrastive
  from bigtrain.evaluation.contrastive_losses import softmax_contrastive as softmax_contrastive
  from bigtrain.evaluation.contrastive_losses import triplet as triplet
  from bigtrain.evaluation.distillation_losses import (
    attention_distillation as attention_distillation,
  )
  from bigtrain.evaluation.distillation_losses import distillation as distillation
  from bigtrain.evaluation.distillation_losses import feature_distillation as feature_distillation
  from bigtrain.evaluation.intervals import Difference as Difference
  from bigtrain.evaluation.intervals import bootstrap_interval as bootstrap_interval
  from bigtrain.evaluation.intervals import fold_interval as fold_interval
  from bigtrain.evaluation.intervals import paired_bootstrap as paired_bootstrap
  from bigtrain.evaluation.intervals import resampled_sums as resampled_sums
  from bigtrain.evaluation.intervals import t_interval as t_interval
  from bigtrain.evaluation.itemised import Items as Items
  from bigtrain.evaluation.itemised import item_values as item_values
  from bigtrain.evaluation.itemised import itemise as itemise
  from bigtrain.evaluation.itemised import report_items as report_items
  from bigtrain.evaluation.language import Language as Language
  from bigtrain.evaluation.language_losses import masked_token as masked_token
  from bigtrain.evaluation.language_losses import next_token as next_token
  from bigtrain.evaluation.language_losses import span_corruption as span_corruption
  from bigtrain.evaluation.means import ExpMean as ExpMean
  from bigtrain.evaluation.means import JointMean as JointMean
  from bigtrain.evaluation.means import Mean as Mean
  from bigtrain.evaluation.means import RootMean as RootMean
  from bigtrain.evaluation.multi_label import MultiLabel as MultiLabel
  from bigtrain.evaluation.pictures import draw_bars as draw_bars
  from bigtrain.evaluation.pictures import draw_confusion as draw_confusion
  from bigtrain.evaluation.pictures import draw_curves as draw_curves
  from bigtrain.evaluation.pictures import draw_examples as draw_examples
  from bigtrain.evaluation.pictures import draw_precision_recall as draw_precision_recall
  from bigtrain.evaluation.pictures import draw_reliability as draw_reliability
  from bigtrain.evaluation.pictures import draw_residuals as draw_residuals
  from bigtrain.evaluation.pictures import draw_roc as draw_roc
  from bigtrain.evaluation.preference_losses import dpo as dpo
  from bigtrain.evaluation.preference_losses import pair_log_probabilities as pair_log_probabilities
  from bigtrain.evaluation.probes import fit_linear_probe as fit_linear_probe
  from bigtrain.evaluation.probes import nearest_neighbours as nearest_neighbours
  from bigtrain.evaluation.ranking_scores import average_precision as average_precision
  from bigtrain.evaluation.ranking_scores import rank_classes as rank_classes
  from bigtrain.evaluation.ranking_scores import roc_auc as roc_auc
  from bigtrain.evaluation.regression import Regression as Regression
  from bigtrain.evaluation.regression_losses import huber as huber
  from bigtrain.evaluation.regression_losses import mean_absolute_error as mean_absolute_error
  from bigtrain.evaluation.regression_losses import mean_squared_error as mean_squared_error
  from bigtrain.evaluation.regression_losses import quantile as quantile
  from bigtrain.evaluation.retrieval import Retrieval as Retrieval
  from bigtrain.evaluation.retrieval import retrieval_items as retrieval_items
  from bigtrain.evaluation.retrieval import zero_shot as zero_shot
  from bigtrain.evaluation.slices import Sliced as Sliced
  from bigtrain.evaluation.slices import by_slice as by_slice
  from bigtrain.evaluation.sown import with_sown as with_sown
  from bigtrain.evaluation.teachers import taught as taught
  from bigtrain.evaluation.texts import edit_distance as edit_distance
  from bigtrain.evaluation.texts import text_scores as text_scores
