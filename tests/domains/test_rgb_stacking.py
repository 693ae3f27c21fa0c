"""RGB Stacking: what the objects are, what counts as stacked, what the arm may do, what is seen, and an expert that stacks."""

import re
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("mujoco")
pytest.importorskip("dm_robotics.moma", reason="the robot's and the objects' meshes")

import mujoco

from opengato.collection import record_episode
from opengato.domains.rgb_stacking import TASKS
from opengato.domains.rgb_stacking.arm import ACTION_LIMIT, WORKSPACE
from opengato.domains.rgb_stacking.environment import Stacking
from opengato.domains.rgb_stacking.expert import StackingExpert
from opengato.domains.rgb_stacking.objects import COLOURS, TEST_TRIPLETS, corners, mesh_files, training_objects
from opengato.domains.rgb_stacking.real import TASKS as REAL_TASKS
from opengato.domains.rgb_stacking.rewards import Seen, shaped
from opengato.domains.rgb_stacking.scene import CAMERAS, FLOOR
from opengato.domains.rgb_stacking.shapes import Shape

TASK = {task.id.removeprefix("rgb-stacking/"): task for task in TASKS}
CUBES = ("s0", "s0", "s0")
OPEN = np.array([0, 0, 0, 0, -255], np.float32)


@pytest.fixture(scope="module")
def cubes():
    """Red on blue with three cubes of 5 cm."""
    env = Stacking("red", "blue", CUBES, False)
    env.reset(seed=0)
    yield env
    env.close()


def put(env, **places):
    """Cubes at these places, upright, with their lower side so high above the floor; the arm high above all."""
    env.arm.place(env.data, np.array([0.5, 0.1, 0.4]), 0.0)
    for colour, (x, y, height) in places.items():
        env.data.joint(colour).qpos[:] = x, y, FLOOR + 0.025 + height, 1, 0, 0, 0
        env.data.joint(colour).qvel[:] = 0
    mujoco.mj_forward(env.model, env.data)


def test_listing_imports_no_simulator():
    code = "import sys; import opengato.domains.rgb_stacking.real; assert not {'mujoco', 'dm_robotics'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_objects_are_what_their_names_say():
    """The files' names have every object's sizes in millimetres: those of cubes that are only stretched are their extents."""
    assert len(mesh_files()) == 152
    checked = 0
    for name, path in mesh_files().items():
        sizes = re.search(r"_sds4_shr0_drf0_hlw0_shx0_shy0_scx(\d+)_scy(\d+)_scz(\d+)", path.name)
        if sizes:
            np.testing.assert_allclose(1000 * np.ptp(corners(name), axis=0), [int(n) for n in sizes.groups()], atol=0.6)
            checked += 1
    assert checked > 20
    tested = {name for triplet in TEST_TRIPLETS for name in triplet}
    assert len(training_objects()) > 90 and not tested & set(training_objects())
    assert all(len(name) == 3 for name in training_objects())


def test_chords_agree_with_a_hull():
    delaunay = pytest.importorskip("scipy.spatial").Delaunay
    random = np.random.default_rng(0)
    for name in ("r3", "b5", "y23"):
        axes = np.linalg.qr(random.normal(size=(3, 3)))[0]
        shape = Shape(name, np.array([0.1, 0.2, 0.3]), axes, np.array([0.1, 0.2, 0.3]))
        hull = delaunay(shape.corners)
        along = np.array([0.6, 0.8, 0.0])
        points = shape.position + random.uniform(-0.03, 0.03, (6, 3))
        first, last = shape.chord(points, along)
        for point, low, high in zip(points, first, last, strict=True):
            inside = [t for t in np.linspace(-0.08, 0.08, 641) if hull.find_simplex(point + t * along) >= 0]
            if not inside:
                assert high - low < 3e-4
            else:
                assert abs(low - inside[0]) < 3e-4 and abs(high - inside[-1]) < 3e-4


def test_stacked_is_on_top_touching_and_let_go(cubes):
    def stacked(**places):
        put(cubes, green=(0.68, -0.09, 0), **places)
        for _ in range(3):
            cubes.step(OPEN)
        return cubes.contacts.stacked(cubes.data, "red", "blue")

    below = {"blue": (0.6, 0, 0)}
    assert stacked(**below, red=(0.6, 0, 0.05))
    assert stacked(**below, red=(0.62, 0.01, 0.05))
    assert not stacked(blue=(0.6, 0, 0.05), red=(0.6, 0, 0))
    assert not stacked(**below, red=(0.6, 0.06, 0))
    put(cubes, green=(0.68, -0.09, 0), **below, red=(0.6, 0, 0.06))
    assert not cubes.contacts.stacked(cubes.data, "red", "blue")  # 1 cm above it
    put(cubes, green=(0.68, -0.09, 0), **below, red=(0.6, 0.0515, 0.03))
    assert not cubes.contacts.stacked(cubes.data, "red", "blue")  # beside it, more than 5 cm
    put(cubes, green=(0.68, -0.09, 0), **below, red=(0.6, 0, 0.0499))
    assert cubes.contacts.stacked(cubes.data, "red", "blue")
    cubes.arm.place(cubes.data, np.array([0.6, 0.043, 0.13]), 0.0)
    assert cubes.contacts.with_robot(cubes.data, "red") and not cubes.contacts.stacked(cubes.data, "red", "blue")


