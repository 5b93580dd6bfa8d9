# Mask accuracy of a checkpoint: ground-truth masks, only the class decision counts. To be sourced:
#   source eval_mask_acc.sh; eval_mask_acc CONFIG CKPT NGPU TAG USE_PSM [KEY VALUE ...]
# USE_PSM 1 is the trained head; 0 is plain CLIP similarity (with CKPT '' the original CLIP).

source "$(dirname "${BASH_SOURCE[0]}")/tools/eval_common.sh"

# _maskclippp_mask_acc GENERATOR SUFFIX CONFIG CKPT NGPU TAG USE_PSM [KEY VALUE ...]
# Without SUFFIX the config's test set stays; that of the table comes last, so it wins.
_maskclippp_mask_acc() {
    local generator="$1" suffix="$2" fixed row=() last=() IFS=$' \t\n'
    shift 2
    if [ $# -lt 5 ]; then
        _maskclippp_usage "CONFIG CKPT NGPU TAG USE_PSM(0|1) [KEY VALUE ...]"
        return 2
    fi
    if [ -n "$suffix" ]; then
        row=($(_maskclippp_row "$suffix" "$generator")) || return
        suffix="_$suffix"
    fi
    fixed=(
        MODEL.MASKCLIPPP.TEST.ENSEMBLE_ON False
        MODEL.MASKCLIPPP.TEST.MASK_ACC True
        MODEL.MASKCLIPPP.SEGMENTOR.NAME "$generator"
        MODEL.MASKCLIPPP.VISUAL_ENCODER_F.NAME DummyVisualEncoder
        MODEL.MASKCLIPPP.TEXT_ENCODER_F.NAME none
    )
    [ "$5" = 1 ] || fixed+=(MODEL.MASKCLIPPP.PSM.NAME DummyPSM MODEL.MASKCLIPPP.USE_LOGIT_SCALE True)
    [ "${row[1]:-}" != TEST ] || last=(DATASETS.TEST "(\"${row[0]}\",)")
    _maskclippp_eval "$suffix" "${fixed[@]}" -- "${@:1:4}" "${@:6}" "${last[@]}"
}

eval_mask_acc() { _maskclippp_mask_acc GTSegmentor "" "$@"; }
eval_pan_mask_acc() { _maskclippp_mask_acc PanGTSegmentor "" "$@"; }

eval_mask_acc_ade150() { _maskclippp_mask_acc GTSegmentor ade150 "$@"; }
eval_mask_acc_stuff() { _maskclippp_mask_acc GTSegmentor stuff "$@"; }
eval_pan_mask_acc_coco() { _maskclippp_mask_acc PanGTSegmentor coco "$@"; }
eval_mask_acc_ade847() { _maskclippp_mask_acc GTSegmentor ade847 "$@"; }
eval_mask_acc_ctx459() { _maskclippp_mask_acc GTSegmentor ctx459 "$@"; }
eval_mask_acc_ctx59() { _maskclippp_mask_acc GTSegmentor ctx59 "$@"; }
eval_mask_acc_pc20() { _maskclippp_mask_acc GTSegmentor pc20 "$@"; }
eval_mask_acc_city() { _maskclippp_mask_acc GTSegmentor city "$@"; }

# The 22 sets of the MESS benchmark.
eval_mask_acc_dark_zurich() { _maskclippp_mask_acc GTSegmentor dark_zurich "$@"; }
eval_mask_acc_foodseg() { _maskclippp_mask_acc GTSegmentor foodseg "$@"; }
eval_mask_acc_mhp() { _maskclippp_mask_acc GTSegmentor mhp "$@"; }
eval_mask_acc_kvasir() { _maskclippp_mask_acc GTSegmentor kvasir "$@"; }
eval_mask_acc_pst900() { _maskclippp_mask_acc GTSegmentor pst900 "$@"; }
eval_mask_acc_corrosion() { _maskclippp_mask_acc GTSegmentor corrosion "$@"; }
eval_mask_acc_zerowaste() { _maskclippp_mask_acc GTSegmentor zerowaste "$@"; }
eval_mask_acc_cub200() { _maskclippp_mask_acc GTSegmentor cub200 "$@"; }
eval_mask_acc_bdd100k() { _maskclippp_mask_acc GTSegmentor bdd100k "$@"; }
eval_mask_acc_atlantis() { _maskclippp_mask_acc GTSegmentor atlantis "$@"; }
eval_mask_acc_dram() { _maskclippp_mask_acc GTSegmentor dram "$@"; }
eval_mask_acc_isaid() { _maskclippp_mask_acc GTSegmentor isaid "$@"; }
eval_mask_acc_chase_db1() { _maskclippp_mask_acc GTSegmentor chase_db1 "$@"; }
eval_mask_acc_suim() { _maskclippp_mask_acc GTSegmentor suim "$@"; }
eval_mask_acc_paxray() { _maskclippp_mask_acc GTSegmentor paxray "$@"; }
eval_mask_acc_isprs() { _maskclippp_mask_acc GTSegmentor isprs "$@"; }
eval_mask_acc_cryonuseg() { _maskclippp_mask_acc GTSegmentor cryonuseg "$@"; }
eval_mask_acc_deepcrack() { _maskclippp_mask_acc GTSegmentor deepcrack "$@"; }
eval_mask_acc_floodnet() { _maskclippp_mask_acc GTSegmentor floodnet "$@"; }
eval_mask_acc_cwfid() { _maskclippp_mask_acc GTSegmentor cwfid "$@"; }
eval_mask_acc_worldfloods() { _maskclippp_mask_acc GTSegmentor worldfloods "$@"; }
eval_mask_acc_uavid() { _maskclippp_mask_acc GTSegmentor uavid "$@"; }

# The sets that the ablations report.
eval_mask_acc_base() {
    local name IFS=$' \t\n'
    for name in $(_maskclippp_suite base); do
        "eval_mask_acc_$name" "$@" || return
    done
}

# The MESS sets that are on disk, then one table with the mean of each domain.
eval_mask_acc_mess() { _maskclippp_everything eval_mask_acc mess mask-accuracy 6 "$@"; }
