"""Meta-World's environments, which share the compiled model of their task, against its own."""

import numpy as np
import pytest

from opengato.domains import get_task

pytest.importorskip("metaworld")


@pytest.mark.parametrize("name", ["assembly", "drawer-open", "hammer", "reach"])
def test_an_environment_moves_as_meta_worlds_own_whatever_another_does(name):
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS

    task = get_task(f"metaworld/{name}")
    other, env, theirs = task.make(), task.make(), task.make()
    own = ALL_V3_ENVIRONMENTS[f"{name}-v3"]()
    own._partially_observable, own._freeze_rand_vec, own._set_task_called, own.seeded_rand_vec = False, False, True, True
    own.__dict__.pop("sawyer_observation_space", None)
    assert type(theirs.inner).__mro__[1] is type(own)
    theirs.inner = own
    other.reset(seed=4)
    seen, expected = env.reset(seed=3)[0], theirs.reset(seed=3)[0]
    rng = np.random.default_rng(0)
    for _ in range(20):
        np.testing.assert_array_equal(seen, expected)
        action = rng.uniform(-1, 1, 4).astype(np.float32)
        other.step(-action)
        (seen, reward, *_), (expected, its_reward, *_) = env.step(action), theirs.step(action)
        assert reward == its_reward