def test_what_stands_on_the_floor_is_not_stacked():
    """A bar of 15 cm beside a cube, near enough, higher, and touching it."""
    env = Stacking("red", "blue", ("r6", "s0", "s0"), False)
    env.reset(seed=0)
    put(env, blue=(0.6, 0, 0), green=(0.68, -0.09, 0), red=(0.6, 0.0393, 0.05 - 1e-4))
    assert env.contacts.with_ground(env.data, "red") and env.contacts.between(env.data, "red", "blue")
    assert not env.contacts.stacked(env.data, "red", "blue")
    put(env, blue=(0.6, 0, 0), green=(0.68, -0.09, 0), red=(0.6, 0.0393, 0.051))
    assert env.contacts.stacked(env.data, "red", "blue")
    env.close()


def test_reward_is_staged_as_the_public_task_has_it():
    """By hand from the public task's terms: reach, reach and grasp, lift, hover, stack, leave."""
    far, low = np.array([0.6, 0.1, FLOOR + 0.025]), np.array([0.6, 0, FLOOR + 0.025])
    closing = 0.5 * 0.05  # half of what is left of 1 at fingers that are all open
    assert shaped(Seen(low, low, far, 0.0, False)) == pytest.approx((0.5 + closing / 2) / 5, abs=1e-6)
    assert shaped(Seen(low, low, far, 120.0, True)) == pytest.approx(1 / 5)
    away = low + np.array([0, 0, 0.15])
    assert shaped(Seen(away, low, far, 0.0, False)) == pytest.approx(0.5 * 0.05 / 5, abs=1e-6)
    held = np.array([0.6, 0, FLOOR + 0.09])
    hover = shaped(Seen(held, held, far, 120.0, True))
    assert 2 / 5 < hover < 3 / 5
    above = low + np.array([0, 0, 0.04])
    assert shaped(Seen(above, above, low, 120.0, True)) == pytest.approx(3 / 5)
    assert shaped(Seen(above, above, low, 50.0, False)) == pytest.approx(4 / 5 + 0.0, abs=0.01)
    assert shaped(Seen(above + np.array([0.05, 0, 0.1]), above, low, 0.0, False)) == pytest.approx(1.0)


def test_seeds_decide_all():
    task = TASK["skill-generalization-features"]
    one, other = task.make(), task.make()
    other.reset(seed=9)
    traces = []
    for env, seed in ((one, 3), (other, 3), (one, 4)):
        observation, _ = env.reset(seed=seed)
        env.action_space.seed(0)
        trace = [np.concatenate(list(observation.values()))]
        for _ in range(10):
            observation, reward, ended, truncated, _ = env.step(env.action_space.sample())
            assert task.observation_space.contains(observation) and 0 <= reward <= 1 and not (ended or truncated)
            trace.append(np.concatenate(list(observation.values())))
        traces.append((env.triplet, np.array(trace)))
    assert traces[0][0] == traces[1][0] != traces[2][0]
    assert set(traces[0][0]) <= set(training_objects())
    np.testing.assert_array_equal(traces[0][1], traces[1][1])
    assert not np.array_equal(traces[0][1], traces[2][1])


def test_the_arm_goes_no_faster_and_no_farther_than_it_may(cubes):
    cubes.reset(seed=1)
    put(cubes, red=(0.68, 0.09, 0), green=(0.68, -0.09, 0), blue=(0.5, 0.1, 0))
    cubes.arm.place(cubes.data, np.array([0.6, 0.0, 0.2]), 0.0)
    before, turned = cubes.arm.pinch(cubes.data).copy(), cubes.arm.yaw(cubes.data)
    for _ in range(20):
        cubes.step(np.array([9, -9, 0, 9, -255], np.float32))
    moved = cubes.arm.pinch(cubes.data) - before
    np.testing.assert_allclose(moved, [0.0625, -0.0625, 0], atol=0.008)  # it takes a tenth of a second to follow
    assert 0.8 < cubes.arm.yaw(cubes.data) - turned <= 1.0
    cubes.arm.place(cubes.data, np.array([0.69, 0.0, 0.2]), 0.0)
    for _ in range(30):
        cubes.step(np.array([1, 0, 0, 0, -1], np.float32) * ACTION_LIMIT)
    assert WORKSPACE[1, 0] < cubes.arm.pinch(cubes.data)[0] < WORKSPACE[1, 0] + 0.015


