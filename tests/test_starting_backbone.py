"""A run that starts from a converted backbone."""

import jax
import numpy as np
import pytest
from helpers.reid_tasks import SIZE, load, make

from tokenjax import convert, models, storage
from tokenjax.data.people import synthetic_reid
from tokenjax.errors import CheckpointError
from tokenjax.starting_backbone import start_with_backbone
from tokenjax.training.initialize import with_variables
from tokenjax.training.state import make_init

DEVICE = jax.sharding.SingleDeviceSharding(jax.devices()[0])
CLIP = {
    "h_resolution": 4,
    "w_resolution": 2,
    "patch_size": 8,
    "stride_size": (8, 8),
    "width": 16,
    "layers": 1,
    "heads": 2,
    "output_dim": 16,
}
IMAGENET = {"transformer_type": "vit_base_patch16_224", "feat_dim": 0}
CAMERA = {  # the same network by itself, without cameras
    "img_size": (32, 16),
    "patch_size": 8,
    "stride_size": (8, 8),
    "embed_dim": 16,
    "depth": 1,
    "num_heads": 2,
    "qkv_bias": True,
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    path = tmp_path_factory.mktemp("reid") / "set"
    synthetic_reid.generate(path, 8, images_per_camera=2, cameras=3, **SIZE)
    return load(path)


def converted(path, name, arguments):
    """What `tokenjax.convert` writes of weights drawn anew; and those weights."""
    model = models.create(name, **arguments)
    variables = jax.jit(model.init)(jax.random.key(5), *model.example_inputs(1))
    weights = convert.from_torch(model, convert.to_torch(model, variables))
    storage.save_variables(path, weights, {"model": {"name": name}})
    return weights["params"]


def new(dataset, source, model=None, **more):
    """The task, and the function that makes its state."""
    task = make(dataset, {"backbone_from": str(source)}, model, **more)
    optimizer, _ = task.optimizer()
    return task, make_init(task, optimizer, task.settings)


def started(dataset, source, *arguments, **more):
    """A new run's state before and after it has the backbone."""
    task, init = new(dataset, source, *arguments, **more)
    state = jax.jit(init)(jax.random.key(0))
    own = {"params": state.params, **state.model_state}
    variables = start_with_backbone(own, task.model, str(source))
    return state, with_variables(state, variables, DEVICE)


def refusal(dataset, source, *arguments) -> str:
    task, init = new(dataset, source, *arguments)
    state = jax.eval_shape(init, jax.random.key(0))
    own = {"params": state.params, **state.model_state}
    with pytest.raises(CheckpointError) as error:
        start_with_backbone(own, task.model, str(source))
    return str(error.value)


def test_a_new_run_has_the_converted_backbone_and_all_else_of_its_own(
    tmp_path, dataset
):
    weights = converted(tmp_path / "clip", "clip_vit", CLIP)
    before, after = started(dataset, tmp_path / "clip", ema_decay=0.9)
    jax.tree.map(np.testing.assert_array_equal, after.params["backbone"], weights)
    assert not np.array_equal(
        before.params["backbone"]["proj"]["kernel"], weights["proj"]["kernel"]
    )
    for name in before.params.keys() - {"backbone"}:
        jax.tree.map(
            np.testing.assert_array_equal, after.params[name], before.params[name]
        )
    jax.tree.map(np.testing.assert_array_equal, after.ema_params, after.params)
    assert jax.tree.structure(after) == jax.tree.structure(before)
    for leaf in jax.tree.leaves(after.params["backbone"]):
        assert isinstance(leaf, jax.Array)
        assert leaf.dtype == np.float32


def test_the_cameras_embedding_stays_the_runs_own(tmp_path, dataset):
    weights = converted(tmp_path / "vit", "camera_vit", CAMERA)
    assert "sie_embed" not in weights
    before, after = started(dataset, tmp_path / "vit", IMAGENET)
    found = dict(after.params["backbone"])
    embedding = found.pop("sie_embed")
    np.testing.assert_array_equal(embedding, before.params["backbone"]["sie_embed"])
    jax.tree.map(np.testing.assert_array_equal, found, weights)


def test_an_embedding_of_other_cameras_is_refused(tmp_path, dataset):
    converted(tmp_path / "vit", "camera_vit", CAMERA | {"camera": 7})
    message = refusal(dataset, tmp_path / "vit", IMAGENET)
    assert "sie_embed is (7, 1, 16), the model's is (4, 1, 16)" in message


def test_weights_of_another_network_are_listed(tmp_path, dataset):
    other = CLIP | {"layers": 2, "output_dim": 8, "h_resolution": 5}
    converted(tmp_path / "clip", "clip_vit", other)
    message = refusal(dataset, tmp_path / "clip")
    assert message.startswith(f"reid.backbone_from {tmp_path / 'clip'}: ")
    assert "unexpected: " in message
    assert "missing: " not in message
    for path, shape, own in (
        ("positional_embedding", (11, 16), (9, 16)),
        ("proj/kernel", (16, 8), (16, 16)),
    ):
        assert f"{path} is {shape}, the model's is {own}" in message


def test_what_is_no_checkpoint_is_refused(tmp_path, dataset):
    message = refusal(dataset, tmp_path / "nowhere")
    assert message.startswith(f"reid.backbone_from {tmp_path / 'nowhere'}: ")
    assert "holds no converted checkpoint" in message


def test_what_a_t2t_vit_has_besides_parameters_comes_with_it(tmp_path, dataset):
    sizes = {"embed_dim": 16, "depth": 1, "num_heads": 2}
    arguments = {"img_size": (32, 16), "camera": 4, **sizes}
    model = models.create("t2t_vit_t_14", **arguments)
    variables = jax.jit(model.init)(jax.random.key(5), *model.example_inputs(1))
    shifted = jax.tree.map(lambda leaf: leaf + 1.0, variables)
    storage.save_variables(tmp_path / "t2t", shifted, {"model": {}})
    own = {"transformer_type": "t2t_vit_t_14", "stride_size": (16, 16)}
    own |= {"patch_size": 16, "feat_dim": 16}
    before, after = started(dataset, tmp_path / "t2t", own)
    found = after.model_state["constants"]["backbone"]["pos_embed"]
    np.testing.assert_array_equal(found, shifted["constants"]["pos_embed"])
    kept = before.model_state["batch_stats"], after.model_state["batch_stats"]
    jax.tree.map(np.testing.assert_array_equal, *kept)


def placed(path, grid, metadata):
    """A converted CLIP whose position of patch (i, j) is (i, j, 0, ...)."""
    rows, columns = grid
    arguments = CLIP | {"h_resolution": rows, "w_resolution": columns}
    model = models.create("clip_vit", **arguments)
    weights = jax.jit(model.init)(jax.random.key(5), *model.example_inputs(1))
    positions = np.zeros((1 + rows * columns, 16), np.float32)
    positions[1:, :2] = [(i, j) for i in range(rows) for j in range(columns)]
    weights["params"]["positional_embedding"] = positions
    stored = {"model": {"name": "clip_vit", **arguments}} | metadata
    storage.save_variables(path, weights, stored)


@pytest.mark.parametrize(
    "metadata", [{}, {"grid": [2, 4]}, {"model": {}, "grid": [2, 4]}]
)
def test_as_many_positions_of_another_grid_are_turned(tmp_path, dataset, metadata):
    """The run's patches are 4 x 2, the backbone was converted for 2 x 4."""
    placed(tmp_path / "clip", (2, 4), metadata)
    _, after = started(dataset, tmp_path / "clip")
    found = np.asarray(after.params["backbone"]["positional_embedding"])[1:, :2]
    down = [[0, 0], [0.25, 0.25], [0.75, 0.75], [1, 1]]
    across = [[0.5, 2.5]] * 4
    np.testing.assert_allclose(found[:, 0].reshape(4, 2), down, atol=1e-6)
    np.testing.assert_allclose(found[:, 1].reshape(4, 2), across, atol=1e-6)


def test_positions_of_a_smaller_grid_are_resized(tmp_path, dataset):
    placed(tmp_path / "clip", (2, 2), {})
    _, after = started(dataset, tmp_path / "clip")
    found = np.asarray(after.params["backbone"]["positional_embedding"])
    assert found.shape == (9, 16)
    np.testing.assert_allclose(found[[1, 2, 7, 8], 1], [0, 1, 0, 1], atol=1e-6)


@pytest.mark.parametrize(
    ("name", "value", "own"), [("heads", 4, 2), ("activation", "gelu", "quick_gelu")]
)
def test_what_no_shape_tells_of_a_backbone_must_agree(
    tmp_path, dataset, name, value, own
):
    converted_for = {"name": "clip_vit", **CLIP, name: value}
    placed(tmp_path / "clip", (4, 2), {"model": converted_for, "grid": [4, 2]})
    message = refusal(dataset, tmp_path / "clip")
    assert f"{name} is {value}, and this run's is {own}" in message
