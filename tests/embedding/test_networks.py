"""The networks have the paper's layers, and the crops are those that a slow loop cuts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tenpercent.embedding.augment import Crops, View, channel_statistics
from tenpercent.embedding.networks import ResNet, TimmResNet, build, checked_depth
from tenpercent.errors import UsageError

Bytes = npt.NDArray[np.uint8]


class Images:
    """Images in memory, in the place of `pixels.Pixels`."""

    def __init__(self, array: Bytes) -> None:
        self.array = array
        self.size = (array.shape[1], array.shape[2])

    def __len__(self) -> int:
        return len(self.array)

    def batches(self, order: Iterable[npt.NDArray[np.int64]]) -> Iterator[torch.Tensor]:
        for places in order:
            yield torch.from_numpy(self.array[places]).permute(0, 3, 1, 2)


def noise(count: int, height: int, width: int) -> Bytes:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("depth", [8, 14, 32, 110])
def test_a_network_of_depth_6n_plus_2_has_that_many_layers(depth: int) -> None:
    network = ResNet(depth, 10)
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    assert len(convolutions) + 1 == depth  # and the classifier


def test_the_default_network_has_the_papers_size() -> None:
    network = build(None, 32, 10, (32, 32))
    assert sum(weights.numel() for weights in network.parameters()) == 466_714  # 0.46 M in He et al., 2016
    assert network.widths == {"start": 16, "middle": 32, "end": 64}


@pytest.mark.parametrize(
    ("depth", "offered"), [(33, "32 or 38"), (31, "26 or 32"), (2, "8"), (0, "8"), (-5, "8")]
)
def test_another_depth_is_refused_with_the_nearest(depth: int, offered: str) -> None:
    with pytest.raises(UsageError, match=f"depth is {depth};.* use {offered}$"):
        checked_depth(depth)


@pytest.mark.parametrize("size", [(8, 8), (9, 17), (64, 48)])
def test_the_layers_lie_where_the_paper_says(size: tuple[int, int]) -> None:
    network = ResNet(8, 5).eval()
    images = torch.randn(2, 3, *size)
    with torch.no_grad():
        layers = network.features(images)
        stem = network.stem(images)
        second = network.stages[1](network.stages[0](stem))
        assert torch.equal(layers["start"], stem.mean((2, 3)))
        assert torch.equal(layers["middle"], second.mean((2, 3)))
        assert torch.equal(network(images), network.classifier(layers["end"]))
    assert {name: found.shape[1] for name, found in layers.items()} == network.widths
    assert bool((layers["end"] >= 0).all())  # after the last ReLU


def test_weights_start_as_he_et_al_draw_them() -> None:
    torch.manual_seed(0)
    weights = ResNet(14, 10).stages[2][1].conv2.weight
    assert float(weights.detach().std()) == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.05)


def test_larger_images_get_a_network_of_timm_with_the_same_layers() -> None:
    network = build(None, 32, 7, (256, 256)).eval()
    assert isinstance(network, TimmResNet)
    assert network.widths == {"start": 64, "middle": 512, "end": 2048}
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        layers = network.features(images)
        logits = network.body.get_classifier()(layers["end"][:, :, None, None]).flatten(1)
        torch.testing.assert_close(logits, network(images))
    assert {name: found.shape[1] for name, found in layers.items()} == network.widths


def test_an_unknown_network_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(UsageError, match=r"no network 'resnetv2-50'; did you mean .*resnetv2_50"):
        build("resnetv2-50", 32, 10, (32, 32))
    with pytest.raises(UsageError, match="no network 'vgg1x'"):
        build("vgg1x", 32, 10, (32, 32))


def slow_crops(images: Bytes, view: View, crops: Crops) -> npt.NDArray[np.float64]:
    """Pad, cut, mirror and normalise one image after the other."""
    cut = []
    pad, (height, width) = view.pad, view.crop
    for image, top, left, flip in zip(images, crops.top, crops.left, crops.flip, strict=True):
        wide = np.pad(image, ((pad, pad), (pad, pad), (0, 0)), mode="reflect")
        found = wide[top + pad : top + pad + height, left + pad : left + pad + width]
        cut.append(found[:, ::-1] if flip else found)
    return (np.stack(cut) - np.array(view.mean)) / np.array(view.std)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 6), st.integers(3, 12), st.integers(3, 12), st.integers(0, 2), st.integers(0, 2), st.data()
)
def test_crops_are_those_of_a_slow_loop(
    count: int, height: int, width: int, pad: int, less: int, data: st.DataObject
) -> None:
    images = noise(count, height, width)
    view = View((1.0, 120.0, 7.0), (3.0, 70.0, 1.0), (height - less, width - less), pad)
    crops = view.draw(np.random.default_rng(data.draw(st.integers(0, 99))), count, (height, width))
    found = view.varied(torch.from_numpy(images).permute(0, 3, 1, 2), crops)
    assert found.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(found.permute(0, 2, 3, 1).numpy(), slow_crops(images, view, crops), atol=1e-4)


def test_crops_reach_every_place_and_every_other_image_is_mirrored() -> None:
    crops = View((0, 0, 0), (1, 1, 1), (32, 32), 4).draw(np.random.default_rng(0), 4000, (32, 32))
    assert set(crops.top.tolist()) == set(range(-4, 5))
    assert set(crops.left.tolist()) == set(range(-4, 5))
    assert 0.45 < crops.flip.mean() < 0.55


def test_parts_of_a_batch_are_cut_as_the_whole_is() -> None:
    images = torch.from_numpy(noise(7, 8, 8)).permute(0, 3, 1, 2)
    view = View((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (8, 8), 1)
    crops = view.draw(np.random.default_rng(1), 7, (8, 8))
    parts = [view.varied(images[part], crops.part(part)) for part in (slice(0, 3), slice(3, 7))]
    assert torch.equal(torch.cat(parts), view.varied(images, crops))


def test_the_view_depends_on_the_size_and_comes_back_from_json() -> None:
    small = View.of(Images(noise(3, 32, 48)))
    assert (small.crop, small.pad) == ((32, 48), 4)
    large = View.of(Images(noise(2, 256, 256)))
    assert (large.crop, large.pad) == ((224, 224), 0)
    assert View.from_json(large.as_json()) == large


def test_mean_and_deviation_are_those_of_the_data() -> None:
    array = noise(600, 4, 5)
    array[..., 1] //= 2
    mean, std = channel_statistics(Images(array))
    np.testing.assert_allclose(mean, array.mean((0, 1, 2)))
    np.testing.assert_allclose(std, array.std((0, 1, 2)))
    assert channel_statistics(Images(np.full((3, 4, 4, 3), 9, np.uint8))) == ((9.0,) * 3, (1.0,) * 3)


def test_the_plain_view_is_the_centre() -> None:
    array = noise(2, 10, 11)
    found = View((0.0,) * 3, (1.0,) * 3, (6, 7), 0).plain(torch.from_numpy(array).permute(0, 3, 1, 2))
    np.testing.assert_array_equal(found.permute(0, 2, 3, 1).numpy(), array[:, 2:8, 2:9])
