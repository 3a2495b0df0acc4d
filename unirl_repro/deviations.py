"""Every place where a paper is silent and we chose, or where we differ: the report's appendix.

The code names the id where it happens (``deviation E1``); a test keeps the two in step.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Deviation:
    """One choice: what the paper says, what we do, how large the effect is where it is known.

    The report fills the statistics' constants in where `text` names them in braces, and makes a
    citation of ``[@key]``. Other numbers are typed; a test compares R1 and R2 with config.yaml.
    """

    title: str
    text: str


DEVIATIONS: dict[str, Deviation] = {
    # --- E: environments
    "E1": Deviation(
        "MuJoCo's version",
        "The papers ran on MuJoCo 1.50 or 2.0, which cannot be had exactly (the inertia of capsules "
        "changed in 2.1.2). We use 3.3.0, which follows 2.3.7 to 5e-12 over 20 steps; later ones "
        "diverge by 1e-2 and more.",
    ),
    "E2": Deviation(
        "gymnasium's version 4 for the papers' -v2",
        "Version 4 keeps the rewards, limits and models of -v2; version 5 changes some (the "
        "friction of Walker2d). unified_rl names no version at all.",
    ),
    "E3": Deviation(
        "Termination disabled",
        "unified_rl disables early termination but does not say what becomes of the bonus for being "
        "healthy. We drop the end alone, so the bonus is paid at every step, as -v2 does after a "
        "fall. Paid only while healthy, a uniformly random policy would score -12 and not 164 on "
        "Hopper, 9 and not 88 on Walker, -40 and not -33 on Ant (40 episodes). No level of a "
        "random policy is published to decide it; the lowest published averages over training "
        "(542 on Hopper, 127 on Walker, 76 on Ant) exclude neither reading.",
    ),
    "E4": Deviation(
        "Ant's observation",
        "27 entries. Ant-v2 had 111, of which 84 contact forces were always zero under MuJoCo 2.0; "
        "the published code of the MBPO family drops them too.",
    ),
    "E5": Deviation(
        "Humanoid's observation",
        "45 entries, positions and velocities. Humanoid-v2 has 376; the published code of the MBPO "
        "family keeps the same 45, though usbpo speaks of the standard task.",
    ),
    "E6": Deviation(
        "Distractors",
        "unified_rl gives neither frequencies nor amplitude, nor when phases are drawn. Periods are "
        "50 values spaced geometrically from 5 to 50 steps, each group spanning the range; the "
        "amplitude is 1; a group's phase is drawn uniformly at each reset.",
    ),
    "E7": Deviation(
        "Cartpole's 200 steps",
        "unified_rl gives T=200 but no step. We take the suite's own 0.01 s, hence the first 2 s of "
        "10. The best published average is 69 of 200, where a trained agent levels off in 2 s; "
        "200 steps of 0.05 s would let it balance most of the time and score far above 100.",
    ),
    "E8": Deviation(
        "Pusher-v2 on MuJoCo 3",
        "Version 5 of gymnasium's class with the model of -v2, and the reward from before the step "
        "as in -v2. MuJoCo 3 leaves the armature out of the inverse weights of object and goal "
        "(7.6e7 and 2.5e9 for 25), so that the arm passes through the object: we restore them.",
    ),
    "E9": Deviation(
        "Meta-World's drawer-open",
        "drawer-open-v3 for -v2, which its package no longer has. mnm does not say what is "
        "observed and drawn: we observe the goal and draw the drawer's place at each reset.",
    ),
    "E10": Deviation(
        "DClaw without robel's code",
        "robel needs packages that are gone. Its models (but for geometry that is only seen) run on "
        "today's MuJoCo; over 1,000 random actions a task, observations and rewards equal those of "
        "its own classes to the bit. Random numbers come from NumPy's new generator.",
    ),
    "E11": Deviation(
        "Actions",
        "All lie in [-1, 1] and are scaled to the actuators' range. Beyond it they are clipped, "
        "before the control cost, which -v2 charges on the unclipped action.",
    ),
    # --- A: agents
    "A1": Deviation(
        "Random steps before the first update",
        "The SAC paper gives no number; public implementations use 5,000 (RLPD) or 10,000 uniform "
        "actions at the start of a run. SAC's default is 5,000; config.yaml sets it per task, to ten "
        "episodes in all of unified_rl.",
    ),
    "A2": Deviation(
        "Updates before an episode",
        "unified_rl trains before each episode (Alg. 1) and does not say for how long. SAC makes as "
        "many updates as the episode has steps, which is one update per environment step.",
    ),
    "A3": Deviation(
        "Floor of the softplus standard deviation",
        "1e-6 is added to it, since it underflows to 0 in float32 and its logarithm to minus "
        "infinity. The bounded head (sigmoid) is computed in logarithms and needs no floor.",
    ),
    "A4": Deviation(
        "Three layers",
        "unified_rl's networks have three layers (A.2.2, A.2.3); two hidden layers and one output "
        "layer are meant here. Mean and standard deviation share the hidden layers.",
    ),
    "A5": Deviation(
        "Target entropy",
        "Minus the number of action dimensions, as in the SAC paper that learns the entropy "
        "coefficient [@haarnoja2018applications]; unified_rl gives none. RLPD [@ball2023efficient], "
        "from which it takes its two changes, uses half of that.",
    ),
    "A6": Deviation(
        "SAC's settings in unified_rl",
        "Learning rate, batch size, discount, target step and replay capacity are not given; the "
        "SAC paper's [@haarnoja2018applications] are used (3e-4, 256, 0.99, 0.005, a million).",
    ),
    "A7": Deviation(
        "Learning the entropy coefficient",
        "The gradient is taken of its logarithm times the entropy gap (as public implementations "
        "do), where the temperature's objective of the SAC paper [@haarnoja2018applications] has "
        "the coefficient itself: the same sign, another step length under Adam. Equation numbers in "
        "the code are those of that paper's second version.",
    ),
    "A8": Deviation(
        "DDPG's settings",
        "unified_rl gives none. We take those of the tuned DDPG in the code of Fujimoto et al. "
        "[@fujimoto2018addressing] as it is today: two layers of 256 units, a step size of 3e-4 for both networks, batches of 256, "
        "normal noise of 0.1. Lillicrap et al. [@lillicrap2016continuous] have 400 and 300 units, step "
        "sizes of 1e-4 and 1e-3, weight decay, batches of 64 and correlated noise.",
    ),
    "A9": Deviation(
        "TD3's settings",
        "unified_rl gives none. We take those of the authors' code as it is today (256 units twice, a "
        "step size of 3e-4, batches of 256) and not the paper's [@fujimoto2018addressing] 400 and 300 "
        "units, 1e-3 and 100.",
    ),
    "A10": Deviation(
        "PPO's details",
        "The paper gives objective, networks and Table 3; what it leaves open is as in "
        "stable-baselines3: orthogonal initial weights (gains sqrt 2, policy's output 0.01, value's "
        "1), a standard deviation of 1 that does not depend on the state, advantages standardised "
        "in each batch, a value loss of weight 0.5 without clipping, gradients clipped to a common "
        "norm of 0.5, Adam's epsilon 1e-5. Step size and clipping stay constant, so that no "
        "schedule knows a run's length. A batch's size must divide the window's.",
    ),
    "A11": Deviation(
        "Time limits in PPO",
        "The paper does not say what follows an episode's last step. A time limit is not an end: "
        "the value of the observation that it cut off stands for what would have followed, as at "
        "the end of a window (stable-baselines3 does the same). Only where the environment ended "
        "does nothing follow.",
    ),
    "A12": Deviation(
        "Normalisation in PPO",
        "Where it is on, as published settings for MuJoCo have it, observations are standardised by "
        "running moments and rewards divided by the running standard deviation of their discounted "
        "sum, both clipped at 10, as stable-baselines3's VecNormalize does. One thing differs: the "
        "observation that a window or a time limit ends on is normalised before it, or the next "
        "episode's first one, is counted in.",
    ),
    "A13": Deviation(
        "PPO's actions beyond their bounds",
        "Its Gaussian is unbounded. The environment gets the action clipped to the bounds, the "
        "probability ratio is that of the action before, as in stable-baselines3; without "
        "exploration the clipped mean acts.",
    ),
    "A14": Deviation(
        "Which SVG",
        "Heess et al. [@heess2015learning] have a family of methods and unified_rl names none. We take "
        "SVG(1) with experience replay, which they found the most efficient with data and which alone "
        "learns from a buffer, as all other rows of Table 1 but PPO do.",
    ),
    "A15": Deviation(
        "SVG's reward",
        "Known and differentiable in the paper; learned here, beside the model, since unified_rl's "
        "methods do not know it.",
    ),
    "A16": Deviation(
        "SVG's importance weights",
        "The ratio of the present policy's density of an action to that of the policy that took it is "
        "clipped at 5, as a public implementation does (raylab); the paper says nothing of its size. "
        "The policy is a Gaussian under a tanh, since actions are bounded, and the logarithm of its "
        "standard deviation is kept in a range, so that noise can be inferred. An action at the bound "
        "itself is moved inside by 1e-6. A penalty of 0.01 on the divergence from whoever acted keeps "
        "the tanh from saturating, where no gradient is left; raylab has one as an option.",
    ),
    "A17": Deviation(
        "SVG's model",
        "A Gaussian whose standard deviation is learned, one for each entry of the observation, and "
        "depends on nothing; as in HL's model it is at least 1e-3, without which its likelihood has no "
        "bound. The noise that leads to the real next observation is then its distance "
        "from the mean, whatever the standard deviation.",
    ),
    "A18": Deviation(
        "SVG's settings",
        "unified_rl gives none, and the paper has none for these tasks. Step size 1e-3 of model and "
        "value, gradients clipped to norm 10, a target that moves by 0.005 and 1,000 random steps are "
        "those of raylab; the policy's step size is a tenth of that, so that it stays near those that "
        "collected the data; sizes and batches are those of the other rows.",
    ),
    "A19": Deviation(
        "HL's plan",
        "The published code keeps a plan of ten actions, shifts it, and adds to each the weighted "
        "differences of the policy's samples from it. Its weights sum to one, so that the plan before "
        "cancels, and only the first action is ever used. We compute that action alone, the weighted "
        "mean of the samples' first actions; a test compares it with the whole plan. As there, "
        "trajectories follow the model's mean, and the weight has the log-probability of what the "
        "tanh is applied to, without the tanh's Jacobian.",
    ),
    "A20": Deviation(
        "Evaluating HL",
        "Nothing is said of evaluation. The weighted mean over sampled trajectories acts there too, "
        "on draws of its own.",
    ),
    "A21": Deviation(
        "The SAC inside HL",
        "Ours is SAC as alone, with the published code's 128 units and batches of 128. That code differs "
        "otherwise: its targets move by 0.01, its entropy coefficient learns with a step size of 3e-3, "
        "the policy's last layer begins within 3e-3 of zero, and the minimum of the target's two "
        "values is taken of the second alone.",
    ),
    "A22": Deviation(
        "When HL begins",
        "The published code plans from the first step on and learns once it holds a batch. Here the "
        "first actions are uniform, as many as for the other algorithms (A1).",
    ),
    "A23": Deviation(
        "Which hybrid learning",
        "The paper has a deterministic and a stochastic form; unified_rl names none. We take the "
        "stochastic one, whose code is published for SAC, with the 60 samples and 5 model updates that it "
        "recommends for simulations.",
    ),
    "A24": Deviation(
        "ALM's windows at the end of an episode",
        "The published sampler of K-step windows refuses those that go on after a true end, and it "
        "stores an end by the time limit as none. There its windows go on: the last observation "
        "before the reset stays the aim of that step, and the next action, taken after the reset, is "
        "asked to lead from there to the second observation of the next episode. (K - 1)/T of the "
        "windows do so, 2% at T=100. We do the same (windows: across) and have, for a study of our "
        "own, the windows of one episode alone (inside). The published code also never draws the newest "
        "transition before its buffer is full, and resets the environment after the random steps; "
        "we do neither.",
    ),
    "A25": Deviation(
        "ALM's losses",
        "Those of the published code, where they differ from the bound that the paper derives: "
        "rewards and values stand without a logarithm, a window's steps and the value after it are "
        "not discounted, and the classifier's log ratio has a weight of 0.1 in the policy's reward. "
        "The classifier's imagined successors come from another draw of the latent state than the "
        "one that it is shown.",
    ),
    "A26": Deviation(
        "Gradients of ALM's policy",
        "As in the published code: in a rollout the policy sees each latent state as a constant, "
        "the critic sees the actions and the classifier the successor so. An action is taught by its "
        "reward, by its log ratio, and by what the model makes of it.",
    ),
    "A27": Deviation(
        "Evaluating ALM",
        "The published code evaluates the policy without noise but draws the latent state. "
        "We take the encoder's mean, so that an evaluation is deterministic.",
    ),
    "A28": Deviation(
        "ALM's noise on actions",
        "Called a truncated normal, it is normal noise, in updates clipped at 0.3 and when acting not, "
        "and the action then clipped to the box, where gradients pass as if it were not. As "
        "published, its standard deviation falls over the first 100,000 steps after the random ones, "
        "whatever the task's length; short runs see little of its end.",
    ),
    "A29": Deviation(
        "ALM's settings",
        "unified_rl gives none. We take those of the published code: 5,000 random steps, one update of "
        "everything after each step, a buffer of 100,000 transitions (a million for Humanoid). "
        "An update with a gradient that is not finite stops the run there; here it shows in the "
        "metrics, and the loop stops at the episode's end.",
    ),
    # --- D: the Dyna family
    "D1": Deviation(
        "MBPO's loop",
        "As in its published code, but for these: transitions count for the model at once, where the "
        "code adds an episode when it is over; updates begin with the first model, where the code waits "
        "for 1,000 transitions; random steps are part of the curves, where its own step counter leaves "
        "them out; model data are those of the last epochs' rollouts, where the code's ring keeps more "
        "if rollouts ended early. The logged cap of updates per epoch never binds and is left out.",
    ),
    "D2": Deviation(
        "The ensemble",
        "As MBPO's published code has it, for all four: limits of log variance that all members share "
        "and that stay when the members go back to their best epoch; 6 epochs without a gain of 1% on "
        "what is held out end a training; Adam's moments stay from one training to the next. Its Adam "
        "adds epsilon outside the bias correction, ours inside.",
    ),
    "D3": Deviation(
        "The end of an episode in the model",
        "By Gym's rules on the predicted observation. MBPO's published rule for Hopper lets large "
        "negative entries pass by a misplaced bracket; ours does not. Observations that are not finite "
        "end each task that can end.",
    ),
    "D4": Deviation(
        "One loop for four algorithms",
        "USB-PO, CMLO and PDML were each published on another code base, with other networks, other "
        "update counts, time-outs stored as ends (CMLO, PDML) or actions without noise (CMLO). Here all "
        "four have MBPO's loop, sizes and schedules, so that what differs between two curves is the "
        "method. Curves published by their authors can therefore lie elsewhere.",
    ),
    "D5": Deviation(
        "CMLO's trigger",
        "From its published code, whose paper we have not read: every 20 or 50 steps the volume of the "
        "convex hull of 1,000 visited states in three principal components, divided by the one before, "
        "times the mean distance of one sample of each elite from the state that came; the logarithms "
        "of 1 plus that are added until they exceed the threshold, at least 150 and at most 500 steps. "
        "Volumes are of independent draws, so that their ratio scatters about 1. States without a "
        "volume count as neither wider nor narrower, where the code stops. The first model is trained "
        "after the random steps. Rollouts come as MBPO's do, 100,000 at once every 250 steps, and not "
        "400 a step; on Humanoid every 1,000, so that a model may be trained again before its first. "
        "InvertedPendulum has no published threshold: we take 2.0, HalfCheetah's and Ant's.",
    ),
    "D6": Deviation(
        "PDML's weights",
        "From its published code, whose paper we have not read, with three corrections: weights go to "
        "the transitions that they were made for, where the code shuffles those of the model; the "
        "divergence of two policies has variances where the code has standard deviations; and it is a "
        "mean over 1,000 states, where the code takes all. Rollouts are sampled and rewards predicted as "
        "MBPO's, where the code takes means and subtracts the members' variance of the reward. Blocks are "
        "the steps from one training to the next, 250 as in the code and on Humanoid 1,000; weights "
        "begin after the fourth. "
        "The best weights are restored and the entropy coefficient is learnt, as for the others (D4).",
    ),
    "D7": Deviation(
        "USB-PO's learning rates",
        "Question 4 of usbpo's Section 5 asks whether other rates of fine-tuning do as well; our copy "
        "ends before the answer. We take a tenth and ten times the published 1e-4, on the two tasks of "
        "Figure 3.",
    ),
    "D8": Deviation(
        "SAC's asymptote",
        "usbpo's Figure 2 draws SAC's asymptotic performance at 3 million steps and does not say how it "
        "is read off. Ours is the mean of the evaluations in the last tenth of a run of that length.",
    ),
    "D9": Deviation(
        "USB-PO's fine-tuning",
        "usbpo does not say how long it goes on and on which states. As in its published code: at most "
        "100 updates on 1,024 states and actions of the model data, until 11 of them do not lower Eq. 3 "
        "by 0.01% on as many held-out real ones; all members' best weights are kept and elites chosen "
        "anew; Adam has moments of its own, which stay. Members k1 and k2 are drawn for each row. A "
        "constant of 1e-12 is added under roots. The former model is a copy that keeps its own "
        "normaliser and limits, which in the code change under it. Reward is one of the dimensions. k1 and "
        "k2 are any members, elites or not; the limits of log variance go on from where fine-tuning "
        "left them. Delta compares the model bias on the model data before with that on the rollouts "
        "that follow the training, whose policy has learnt since the last ones and not yet from these.",
    ),
    "D10": Deviation(
        "The published code's Wasserstein distance",
        "It sums squared distances over the batch before it draws the root, takes of the standard "
        "deviations entry i of row i alone, and draws members once for the whole run. "
        "usbpo@wasserstein=repo computes it so; everywhere else the distance is Eq. 11 of each state.",
    ),
    "D11": Deviation(
        "What USB-PO costs",
        "usbpo's numbers are in its Appendix D.4, which our copy lacks, and its text does not say what "
        "was timed. We measure processor seconds of one thread. MBPO and USB-PO learn in one process, "
        "with one seed, in turns from one training of the model to the next, each of them first in "
        "half of the turns. Which is built first depends on the seed: with MBPO twice the second took "
        "7% longer in all (scale quick, one seed). The random steps and the first turn do not count: "
        "code is compiled then, and the first model is not fine-tuned. At scale paper that is Hopper at "
        "the published sizes, 1,500 steps after 5,250, early in learning: later there are more data, "
        "and rollouts are longer. At scale quick it is InvertedPendulum, 500 steps after 375. The "
        "second phase includes the copy of the former model, the magnitudes of Figure 3 and the second "
        "choice of elites. Ratios are geometric means over seeds.",
    ),
    "D20": Deviation(
        "What decides a claim about USB-PO",
        "As U17 has it; usbpo speaks of curves without numbers, so more words need one. Returns are "
        "those of evaluations, as its figures have them. Sample efficiency is their mean over all of "
        "training, final performance that over the last tenth. Severely affected and remarkably "
        "advanced mean that the whole {confidence} interval of the difference lies above a quarter of "
        "the range (D21). On par with SAC's asymptote (D8) is not below it by more than 5%; where no "
        "seed differs from another, as at the ceiling of InvertedPendulum, the difference decides "
        "without a test. Similar is equal. What is said of the model-based baselines has to be "
        "significant in more than half of the pairs of a task and a baseline; those with PDML, which "
        "usbpo has on five tasks, are a claim of their own. Much larger than Delta means that the mean "
        "size of Delta is less than a fifth; to oscillate around 0, that Delta's mean is within 5% of "
        "model shift and model bias; means are over the trainings recorded, the last one of an episode. "
        "The converged cases are the last tenth of training. That one "
        "learning rate suffices is read as no worse than CMLO on the tasks for which its authors "
        "chose a threshold.",
    ),
    "D21": Deviation(
        "Ranges of the full-length tasks",
        "A margin is a share of a range, and neither usbpo nor Table 1 of unified_rl has one for these "
        "tasks. We take it from 0, about the return of a policy that falls at once or stays where it "
        "is, to the highest point of TD3's published mean curves of a million steps (on the -v1 tasks; "
        "ten seeds). They lack Humanoid, where it goes to ALM's published return after 500,000 steps.",
    ),
    # --- R: runs
    "R1": Deviation(
        "Training lengths",
        "unified_rl prints no number of environment steps; its figures' axes are images. Its averages "
        "over training suggest half a million or more for SAC at one update per step, a million or "
        "more for PPO. We take 500,000 for the gymnasium tasks, 250,000 for cartpole and 200,000 for "
        "DClaw for now. Table 1 averages over all of training and so depends on these lengths; a "
        "larger budget extends the same runs.",
    ),
    "R2": Deviation(
        "Small scales",
        "Scales smoke and quick run the same code with networks of 16 or 64 units, smaller batches "
        "and budgets of 3 episodes (at most 1,000 steps) or of 2,500, 6,000 and 9,000 steps; quick "
        "makes 2 gradient updates per step, except in the Dyna family's comparison, and takes the tasks "
        "on which learning shows within its budget. No claim about the papers rests on them.",
    ),
    "R3": Deviation(
        "Model-based learning at scale quick",
        "A few dozen episodes are all that there is. The model is trained from 10 episodes on, on "
        "batches of 32, with a step size of 0.003 and a prior of strength 1, since the paper's 100 "
        "would outweigh them (U21). Policy and critic have a step size of 0.00015; policy and test "
        "use 20 masks. These were chosen by trials on one seed of cartpole.",
    ),
    "R4": Deviation(
        "Training lengths of USB-PO's experiments",
        "Its figures' axes are images. We take the lengths of MBPO's published curves, whose settings "
        "its code keeps, and 15,000 steps for InvertedPendulum, where an evaluation comes at each of "
        "its epochs of 250 steps.",
    ),
    "R5": Deviation(
        "The Dyna family at scale quick",
        "InvertedPendulum in 2,500 steps, USB-PO and MBPO beside SAC, networks of 64 units. Step size "
        "0.001 and batches of 64 for all three; 250 random steps; ensembles of three, two of them "
        "elites, and 5,000 rollouts. MBPO's and USB-PO's policies have 8 updates a step and SAC's one, "
        "as the published settings have many and one: what comes of model data and what of updates the "
        "figure does not tell apart. Chosen by trials on two seeds, at first with 2,000 steps, after "
        "which one of four runs of MBPO and USB-PO balanced the pole.",
    ),
    # --- S: statistics
    "S1": Deviation(
        "Confidence intervals",
        "unified_rl prints {confidence} intervals and does not say how they were made. We use Student's t "
        "interval over seeds, and read the printed intervals as t intervals of five seeds.",
    ),
    "S2": Deviation(
        "Curves on a grid",
        "unified_rl does not say how curves of different seeds were aligned or smoothed. We take "
        "the mean of each curve over each of at most {num_points} equal cells of the budget; nothing else "
        "is smoothed. At each point the mean is over the seeds that reached it.",
    ),
    "S3": Deviation(
        "Average over training",
        "Each environment step counts once: the mean episode return is weighted by episode length. "
        "A run that stopped before its budget is averaged over the steps it has, is marked, and is "
        "not tested against the published number, nor is any run of a scale other than paper.",
    ),
    "S4": Deviation(
        "The t-test of Table 1",
        "unified_rl names a Student t-test, not its kind. We use the unpaired, two-sided test at "
        "{significance}. Bold type needs at least two algorithms that ran. Whether published rows are bold is "
        "computed from their printed means and intervals.",
    ),
    "S5": Deviation(
        "Normalised returns",
        "The paper's rule (lowest row of a task 0, highest 1) is undefined for a single algorithm, "
        "and changes with the rows that ran. We print it, and beside it our returns on the range "
        "of the published rows, over the tasks that ran. The rule reproduces the printed column "
        "from the printed means to rounding, except for PPO: 0.3994, not 0.3936.",
    ),
    "S6": Deviation(
        "The row max(MBRL,SAC)",
        "As the printed numbers do, we take on each task the one of the two algorithms with the "
        "higher mean over seeds, not the better of each pair of seeds.",
    ),
    "S7": Deviation(
        "Statistics beside the paper's",
        "Interquartile mean and probability of improvement with percentile intervals from "
        "{num_resamples} bootstrap resamples of the seeds within each task; Welch's test with Holm's correction "
        "(the row max(MBRL,SAC) repeats another's runs and is not counted). unified_rl has none of "
        "these.",
    ),
    "S8": Deviation(
        "Published numbers, recomputed",
        "An input stands for every value that rounds to it. A derived number follows if the inputs "
        "as printed give its digits, follows to rounding if some of those values do, and does not "
        "follow if none do. Where the text only has words, Table 1 stands for performance: above is "
        "the higher mean, at least matches is not significantly below (S4), and often is more than "
        "half of the pairs. On which tasks SAC overtakes MBRL, Section 4.1 says. To perform well on a "
        "task has two readings: above the middle of the printed rows' range (U19), and not "
        "significantly below the best.",
    ),
    # --- U: Unified RL
    "U1": Deviation(
        "Sizes of the model",
        "unified_rl gives neither the units of its dynamics model nor the dropout rate. We use 200 "
        "units in every layer, as the ensembles of the MBPO family do, and drop a unit with "
        "probability 0.1. A kept unit is scaled by 1/0.9. The standard deviations' softplus has a "
        "floor of 0.01 of an output's own deviation, since the likelihood of an output without "
        "noise has no bound.",
    ),
    "U2": Deviation(
        "Optimisers of the model-based part",
        "Adam with step size 1e-3 for the model. Policy and critic have Dreamer's 8e-5 where they "
        "are trained its way, and 3e-4, as SAC, on full trajectories. Gradients of both are clipped "
        "to norm 100, also Dreamer's number; unified_rl says that it clips, and no number.",
    ),
    "U3": Deviation(
        "Trajectories of a policy update",
        "50 sets of masks, as many as the test takes, with 2 whole trajectories each, or 10 "
        "segments each in Dreamer-style training. unified_rl gives neither number.",
    ),
    "U4": Deviation(
        "Updates of model and policy before an episode",
        "Not given. Dreamer, to which unified_rl refers, makes 100 updates for 1,000 environment "
        "steps, so we make one update of the model and one of the policy for 10 steps: 20 each "
        "before an episode of 200. Networks and optimisers go on from where they were; the "
        "normalisation moves under them with the data.",
    ),
    "U5": Deviation(
        "Masks inside the LSTM",
        "A mask before each internal layer of the LSTM (A.2.1) can be one for each gate, or one "
        "for the input and one for the recurrent input, shared by the four gates. We take the "
        "latter, the tied form of Gal and Ghahramani; it needs one matrix product in place of four. "
        "The four heads share one mask too.",
    ),
    "U6": Deviation(
        "The LSTM's state at visited states",
        "Dreamer-style training starts in the middle of trajectories, where an LSTM needs a state; "
        "unified_rl does not say which. We run the model along the real trajectory up to there, "
        "under the mask of the segment. The segments of one mask start at random steps of one random "
        "episode, near its end too, and then lead beyond T; the critic values an endless task.",
    ),
    "U7": Deviation(
        "Initial states",
        "unified_rl takes the distribution of initial states for known. We draw from the first "
        "observations of the episodes so far, which are samples of it: one on DClaw, where it is a "
        "point, at least a hundred elsewhere (U21). This holds for full-trajectory training and for "
        "the test, where each policy has initial states and noise of its own; common ones, of which "
        "unified_rl says nothing, would make the test less strict.",
    ),
    "U8": Deviation(
        "The model-free episode in ten",
        "A.2.5 demands at least one model-free episode in ten, not which. An episode is forced if "
        "the nine before it were model-based; it counts as forced only where the test chose the "
        "model-based policy. Evaluations are of the policy that acted last; their rhythm can meet "
        "forced episodes more often than training does, so no result of Unified RL is read off them.",
    ),
    "U9": Deviation(
        "M on cartpole",
        "Table 2 prints 'default' where the number of trajectories belongs. We use 10, the middle "
        "of its other values (5, 10 and 100).",
    ),
    "U10": Deviation(
        "An entropy bonus far too high",
        "Figure 4 (right) sets SAC's entropy coefficient far above its ideal and gives no number. "
        "We fix it at 5; where Table 2 fixes a coefficient, it is 0.2.",
    ),
    "U21": Deviation(
        "The initial dataset",
        "Algorithm 1 is given one, of no stated size. The model is first trained when there are as "
        "many episodes as a batch holds, 100 (A1's uniform actions, then the untrained policy, or "
        "SAC inside Unified RL). With ten the prior's term, eta/N times the squared weights, "
        "outweighs the likelihood at the printed eta: on DClaw the model shrank to a constant and "
        "had not come back with 250 episodes.",
    ),
    "U20": Deviation(
        "Entropy in Dreamer-style training",
        "Dreamer has no entropy bonus, and unified_rl does not say where it enters. We add it to "
        "the reward, so that lambda-returns and critic count the entropy to come; then both ways "
        "of policy training climb the same objective. As a bonus of the present step alone it was "
        "outweighed by values: on cartpole policies became deterministic early and stayed at half "
        "the return (one seed, small networks).",
    ),
    "U11": Deviation(
        "The fraction of model-free episodes",
        "unified_rl does not say over how many episodes it takes the fraction of Figure 3, nor "
        "whether random and forced ones count. At each point of the grid we take the episodes of its "
        "cell, or the ten before it where a cell holds fewer (one in ten is forced), and leave out "
        "the random ones at the start. The solid line counts every episode that SAC acted in: those "
        "before the model's first training, in which nothing is tested, and forced ones, too. The "
        "dotted line is of the episodes with a test alone, and counts a forced one as what the test "
        "chose, model-based. Intervals are Student's, as for returns, and may "
        "reach beyond 0 and 1.",
    ),
    "U12": Deviation(
        "The figure of gaps",
        "It is not in unified_rl. Smallest, largest, median and quartiles over the masks are those "
        "of each episode's test, over masks whose rollouts are finite; each is averaged over the "
        "windows of Figure 3 and over seeds. An episode without a finite gap counts in no average "
        "but in the share proven, as not proven.",
    ),
    "U13": Deviation(
        "The bound on the standard deviation",
        "Table 2 of unified_rl has one column for the bound (0.1 on Walker), and A.2.5 speaks of "
        "the policy in general. We bound both policies, the model-based one and SAC's.",
    ),
    "U14": Deviation(
        "Inferring training lengths and updates per step",
        "The n at which our running average over the first n steps reaches the printed average for "
        "good; the interval holds all n around it at which Welch's test, at {significance}, does not "
        "tell our seeds from the printed row. Nothing is extrapolated. The length comes from PPO and "
        "TD3, whose recipes fix their use of data, where their intervals overlap; SAC's updates "
        "per step from its row at that length, linear between the logarithms of the ratios that "
        "ran (1; and 2 and 4 with three seeds on cartpole and DClaw, where updates are cheapest). "
        "An interval wider than a factor of 4 decides nothing.",
    ),
    "U15": Deviation(
        "0.008 s of updates",
        "unified_rl says (Sec. 6, A.2.6) that SAC's updates take 0.008 s for each episode of 100 "
        "steps, and not how many they are. With one update a step (A2) that is 80 microseconds for "
        "an update of two critics and a policy. We also compute what follows if 0.008 s is the "
        "time of one update.",
    ),
    "U16": Deviation(
        "Measured time of an episode's updates",
        "All of a run's time over its episodes: updates, simulation, evaluation, saving. For each "
        "algorithm this is more than its updates take. Both sides of their ratio hold the same "
        "simulation, which pulls it towards 1: updates alone differ by a larger factor, so that "
        "where Unified RL needs less data the comparison favours it. Where a run is missing, the "
        "speed measured beforehand (resources/speeds.csv) stands in.",
    ),
    "U17": Deviation(
        "What decides a claim",
        "Words such as comparable, at least matches and equal need a margin: 5% of the range of "
        "the task's printed rows in Table 1 (of Ant's, for Ant with distractors). At least as good "
        "is non-inferiority: the {confidence} interval of the difference lies above minus the margin. "
        "Better is a significant difference; it is refuted where the interval excludes an advantage "
        "of the margin. Equal is that the whole interval lies between minus and plus the margin. "
        "Holm's correction is over the comparisons of a claim, for and against it each apart, though "
        "the paper corrects nothing. Fewer than four seeds of a sample decide nothing. Where a "
        "claim is about what happens if something fails, and that does not fail, it stays open.",
    ),
    "U18": Deviation(
        "Data to a level",
        "unified_rl says that Unified RL needs 57% of the data of SAC for 80% of SAC's maximum, "
        "not how either was read off. We take the mean curves over seeds on the common grid, the "
        "highest point of SAC's, and the first step at which each curve is at 80% of it; the "
        "interval resamples the seeds of both, {num_resamples} times, maximum and all, from "
        "four seeds on: of three, one resample in nine would be a single seed's curve. A resample "
        "without such a level speaks neither for a claim nor against it. The claim of up to 945 "
        "times slower updates is that the whole interval of the factor is at least that.",
    ),
    "U19": Deviation(
        "Words about time and shares",
        "Early is the first quarter of training, late its last tenth (last quarter in Figure 3). A "
        "significant fraction of episodes is a quarter, almost exclusively nine in ten, exclusively "
        "nineteen in twenty after the first tenth of training, predominantly a half, a mixture "
        "between one and nine in ten, of the tested episodes: forced ones count as what the test "
        "chose, MBRL; random ones and those before there is a model to test are not counted. The "
        "standard error of a share is at least that of the episodes that it counts, one more of "
        "either kind added, since seeds may all be at 0 or 1. An agent fails to learn if, late, it "
        "gains less than a tenth of the range (U17) over its own random episodes. To perform well "
        "on a task is to be above the middle of the printed rows' range; by the other reading, no "
        "worse than the best by the margin, the printed rows would refute that Unified RL does on all "
        "tasks (Walker).",
    ),
    # --- M: Mismatched no More
    "M1": Deviation(
        "VMBPO",
        "mnm describes the VMBPO of its tabular experiments as its own method without the logarithm "
        "of the reward; so do we: reward r and the log ratio, q ~ p e^V. Chow et al. also tilt the "
        "policy. As r takes the place of (1 - gamma) log r, the reward's scale changes with it; a "
        "second variant (MnM without log) leaves out the logarithm alone, (1 - gamma) r.",
    ),
    "M2": Deviation(
        "Damped best responses",
        "Where parts answer one another exactly, each iteration keeps half of the old policy and of the "
        "old model, as the published notebook does. Policies are evaluated by a linear solve, where it "
        "iterates to 1e-6, and we stop when neither policy nor model would move; the notebook asks "
        "the model alone, which in a world without noise never moves. Objectives and returns are of "
        "one policy each, where the notebook mixes the greedy policy with the values of the damped one.",
    ),
    "M3": Deviation(
        "Learnt model and classifier",
        "The notebook learns neither: its model is p e^V from the true p. Our learnt form has a table "
        "of logits for each, over the successors that are possible, which are known. Before each "
        "iteration both take 10 gradient steps, of Eq. 4 (step size 2) and Eq. 9 (step size 1), "
        "expectations over the model's successors being exact; a real trajectory of 200 steps comes "
        "every 10 iterations. mnm gives none of these numbers.",
    ),
    "M4": Deviation(
        "Step sizes of much-visited pairs",
        "In the notebook each sampled step moves its value by 0.01/200 of its error in every later "
        "iteration, so that a pair with more than 40,000 samples would diverge. We let no pair move by "
        "more than the whole of its mean error.",
    ),
    "M5": Deviation(
        "A coarse model",
        "Following the notebook, the model of Figure 2b predicts displacements, the mean over the cells "
        "of a 3 x 3 block, walls among them. What would leave the grid stays at its edge; what would "
        "enter a wall does so. The classifier term is clipped at 5, the value at which the notebook "
        "clips it.",
    ),
    "M6": Deviation(
        "A coarse classifier",
        "The text says that the capacity of the classifier is limited too; the notebook's is exact. We "
        "run the exact one and two that are limited, each Bayes-optimal for what it sees: block, action "
        "and displacement; or block, action and next cell, averaged over the cells without a wall.",
    ),
    "M7": Deviation(
        "Solved",
        "mnm says that MnM solves the task more quickly, not what solves means. We count iterations "
        "until the greedy policy's exact return is at 90% of the optimal one for the first time; a run "
        "that never is there counts with all its iterations.",
    ),
    "M8": Deviation(
        "Transfer of dynamics",
        "Figure 13 is in an appendix that our copy lacks. We take the model that MnM ends with on the "
        "task of Figure 2a and train on it, as it is, for three other goals: three cells from the "
        "source's, in the lower right corner, and straight below the start; beside it the real dynamics, "
        "both with the raw reward and with its logarithm, and MnM from the start.",
    ),
    "M20": Deviation(
        "The discount in Eq. 9",
        "Eq. 9 has V where Eq. 6 and 7 lead to gamma V. Its maximiser p e^V is the exact model step of "
        "another bound, in which the log ratio has one more discount, which holds as well and is never "
        "below Eq. 2; that of Eq. 2 is p e^(gamma V). Algorithms use Eq. 9 as printed, as the notebook "
        "does.",
    ),
    "M21": Deviation(
        "The factor in Eq. 5",
        "Eq. 5 drops the factor (1 - gamma) and the constant of Eq. 3. The constant changes no policy; the "
        "factor does, and the return of Eq. 5's reward is no bound. We use Eq. 3's factor, as the "
        "notebook does.",
    ),
    "M22": Deviation(
        "The tight bound",
        "Appendix A with Eq. 10 is missing from our copy. The notebook computes the bound for a Markov "
        "model and the best horizon distribution; we do so too, and for dynamics that know how many "
        "steps are left, and for dynamics that decide on the way when to stop, which is the most general "
        "form.",
    ),
    "M23": Deviation(
        "The bounds of others",
        "For Table 1 the bound of Luo et al. is the return under the model less a Lipschitz constant "
        "times the mean distance of real and predicted next states under a reference policy, for "
        "policies near it; that of Kearns and Singh is the simulation lemma, by the largest error of "
        "any state and action.",
    ),
    "M24": Deviation(
        "Random worlds",
        "Sizes of the random MDPs on which bounds are compared: six states, three actions, sparse "
        "dynamics, one initial state, rewards over two orders of magnitude, discount 0.9; four states and "
        "two actions for Table 1.",
    ),
    "M25": Deviation(
        "What a row of Table 1 means",
        "mnm does not define its rows. Holds globally: no violation in random and adversarial worlds, "
        "models and policies. Efficient: the samples for a given error grow by less than the root of the "
        "number of states. Unified objective: the authors' own updates of model and policy never lower "
        "the bound. Tight: at the best model and policy it equals what it bounds, to 1e-9.",
    ),
    # --- B: the post on MBPO
    "B1": Deviation(
        "Task and procedure of the figure on generalisation",
        "The post says nothing of its task, policies or set sizes. Ours is Hopper: its episodes end "
        "when it falls, so that the states change as the policy does, and its observation is small. "
        "SAC is trained; at one moment its policy, with its own noise, collects data, and those that "
        "it has later are the future ones. At scale paper that is at 20,000 steps, and 2,000 to "
        "16,000 steps later; at scale quick at 400, and 50 to 400 later, when it has hardly learnt.",
    ),
    "B2": Deviation(
        "Targets in units of their spread",
        "MBPO does not normalise what its model predicts. In these two figures we do, by mean and "
        "standard deviation over the training data: changes of the cart-pole in one step are so "
        "small that training stopped before it had learnt anything (after ten epochs of 1,600 "
        "transitions the error was above that of predicting the mean change).",
    ),
    "B3": Deviation(
        "Batches of 64",
        "MBPO ends training after six epochs without progress. With its batches of 256 an epoch of a "
        "small set has so few updates that training ends before it begins, and an effect of the "
        "set's size would be one of the number of updates. Both figures take 64, at scale quick "
        "networks of 32 units, three members, batches of up to 128 and step sizes of 5e-3 and 2e-3 "
        "in place of 1e-3.",
    ),
    "B4": Deviation(
        "Task and actions of the figure on compounding errors",
        "The post names neither and speaks of a sinusoidal motion. Ours is the pole that hangs from "
        "a cart, in episodes of 450 steps, pushed to and fro as a cosine whose period (80 to 160 "
        "steps), size and direction are drawn for each episode; data are collected with noise on "
        "top. No policy has to be learnt, and nothing in the actions corrects an error. HalfCheetah "
        "under such actions is locked to them, and so was its model for all 450 steps.",
    ),
    "B5": Deviation(
        "Trajectories of a model",
        "Each step of each trajectory draws an elite anew and samples from its Gaussian, as MBPO's "
        "rollouts do. Where each trajectory kept its elite, errors of one network did not average "
        "out: the cart's spread at the end was two and six times as large (two seeds, scale quick).",
    ),
    "B6": Deviation(
        "Model error and shift",
        "Error: the squared error of the elites' mean prediction of the change of the observation, "
        "each entry over the variance of its changes under the collecting policy, averaged; means "
        "over seeds and intervals are of its logarithm. Shift: the Kullback-Leibler divergence of the "
        "later policy from the collecting one, in the mean over the later one's states. Training "
        "sets are drawn from the same transitions, so that they differ in their size alone.",
    ),
    # --- P: the report
    "P1": Deviation(
        "Published values in Figure 2",
        "The paper's curves are an image without numbers. Our figure shows, as a dotted line, the "
        "published average over training (Table 1), which lies below where a curve ends.",
    ),
    "P2": Deviation(
        "Layout of Table 1",
        "One block a task with ours, published and difference, in place of one wide table.",
    ),
    "P3": Deviation(
        "Returns of Figure 5",
        "unified_rl compares ALM on full-length episodes with what ALM's authors report, and does not "
        "say whether its own returns are of training or of evaluation. We draw evaluations without "
        "exploration noise, as the authors report them; their points are data of their published "
        "code, with intervals from its standard deviations over five seeds, 5,000 steps later than "
        "there, where random steps do not count. The appendix says that only the length differs, so "
        "that its Ant never ends early; ours does, as that of ALM's authors.",
    ),
}
