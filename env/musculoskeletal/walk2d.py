"""The 2019 walk-around model in the sagittal plane, as a Gymnasium environment."""

from __future__ import annotations

from typing import Unpack

from env.musculoskeletal.opensim_env import SimulationOptions
from env.musculoskeletal.walk import Walk

MODEL_FILE = "gait14dof22musc_planar_20170320.osim"


class Walk2D(Walk):
    """``OpenSimWalk2D-v0``: 22 muscles, two legs and a trunk walk in a plane.

    The "Learn to Move: Walk Around" challenge of NeurIPS 2019, model in 2D. Model, observation and
    reward are osim-rl 3.0.11's `L2M2019Env` (https://osim-rl.kidzinski.com), read and advanced by
    our own adapter; the comments in this folder say what had to be corrected. One step is 0.01 s of
    simulated time.

    **Actions**: ``Box(0, 1, (22,), float32)``, the muscles' excitations; values outside are
    clipped, as in the original. Right leg 0 to 10, left leg 11 to 21, each in this order:

    === ======== ========================== === ======== ==========================
    +i  name     muscle                     +i  name     muscle
    === ======== ========================== === ======== ==========================
    0   HAB      hip abductors              6   VAS      vasti
    1   HAD      hip adductors              7   BFSH     biceps femoris, short head
    2   HFL      iliopsoas                  8   GAS      gastrocnemius
    3   GLU      gluteus maximus            9   SOL      soleus
    4   HAM      hamstrings                 10  TA       tibialis anterior
    5   RF       rectus femoris
    === ======== ========================== === ======== ==========================

    **Observations**: ``Box(-inf, inf, (339,), float64)``. The last column is the range that the
    original declares, without keeping to it.

    ========== ====================================================== ========= ==============
    index      what                                                   unit      nominal
    ========== ====================================================== ========= ==============
    0-120      target velocity field, forward, 11 by 11 points over   m/s       -10 to 10
               10 m by 10 m around the pelvis, in its frame
    121-241    the same, leftward                                     m/s       -10 to 10
    242        pelvis height                                          m         0 to 3
    243        pelvis pitch, forward positive                         rad       -pi to pi
    244        pelvis roll, to the right positive                     rad       -pi to pi
    245-247    pelvis velocity: forward, leftward, upward             m/s       -20 to 20
    248-250    pelvis angular velocity: pitch, roll, yaw              rad/s     -10 pi to 10 pi
    251-253    right leg: ground reaction forward, rightward, upward  weight    -5 to 10
    254-257    joint angles: hip abduction, hip, knee, ankle;         rad       -pi to pi/2
               extension positive
    258-261    their velocities                                       rad/s     -5 pi to 5 pi
    262-294    for each of the 11 muscles in the order of actions:
               force / maximum isometric force,                       1         0 to 3
               length / optimal fibre length,                         1         0 to 3
               velocity / optimal fibre length                        1/s       -50 to 50
    295-338    left leg, the same 44 (second force leftward)
    ========== ====================================================== ========= ==============

    **Reward** a step at difficulty 0 to 2 (osim-rl ``get_reward_1``; Song et al., J. NeuroEng.
    Rehabil. 18:126, 2021)::

        0.1
        + at a new footstep: 10 t - |integral of (v - v_target) dt| - integral of sum(a^2) dt
        + 10 at the time limit, standing

    over the t seconds since the footstep before, with the pelvis velocity v in the ground plane
    and the muscles' activations a. At difficulty 3 (``get_reward_2``)::

        0.1
        + at a new footstep, and at the time limit for one that stands after more than 5 of them:
          10 t - 3 |integral of (v - v_target) dt| - integral of sum(a^2) dt
        + 500 for each target at which it has stayed

    Footsteps and targets of one step are paid with the next, as in the original.
    ``info["reward_terms"]`` has the summands as ``alive``, ``footstep``, ``velocity``, ``effort``
    and ``bonus``, or ``target`` at difficulty 3; ``info["distance_m"]`` how far forward the pelvis
    is, ``info["time_s"]`` the simulated time.

    **Difficulty**: where the velocities of the field point, and for how long.

    === ========================================================================== ==========
    0   straight ahead at 1.4 m/s                                                   1000 steps
    1   to targets straight ahead, 5 to 7 m from one to the next                    1000 steps
    2   the same, each up to 90 degrees to the left or right of the way before      1000 steps
    3   two targets, up to 180 degrees                                              2500 steps
    === ========================================================================== ==========

    A target is reached after staying within 0.3 m of it for 2 to 4 s. Its place, this time and the
    field's phase (`env.musculoskeletal.velocity_field.SinkField`) are drawn from the seed of reset;
    at difficulty 0 nothing is random and seeds change nothing.

    **Start**: mid-stride at 1.7 m/s (`env.musculoskeletal.walk.START_POSE`), always the same.
    **Termination**: pelvis below 0.6 m. **Truncation**: after the steps above, or
    ``time_limit_steps``.

    **Symmetry**: the observation space is a `policy.mirror.MirroredBox`.

    Args:
        difficulty: 0 to 3. (osim-rl's own default is 3.)
        options: see `env.musculoskeletal.opensim_env.SimulationOptions`; ``pose`` may also be
            twelve numbers as `env.musculoskeletal.walk.POSE_NAMES`, SI and rad, forward lean and
            extension positive as in osim-rl's ``init_pose``. A ``model`` of your own needs the
            names of osim-rl's; forces are in units of its 75.2 kg.

    Raises:
        ConfigError: an argument that cannot work.
        EnvUnavailable: opensim or osim-rl is not installed.

    Version history: v0, first.
    """

    def __init__(self, difficulty: int = 0, **options: Unpack[SimulationOptions]) -> None:
        super().__init__("OpenSimWalk2D-v0", MODEL_FILE, difficulty, options)
