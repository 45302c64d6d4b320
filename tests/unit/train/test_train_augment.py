# SPDX-License-Identifier: Apache-2.0
"""Variation of pictures against numpy's rolls and a naive bilinear turn."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance

from fireforge.base.trial import Augment
from fireforge.train.augment import DRAWS, Moment, mix, vary


@dataclass(frozen=True, kw_only=True)
class Fixed(Moment):
    """A moment whose draws are given; 0.5, the middle of every range, where they are not."""

    given: dict[str, float]

    def draw(self, name: str) -> torch.Tensor:
        assert name in DRAWS
        return torch.full((len(self.ids),), self.given.get(name, 0.5))


def fixed(count: int, *, epoch: int = 0, **given: float) -> Fixed:
    return Fixed(seed=0, epoch=epoch, ids=np.arange(count), given=given)


def pictures(count: int = 3, channels: int = 2, height: int = 6, width: int = 9) -> torch.Tensor:
    numbers = np.random.default_rng(1).integers(0, 256, (count, channels, height, width))
    return torch.from_numpy(numbers.astype(np.float32))


def test_no_variation_is_the_very_same_picture() -> None:
    x = pictures()
    assert torch.equal(vary(x, Augment(), fixed(3)), x)


def test_amounts_that_come_to_nothing_give_the_picture_back() -> None:
    """Up to 1e-3 of 255: grid_sample computes positions in [-1, 1] in float32, about 1e-6 of a pixel off, and blends
    with a neighbour that may differ by 255."""
    x = pictures()
    found = vary(x, Augment(shift_px=3.0, rotate_deg=30.0, scale=0.4), fixed(3))
    np.testing.assert_allclose(found, x, rtol=0, atol=1e-3)


@pytest.mark.parametrize(("name", "axis"), [("dx", 3), ("dy", 2)])
@pytest.mark.parametrize("way", [-1, 1])
def test_a_shift_by_one_pixel_is_numpys_roll_with_the_border_repeated(name: str, axis: int, way: int) -> None:
    x = pictures()
    # the input is read at x + 1 for way = +1, so the picture moves by -1
    found = vary(x, Augment(shift_px=2.0), fixed(3, **{name: 0.75 if way > 0 else 0.25}))
    wanted = np.roll(x.numpy(), -way, axis=axis)
    edge = [slice(None)] * 4
    edge[axis] = slice(-1, None) if way > 0 else slice(0, 1)
    wanted[tuple(edge)] = x.numpy()[tuple(edge)]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-3)  # positions in float32, see above


def naive_affine(picture: np.ndarray, *, degrees: float, size: float) -> np.ndarray:
    """Bilinear, border repeated; positions in pixels about the middle of the picture."""
    height, width = picture.shape
    turn, out = math.radians(degrees), np.zeros((height, width))
    for row in range(height):
        for column in range(width):
            x, y = column - (width - 1) / 2, row - (height - 1) / 2
            u = (math.cos(turn) * x - math.sin(turn) * y) / size + (width - 1) / 2
            v = (math.sin(turn) * x + math.cos(turn) * y) / size + (height - 1) / 2
            u, v = min(max(u, 0), width - 1), min(max(v, 0), height - 1)
            left, top = int(u), int(v)
            right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
            a, b = u - left, v - top
            upper = picture[top, left] * (1 - a) + picture[top, right] * a
            lower = picture[bottom, left] * (1 - a) + picture[bottom, right] * a
            out[row, column] = upper * (1 - b) + lower * b
    return out


@pytest.mark.parametrize(("degrees", "size"), [(20.0, 1.0), (-33.0, 1.0), (0.0, 1.25), (12.0, 0.75), (90.0, 1.0)])
def test_turn_and_size_equal_a_naive_bilinear_loop_on_a_picture_that_is_not_square(degrees: float, size: float) -> None:
    x = pictures(1, 1, 5, 8)
    amount = Augment(rotate_deg=90.0, scale=0.5)
    found = vary(x, amount, fixed(1, turn=(degrees / 90 + 1) / 2, size=((size - 1) / 0.5 + 1) / 2))
    wanted = naive_affine(x[0, 0].numpy().astype(np.float64), degrees=degrees, size=size)
    np.testing.assert_allclose(found[0, 0], wanted, rtol=0, atol=5e-3)  # float32 positions times contrast of 255


def test_a_quarter_turn_of_a_square_is_numpys_rot90() -> None:
    x = pictures(1, 1, 4, 4)
    found = vary(x, Augment(rotate_deg=90.0), fixed(1, turn=1.0))
    np.testing.assert_allclose(found[0, 0], np.rot90(x[0, 0].numpy(), 1), rtol=0, atol=1e-3)


def test_the_mirror_is_numpys_flip_for_draws_below_one_half() -> None:
    x = pictures()
    np.testing.assert_allclose(vary(x, Augment(flip=True), fixed(3, flip=0.49)), x.numpy()[..., ::-1], atol=1e-3)
    np.testing.assert_allclose(vary(x, Augment(flip=True), fixed(3, flip=0.5)), x, atol=1e-3)


def test_each_sample_is_mirrored_in_every_second_epoch() -> None:
    """Half of 2,000 samples begin with their mirror (five standard errors of 22), and every one takes turns."""
    found = [Moment(seed=3, epoch=epoch, ids=np.arange(2000)).mirrored() for epoch in range(5)]
    assert abs(int(found[0].sum()) - 1000) < 112
    for epoch in range(4):
        assert torch.equal(found[epoch + 1], ~found[epoch])
    x = pictures()
    np.testing.assert_allclose(vary(x, Augment(flip=True), fixed(3, epoch=7, flip=0.1)), x, atol=1e-3)


def test_cutout_sets_a_square_to_the_pictures_own_mean_by_a_naive_loop() -> None:
    x = pictures(2, 3, 6, 9)
    found = vary(x, Augment(cutout_px=4), fixed(2, cut_x=0.5, cut_y=0.0)).numpy()
    wanted = x.numpy().copy()
    # middle column 4.5 gives columns 2.5 to 6.5, so 3, 4, 5, 6; the middle row 0 gives rows -2 to 1, so 0 and 1
    for n in range(2):
        for c in range(3):
            for row in (0, 1):
                for column in (3, 4, 5, 6):
                    wanted[n, c, row, column] = x[n, c].numpy().mean()
    np.testing.assert_allclose(found, wanted, rtol=1e-6)  # a float32 mean of 54 numbers


def test_mixup_is_equation_1_and_targets_keep_the_sum_1() -> None:
    x = pictures(8, 1, 4, 4)
    targets = torch.eye(8)
    moment = Moment(seed=3, epoch=2, ids=np.arange(40, 48))
    inputs, blended = mix(x, targets, Augment(mixup=0.7), moment)
    np.testing.assert_allclose(blended.sum(dim=1), np.ones(8), rtol=1e-6)  # float32 sum of two shares
    assert bool(((blended > 0) & (blended < 1)).any())
    # the targets of the identity tell share and partner of each row: the inputs must be blended alike
    np.testing.assert_allclose(inputs.flatten(1), blended @ x.flatten(1), rtol=1e-4)
    again, _ = mix(x, targets, Augment(mixup=0.7), moment)
    assert torch.equal(again, inputs)
    other, _ = mix(x, targets, Augment(mixup=0.7), Moment(seed=3, epoch=3, ids=moment.ids))
    assert not torch.equal(other, inputs)


def test_mixups_share_has_the_mean_and_variance_of_beta() -> None:
    """Beta(a, a) has mean 1/2 and variance 1 / (4 (2a + 1)); 600 draws, tolerance 4 standard errors."""
    alpha, count = 0.5, 600
    x, targets = torch.tensor([[[[0.0]]], [[[1.0]]]]), torch.eye(2)
    shares = []
    for epoch in range(4 * count):
        _, blended = mix(x, targets, Augment(mixup=alpha), Moment(seed=1, epoch=epoch, ids=np.array([7, 9])))
        if not torch.equal(blended, targets):  # the partner is the other one
            shares.append(float(blended[0, 0]))
    variance = 1 / (4 * (2 * alpha + 1))
    assert len(shares) > count
    assert np.mean(shares) == pytest.approx(0.5, abs=4 * math.sqrt(variance / len(shares)))
    assert np.var(shares) == pytest.approx(variance, abs=4 * variance / math.sqrt(len(shares)))


ALL = Augment(shift_px=2.0, rotate_deg=20.0, scale=0.2, flip=True, cutout_px=3)


def test_a_samples_variation_depends_on_seed_epoch_and_id_alone() -> None:
    """The same sample alone, in another order and in another company: float32 to 1e-3 of 255, since the batch's size
    may choose another kernel."""
    x, ids = pictures(6), np.array([5, 900, 2, 77, 31, 8])
    whole = vary(x, ALL, Moment(seed=4, epoch=1, ids=ids))
    order = [3, 0, 5]
    part = vary(x[order], ALL, Moment(seed=4, epoch=1, ids=ids[order]))
    np.testing.assert_allclose(part, whole[order], rtol=0, atol=1e-3)
    single = vary(x[2:3], ALL, Moment(seed=4, epoch=1, ids=ids[2:3]))
    np.testing.assert_allclose(single[0], whole[2], rtol=0, atol=1e-3)


@pytest.mark.parametrize("other", [{"seed": 5}, {"epoch": 2}, {"ids": np.array([6])}])
def test_another_seed_epoch_or_id_varies_otherwise(other: dict[str, object]) -> None:
    x = pictures(1)
    first = vary(x, ALL, Moment(seed=4, epoch=1, ids=np.array([5])))
    second = vary(x, ALL, Moment(**{"seed": 4, "epoch": 1, "ids": np.array([5]), **other}))  # type: ignore[arg-type]
    assert float((first - second).abs().max()) > 1


def test_shifts_alone_are_whole_pixels_within_the_amount() -> None:
    """A ramp of slope 1 a pixel tells each sample's shift: of at most 2.4 px those from -2 to 2, each about as often;
    the shares of 2,000 samples are 1/4.8 but the ends' 0.9/4.8 (five standard errors are 0.046)."""
    ramp = torch.arange(32.0).expand(2000, 1, 3, 32)
    moved = vary(ramp, Augment(shift_px=2.4), Moment(seed=0, epoch=0, ids=np.arange(2000)))
    shift = (moved - ramp)[:, 0, 1, 16]
    assert float((shift - shift.round()).abs().max()) < 1e-3  # float32 positions
    for px in range(-2, 3):
        share = float((shift.round() == px).float().mean())
        assert share == pytest.approx((0.9 if abs(px) == 2 else 1.0) / 4.8, abs=0.046)


