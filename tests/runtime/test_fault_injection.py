import random

import pytest
import torch
from corpora import tiny_run

from cogito_ray.run_spec import RunSpec
from cogito_ray.runtime.verification.fault_injection import Drill, NoSuchStep, Result
from cogito_ray.runtime.verification.resume_verification import OTHER_ORDER, Compared, Course, storage_of_checks
from cogito_ray.sweeps.experiment_names import folder_name


def result(*values, name="weight"):
    return Result({name: torch.tensor(values)}, rows="a", step=1)


def course(folder, steps, times, **training):
    tree = tiny_run(folder)
    tree["training"] |= {"steps": steps} | training
    return Course(RunSpec.model_validate(tree), folder, times, random.Random(0))


def test_equal_weights_are_at_distance_nought_even_where_they_are_no_numbers():
    assert result(1.0, float("nan")).distance(result(1.0, float("nan"))) == 0


def test_distance_is_relative_and_never_nought_for_unequal_bits():
    assert result(3.0, 4.0 + 5e-4).distance(result(3.0, 4.0)) == pytest.approx(1e-4, rel=1e-2)
    assert result(1.0, 0.0).distance(result(1.0, -0.0)) != 0


def test_runs_with_other_weights_cannot_be_compared():
    with pytest.raises(ValueError, match="bias"):
        result(1.0).distance(result(1.0, name="bias"))


def test_other_rows_or_too_distant_weights_break_the_promise():
    sound = {"what": "undisturbed", "seconds": 1.0, "rows": "a", "tolerance": OTHER_ORDER}
    assert Compared(**sound, same_rows=True, distance=OTHER_ORDER).holds
    assert not Compared(**sound, same_rows=False, distance=0.0).holds
    assert not Compared(**sound, same_rows=True, distance=2 * OTHER_ORDER).holds
    assert not Compared(**sound, same_rows=True, distance=float("nan")).holds


def test_interruptions_come_at_reported_steps_before_the_last_quarter(tmp_path):
    moments = course(tmp_path, steps=12, times=4).moments()
    assert moments == [2, 4, 6, 8]


def test_more_interruptions_than_reports_are_refused(tmp_path):
    with pytest.raises(ValueError, match="12 steps leave 4 reports"):
        course(tmp_path, steps=12, times=5).moments()


def test_waiting_for_a_run_that_is_over_ends_at_once(tmp_path):
    drill = Drill(RunSpec.model_validate(tiny_run(tmp_path)), "never", tmp_path)
    with pytest.raises(NoSuchStep, match="step 2 was not reported"):
        drill.wait_for(2, seconds=60, alive=lambda: False)


def test_a_check_names_its_runs_so_that_the_command_line_takes_them(tmp_path):
    drill = course(tmp_path, steps=200, times=2).drill("driver-killed")
    assert folder_name(drill.name) == "driver-killed"


def test_checks_read_the_text_that_the_users_storage_has_and_keep_their_runs_out_of_it(tmp_path):
    for _ in range(2):
        own = storage_of_checks(tmp_path)
    (tmp_path / "tokens" / "shards").mkdir()
    assert (own / "tokens" / "shards").is_dir()
    assert own.parent == tmp_path
