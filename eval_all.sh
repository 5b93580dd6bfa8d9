# Evaluation of a checkpoint with its config's mask generator, one function per test set. To be sourced:
#   source eval_all.sh; eval_ade150 CONFIG CKPT NGPU TAG [KEY VALUE ...]

source "$(dirname "${BASH_SOURCE[0]}")/tools/eval_common.sh"

_SEMANTIC_ONLY=(MODEL.MASK_FORMER.TEST.PANOPTIC_ON False MODEL.MASK_FORMER.TEST.INSTANCE_ON False)
_ORIGINAL_CLIP=(MODEL.MASKCLIPPP.PSM.NAME DummyPSM MODEL.MASKCLIPPP.USE_LOGIT_SCALE True)
_COCO_SIZE=(INPUT.MIN_SIZE_TEST 1024 INPUT.MAX_SIZE_TEST 2560)

eval_default() { _maskclippp_eval "" -- "$@"; }
eval_without_psm() { _maskclippp_eval _without-psm "${_ORIGINAL_CLIP[@]}" -- "$@"; }
eval_ade150() { _maskclippp_eval _ade150 DATASETS.TEST '("openvocab_ade20k_panoptic_val",)' -- "$@"; }
eval_ade847() { _maskclippp_eval _ade847 DATASETS.TEST '("openvocab_ade20k_full_sem_seg_val",)' "${_SEMANTIC_ONLY[@]}" -- "$@"; }
eval_pc20() { _maskclippp_eval _pc20 "${_SEMANTIC_ONLY[@]}" DATASETS.TEST '("openvocab_pascal20_sem_seg_val",)' -- "$@"; }
eval_ctx59() { _maskclippp_eval _ctx59 DATASETS.TEST '("openvocab_pascal_ctx59_sem_seg_val",)' "${_SEMANTIC_ONLY[@]}" -- "$@"; }
eval_ctx459() { _maskclippp_eval _ctx459 DATASETS.TEST '("openvocab_pascal_ctx459_sem_seg_val",)' "${_SEMANTIC_ONLY[@]}" -- "$@"; }
eval_coco133() { _maskclippp_eval _coco133 DATASETS.TEST '("openvocab_coco_2017_val_panoptic_with_sem_seg",)' "${_COCO_SIZE[@]}" -- "$@"; }
eval_cocostuff() { _maskclippp_eval _cocostuff DATASETS.TEST '("openvocab_coco_2017_val_stuff_sem_seg",)' "${_SEMANTIC_ONLY[@]}" -- "$@"; }

# All open-vocabulary sets; a failure on the first does not stop the others, but is reported.
eval_all() {
    eval_ade150 "$@"
    local first=$?
    eval_ade847 "$@" && eval_ctx459 "$@" && eval_ctx59 "$@" && eval_pc20 "$@" && return $first
}

# Every set that is on disk, then one table in the order of the paper, absent ones marked.
eval_everything() { _maskclippp_everything eval segmentation segmentation 5 "$@"; }