def test_draws_stay_within_the_amounts() -> None:
    """A ramp of slope 1 a pixel tells each sample's shift where pictures are turned by next to nothing too; 2,000
    samples, none beyond 2 px, both ends nearly met."""
    ramp = torch.arange(32.0).expand(2000, 1, 3, 32)
    how = Augment(shift_px=2.0, rotate_deg=1e-9)
    moved = vary(ramp, how, Moment(seed=0, epoch=0, ids=np.arange(2000)))
    shift = (moved - ramp)[:, 0, 1, 16]
    assert float(shift.abs().max()) <= 2.0 + 1e-3  # float32 positions
    assert float(shift.min()) < -1.98
    assert float(shift.max()) > 1.98


def test_a_crop_is_the_slice_of_the_larger_picture_computed_by_hand() -> None:
    """A quarter of the area, as wide as high: half of each side of 16 px, 8 px, which the input has too, so that no
    blending is needed; the centre moves over the whole room that is left."""
    x = pictures(2, 3, 16, 16)
    augment = Augment(crop_area=0.25)
    for dx, dy, columns, rows in (
        (0.0, 0.0, slice(0, 8), slice(0, 8)),
        (1.0, 0.0, slice(8, 16), slice(0, 8)),
        (0.5, 1.0, slice(4, 12), slice(8, 16)),
        (0.25, 0.75, slice(2, 10), slice(6, 14)),
    ):
        found = vary(x, augment, fixed(2, area=0.0, dx=dx, dy=dy), size=(8, 8))
        np.testing.assert_allclose(found, x[:, :, rows, columns], rtol=0, atol=1e-3)  # positions in float32, see above


