# Evaluation of a checkpoint with its config's mask generator, one function per test set. To be sourced:
#   source eval_all.sh; eval_ade150 CONFIG CKPT NGPU TAG [KEY VALUE ...]

source "$(dirname "${BASH_SOURCE[0]}")/tools/eval_common.sh"

_SEMANTIC_ONLY=(MODEL.MASK_FORMER.TEST.PANOPTIC_ON False MODEL.MASK_FORMER.TEST.INSTANCE_ON False)
_ORIGINAL_CLIP=(MODEL.MASKCLIPPP.PSM.NAME DummyPSM MODEL.MASKCLIPPP.USE_LOGIT_SCALE True)
_COCO_SIZE=(INPUT.MIN_SIZE_TEST 1024 INPUT.MAX_SIZE_TEST 2560)

# _maskclippp_set SUFFIX CONFIG CKPT NGPU TAG [KEY VALUE ...]
_maskclippp_set() {
    local suffix="$1" word fixed=() row IFS=$' \t\n'
    shift
    row=($(_maskclippp_row "$suffix" eval)) || return
    for word in "${row[@]:1}"; do
        case "$word" in
            TEST) fixed+=(DATASETS.TEST "(\"${row[0]}\",)") ;;
            SEMANTIC_ONLY) fixed+=("${_SEMANTIC_ONLY[@]}") ;;
            COCO_SIZE) fixed+=("${_COCO_SIZE[@]}") ;;
        esac
    done
    _maskclippp_eval "_$suffix" "${fixed[@]}" -- "$@"
}

eval_default() { _maskclippp_eval "" -- "$@"; }
eval_without_psm() { _maskclippp_eval _without-psm "${_ORIGINAL_CLIP[@]}" -- "$@"; }
eval_ade150() { _maskclippp_set ade150 "$@"; }
eval_ade847() { _maskclippp_set ade847 "$@"; }
eval_pc20() { _maskclippp_set pc20 "$@"; }
eval_ctx59() { _maskclippp_set ctx59 "$@"; }
eval_ctx459() { _maskclippp_set ctx459 "$@"; }
eval_coco133() { _maskclippp_set coco133 "$@"; }
eval_cocostuff() { _maskclippp_set cocostuff "$@"; }

# All open-vocabulary sets; a failure on the first does not stop the others, but is reported.
eval_all() {
    local IFS=$' \t\n'
    local sets=($(_maskclippp_suite all)) name first
    "eval_${sets[0]}" "$@"
    first=$?
    for name in "${sets[@]:1}"; do
        "eval_$name" "$@" || return
    done
    return $first
}

# Every set that is on disk, then one table in the order of the paper, absent ones marked.
eval_everything() { _maskclippp_everything eval segmentation segmentation 5 "$@"; }
