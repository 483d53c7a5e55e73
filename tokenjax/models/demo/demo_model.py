"""DeMo: re-identification from several modalities, with SDTPS or HDM and ATMoE.

    tokens_m = backbone(image_m)            one backbone for all modalities m
    global_m = reduce_m([global_m; mean of patches_m])      if `global_local`
    direct   = [global_m for all m]                         (b, m c)
    fused    = [joined SDTPS tokens for all m]              (b, m c), fusion "sdtps"
             | HDM's or ATMoE's seven features              (b, 7 c), "hdm", "hdm_atm"
    concat   = [direct; fused]
    score    = classifier(BatchNorm(feature))

Without fusion "none" stands for all three features. Triplet loss and retrieval take
the features, which are those before the normalisation. With `direct` off every modality
has a score of its own instead of one for all.

Source: DeMo2 at 6334359, modeling/make_model.py; `demo_settings` takes its MODEL.*
settings. Ours: `activation`, `mask_aggregation`, `score_gradient`, `sdtps_join` other
than "mean", `dtype`, `remat`.

SDTPS's aggregated tokens are convex combinations of the backbone's, and so is their
mean: no layer comes between it and retrieval, where every global has `reduce_m`.
`sdtps_join` gives the fused feature a layer of the same kind, j_m, of the mean or of
the tokens in their order:

    joined   = mean t_m | j_m(mean t_m) | j_m([t_m1; t_m2; ...])        t_m (b, a, c)

Axes: batch b, height h, width w, patches n, dim c, modalities m.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from tokenjax.arguments import COUNT, NOT_NEGATIVE, SIZE, DType, FromData, OneOf
from tokenjax.models import contract, layers, patch_grid
from tokenjax.models.argument_types import AttentionDropout, Classes, DropPath, Remat
from tokenjax.models.demo import demo_backbone, demo_reduction
from tokenjax.models.demo.modality_fusion import GeneralFusion
from tokenjax.models.demo.sdtps import (
    MODALITIES,
    AggregationRatio,
    Beta,
    ClassToken,
    GumbelTemperature,
    MaskAggregation,
    ModalityNames,
    MultiModalSDTPS,
    ScoreGradient,
    SparseRatio,
    UseGumbel,
    check_modalities,
)
from tokenjax.models.layers import Aux
from tokenjax.models.position_embedding import Places
from tokenjax.models.reduction import EncoderFacts, TakesReduction
from tokenjax.models.reduction.account import Account


class DeMo(TakesReduction):
    """Images by modality (b, h, w, 3) and camera indices (b,) to scores and features.

    Returns a dict of the same structure in every mode:
      "scores": "fused" (b, classes) unless fusion is "none", and "direct", or one by
        the name of each modality with `direct` off;
      "features": "direct" (b, m c), "fused", "concat", as in the module's docstring;
      "globals": by modality (b, c);
      "aux": what MultiModalSDTPS or GeneralFusion gives of the tokens that are left,
        "reduction", by modality what became of the tokens (`reduction.account`), and
        "losses": {}.

    `missing` names modalities that are replaced by zeros. `uniforms`: see
    MultiModalSDTPS. Sizes of 0 are those of `transformer_type`.

    Raises: UserError for arguments that do not fit together, ValueError for inputs.
    """

    num_classes: Annotated[Classes, "identities to tell apart"] = 171
    camera_num: Annotated[int, SIZE, FromData("cameras"), "cameras told apart"] = 4
    image_size: Annotated[
        tuple[int, int], SIZE, FromData("size"), "(height, width) of an image"
    ] = (256, 128)
    transformer_type: Annotated[
        str, OneOf(demo_backbone.TRANSFORMER_TYPES), "the backbone"
    ] = "ViT-B-16"
    stride_size: Annotated[
        tuple[int, int],
        SIZE,
        "pixels from a patch to the next, (down, right); below patch_size they overlap",
    ] = (16, 16)
    patch_size: Annotated[int, COUNT, "pixels a side of a patch; 0: the type's"] = 0
    width: Annotated[int, COUNT, "channels of a token; 0: the type's"] = 0
    depth: Annotated[int, COUNT, "number of blocks; 0: the type's"] = 0
    num_heads: Annotated[int, COUNT, "attention heads of a block; 0: the type's"] = 0
    feat_dim: Annotated[int, COUNT, "channels of a feature; 0: the type's"] = 0
    activation: Annotated[
        Literal["auto", "gelu", "quick_gelu"],
        "between the layers of the backbone's MLPs; auto: the type's",
    ] = "auto"
    sie_camera: Annotated[bool, "an embedding of the camera"] = True
    sie_coe: Annotated[float, NOT_NEGATIVE, "weight of that embedding"] = 1.0
    drop_path: DropPath = 0.1
    direct: Annotated[
        bool, "one score for all modalities together; off: one for each"
    ] = True
    global_local: Annotated[
        bool, "join the mean of its patches to each modality's global vector"
    ] = True
    fusion: Annotated[
        Literal["none", "hdm", "hdm_atm", "sdtps"], "what joins the modalities"
    ] = "sdtps"
    head: Annotated[int, SIZE, 'gate heads, with fusion="hdm_atm"'] = 4
    fusion_dropout: Annotated[
        AttentionDropout, "share of HDM's attention weights set to 0 in training"
    ] = 0.1
    sdtps_sparse_ratio: SparseRatio = 0.5
    sdtps_aggr_ratio: AggregationRatio = 0.4
    sdtps_beta: Beta = 0.25
    sdtps_use_gumbel: UseGumbel = False
    sdtps_gumbel_tau: GumbelTemperature = 1.0
    mask_aggregation: MaskAggregation = "recorded"
    score_gradient: ScoreGradient = "all"
    sdtps_class_token: ClassToken = False
    sdtps_join: Annotated[
        Literal["mean", "reduced_mean", "reduced_tokens"],
        "how SDTPS's tokens of a modality become one vector: their mean, as in the "
        "original; a layer of their mean; a layer of all of them in order",
    ] = "mean"
    modalities: ModalityNames = MODALITIES
    dtype: DType = "float32"
    remat: Remat = False

    def problems(self) -> list[tuple[bool, str]]:
        """Return what the arguments are not to each other, as (wrong, sentence)."""
        sizes = self.sizes()
        counted = demo_backbone.token_grid(self.image_size, self.stride_size)
        return [
            (
                min(self.grid) < 1,
                f"image_size {self.image_size} is less than a patch of "
                f"{sizes.patch_size}",
            ),
            (
                sizes.clip and self.grid != counted,
                f"{self.transformer_type} takes {counted} patches, image_size // "
                f"stride_size, and those of {sizes.patch_size} at stride "
                f"{self.stride_size} are {self.grid}",
            ),
            (
                bool(sizes.width % sizes.num_heads),
                f"width {sizes.width} must divide by num_heads {sizes.num_heads}",
            ),
            (
                self.fusion == "hdm_atm" and bool(sizes.feat_dim % self.head),
                f"feat_dim {sizes.feat_dim} must divide by head {self.head}",
            ),
            (
                self.fusion.startswith("hdm") and len(self.modalities) != 3,
                "HDM pairs three modalities",
            ),
            *demo_reduction.problems(self.written_reduction()),
        ]

    @nn.nowrap
    def facts(self) -> EncoderFacts:
        """Return what a method may know of the backbone."""
        return self.make_backbone(parent=None).facts()

    def sizes(self) -> demo_backbone.BackboneSizes:
        """Return the backbone's sizes."""
        given = {
            "patch_size": self.patch_size,
            "width": self.width,
            "depth": self.depth,
            "num_heads": self.num_heads,
            "feat_dim": self.feat_dim,
            "activation": "" if self.activation == "auto" else self.activation,
        }
        return demo_backbone.backbone_sizes(self.transformer_type, given)

    @property
    def grid(self) -> tuple[int, int]:
        """Return the rows and columns of patches."""
        side = self.sizes().patch_size
        return patch_grid.grid_of(self.image_size, side, self.stride_size)

    def unseen_pixels(self) -> tuple[int, int]:
        """Return the rows and columns that fill no patch, see `contract.Crops`."""
        side = self.sizes().patch_size
        return patch_grid.left_over(self.image_size, side, self.stride_size)

    def parameter_groups(self) -> contract.Groups:
        """Return the groups of its parameters, as `contract.Model` says."""
        groups: dict[str, tuple[str, ...]] = {
            contract.BACKBONE: ("backbone/**",),
            contract.HEAD: ("classifier_*/**",),
            contract.CONSTANT: ("bottleneck_*/bias",),
        }
        if self.sie_camera and self.sizes().clip:
            groups[contract.CAMERAS] = ("cv_embed",)
        elif self.sie_camera and self.camera_num > 1:  # `CameraViT` has none for one
            groups[contract.CAMERAS] = ("backbone/sie_embed",)
        if self.fusion != "none":
            fusion = ["sdtps/**" if self.fusion == "sdtps" else "fusion/**"]
            if self.joins_by_layers():
                fusion += ["*_join/**", "*_join_norm/**"]
            groups[contract.FUSION] = tuple(fusion)
            heads = ("bottleneck_fused/**", "classifier_fused/**")
            groups[contract.FUSED] = (*fusion, *heads)
        return groups

    @nn.nowrap
    def backbone_settings(self) -> dict[str, object]:
        """Return what no shape tells, as `contract.HasBackbone` says."""
        return self.make_backbone().backbone_settings()

    @nn.nowrap
    def places(self) -> dict[str, Places]:
        """Return the layout of its positions, as `contract.KnowsPlaces` says."""
        found = {}
        for path, places in self.make_backbone().places().items():
            collection, _, rest = path.partition("/")
            found[f"{collection}/backbone/{rest}"] = places
        return found

    @nn.nowrap
    def make_backbone(self, **flax: Any) -> demo_backbone.Backbone:
        """Make the module that turns the images of every modality into tokens."""
        return demo_backbone.make_backbone(
            self.sizes(),
            self.image_size,
            self.stride_size,
            self.camera_num if self.sie_camera else 0,
            self.sie_coe,
            self.drop_path,
            self.dtype,
            self.remat,
            self.reduction,
            **{"name": "backbone", **flax},
        )

    def example_inputs(self, batch_size: int) -> tuple[dict, jax.Array]:
        """Return zeros of the shapes that the model takes."""
        images = jnp.zeros((batch_size, *self.image_size, 3), jnp.float32)
        cameras = jnp.zeros(batch_size, jnp.int32)
        return dict.fromkeys(self.modalities, images), cameras

    @nn.compact
    def __call__(
        self,
        images: Mapping[str, jax.Array],
        cameras: jax.Array,
        train: bool = False,
        missing: Sequence[str] = (),
        uniforms: Mapping[str, jax.Array] | None = None,
    ) -> dict[str, Any]:
        """Compute; see the class."""
        images = self._checked(images, cameras, missing)
        tokens, accounts = self._tokens(images, cameras, train)
        patches = {name: value[:, 1:] for name, value in tokens.items()}
        globals_ = {name: value[:, 0] for name, value in tokens.items()}
        if self.global_local:
            globals_ = {
                name: self._global_local(
                    name,
                    globals_[name],
                    demo_reduction.mean_patches(patches[name], accounts[name]),
                )
                for name in self.modalities
            }
        direct = jnp.concatenate([globals_[n] for n in self.modalities], -1)
        fused, aux = self._fuse(patches, globals_, train, uniforms)

        scores = {}
        if self.fusion != "none":
            scores["fused"] = self._score("fused", fused, train)
        if self.direct:
            scores["direct"] = self._score("direct", direct, train)
        else:
            for name in self.modalities:
                scores[name] = self._score(name, globals_[name], train)
        concat = direct
        if self.fusion != "none":
            concat = jnp.concatenate([direct, fused.astype(direct.dtype)], -1)
        features = {"direct": direct, "fused": fused, "concat": concat}
        as_float = functools.partial(jax.tree.map, lambda x: x.astype(jnp.float32))
        return {
            "scores": as_float(scores),
            "features": as_float(features),
            "globals": as_float(globals_),
            "aux": {**aux, "reduction": accounts, "losses": {}},
        }

    def pairs(self, outputs: Mapping[str, Any]) -> dict[str, tuple]:
        """Return (scores, feature) of each part with a loss, by name, fused first."""
        features = {**outputs["globals"], **outputs["features"]}
        scores = outputs["scores"]
        order = ("fused", "direct", *self.modalities)  # a dict through jit is sorted
        names = [name for name in order if name in scores]
        return {name: (scores[name], features[name]) for name in names}

    def joins_by_layers(self) -> bool:
        """Return whether SDTPS's tokens go through layers of `sdtps_join`."""
        return self.fusion == "sdtps" and self.sdtps_join != "mean"

    def selects_tokens(self) -> bool:
        """Return whether this one selects; see `contract.SelectsTokens`."""
        return self.fusion == "sdtps"

    def selection(
        self, outputs: Mapping[str, Any]
    ) -> Mapping[str, contract.ByModality]:
        """Return what was selected, as `contract.SelectsTokens` says."""
        aux = outputs["aux"]
        found: dict[str, dict[str, jax.Array]] = {"mask": {}, "scores": {}}
        found["weights"] = {}
        for name, kept in aux["keep_indices"].items():
            held = demo_reduction.patch_map(aux["reduction"][name])
            for key in ("mask", "scores"):
                found[key][name] = demo_reduction.give_patches(aux[key][name], held)
            count = aux["mask"][name].shape[1]
            weights = demo_reduction.scatter_weights(
                aux["aggregation"][name], kept, count
            )
            found["weights"][name] = demo_reduction.share_weights(weights, held)
        return found

    def _checked(
        self,
        images: Mapping[str, jax.Array],
        cameras: jax.Array,
        missing: Sequence[str],
    ) -> dict[str, jax.Array]:
        """Return all modalities, zeros for the missing ones."""
        unknown = set(missing) - set(self.modalities)
        if unknown or len(set(missing)) == len(self.modalities):
            raise ValueError(
                f"missing must be some of {self.modalities}, got {tuple(missing)}"
            )
        there = {k: v for k, v in images.items() if k not in missing}
        present = tuple(name for name in self.modalities if name not in missing)
        check_modalities("images", there, present)
        for image in there.values():
            layers.check_images(image, (*self.image_size, 3))
            if cameras.shape != image.shape[:1]:
                raise ValueError(
                    "cameras must be one index for each sample, "
                    f"({len(image)},), got {cameras.shape}"
                )
        zeros = jnp.zeros_like(there[present[0]])
        return {name: there.get(name, zeros) for name in self.modalities}

    def _tokens(
        self, images: dict[str, jax.Array], cameras: jax.Array, train: bool
    ) -> tuple[dict[str, jax.Array], dict[str, Account]]:
        """Return by modality the tokens, (b, 1 + n, c), and what became of them."""
        sizes, names = self.sizes(), self.modalities
        together = demo_backbone.side_by_side(images, names)  # (b m, h, w, 3)
        # An index that is not there gives NaN; -1 must not be the last camera.
        cameras = jnp.where(cameras < 0, self.camera_num, cameras)
        repeated = jnp.repeat(cameras, len(names))  # (b m,)
        backbone = self.make_backbone()
        told = repeated if self.sie_camera else None
        if sizes.clip and self.sie_camera:
            init = nn.initializers.truncated_normal(0.02, lower=-100.0, upper=100.0)
            shape = (self.camera_num, 1, sizes.width)
            table = self.param("cv_embed", init, shape)
            told = self.sie_coe * jnp.take(table, repeated, axis=0)
        tokens, aux = backbone(together, told, train=train)
        accounts = demo_backbone.apart(aux["reduction"], names)
        return demo_backbone.apart(tokens, names), accounts

    def _global_local(self, name: str, vector: jax.Array, mean: jax.Array) -> jax.Array:
        """Compute PIFE: QuickGELU(W LN([global; mean of patches])), (b, c)."""
        both = jnp.concatenate([vector, mean], axis=-1)  # (b, 2 c)
        return self._reduce(f"{name}_reduce", both)

    def _join(self, name: str, tokens: jax.Array) -> jax.Array:
        """Turn SDTPS's tokens (b, a, c) of a modality to one vector (b, c)."""
        if self.sdtps_join == "mean":
            return tokens.mean(1)
        if self.sdtps_join == "reduced_mean":
            return self._reduce(f"{name}_join", tokens.mean(1))
        return self._reduce(f"{name}_join", tokens.reshape(len(tokens), -1))

    def _reduce(self, name: str, vectors: jax.Array) -> jax.Array:
        """Compute QuickGELU(W LN(vectors)), (b, c)."""
        dtype = jnp.dtype(self.dtype)
        vectors = layers.LayerNorm(dtype=dtype, name=f"{name}_norm")(vectors)
        linear = layers.Linear(self.sizes().feat_dim, dtype=dtype, name=name)
        return layers.quick_gelu(linear(vectors))

    def _fuse(
        self,
        patches: dict[str, jax.Array],
        globals_: dict[str, jax.Array],
        train: bool,
        uniforms: Mapping[str, jax.Array] | None,
    ) -> tuple[jax.Array, Aux]:
        """Return the fused feature (b, m c or 7 c), and aux."""
        names = self.modalities
        if self.fusion == "none":
            return jnp.concatenate([globals_[name] for name in names], -1), {}
        if self.fusion == "sdtps":
            enhanced, aux = self.make_sdtps()(patches, globals_, train, uniforms)
            joined = [self._join(name, enhanced[name]) for name in names]
            return jnp.concatenate(joined, axis=-1), aux
        sequences = {
            name: jnp.concatenate([globals_[name][:, None], patches[name]], 1)
            for name in names
        }  # (b, 1 + n, c)
        return self.make_fusion()(sequences, train=train)

    @nn.nowrap
    def make_sdtps(self) -> MultiModalSDTPS:
        """Make the selection that this model has, or would have with fusion "sdtps"."""
        # As the original counts them: fewer there are where patches overlap.
        rows, columns = demo_backbone.token_grid(self.image_size, self.stride_size)
        return MultiModalSDTPS(
            embed_dim=self.sizes().feat_dim,
            num_patches=rows * columns,
            sparse_ratio=self.sdtps_sparse_ratio,
            aggr_ratio=self.sdtps_aggr_ratio,
            use_gumbel=self.sdtps_use_gumbel,
            gumbel_tau=self.sdtps_gumbel_tau,
            beta=self.sdtps_beta,
            modalities=self.modalities,
            mask_aggregation=self.mask_aggregation,
            score_gradient=self.score_gradient,
            class_token=self.sdtps_class_token,
            dtype=self.dtype,
            name="sdtps",
        )

    @nn.nowrap
    def make_fusion(self) -> GeneralFusion:
        """Make HDM and ATMoE, likewise."""
        return GeneralFusion(
            feat_dim=self.sizes().feat_dim,
            head=self.head,
            hdm=True,
            atm=self.fusion == "hdm_atm",
            modalities=self.modalities,
            dropout=self.fusion_dropout,
            dtype=self.dtype,
            name="fusion",
        )

    def _score(self, name: str, feature: jax.Array, train: bool) -> jax.Array:
        """Return classifier(BatchNorm(feature)), (b, classes); the neck's bias is 0."""
        dtype = jnp.dtype(self.dtype)
        neck = layers.BatchNorm(
            dtype=dtype, learn_bias=False, name=f"bottleneck_{name}"
        )
        classifier = nn.Dense(
            self.num_classes,
            use_bias=False,
            kernel_init=nn.initializers.normal(0.001),
            dtype=dtype,
            name=f"classifier_{name}",
        )
        return classifier(neck(feature, train))