def test_a_crop_of_four_to_three_and_the_whole_picture_by_hand() -> None:
    """3/4 of the area at 4 to 3 is the whole width and 3/4 of the height: rows 2 to 14 of 16. All of the area at 4 to 3
    would be wider than the picture: the width is held at 1."""
    x = pictures(1, 1, 16, 16)
    found = vary(x, Augment(crop_area=0.5), fixed(1, area=0.5, aspect=1.0), size=(12, 16))
    np.testing.assert_allclose(found, x[:, :, 2:14], rtol=0, atol=2e-3)  # the square root of 4/3 in float32
    whole = vary(x, Augment(crop_area=0.5), fixed(1, area=1.0))
    np.testing.assert_allclose(whole, x, rtol=0, atol=1e-3)


def test_a_mirrored_crop_is_numpys_flip_of_the_crop() -> None:
    x = pictures(2, 1, 16, 16)
    plain = vary(x, Augment(crop_area=0.25), fixed(2, area=0.0, dx=0.25), size=(8, 8))
    mirrored = vary(x, Augment(crop_area=0.25, flip=True), fixed(2, area=0.0, dx=0.25, flip=0.1), size=(8, 8))
    np.testing.assert_allclose(mirrored, plain.numpy()[..., ::-1], rtol=0, atol=1e-3)


