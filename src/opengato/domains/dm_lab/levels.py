"""Which levels of DeepMind Lab are public, and the spaces of all of them."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces

from opengato.tokens.spaces import text_space

HEIGHT, WIDTH = 72, 96  # of the picture, in pixels
TURNS = (-60, -20, -5, 0, 5, 20, 60)  # to the right, in the Lab's pixels a frame, of which it takes ±512
LOOKS = (-10, 0, 10)  # upwards
# The Lab's own names in its own order, and the values that each of our numbers stands for.
ACTIONS: dict[str, tuple[int, ...]] = {
    "LOOK_LEFT_RIGHT_PIXELS_PER_FRAME": TURNS,
    "LOOK_DOWN_UP_PIXELS_PER_FRAME": LOOKS,
    "STRAFE_LEFT_RIGHT": (-1, 0, 1),
    "MOVE_BACK_FORWARD": (-1, 0, 1),
    "FIRE": (0, 1),
    "JUMP": (0, 1),
    "CROUCH": (0, 1),
}
OBSERVATION_SPACE = spaces.Dict(image=spaces.Box(0, 255, (HEIGHT, WIDTH, 3), np.uint8), instruction=text_space(1_000))
ACTION_SPACE = spaces.MultiDiscrete([len(values) for values in ACTIONS.values()])

# By folder under the Lab's game_scripts/levels. Four of contributed/psychlab are those of dmlab30 under other names, and left out.
_FOLDERS: dict[str, str] = {
    "contributed/dmlab30": """
        explore_goal_locations_large explore_goal_locations_small explore_object_locations_large explore_object_locations_small
        explore_object_rewards_few explore_object_rewards_many explore_obstructed_goals_large explore_obstructed_goals_small
        language_answer_quantitative_question language_execute_random_task language_select_described_object
        language_select_located_object lasertag_one_opponent_large lasertag_one_opponent_small lasertag_three_opponents_large
        lasertag_three_opponents_small natlab_fixed_large_map natlab_varying_map_randomized natlab_varying_map_regrowth
        psychlab_arbitrary_visuomotor_mapping psychlab_continuous_recognition psychlab_sequential_comparison psychlab_visual_search
        rooms_collect_good_objects_test rooms_collect_good_objects_train rooms_exploit_deferred_effects_test
        rooms_exploit_deferred_effects_train rooms_keys_doors_puzzle rooms_select_nonmatching_object rooms_watermaze
        skymaze_irreversible_path_hard skymaze_irreversible_path_varied""",
    "": """
        lt_chasm lt_hallway_slope lt_horseshoe_color lt_space_bounce_hard nav_maze_random_goal_01 nav_maze_random_goal_02
        nav_maze_random_goal_03 nav_maze_static_01 nav_maze_static_02 nav_maze_static_03 seekavoid_arena_01 stairway_to_melon""",
    "contributed/fast_mapping": "fast_mapping_test fast_mapping_train slow_mapping_test slow_mapping_train",
    "contributed/psychlab": """
        cued_temporal_production glass_pattern_detection harlow landoltC_identification motion_discrimination motion_discrimination_easy
        multiple_object_tracking multiple_object_tracking_easy odd_one_out ready_set_go temporal_bisection temporal_discrimination""",
    "contributed/psychlab/memory_suite_01": """
        arbitrary_visuomotor_mapping_holdout_extrapolate arbitrary_visuomotor_mapping_holdout_interpolate
        arbitrary_visuomotor_mapping_train change_detection_holdout_extrapolate change_detection_holdout_interpolate
        change_detection_train continuous_recognition_holdout_extrapolate continuous_recognition_holdout_interpolate
        continuous_recognition_train explore_goal_locations_extrapolate explore_goal_locations_holdout_extrapolate
        explore_goal_locations_holdout_interpolate explore_goal_locations_holdout_large explore_goal_locations_holdout_small
        explore_goal_locations_interpolate explore_goal_locations_train_large explore_goal_locations_train_small
        what_then_where_holdout_interpolate what_then_where_train""",
    "contributed/psychlab/visuospatial_suite": """
        memory_guided_saccade odd_one_out pathfinder pursuit visual_match visually_guided_antisaccade visually_guided_prosaccade""",
}
_PREFIXES = {
    "contributed/psychlab": "psychlab-",
    "contributed/psychlab/memory_suite_01": "memory-",
    "contributed/psychlab/visuospatial_suite": "visuospatial-",
}


def _name(folder: str, level: str) -> str:
    return _PREFIXES.get(folder, "") + level.lower().replace("_", "-")


# Task name -> the level's path as the Lab has it.
LEVELS: dict[str, str] = {
    _name(folder, level): f"{folder}/{level}".lstrip("/") for folder, levels in _FOLDERS.items() for level in levels.split()
}
