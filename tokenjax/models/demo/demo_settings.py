"""DeMo from the settings of the original's configuration files."""

from collections.abc import Mapping, Sequence
from typing import Any

from tokenjax.errors import UserError
from tokenjax.models.demo.demo_model import DeMo


def from_settings(
    cfg_model: Mapping[str, Any],
    image: Sequence[int],
    num_classes: int,
    camera_num: int,
    backbone: Mapping[str, int] | None = None,
    feat_dim: int = 0,
    **more: Any,
) -> DeMo:
    """Build the model that the original builds from its configuration.

    Args:
      cfg_model: its MODEL.* settings; those left out have this class's defaults.
      image: INPUT.SIZE_TRAIN, height and width.
      num_classes, camera_num: of the data.
      backbone: "patch_size", "width", "layers", "heads" other than the type's.
      feat_dim: likewise.
      more: arguments of ours.

    Raises: UserError for SDTPS together with HDM or ATM, whose outputs the original
      computes and drops, and for ATM without HDM, which it cannot run.
    """
    hdm, atm = cfg_model.get("HDM", False), cfg_model.get("ATM", False)
    sdtps = cfg_model.get("USE_SDTPS", False)
    if (sdtps and (hdm or atm)) or (atm and not hdm):
        raise UserError(
            "DeMo: USE_SDTPS stands alone and ATM needs HDM, got "
            f"USE_SDTPS={sdtps}, HDM={hdm}, ATM={atm}"
        )
    names = {
        "TRANSFORMER_TYPE": "transformer_type",
        "SIE_CAMERA": "sie_camera",
        "SIE_COE": "sie_coe",
        "GLOBAL_LOCAL": "global_local",
        "HEAD": "head",
        "DROP_PATH": "drop_path",
        "SDTPS_SPARSE_RATIO": "sdtps_sparse_ratio",
        "SDTPS_AGGR_RATIO": "sdtps_aggr_ratio",
        "SDTPS_BETA": "sdtps_beta",
        "SDTPS_USE_GUMBEL": "sdtps_use_gumbel",
        "SDTPS_GUMBEL_TAU": "sdtps_gumbel_tau",
    }
    given = {names[key]: cfg_model[key] for key in names if key in cfg_model}
    sizes: dict[str, Any] = dict(backbone or {})
    for theirs, ours in {"layers": "depth", "heads": "num_heads"}.items():
        if theirs in sizes:
            sizes[ours] = sizes.pop(theirs)
    height, width = image
    return DeMo(
        num_classes=num_classes,
        camera_num=camera_num,
        image_size=(height, width),
        stride_size=tuple(cfg_model.get("STRIDE_SIZE", (16, 16))),
        direct=bool(cfg_model.get("DIRECT", 1)),
        fusion="sdtps" if sdtps else "hdm_atm" if atm else "hdm" if hdm else "none",
        feat_dim=feat_dim,
        **sizes,
        **given,
        **more,
    )