def test_both_cameras_show_the_objects():
    task = TASK["skill-mastery-1-vision"]
    env = task.make()
    try:
        env.reset(seed=0)
        env.render()
    except Exception as error:
        pytest.skip(f"no pictures here: {error}")
    observation, _ = env.reset(seed=0)
    assert task.observation_space.contains(observation)

    def seen(colour):
        other = [k for k in range(3) if k != COLOURS.index(colour)]
        shown = [env._observe()[camera].astype(int) for camera in CAMERAS]
        return [int(((p[..., COLOURS.index(colour)] > 60) & (p[..., other].max(-1) < 40)).sum()) for p in shown]

    put(env, red=(0.55, 0, 0), green=(0.62, 0.07, 0), blue=(0.62, -0.07, 0))
    for colour in COLOURS:
        assert min(seen(colour)) > 50, colour
        env.data.joint(colour).qpos[:3] = 3, 3, 3
        mujoco.mj_forward(env.model, env.data)
        assert max(seen(colour)) == 0, colour
    env.close()


@pytest.mark.slow
def test_the_expert_stacks_and_says_what_to_do_in_any_state():
    task = TASK["skill-mastery-5-features"]
    env, expert = task.make(), task.make_expert()
    episode, _ = record_episode(task, env, expert, 10_000)
    assert len(episode) == 400 and episode.success and episode.episode_return > 150
    observation, _ = env.reset(seed=1)
    expert = StackingExpert(first=0, later=0)
    expert.reset(env, observation, 1)
    env.action_space.seed(0)
    for _ in range(25):
        before = env.data.qpos.copy(), env.data.qvel.copy(), env.data.act.copy(), env.data.site_xpos.copy()
        advice = expert.act(observation)
        assert task.action_space.contains(advice)
        for was, now in zip(before, (env.data.qpos, env.data.qvel, env.data.act, env.data.site_xpos), strict=True):
            np.testing.assert_array_equal(was, now)
        observation, *_ = env.step(env.action_space.sample())


def test_cells_are_fixed_and_late():
    """Which cell it is follows from the seed; a command moves the arm one or two steps after it was given, and fingers have play."""
    task = REAL_TASKS[0]
    env = task.make()
    env._observe = lambda: {}  # the pictures are not what this is about
    cells = {}
    for seed in (0, 1, 0):
        traces = []
        for action in (OPEN, np.array([0.07, 0, 0, 0, 255], np.float32)):
            env.reset(seed=seed)
            assert cells.setdefault(seed, env.cell) == env.cell
            traces.append([])
            for _ in range(4):
                env.step(action)
                traces[-1].append(env.data.qpos.copy())
        there = env._shifts[env.cell]
        same = [np.array_equal(still, moved) for still, moved in zip(*traces, strict=True)]
        assert there.delay in (1, 2) and same == [step < there.delay for step in range(4)]
        assert env.data.act[7] == pytest.approx(255 / 20 * (4 - there.delay) - there.gap)
    assert len(set(cells.values())) == 2
    env.close()


def test_what_a_cell_did_in_real_time_is_read_as_lerobot_has_it(tmp_path):
    """A second through the robots' loop, written as a LeRobotDataset and read again, is what the cell did."""
    from opengato.datasets.lerobot import LeRobotFolder
    from opengato.datasets.lerobot_writer import write_lerobot
    from opengato.robots import Recorder, Simulated, run

    class Up:
        def reset(self, task):
            pass

        def act(self, observation):
            return np.array([0, 0, 0.05, 0, -255], np.float32)

    task, recorder = REAL_TASKS[0], Recorder(source="expert")
    try:
        task.make().reset(seed=0)
    except Exception as error:
        pytest.skip(f"no pictures here: {error}")
    with Simulated(task.make(), seed=0, has_success=True) as robot:
        report = run(robot, Up(), task.id, seconds=0.5, patience=60, record=recorder)
    episode, _ = recorder.episodes[0]
    assert report.ended == "time" and len(episode) == report.timing.ticks > 1 and episode.success is False
    spaces = task.observation_space, task.action_space
    assert write_lerobot(tmp_path / "cell", [episode], task.id, *spaces, 20, video=False) == 1
    found = LeRobotFolder(tmp_path / "cell")
    assert (found.rate, found.task, len(found.rows)) == (20, task.id, 1)
    assert {f"observation.{name}" for name in task.observation_space} | {"action"} <= set(found.info["features"])
    env = task.make()
    observation, _ = env.reset(seed=0)
    for seen, action in zip(episode.observations["basket_front_left"], episode.actions, strict=True):
        np.testing.assert_array_equal(seen, observation["basket_front_left"])
        observation, *_ = env.step(action)
    env.close()
