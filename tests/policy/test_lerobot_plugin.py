"""The policy in LeRobot's own loops; skipped where LeRobot and the plugin are not installed, which need Python 3.12 or newer.

python3.12 -m venv lerobot && lerobot/bin/pip install -e . -e plugins/lerobot_policy_opengato "lerobot[training]" pytest pytest-timeout
lerobot/bin/pytest tests/policy/test_lerobot_plugin.py tests/policy/test_lerobot_batches.py
"""

import json
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces

from opengato.checkpoint import Checkpoint
from opengato.episode import Episode
from opengato.errors import OpenGatoError
from opengato.evaluation.likelihood import said_nats
from opengato.model.config import ModelConfig
from opengato.model.gato import Gato
from opengato.policy.policy import Policy
from opengato.tokens.layout import Layout
from opengato.tokens.spaces import text_space
from opengato.tokens.text import TextTokenizer

pytest.importorskip("lerobot", reason="LeRobot is not installed (see the beginning of this file)")
pytest.importorskip("lerobot_policy_opengato", reason="plugins/lerobot_policy_opengato is not installed")

from lerobot.configs import PreTrainedConfig
from lerobot.policies.factory import get_policy_class, make_pre_post_processors
from lerobot_policy_opengato import OpenGatoConfig, OpenGatoPolicy

