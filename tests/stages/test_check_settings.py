"""Wrong settings are refused before a stage runs, with the message of that stage."""

from pathlib import Path

import pytest

from stages.check_settings import main

ROOT = Path(__file__).parents[2]
PARAMS = (ROOT / "params.yaml").read_text()


def test_the_settings_of_the_repository_pass(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--params", str(ROOT / "params.yaml")])
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "learning_rate: 1e-3",
            "lerning_rate: 1e-3",
            "train.lerning_rate: unknown key (did you mean 'learning",
        ),
        ("batch_size: 4", "batch_size: 0", "train.batch_size is 0; give at least 1"),
        (
            "schedule: cosine",
            "schedule: step\n  step_epochs: [6]",
            "train.step_epochs is [6], but train.epochs is 6; give",
        ),
        ("batch_size: 4", "batch_size: 6", "train.batch_size is 6, which 1 processes with 4 images per forward pass"),
        ("  images: 24", "  mask_layer: 9\n  images: 24", "predict.mask_layer is 9, but the mask decoders have 2"),
        ("family: panoptic_segformer", "family: eomtt", "model.family is 'eomtt'; expected one of panoptic_"),
        ("queries: 30", "queries: many", "model.queries: Value 'many'"),
        ("evaluate:", "evalate:", "unknown section 'evalate' (did you mean 'evaluate'?)"),
    ],
)
def test_one_wrong_file_of_several_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, message: str
) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(PARAMS.replace(old, new, 1))
    with pytest.raises(SystemExit) as ended:
        main(["--params", str(ROOT / "params.yaml"), str(wrong)])
    assert ended.value.code == 2
    assert f"{wrong}: " in (said := capsys.readouterr().err)
    assert message in said