def test_crops_never_leave_the_picture_and_take_the_area_that_is_promised() -> None:
    """Ramps along both sides tell each crop's edges: the first and last pixel's position, half a step within. 2,000
    samples; areas lie within 0.35 and 1 where the aspect did not meet the picture's border, and spread over it."""
    side, out = 64, 32
    ramp = torch.arange(side, dtype=torch.float32) + 0.5
    x = torch.stack([ramp.expand(side, side), ramp[:, None].expand(side, side)]).expand(2_000, 2, side, side)
    found = vary(x, Augment(crop_area=0.35), Moment(seed=2, epoch=3, ids=np.arange(2_000)), size=(out, out))
    wide = (found[:, 0, 16, -2] - found[:, 0, 16, 1]) * out / (out - 3)  # within the border, where nothing repeats
    high = (found[:, 1, -2, 16] - found[:, 1, 1, 16]) * out / (out - 3)
    left = found[:, 0, 16, 1] - 1.5 * wide / out
    top = found[:, 1, 1, 16] - 1.5 * high / out
    for start, length in ((left, wide), (top, high)):
        assert float(start.min()) > -0.05  # float32 positions times 64 px
        assert float((start + length).max()) < side + 0.05
    area = wide * high / side**2
    assert float(area.max()) < 1.001
    free = (wide < side - 0.1) & (high < side - 0.1)
    assert float(area[free].min()) > 0.349
    assert float(area.min()) < 0.37
    assert float((wide / high).max()) == pytest.approx(4 / 3, abs=0.01)
    assert float((wide / high).min()) == pytest.approx(3 / 4, abs=0.01)


def enhanced(picture: np.ndarray, enhancer: object, factor: float) -> np.ndarray:
    """What Pillow makes of uint8 (C, H, W)."""
    image = Image.fromarray(picture.transpose(1, 2, 0).squeeze())
    found = np.asarray(enhancer(image).enhance(factor))  # type: ignore[operator]
    return found[None] if found.ndim == 2 else found.transpose(2, 0, 1)


@pytest.mark.parametrize("draw", [0.0, 0.2, 0.8, 1.0])
@pytest.mark.parametrize(
    ("name", "enhancer", "channels"),
    [
        ("brightness", ImageEnhance.Brightness, 3),
        ("brightness", ImageEnhance.Brightness, 1),
        ("saturation", ImageEnhance.Color, 3),
        ("contrast", ImageEnhance.Contrast, 1),
    ],
)
def test_colours_equal_pillows(name: str, enhancer: object, channels: int, draw: float) -> None:
    """To 1.5 of 255: Pillow rounds its gray picture, its mean and its result to whole numbers. Its contrast of coloured
    pictures turns about the mean of the gray picture, where ours takes that of all values; so that is for gray."""
    x = pictures(1, channels, 9, 11)
    found = vary(x, Augment(colour=0.4), fixed(1, **{name: draw}))
    wanted = enhanced(x[0].numpy().astype(np.uint8), enhancer, 1 + (draw * 2 - 1) * 0.4)
    np.testing.assert_allclose(found[0], wanted, rtol=0, atol=1.5)
    assert float(found.min()) >= 0
    assert float(found.max()) <= 255


def test_gray_pictures_have_no_saturation_and_one_colour_no_contrast() -> None:
    x = pictures(2, 1)
    np.testing.assert_allclose(vary(x, Augment(colour=0.4), fixed(2, saturation=0.0)), x, rtol=0, atol=1e-3)
    flat = torch.full((1, 3, 4, 4), 100.0)
    np.testing.assert_allclose(vary(flat, Augment(colour=0.4), fixed(1, contrast=1.0)), flat, rtol=1e-6)


PHOTOGRAPHS = Augment(crop_area=0.35, flip=True, colour=0.3, rotate_deg=10.0)


def test_crops_and_colours_depend_on_seed_epoch_and_id_alone() -> None:
    """As above, in another order and in another company, to 1e-3 of 255."""
    x, ids = pictures(6, 3, 24, 24), np.array([5, 900, 2, 77, 31, 8])
    whole = vary(x, PHOTOGRAPHS, Moment(seed=4, epoch=1, ids=ids), size=(16, 16))
    order = [3, 0, 5]
    part = vary(x[order], PHOTOGRAPHS, Moment(seed=4, epoch=1, ids=ids[order]), size=(16, 16))
    np.testing.assert_allclose(part, whole[order], rtol=0, atol=1e-3)
    for other in (Moment(seed=5, epoch=1, ids=ids), Moment(seed=4, epoch=2, ids=ids)):
        assert float((vary(x, PHOTOGRAPHS, other, size=(16, 16)) - whole).abs().mean()) > 5


def test_every_amount_has_a_draw_of_its_own() -> None:
    """Of 4,000 samples no two draws are correlated by more than 5 standard errors, 5 / sqrt(4,000) = 0.08."""
    moment = Moment(seed=1, epoch=0, ids=np.arange(4_000))
    draws = np.stack([moment.draw(name).numpy() for name in DRAWS])
    correlations = np.corrcoef(draws) - np.eye(len(DRAWS))
    assert np.abs(correlations).max() < 0.08