FIXTURE = Path(__file__).parents[1] / "datasets" / "official" / "lerobot_v3"
SEEN = spaces.Dict(
    state=spaces.Box(-9, 9, (3,), np.float32),
    images=spaces.Dict(front=spaces.Box(0, 255, (16, 32, 3), np.uint8)),
    task=text_space(),
)
LAYOUTS = {
    "t/pick": Layout(SEEN, spaces.Box(-1, 1, (2,), np.float32)),
    "t/told": Layout(spaces.Dict(state=SEEN["state"], task=SEEN["task"]), spaces.Box(-1, 1, (2,), np.float32)),
    "t/press": Layout(spaces.Box(-9, 9, (2,), np.float32), spaces.Discrete(5)),
    "t/pendulum": Layout(spaces.Box(-9, 9, (3,), np.float32), spaces.Box(-2, 2, (1,), np.float32)),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A random agent of three tasks."""
    torch.manual_seed(0)
    model = Gato(ModelConfig("swift", 2, 2, 32, 64, 16, context=128, set_width=32, patches_per_position=2)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    path = tmp_path_factory.mktemp("agent")
    Checkpoint(model, TextTokenizer.load(), dict(LAYOUTS)).save(path)
    return path


def load(folder, task, **settings):
    """As `lerobot-rollout --policy.type=opengato --policy.checkpoint=…` does."""
    policy = OpenGatoPolicy.from_pretrained(None, config=OpenGatoConfig(checkpoint=str(folder), task=task, device="cpu", **settings))
    return policy, *make_pre_post_processors(policy.config)


def observed(task, rng):
    if task == "t/press":
        return rng.normal(size=2).astype(np.float32)
    return {
        "state": rng.normal(size=3).astype(np.float32),
        "images": {"front": rng.integers(0, 256, (16, 32, 3), np.uint8)},
        "task": f"pick {rng.integers(9)}",
    }


def as_lerobot(task, observations):
    if task == "t/press":
        return {"observation.state": torch.from_numpy(np.stack(observations))}
    pictures = np.stack([o["images"]["front"] for o in observations])
    return {
        "observation.state": torch.from_numpy(np.stack([o["state"] for o in observations])),
        "observation.images.front": torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255,
        "task": [o["task"] for o in observations],
    }


@pytest.mark.slow
def test_lerobot_finds_it_by_its_name(folder):
    """In a process of its own, which imports nothing of ours."""
    code = f"""
from lerobot.utils.import_utils import register_third_party_plugins
register_third_party_plugins()
from lerobot.policies.factory import get_policy_class, make_policy_config, make_pre_post_processors
config = make_policy_config("opengato", checkpoint={str(folder)!r}, task="t/pick", device="cpu")
policy = get_policy_class(config.type)(config)
pre, post = make_pre_post_processors(policy.config)
assert policy.name == config.type == "opengato" and len(pre.steps) and len(post.steps)
assert set(policy.config.image_features) == {{"observation.images.front"}}
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("task", ["t/pick", "t/press"])
def test_every_row_acts_as_a_policy_of_ours(folder, task):
    """Through LeRobot's processors, over two episodes, all actions drawn; each row with the seed after the one before."""
    policy, before, after = load(folder, task, seed=3, temperature=1.0)
    ours = [Policy.from_pretrained(folder, seed=3 + row, temperature=1.0) for row in range(3)]
    rng = np.random.default_rng(0)
    actions = []
    for _ in range(2):
        policy.reset()
        for agent in ours:
            agent.reset(task)
        for _ in range(4):
            observations = [observed(task, rng) for _ in ours]
            with torch.inference_mode():
                found = after(policy.select_action(before(as_lerobot(task, observations))))
            wanted = np.stack([np.ravel(agent.act(seen)) for agent, seen in zip(ours, observations)])
            assert found.dtype == torch.float32
            np.testing.assert_allclose(found.numpy(), wanted, atol=1e-6)
            actions.append(wanted)
    assert len(np.unique(np.concatenate(actions), axis=0)) > 3


def test_tasks_that_the_batch_names(folder):
    policy, before, _ = load(folder, None)
    batch = before({"observation.state": torch.zeros(2, 3), "task": ["t/pendulum"] * 2})
    assert policy.select_action(batch).shape == (2, 1)
    with pytest.raises(OpenGatoError, match="reset before"):
        policy.select_action(before({"observation.state": torch.zeros(1, 3), "task": ["t/pendulum"]}))
    policy.reset()
    with pytest.raises(OpenGatoError, match=r"has 4 tasks.*--policy.task"):
        policy.select_action(before({"observation.state": torch.zeros(1, 3), "task": ["go"]}))


def test_a_chunk_is_chosen_from_one_observation(folder):
    policy, before, _ = load(folder, "t/pick", n_action_steps=3)
    ours, rng = Policy.from_pretrained(folder), np.random.default_rng(1)
    ours.reset("t/pick")
    for _ in range(2):
        first = observed("t/pick", rng)
        wanted = [ours.act(first) for _ in range(3)]
        for step in range(3):  # what is seen within a chunk is not looked at
            seen = first if step == 0 else observed("t/pick", rng)
            found = policy.select_action(before(as_lerobot("t/pick", [seen])))
            np.testing.assert_allclose(found[0].numpy(), wanted[step], atol=1e-6)
    assert policy.predict_action_chunk(before(as_lerobot("t/pick", [first]))).shape == (1, 3, 2)


class Told(gym.Wrapper):
    """Pendulum as LeRobot's environments are: its state by a name, with what a rollout asks for."""

    _max_episode_steps, task_description, task = 20, "swing up", "pendulum"

    def __init__(self):
        super().__init__(gym.make("Pendulum-v1"))
        self.observation_space = spaces.Dict(agent_pos=self.env.observation_space)

    def reset(self, *, seed=None, options=None):
        observation, info = self.env.reset(seed=seed)
        return {"agent_pos": observation}, info | {"is_success": False}

    def step(self, action):
        observation, *rest, info = self.env.step(action)
        return {"agent_pos": observation}, *rest, info | {"is_success": False}


def test_lerobots_rollout_is_ours(folder):
    """The returns of `lerobot-eval`'s loop are those of the same agents in the same environments one by one."""
    lerobot_eval = pytest.importorskip("lerobot.scripts.lerobot_eval")
    from lerobot.processor import PolicyProcessorPipeline

    policy, before, after = load(folder, "t/pendulum")
    nothing = PolicyProcessorPipeline(steps=[])
    env = gym.vector.SyncVectorEnv([Told] * 2)
    found = lerobot_eval.rollout(env, policy, nothing, nothing, before, after, seeds=[5, 6])
    for row, seed in enumerate((5, 6)):
        agent, alone = Policy.from_pretrained(folder, seed=row), gym.make("Pendulum-v1")
        agent.reset("t/pendulum")
        observation, _ = alone.reset(seed=seed)
        for step in range(20):
            action = agent.act(observation)
            np.testing.assert_allclose(found["action"][row, step].numpy(), action, atol=1e-5)
            observation, reward, *_ = alone.step(action)
            np.testing.assert_allclose(found["reward"][row, step], reward, atol=1e-4)


def test_the_loss_is_that_of_our_own_training(folder):
    """Without pictures, whose patches are placed by chance."""
    rng = np.random.default_rng(2)
    policy, _, _ = load(folder, "t/told")
    states, actions = rng.normal(size=(2, 6, 3)).astype(np.float32), rng.uniform(-1, 1, (2, 6, 2)).astype(np.float32)
    lengths = (6, 4)
    batch = {"observation.state": torch.from_numpy(states), "action": torch.from_numpy(actions), "task": ["pick it", "put it down"]}
    batch["action_is_pad"] = torch.arange(6) >= torch.tensor(lengths)[:, None]
    episodes = [
        Episode({"state": states[row, :n], "task": [text] * n}, actions[row, :n], np.zeros(n, np.float32), "t/told")
        for row, (n, text) in enumerate(zip(lengths, batch["task"]))
    ]
    nats = list(said_nats(policy.checkpoint, LAYOUTS["t/told"], episodes))  # two tokens a timestep, both of one position
    alone, _ = policy.forward(batch, reduction="none")
    np.testing.assert_allclose(alone.detach().numpy(), [n.mean() for n in nats], rtol=1e-4)
    loss, told = policy.forward(batch)
    np.testing.assert_allclose(loss.item(), np.concatenate(nats).mean(), rtol=1e-4)
    assert told["timesteps"] == 10
    loss.backward()
    assert {id(p) for group in policy.get_optim_params() for p in group["params"]} == {id(p) for p in policy.parameters()}
    assert policy.model.blocks[0].attention.qkv.weight.grad.abs().max() > 0


def test_saved_by_lerobot_and_back(folder, tmp_path):
    policy, before, after = load(folder, "t/pick", n_action_steps=2)
    for parameter in policy.model.parameters():  # as if it had been trained
        torch.nn.init.normal_(parameter, std=0.4)
    policy.save_pretrained(tmp_path)
    before.save_pretrained(tmp_path)
    after.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["type"] == "opengato"
    config = PreTrainedConfig.from_pretrained(tmp_path)
    assert (config.n_action_steps, config.task, config.checkpoint) == (2, "t/pick", None)
    again = get_policy_class("opengato").from_pretrained(tmp_path, device="cpu")
    _, _ = make_pre_post_processors(config, pretrained_path=str(tmp_path))
    batch = before(as_lerobot("t/pick", [observed("t/pick", np.random.default_rng(0))]))
    first = again.select_action(batch)
    assert torch.equal(first, policy.select_action(batch))
    assert not torch.equal(first, load(folder, "t/pick")[0].select_action(batch))
    assert Policy.from_pretrained(tmp_path / "opengato").checkpoint.layouts.keys() == LAYOUTS.keys()


def test_what_is_refused(folder, tmp_path):
    with pytest.raises(OpenGatoError, match=r"--policy.checkpoint"):
        OpenGatoPolicy(OpenGatoConfig(device="cpu"))
    with pytest.raises(OpenGatoError, match="push_to_hub"):
        OpenGatoConfig(device="cpu", push_to_hub=True)
    with pytest.raises(OpenGatoError, match="n_action_steps is 0"):
        OpenGatoConfig(device="cpu", n_action_steps=0)
    with pytest.raises(OpenGatoError, match="did you mean"):
        load(folder, "t/pik")
    with pytest.raises(OpenGatoError, match="no folder to load"):
        OpenGatoPolicy.from_pretrained(None)
    (tmp_path / "config.json").write_text('{"type": "act"}')
    with pytest.raises(OpenGatoError, match="none of a checkpoint"):
        OpenGatoPolicy.from_pretrained(tmp_path)
    features = load(folder, "t/pick")[0].config.input_features
    state = features["observation.state"]
    for given, says in (
        ({"observation.state": state}, r"'observation.images.front', and the robot or dataset has observation.state"),
        (features | {"observation.state": type(state)(state.type, (4,))}, r"'observation.state' has shape \(4,\).*\(3,\)"),
    ):
        with pytest.raises(OpenGatoError, match=says):
            OpenGatoPolicy(OpenGatoConfig(checkpoint=str(folder), task="t/pick", device="cpu", input_features=given))


@pytest.mark.slow
def test_lerobots_training(tmp_path):
    """`lerobot-train` on a dataset of LeRobot's own, of an agent that was made for it; the loss falls, and what it saves acts."""
    pytest.importorskip("accelerate", reason='pip install "lerobot[training]"')
    from opengato.datasets.open import find_dataset

    data = find_dataset(str(FIXTURE))
    torch.manual_seed(0)
    model = Gato(ModelConfig("swift", 2, 2, 32, 64, 16, context=128, set_width=32, patches_per_position=2))
    Checkpoint(model, TextTokenizer.load(), {data.task: Layout(data.observation_space, data.action_space)}).save(tmp_path / "agent")
    command = [
        "--policy.type=opengato", f"--policy.checkpoint={tmp_path / 'agent'}", "--policy.device=cpu", "--policy.window=4",
        "--policy.optimizer_lr=3e-3", "--dataset.repo_id=local/fixture", f"--dataset.root={FIXTURE}", "--batch_size=4", "--steps=30",
        "--log_freq=1", "--save_freq=30", "--num_workers=0", f"--output_dir={tmp_path / 'out'}", "--wandb.enable=false",
    ]  # fmt: skip
    done = subprocess.run([sys.executable, "-m", "lerobot.scripts.lerobot_train", *command], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    losses = [float(line.split("loss:")[1].split()[0]) for line in done.stderr.splitlines() if "loss:" in line]
    assert len(losses) == 30 and np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5]), losses
    saved = tmp_path / "out/checkpoints/last/pretrained_model"
    policy = OpenGatoPolicy.from_pretrained(saved)
    episode = next(data.episodes())
    agent = Policy(policy.checkpoint)
    agent.reset(data.task)
    seen = {"state": episode.observations["state"][0], "task": episode.observations["task"][0]}
    seen["images"] = {name: np.asarray(frames)[0] for name, frames in episode.observations["images"].items()}
    assert data.action_space.contains(agent.act(seen))
