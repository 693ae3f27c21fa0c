"""A game being played: the agent at one side, chance and the opponent at the others."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from opengato.domains.openspiel.games import Game
from opengato.domains.openspiel.players import opponent

LONGEST = 500  # moves of the agent's in an episode


class Table(gym.Env):
    """See `opengato.domains.openspiel`.

    Attributes:
        state: OpenSpiel's, in which the agent is to move, or the game is over. side: the agent's. chance: the episode's own seed.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 2}  # noqa: RUF012
    render_mode = "rgb_array"

    def __init__(self, game: Game, against: str, simulations: int):
        import pyspiel

        self.observation_space, self.action_space = game.observation_space, game.action_space
        self.rounds, self.players, self.opening, self.in_words = game.rounds, game.players, game.opening, game.in_words
        self._game = pyspiel.load_game(game.name)
        self._opponent = opponent(game, against, simulations) if against else None

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[dict[str, Any], dict]:
        super().reset(seed=seed)
        self.chance = int(self.np_random.integers(2**31))
        self._rng = np.random.default_rng(self.chance)
        self.side = int(self._rng.integers(self.players))
        self._round, self._total, self._steps = 0, 0.0, 0
        self._deal()
        return self._seen(), {"success": False, "legal": True}

    def _deal(self) -> None:
        self.state = self._game.new_initial_state()
        for _ in range(self.opening):
            self.state.apply_action(int(self._rng.choice(self.state.legal_actions())))
        self._before = 0.0
        self._go_on()

    def _go_on(self) -> None:
        """Until the agent is to move, or the game is over."""
        while not self.state.is_terminal() and self.state.current_player() != self.side:
            if self.state.is_chance_node():
                outcomes, chances = zip(*self.state.chance_outcomes())
                share = np.array(chances)
                self.state.apply_action(int(self._rng.choice(outcomes, p=share / share.sum())))
            else:
                assert self._opponent is not None
                self.state.apply_action(self._opponent(self.state, int(self._rng.integers(2**31))))

    def named(self, action: int) -> int | str:
        """An action of OpenSpiel's as this environment takes it."""
        return str(self.state.action_to_string(action)) if self.in_words else action

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, bool, dict]:
        legal = {self.named(known): known for known in self.state.legal_actions()}
        chosen = legal.get(str(action).strip() if self.in_words else int(action))
        is_legal = chosen is not None
        self.state.apply_action(chosen if is_legal else int(self._rng.choice(list(legal.values()))))
        self._steps += 1
        self._go_on()
        reward = self._gained()
        while self.state.is_terminal() and self._round + 1 < self.rounds:  # a hand may be over before the agent was asked
            self._round += 1
            self.side = (self.side + 1) % self.players
            self._deal()
            reward += self._gained()
        over = self.state.is_terminal()
        self._total += reward
        return self._seen(), reward, over, not over and self._steps >= LONGEST, {"success": over and self._total > 0, "legal": is_legal}

    def _gained(self) -> float:
        now = float(self.state.returns()[self.side])
        gained, self._before = now - self._before, now
        return gained

    def _seen(self) -> dict[str, Any]:
        if self.in_words:
            moves = "" if self.state.is_terminal() else " ".join(map(str, map(self.named, self.state.legal_actions())))
            return {"board": str(self.state), "legal": moves, "side": np.int64(self.side)}
        if self.state.is_terminal():
            legal = np.zeros(self._game.num_distinct_actions(), np.int8)
        else:
            legal = np.array(self.state.legal_actions_mask(self.side), np.int8)
        board = np.array(self.state.observation_tensor(self.side), np.float32)
        return {"board": board, "legal": legal, "side": np.int64(self.side)}

    def render(self) -> np.ndarray:
        """The position as OpenSpiel writes it, on a picture of 320×480."""
        from PIL import Image, ImageDraw, ImageFont

        picture = Image.new("RGB", (480, 320), "white")
        ImageDraw.Draw(picture).text((10, 10), f"side {self.side}\n{self.state}", fill="black", font=ImageFont.load_default())
        return np.asarray(picture)
